"""What the hardware plan is made from: the settings, the GPUs, the model's config.json, the lengths of the data."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import hub, runs
from ..errors import UserError
from ..identity import flags_of, read_record
from ..preflight import adapters, model
from ..processes import usable_cpus
from ..settings import Settings
from ..training import step_counts
from ..training.batches import FAST, NOT_WITH, eights
from .memory import ModelShape, shape_of

SHARE = 0.92  # of a GPU that is planned with; the rest covers what the estimates miss
# Below, the memory in use is the driver's own and that of the process that looked: bytes, and a share of a small GPU.
NOTICED, NOTICED_SHARE = 2**30, 0.04
SMALL = 1e9  # parameters of a base model whose hidden states and label scores cost little on any machine
TRUE = ("true", "1", "yes", "on")


@dataclass(frozen=True)
class Gpu:
    """One GPU; sizes in bytes, None is unknown."""

    name: str
    memory_bytes: int
    free_bytes: int | None = None

    @property
    def noticed(self) -> float:
        """Bytes in use from which on they count."""
        return min(NOTICED, NOTICED_SHARE * self.memory_bytes)

    @property
    def others(self) -> int:
        """Bytes that other processes hold."""
        used = 0 if self.free_bytes is None else self.memory_bytes - self.free_bytes
        return used if used >= self.noticed else 0

    @property
    def usable(self) -> float:
        """Bytes to plan with."""
        return SHARE * (self.memory_bytes - self.others)


@dataclass(frozen=True)
class Facts:
    """What the plan is made from."""

    gpus: tuple[Gpu, ...]
    shape: ModelShape | None  # None: ``unknown`` says why
    length: int  # tokens of the longest training example
    sizes: tuple[int, ...]
    batch_size: int
    accumulation: int
    unknown: str = ""
    length_basis: str = "CUTOFF_LEN"  # how the length is known; begins with CUTOFF_LEN where it is not
    server: str = "llamafactory"
    backend: str = "vllm"
    eval_jobs: int = 1
    rank: int = 8
    target: str = "all"
    width: int = 2  # bytes a number of the precision
    bitsandbytes: bool = False  # installed
    server_bits: int = 16  # of its weights, by SERVER_ARGS
    server_rank: int = 8  # of the adapters that it has room for
    rust_front: bool = False  # vLLM's front end in Rust is there and takes all that the server is told
    compiled: bool = False  # the user has the server compile, and capture CUDA graphs
    max_tokens: int = 64
    cpus: int | None = None
    fast: bool = False  # py/fast_trainer.py with liger-kernel
    graphs: bool = False  # no setting keeps its steps from being CUDA graphs
    seeds: int = 1  # trainings of each size; 0 without the method lora
    epochs: float = 3.0
    max_steps: int = -1  # instead of the epochs, where above 0
    match_steps: bool = False
    items: int = 1000  # asked of each run
    untrained: int = 0  # runs without an adapter of their own
    common: int = 0  # tokens that all examples begin with, where steps that are graphs may compute them once

    @property
    def trainings(self) -> int:
        """How many there are."""
        return self.seeds * len(self.sizes)

    @property
    def updates(self) -> list[int]:
        """Those of a training of each size, in their order."""
        flags = {
            "per_device_train_batch_size": self.batch_size,
            "gradient_accumulation_steps": self.accumulation,
            "num_train_epochs": self.epochs,
            "max_steps": self.max_steps,
        }
        texts = {name: str(value) for name, value in flags.items()}
        counted = [max(self.sizes)] * len(self.sizes) if self.match_steps else self.sizes
        return [step_counts.count(size, texts) or 0 for size in counted]

    @property
    def global_batch(self) -> int:
        """Examples an update."""
        return self.batch_size * self.accumulation

    @property
    def length_known(self) -> bool:
        """Whether the examples were counted."""
        return not self.length_basis.startswith("CUTOFF_LEN")


@dataclass(frozen=True)
class Wishes:
    """The user's own values; None is ``auto``. ``origin`` names the flag of TRAIN_ARGS or SERVER_ARGS that set one."""

    micro_batch: int | None = None
    checkpointing: bool | None = None
    quantization: str | None = None  # none, 4 or 8
    train_jobs: int | None = None
    overlap: bool | None = None
    gpu_memory: float | None = None
    origin: dict[str, str] = field(default_factory=dict)


# The settings that are planned.
WISHES = ("micro_batch", "checkpointing", "quantization", "train_jobs", "overlap", "gpu_memory")
# Flags of the trainer's and the server's command line come last there, so they win over the settings.
FLAGS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "quantization_bit": ("TRAIN_ARGS", "quantization", str),
    "disable_gradient_checkpointing": ("TRAIN_ARGS", "checkpointing", lambda text: text.lower() not in TRUE),
    "per_device_train_batch_size": ("TRAIN_ARGS", "micro_batch", int),
    "gpu_memory_utilization": ("SERVER_ARGS", "gpu_memory", float),
    "vllm_gpu_util": ("SERVER_ARGS", "gpu_memory", float),
}


