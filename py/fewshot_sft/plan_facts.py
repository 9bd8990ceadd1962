"""What the plan is made from: settings, the record of the GPUs, the model's config.json and headers, the data."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from . import memory
from .batch_plan import NOT_WITH, TAKE_ANY_MASK, eights
from .errors import UserError
from .identity import flags_of, read_record
from .plan_choice import Facts, Gpu, Wishes
from .preflight import model
from .processes import usable_cpus

TRUE = ("true", "1", "yes", "on")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the settings that the plan depends on; those that it decides may be ``auto``."""
    add = parser.add_argument
    add("--model", required=True, help="a folder, or a name on the hub")
    add("--template", default="")
    add("--use-modelscope-hub", type=int, default=0)
    add("--sizes", type=lambda text: tuple(int(size) for size in text.split()), required=True, help='as "100 500"')
    add("--sweep-name", default="")
    for name in ("data-dir", "logs-dir"):
        add(f"--{name}", type=Path, required=True)
    add("--hardware", type=Path, help="the record of py/hardware.py; hardware.json in the logs without")
    add("--device", choices=("cpu", "gpu"), default="gpu")
    add("--trainer", choices=("llamafactory-cli", "fast"), default="llamafactory-cli")
    add("--shared-prefix", choices=("auto", "0", "1"), default="0")
    add("--server", choices=("llamafactory", "vllm"), default="llamafactory")
    add("--backend", choices=("huggingface", "vllm"), default="vllm")
    add("--precision", default="auto")
    add("--split", default="test")
    add("--lora-target", default="all")
    for name in ("train-args", "server-args"):
        add(f"--{name}", default="")
    numbers = {"batch-size": 2, "gradient-accumulation": 4, "cutoff-len": 1024, "lora-rank": 8, "max-tokens": 64}
    for name, default in (numbers | {"eval-jobs": 1, "with-base": 0, "constrain": 0}).items():
        add(f"--{name}", type=int, default=default)
    for name in ("eval-limit", "test-count", "valid-count"):
        add(f"--{name}", type=lambda text: int(text) if text else None)
    for name in ("micro-batch", "train-jobs", "concurrency"):
        add(f"--{name}", type=_auto_or(_above_zero), help="auto, or a number")
    for name in ("checkpointing", "overlap", "eager"):
        add(f"--{name}", type=_auto_or(_bool), help="auto, 0 or 1")
    add("--quantization", type=_auto_or(_quantization), help="auto, none, 4 or 8")
    add("--gpu-memory", type=_auto_or(_part), help="auto, or the server's share of the GPU")


def collect(args: argparse.Namespace) -> tuple[Facts, Wishes]:
    """Return the facts and the wishes of settings that :func:`add_flags` has parsed; nothing is written or fetched."""
    trainer, wishes = _trainer_words(args)
    server, wishes = _server_words(args, wishes)
    cutoff = int(trainer.get("cutoff_len", args.cutoff_len))
    shape, unknown, length, basis, common = None, "", cutoff, "CUTOFF_LEN", 0
    gpus: tuple[Gpu, ...] = ()
    if args.device == "gpu":
        gpus = read_gpus(args.hardware or args.logs_dir / "hardware.json")
        folder = model_folder(args.model, bool(args.use_modelscope_hub), os.environ)
        shape, unknown = read_shape(args.model, folder, args.lora_target)
        packed = {trainer.get(name, "False").lower() for name in ("packing", "neat_packing")}
        if packed & set(TRUE):
            basis = "packed to the cutoff"
        elif shape is not None:
            length, basis, common = longest(args, folder, cutoff)
    facts = Facts(
        device=args.device,
        gpus=gpus,
        shape=shape,
        length=eights(length),  # LLaMA-Factory pads to a multiple of 8
        common=common if may_merge(args, trainer, shape) else 0,
        common_always=args.shared_prefix == "1",
        sizes=args.sizes,
        batch_size=int(trainer.get("per_device_train_batch_size", args.batch_size)),
        accumulation=int(trainer.get("gradient_accumulation_steps", args.gradient_accumulation)),
        unknown=unknown,
        length_basis=basis,
        length_known=not basis.startswith("CUTOFF_LEN"),
        items=items(args),
        server=args.server,
        backend=args.backend,
        eval_jobs=args.eval_jobs,
        rank=int(trainer.get("lora_rank", args.lora_rank)),
        target=trainer.get("lora_target", args.lora_target),
        width=4 if args.precision == "fp32" else 2,
        bitsandbytes=find_spec("bitsandbytes") is not None,
        server_bits=4 if server.get("quantization") == "bitsandbytes" or server.get("quantization_bit") == "4" else 16,
        max_tokens=args.max_tokens,
        compiled=compiled_before(os.environ),
        cpus=usable_cpus(),
        fast=args.trainer == "fast" and find_spec("liger_kernel") is not None and args.precision != "fp32",
        graphs=may_graph(args, trainer),
        concurrency=args.concurrency,
    )
    return facts, wishes


