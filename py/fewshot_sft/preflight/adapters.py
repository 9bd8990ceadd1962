"""Whether the adapters that the settings train can be served, and their steps are enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..identity import flags_of
from ..training import step_counts
from . import Finding
from .templates import Slots

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for
LLAMAFACTORY_RANK = 32  # of its vLLM, without --vllm_max_lora_rank
NO = ("false", "0", "no", "off", "none")
# What LLaMA-Factory trains with them is more than the two matrices of each module, which is all that vLLM takes.
NOT_FOR_VLLM = {
    "use_dora": "DoRA",
    "additional_target": "modules that are trained whole",
    "resize_vocab": "an embedding that is trained whole",
    "add_tokens": "an embedding that is trained whole",
    "add_special_tokens": "an embedding that is trained whole",
    "new_special_tokens_config": "an embedding that is trained whole",
    "pissa_init": "PiSSA, which changes the base model",
}
ON_HUGGING_FACE = "set SERVER=llamafactory BACKEND=huggingface"


def served_rank(rank: int) -> int | None:
    """Return the least rank that vLLM has kernels for and that holds adapters of ``rank``; None: there is none."""
    return next((each for each in RANKS if each >= rank), None)


def started_rank(rank: int, flags: Mapping[str, str], server: str) -> int:
    """Return the highest rank that the server is started for, by LORA_RANK and the flags of SERVER_ARGS."""
    if server == "vllm":
        flag, usual = "max_lora_rank", served_rank(rank) or RANKS[-1]
    else:
        flag, usual = "vllm_max_lora_rank", LLAMAFACTORY_RANK
    return int(flags[flag]) if flags.get(flag, "").isdecimal() else usual


def check(train_args: str, server_args: str, rank: int, server: str, backend: str) -> Iterator[Finding]:
    """Yield what the server would refuse, or not apply, after each training; ``rank`` is LORA_RANK."""
    flags, served = flags_of(train_args), flags_of(server_args)
    kind = flags.get("finetuning_type", "lora")
    if kind != "lora":
        yield _problem(f"TRAIN_ARGS has --finetuning_type {kind}, of which no LoRA adapter comes", "leave it out")
    if backend != "vllm":
        return
    for flag, what in NOT_FOR_VLLM.items():
        if flags.get(flag, "false").lower() not in NO:
            mend = f"leave it out, or {ON_HUGGING_FACE}"
            yield _problem(f"TRAIN_ARGS has --{flag}: vLLM serves no adapter with {what}", mend)
    trained = int(flags["lora_rank"]) if flags.get("lora_rank", "").isdecimal() else rank
    said = f"LORA_RANK={rank}" if trained == rank else f"TRAIN_ARGS has --lora_rank {trained}"
    if trained > RANKS[-1]:
        yield _problem(
            f"{said}: vLLM serves adapters up to rank {RANKS[-1]}", f"take a lower one, or {ON_HUGGING_FACE}"
        )
        return
    if server == "vllm":
        flag, mend = "max_lora_rank", f"set LORA_RANK={trained} instead"
    else:
        flag = "vllm_max_lora_rank"
        mend = f"SERVER_ARGS='--{flag} {served_rank(trained)}', or SERVER=vllm"
    if served.get(flag, "").isdecimal():
        mend = f"raise --{flag.replace('_', '-') if server == 'vllm' else flag} in SERVER_ARGS"
    most = started_rank(rank, served, server)
    if trained > most:
        yield _problem(f"{said}, and the server is started for adapters up to rank {most}", mend)


def check_template(name: str, slots: Slots | None, train_args: str, server_args: str, server: str) -> Iterator[Finding]:
    """Yield what keeps a template from being served as it is trained."""
    if slots is None:
        return
    if server == "vllm" and slots.tokens:
        what = f"{name} has no form that vLLM can use"
        yield Finding("template", "problem", what, "serve it with SERVER=llamafactory")
    if not slots.reasoning:
        return
    instead = f"set TEMPLATE={slots.plain}" if slots.plain else ""
    quiet = "--enable_thinking False"
    thinks = [flags_of(text).get("enable_thinking", "true").lower() not in NO for text in (train_args, server_args)]
    if any(thinks) or server == "vllm":
        both = f"set TRAIN_ARGS='{quiet}' SERVER_ARGS='{quiet}' SERVER=llamafactory"
        told = "an empty thought is trained before each label, so no answer is a label"
        if not thinks[0]:
            told = "the prompt that is trained ends with an empty thought, the server's does not"
        yield Finding("template", "problem", f"{name} is for reasoning: {told}", instead or both)


def check_steps(sizes: Sequence[int], settings: Mapping[str, str]) -> Finding:
    """Return whether the warm-up ends before each training does."""
    steps = {size: step_counts.count(size, settings) for size in sizes}
    warmup = float(settings.get("warmup_steps", 0))
    short = {size: count for size, count in steps.items() if count is not None and 1 <= warmup >= count}
    if not short:
        return Finding("steps", "ok", "each training has more steps than its warm-up")
    size, count = min(short.items())
    what = (
        f"the warm-up of {warmup:g} steps does not end before the training does (N = {', '.join(map(str, short))}; "
        f"{count} step{'s' * (count != 1)} for N = {size}), so LEARNING_RATE is never reached"
    )
    return Finding("steps", "warning", what, "WARMUP_STEPS=0.1 is a share of all steps")


def _problem(what: str, mend: str) -> Finding:
    return Finding("adapter", "problem", what, mend)