def collect(settings: Settings, hardware: Mapping[str, Any]) -> tuple[Facts, Wishes]:
    """Return the facts and the wishes; nothing is written or fetched.

    Args:
        settings: of the sweep.
        hardware: the record of the GPUs (planning/gpus.py).

    Raises:
        UserError: a flag in TRAIN_ARGS or SERVER_ARGS that needs a number has none.
    """
    trainer, server = flags_of(settings.train_args), flags_of(settings.server_args)
    step_counts.check_numbers("TRAIN_ARGS", trainer)
    step_counts.check_numbers("SERVER_ARGS", server)
    if "gradient_accumulation_steps" in trainer:
        trainer.setdefault("per_device_train_batch_size", str(settings.batch_size))
    cutoff = int(trainer.get("cutoff_len", settings.cutoff_len))
    folder = model_folder(settings)
    shape, unknown = read_shape(settings.model, folder, settings.lora_target)
    length, basis, common = longest(settings, folder, cutoff) if shape else (cutoff, "CUTOFF_LEN", 0)
    if {trainer.get(name, "").lower() for name in ("packing", "neat_packing")} & set(TRUE):
        length, basis, common = cutoff, "packed to the cutoff", 0
    facts = Facts(
        gpus=tuple(
            Gpu(each["name"], each["memory_bytes"], each.get("free_bytes")) for each in hardware.get("gpus") or ()
        ),
        shape=shape,
        unknown=unknown,
        length=eights(length),  # LLaMA-Factory pads to a multiple of 8
        length_basis=basis,
        sizes=runs.sizes(settings),
        seeds=len(settings.seeds) if runs.LORA in runs.methods(settings) else 0,
        epochs=float(trainer.get("num_train_epochs", settings.epochs)),
        max_steps=int(trainer.get("max_steps", -1)),
        match_steps=settings.match_steps,
        items=items(settings),
        untrained=len(runs.evaluations(settings)) - len(runs.trainings(settings)),
        batch_size=int(trainer.get("per_device_train_batch_size", settings.batch_size)),
        accumulation=int(trainer.get("gradient_accumulation_steps", settings.gradient_accumulation)),
        server=settings.server,
        backend=settings.backend,
        eval_jobs=settings.eval_jobs,
        rank=int(trainer.get("lora_rank", settings.lora_rank)),
        target=trainer.get("lora_target", settings.lora_target),
        width=4 if settings.precision == "fp32" else 2,
        bitsandbytes=find_spec("bitsandbytes") is not None,
        server_bits=_served_bits(server),
        server_rank=adapters.started_rank(settings.lora_rank, server, settings.server),
        # It fetches the newest revision of a hub's model, whatever it is told.
        rust_front=not server and Path(settings.model).is_dir() and _has_rust_front(),
        compiled="no_enforce_eager" in server,
        max_tokens=settings.max_tokens,
        cpus=usable_cpus(),
        fast=settings.trainer == "fast" and find_spec("liger_kernel") is not None and settings.precision != "fp32",
        graphs=may_graph(settings.precision, trainer, bool(hardware.get("bf16", True))),
        common=common if settings.shared_prefix and may_merge(trainer, shape) else 0,
    )
    return facts, _wishes(settings, {"TRAIN_ARGS": trainer, "SERVER_ARGS": server})


def _has_rust_front() -> bool:
    """Return whether this vLLM has its front end in Rust, as not all its wheels do."""
    vllm = find_spec("vllm")
    return vllm is not None and vllm.origin is not None and os.access(Path(vllm.origin).with_name("vllm-rs"), os.X_OK)


def _served_bits(flags: Mapping[str, str]) -> int:
    """Return the bits of the server's weights: `vllm serve --quantization`, LLaMA-Factory's --quantization_bit."""
    if "quantization" in flags:
        return 4 if flags["quantization"] == "bitsandbytes" else 8
    return 4 if flags.get("quantization_bit") == "4" else 16


def _wishes(settings: Settings, given: Mapping[str, Mapping[str, str]]) -> Wishes:
    """Return the wishes; ``given`` are the flags by the setting that has them, since both programs know some names."""
    values: dict[str, Any] = {
        name: None if settings[name.upper()] == "auto" else getattr(settings, name) for name in WISHES
    }
    wishes = Wishes(**values)
    for flag, (setting, name, read) in FLAGS.items():
        if (value := given[setting].get(flag)) is not None:
            wishes.origin[name] = f"{setting} has --{flag} {value}"
            wish: dict[str, Any] = {name: read(value)}
            wishes = replace(wishes, **wish)
    return wishes