def may_merge(args: argparse.Namespace, trainer: Mapping[str, str], shape: memory.Shape | None) -> bool:
    """Return whether no setting keeps batches from becoming one sequence (shared_prefix.py)."""
    return (
        args.shared_prefix != "0"
        and shape is not None
        and shape.kind in TAKE_ANY_MASK
        and not {flag.removeprefix("--") for flag in NOT_WITH} & set(trainer)
        and float(trainer.get("lora_dropout", 0)) == 0
        and trainer.get("flash_attn", "auto") in ("auto", "sdpa")
    )


def may_graph(args: argparse.Namespace, trainer: Mapping[str, str]) -> bool:
    """Return whether no setting keeps steps from being CUDA graphs (fast_trainer.py)."""
    if args.precision == "auto":
        fp16 = not read_record(args.hardware or args.logs_dir / "hardware.json").get("bf16", True)
    else:
        fp16 = args.precision == "fp16"
    return not fp16 and "fp16" not in trainer and trainer.get("step_graphs", "True") == "True"


def read_gpus(record: Path) -> tuple[Gpu, ...]:
    """Return the GPUs of py/hardware.py's record; none where there is no record."""
    found = []
    for each in read_record(record).get("gpus") or ():
        total = each.get("memory_bytes") or round(each["memory_gib"] * 2**30)
        found.append(
            Gpu(
                name=each.get("name", "GPU"),
                memory=total,
                free=each.get("free_bytes"),
                capability=each.get("compute_capability", ""),
                multiprocessors=each.get("multiprocessors"),
            )
        )
    return tuple(found)