def may_merge(trainer: Mapping[str, str], shape: ModelShape | None) -> bool:
    """Return whether neither model nor flags keep a batch from becoming one sequence (shared_prefix.py)."""
    return (
        shape is not None
        and shape.kind in FAST
        and not {flag.removeprefix("--") for flag in NOT_WITH} & set(trainer)
        and float(trainer.get("lora_dropout", 0)) == 0
        and trainer.get("flash_attn", "auto") in ("auto", "sdpa")
    )


def may_graph(precision: str, trainer: Mapping[str, str], bf16: bool) -> bool:
    """Return whether no setting keeps steps from being CUDA graphs (fast_trainer.py)."""
    fp16 = precision == "fp16" or (precision == "auto" and not bf16)
    return not fp16 and "fp16" not in trainer and trainer.get("step_graphs", "True") == "True"


def items(settings: Settings) -> int:
    """Return how many items each run is asked, as far as that is known before the data is built."""
    path = settings.data_dir / "manifest.json"
    counts = read_record(path).get("splits", {}).get(f"llm_{settings['SPLIT']}", {}) if path.is_file() else {}
    asked = settings.valid_count if settings["SPLIT"] == "valid" else settings.test_count
    return settings.eval_limit or counts.get("rows") or asked or Facts.items


def model_folder(settings: Settings) -> Path | None:
    """Return the folder that holds the model's config.json: its own, or that in the hub's cache."""
    name: str = settings.model
    candidates = [Path(name)]
    if settings.use_modelscope_hub:
        candidates += model.modelscope_folders(name)
    elif hub.is_name(name):
        home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
        cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
        repository = cache / f"models--{name.replace('/', '--')}"
        revision = settings.model_commit or settings.model_revision or "main"
        with contextlib.suppress(OSError):
            revision = (repository / "refs" / revision).read_text().strip()
        candidates.append(repository / "snapshots" / revision)
    return next((folder for folder in candidates if (folder / "config.json").is_file()), None)


def is_small(settings: Settings) -> bool:
    """Return whether the base model is known to have less than :data:`SMALL` parameters."""
    folder = model_folder(settings)
    try:
        parameters = model.size_of(folder, settings.lora_target).parameters if folder else None
    except UserError:
        return False
    return parameters is not None and 0 < parameters < SMALL


def read_shape(name: str, folder: Path | None, target: str) -> tuple[ModelShape | None, str]:
    """Return the model's shape, or None and why it is unknown."""
    if folder is None:
        return None, f"the size of {name} is unknown until its config.json has been fetched"
    try:
        size = model.size_of(folder, target)
    except UserError:
        size = model.Size()  # the preflight reports it; config.json has the shape all the same
    try:
        return shape_of(read_record(folder / "config.json"), size.parameters, size.weights), ""
    except UserError as error:
        return None, str(error)


def longest(settings: Settings, folder: Path | None, cutoff: int) -> tuple[int, str, int]:
    """Return the tokens of the longest training example (at most the cutoff), how they are known, and how many tokens
    all examples begin with (0: unknown).

    The preflight's record has the counts; without it they are counted here, which takes about a second.
    """
    sizes = runs.sizes(settings)
    rows = settings.data_dir / f"{runs.dataset_name(max(sizes), settings.seeds[0])}.json"
    if not rows.is_file():
        return cutoff, "CUTOFF_LEN; the data is not built yet", 0
    record = settings.logs_dir / f"{settings.sweep_name}.preflight.json"
    found: dict[str, Any] = {}
    if record.is_file() and record.stat().st_mtime >= rows.stat().st_mtime:
        checks = read_record(record).get("checks") or ()
        found = next((each for each in checks if each["check"] == "lengths" and each.get("file") == str(rows)), {})
    if "longest" not in found:
        from ..preflight import lengths, templates

        source = templates.source()
        slots = templates.registered(source).get(settings.template) if source else None
        tokenizer = folder / "tokenizer.json" if folder and (folder / "tokenizer.json").is_file() else None
        found = lengths.check(rows, tokenizer, slots, cutoff).facts
    if "longest" not in found:
        return cutoff, "CUTOFF_LEN; the data's tokens cannot be counted", 0
    common = found.get("common", 0)
    if found["rows"] < max(sizes):  # a sample was counted, and the rest may hold a longer one
        return min(cutoff, round(1.25 * found["longest"])), f"of {found['rows']} examples, and a quarter more", common
    return min(cutoff, found["longest"]), "the longest of the data", common