def model_folder(name: str, modelscope: bool, environment: Mapping[str, str]) -> Path | None:
    """Return the folder that holds a model's config.json: its own, or that in the hub's cache."""
    candidates = [Path(name)]
    if modelscope:
        candidates += model.modelscope_folders(name)
    elif name.count("/") == 1:
        home = Path(environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
        cache = Path(environment.get("HF_HUB_CACHE") or home / "hub").expanduser()
        repository = cache / f"models--{name.replace('/', '--')}"
        with contextlib.suppress(OSError):
            candidates.append(repository / "snapshots" / (repository / "refs/main").read_text().strip())
    return next((folder for folder in candidates if (folder / "config.json").is_file()), None)


def read_shape(name: str, folder: Path | None, target: str) -> tuple[memory.Shape | None, str]:
    """Return the model's shape, or None and why it is not known."""
    if folder is None:
        return None, f"the size of {name} is not known, its config.json is not here yet"
    try:
        size = model.size_of(folder, target)
    except UserError:
        size = model.Size()  # the preflight says so; the shape is in config.json all the same
    try:
        return memory.shape_of(read_record(folder / "config.json"), size.parameters, size.weights), ""
    except UserError as error:
        return None, str(error)


def longest(args: argparse.Namespace, folder: Path | None, cutoff: int) -> tuple[int, str, int]:
    """Return the tokens of the longest training example, at most the cutoff, how that is known, and how many tokens all
    examples begin with (0: not known).

    The preflight has counted them; without its record they are counted here, which takes about a second.
    """
    rows = args.data_dir / f"llm_train_{max(args.sizes)}.json"
    if not rows.is_file():
        return cutoff, "CUTOFF_LEN; the data is not built yet", 0
    record = args.logs_dir / f"{args.sweep_name}.preflight.json"
    found: dict[str, int] = {}
    if record.is_file() and record.stat().st_mtime >= rows.stat().st_mtime:
        checks = read_record(record).get("checks") or ()
        found = next((each for each in checks if each["check"] == "lengths" and each.get("file") == str(rows)), {})
    if "longest" not in found:
        from .preflight import lengths, templates

        source = templates.source()
        slots = templates.registered(source).get(args.template) if source else None
        tokenizer = folder / "tokenizer.json" if folder and (folder / "tokenizer.json").is_file() else None
        found = lengths.check(rows, tokenizer, slots, cutoff).facts
    if "longest" not in found:
        return cutoff, "CUTOFF_LEN; the data's tokens cannot be counted", 0
    common = found.get("common", 0)
    if found["rows"] < max(args.sizes):  # a part was counted: the rest may hold a longer one
        return min(cutoff, round(1.25 * found["longest"])), f"of {found['rows']} examples, and a quarter more", common
    return min(cutoff, found["longest"]), "the longest of the data", common


def items(args: argparse.Namespace) -> int | None:
    """Return how many items will be asked: the split's rows for each size; None where they are not known yet."""
    splits = read_record(args.data_dir / "manifest.json").get("splits") or {}
    rows = splits.get(f"llm_{args.split}", {}).get("rows")
    known = [count for count in (rows or getattr(args, f"{args.split}_count", None), args.eval_limit) if count]
    return min(known) * (len(args.sizes) + args.with_base) * (1 + args.constrain) if known else None


def compiled_before(environment: Mapping[str, str]) -> bool:
    """Return whether vLLM's compile cache holds anything; of which model and settings, only vLLM knows."""
    root = environment.get("VLLM_CACHE_ROOT") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "vllm"
    cache = Path(root).expanduser() / "torch_compile_cache"
    return cache.is_dir() and any(cache.iterdir())


def _trainer_words(args: argparse.Namespace) -> tuple[dict[str, str], Wishes]:
    """TRAIN_ARGS come last on the trainer's command line: what they set, they decide."""
    found = flags_of(args.train_args)
    names = ("micro_batch", "checkpointing", "quantization", "train_jobs", "overlap", "gpu_memory", "eager")
    wishes = Wishes(**{name: getattr(args, name) for name in names})
    origin: dict[str, str] = {}
    if "quantization_bit" in found:
        wishes = replace(wishes, quantization=found["quantization_bit"])
        origin["quantization"] = f"TRAIN_ARGS has --quantization_bit {found['quantization_bit']}"
    if "disable_gradient_checkpointing" in found:
        value = found["disable_gradient_checkpointing"]
        wishes = replace(wishes, checkpointing=value.lower() not in TRUE)
        origin["checkpointing"] = f"TRAIN_ARGS has --disable_gradient_checkpointing {value}"
    if "per_device_train_batch_size" in found or "gradient_accumulation_steps" in found:
        batch = int(found.get("per_device_train_batch_size", args.batch_size))
        wishes = replace(wishes, micro_batch=batch)
        origin["micro_batch"] = "TRAIN_ARGS has --per_device_train_batch_size or --gradient_accumulation_steps"
    return found, replace(wishes, origin=origin)


def _server_words(args: argparse.Namespace, wishes: Wishes) -> tuple[dict[str, str], Wishes]:
    """The same for SERVER_ARGS."""
    found = flags_of(args.server_args)
    origin = dict(wishes.origin)
    for word in ("gpu_memory_utilization", "vllm_gpu_util"):
        if word in found:
            wishes = replace(wishes, gpu_memory=float(found[word]))
            origin["gpu_memory"] = f"SERVER_ARGS has --{word} {found[word]}"
    for word in ("enforce_eager", "vllm_enforce_eager"):
        if word in found:
            wishes = replace(wishes, eager=found[word].lower() in TRUE)
            origin["eager"] = f"SERVER_ARGS has --{word}"
    return found, replace(wishes, origin=origin)


def _auto_or(read: Callable[[str], object]) -> Callable[[str], object]:
    def parse(text: str) -> object:
        return None if text in ("auto", "") else read(text)

    return parse


def _above_zero(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return int(text)


def _bool(text: str) -> bool:
    if text not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"'{text}' is not auto, 0 or 1")
    return text == "1"


def _quantization(text: str) -> str:
    if text not in ("none", "4", "8"):
        raise argparse.ArgumentTypeError(f"'{text}' is not auto, none, 4 or 8")
    return text


def _part(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)
