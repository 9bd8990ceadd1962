"""The hardware plan: how a sweep is computed on the GPUs at hand. Nothing is read or written here.

The plan never touches global batch, epochs, learning rate, rank, cutoff and seed, which decide the result. Its one
exception is 4 bit quantization, of the trainer's or the server's weights, planned only where nothing else fits, with a
warning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import UserError
from ..words import duration
from . import memory
from .choice import SERVER_SHARE, Choice, Chooser, divisors
from .facts import SHARE, Facts, Wishes

SHORT = 256  # tokens that CUTOFF_LEN may be lowered to
INSTALL = "install bitsandbytes (bin/setup.sh gpu)"
# What the settings that are planned are on a CPU; MICRO_BATCH is BATCH_SIZE there.
ON_CPU = {
    "CHECKPOINTING": "1",
    "QUANTIZATION": "none",
    "TRAIN_JOBS": "1",
    "OVERLAP": "0",
    "GPU_MEMORY": "0.9",
}
ELSE = "take a smaller MODEL or a larger GPU"


@dataclass(frozen=True)
class Problem:
    """Why the plan cannot run, and what mends it."""

    what: str
    mend: str
    certain: bool = True  # False: only if the examples, not counted yet, are as long as the cutoff


@dataclass(frozen=True)
class Plan:
    """The plan, its values as bash takes them.

    ``details`` are values that are no settings: KV_CACHE_BYTES, for a server beside trainers, else 0 (vLLM would take
    memory that they free while it measures for its own); SERVER_QUANTIZATION, where `vllm serve` has to quantize;
    RUST_FRONT=1, where its front end is the one in Rust; SERVER_GRAPHS=1, where it captures CUDA graphs as well.
    """

    settings: dict[str, str]
    details: dict[str, str]
    reasons: dict[str, str]  # one for each setting
    memory: dict[str, Any] = field(default_factory=dict)  # bytes; empty where nothing could be estimated
    seconds: float | None = None  # of training and evaluation by `vllm serve`, by schedule.py
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return ``NAME=VALUE  # reason`` for every value."""
        values = self.settings | self.details
        reasons = {name: f"  # {why}" for name, why in self.reasons.items() if why}
        return [f"{name}={value}{reasons.get(name, '')}" for name, value in values.items()]


def make(facts: Facts, wishes: Wishes) -> Plan:
    """Return the plan.

    Raises:
        UserError: MICRO_BATCH does not divide the global batch.
    """
    if wishes.micro_batch and facts.global_batch % wishes.micro_batch:
        raise UserError(
            f"MICRO_BATCH={wishes.micro_batch} does not divide the global batch of {facts.global_batch} (BATCH_SIZE "
            f"{facts.batch_size} x GRADIENT_ACCUMULATION {facts.accumulation}); "
            f"take one of {', '.join(map(str, divisors(facts.global_batch)))}, or auto"
        )
    if not facts.gpus or facts.shape is None:
        return _unplanned(facts, wishes)
    chooser = Chooser(facts, wishes, facts.shape)
    choice = chooser.choose()
    way, shares = choice.way, chooser.shares(choice.overlap)
    parts = chooser.parts(way, alone=choice.per_gpu == 1 and not shares)
    plan = Plan(
        settings=_settings(way.micro_batch, way.checkpointing, way.bits, choice.jobs, choice.overlap, choice.share),
        details={"KV_CACHE_BYTES": str(choice.server["kv_cache"] if shares else 0)}
        | ({"SERVER_QUANTIZATION": "bitsandbytes"} if chooser.quantizes_server else {})
        | ({"RUST_FRONT": "1"} if chooser.rust_front else {})
        | ({"SERVER_GRAPHS": "1"} if chooser.server_graphs else {}),
        reasons=_reasons(chooser, choice) | {name.upper(): why for name, why in wishes.origin.items()},
        memory={
            "trainer_bytes": sum(parts.values()),
            "trainer_parts": parts,
            "trainers_per_gpu": choice.per_gpu,
            "server_bytes": sum(choice.server.values()),
            "server_parts": choice.server,
            "gpu_bytes": chooser.card.memory_bytes,
            "usable_bytes": round(chooser.card.usable),
        },
        # Another server is asked one text at a time, which does not change the order of the plans.
        seconds=round(choice.seconds, 1) if facts.server == "vllm" else None,
    )
    if not choice.fits:
        plan.problems.append(_does_not_fit(chooser, choice))
    if way.bits < 16 and not facts.bitsandbytes:
        plan.problems.append(Problem(f"QUANTIZATION={way.bits} needs bitsandbytes, which is not installed", INSTALL))
    if facts.backend == "vllm" and not choice.server_fits:
        plan.problems.append(_server_too_large(chooser, choice))
    if way.bits < 16 and wishes.quantization is None:
        weights = _gb(memory.weights(facts.shape, 16, facts.width))
        plan.warnings.append(
            f"QUANTIZATION={way.bits}: the weights take {weights} at 16 bits, which does not fit. Training with 4 bit "
            "weights (QLoRA) changes the result; compare it only with other 4 bit results"
        )
    if chooser.quantizes_server:
        weights = _gb(memory.weights(facts.shape, 16, facts.width))
        plan.warnings.append(
            f"SERVER_QUANTIZATION=bitsandbytes: the weights take {weights} at 16 bits, with which the server does not "
            "fit. Answers with 4 bit weights differ; compare them only with other 4 bit results"
        )
    return plan


def _unplanned(facts: Facts, wishes: Wishes) -> Plan:
    """The user's values, and the original's for the rest."""
    why = facts.unknown if facts.gpus else "the GPUs are unknown"
    jobs = wishes.train_jobs or max(1, min(len(facts.gpus), facts.trainings))
    settings = _settings(
        wishes.micro_batch or facts.batch_size,
        wishes.checkpointing is not False,
        16 if wishes.quantization in (None, "none") else int(wishes.quantization),
        jobs,
        bool(wishes.overlap),
        wishes.gpu_memory or SERVER_SHARE,
    )
    reasons = {name: f"{why}; the original's" for name in settings if getattr(wishes, name.lower()) is None}
    return Plan(settings, {"KV_CACHE_BYTES": "0"}, reasons)


def _settings(
    micro_batch: int, checkpointing: bool, bits: int, jobs: int, overlap: bool, share: float
) -> dict[str, str]:
    return {
        "MICRO_BATCH": str(micro_batch),
        "CHECKPOINTING": str(int(checkpointing)),
        "QUANTIZATION": "none" if bits >= 16 else str(bits),
        "TRAIN_JOBS": str(jobs),
        "OVERLAP": str(int(overlap)),
        "GPU_MEMORY": f"{share:.2f}".rstrip("0").rstrip("."),
    }


def _reasons(chooser: Chooser, choice: Choice) -> dict[str, str]:
    """Return the numbers that decided each setting."""
    facts, way, server, usable = chooser.facts, choice.way, choice.server, _gb(chooser.card.usable)
    several = max(2, choice.per_gpu)
    several_take = _gb(chooser.needs(way, several, choice.overlap))
    without = sum(chooser.parts(replace(way, checkpointing=False)).values())
    server_takes = f"the server and one trainer take at least {_gb(way.times(1, chooser.beside))} of {usable}"
    if not chooser.shares(True):
        server_takes = "the server has the last GPU, without trainers"
    reasons = {
        "MICRO_BATCH": f"{_gb(way.need)} of {usable} with {facts.length} tokens an example ({facts.length_basis})",
        "CHECKPOINTING": f"without, a trainer needs {_gb(without)}",
        "QUANTIZATION": f"the weights take {_gb(memory.weights(chooser.shape, way.bits, facts.width))}",
        "TRAIN_JOBS": f"{several} on one GPU take {several_take} of {usable}; {facts.trainings} trainings, "
        f"{len(facts.gpus)} GPUs, {facts.cpus} CPU cores",
        "OVERLAP": server_takes + _estimated(choice) if facts.server == "vllm" else "needs SERVER=vllm",
        "GPU_MEMORY": f"weights {_gb(server['weights'])}, KV cache {_gb(server['kv_cache'])}",
    }
    return reasons | {name: "as set" for name in reasons if getattr(chooser.wishes, name.lower()) is not None}


def _estimated(choice: Choice) -> str:
    """Return what the sweep takes either way, where both fit."""
    if len(choice.otherwise) < 2:
        return ""
    beside, after = (duration(choice.otherwise[overlap]) for overlap in (True, False))
    return f"; all takes about {beside} with it, {after} without"


def _does_not_fit(chooser: Chooser, choice: Choice) -> Problem:
    """Say what does not fit, and what would mend it."""
    facts, wishes, card, way = chooser.facts, chooser.wishes, chooser.card, choice.way
    what = (
        f"the most frugal plan (micro-batch {way.micro_batch}, {'' if way.checkpointing else 'no '}gradient "
        f"checkpointing, {way.bits} bit weights) needs {_gb(way.need)} of {_gb(card.usable)}: {SHARE:.0%} of "
        + (f"the {_gb(card.memory_bytes - card.others)} that others leave" if card.others else "the GPU")
    )
    mends = []
    if way.need <= card.usable:  # alone it fits
        sharing = [f"{choice.per_gpu} trainers"] * (choice.per_gpu > 1)
        sharing += [f"the server ({_gb(chooser.beside)})"] * choice.overlap
        what += f", and {' and '.join(sharing)} are to share it"
        mends += ["set TRAIN_JOBS=auto"] * (choice.per_gpu > 1) + ["set OVERLAP=auto"] * choice.overlap
    if wishes.micro_batch not in (None, 1):
        mends.append(_auto(wishes, "micro_batch"))
    if wishes.checkpointing is False:
        mends.append(_auto(wishes, "checkpointing"))
    if way.bits >= 16 and chooser.shape.quantized is None:
        least = chooser.most_frugal(4).need
        install = "" if facts.bitsandbytes else f"{INSTALL} and "
        mends += [f"{install}set QUANTIZATION=4, which needs {_gb(least)}"] * (least <= card.usable)
    short = Chooser(replace(facts, length=min(facts.length, SHORT)), wishes, chooser.shape).most_frugal(way.bits)
    too_long = way.need > card.usable >= short.need
    mends += ["lower CUTOFF_LEN"] * too_long
    return Problem(what, ", or ".join([*mends, ELSE]), certain=facts.length_known or not too_long)


def _server_too_large(chooser: Chooser, choice: Choice) -> Problem:
    """Say why the server cannot start, and what would mend it."""
    facts, wishes, parts = chooser.facts, chooser.wishes, choice.server
    card = chooser.serving(choice.overlap).memory_bytes
    needs = sum(parts.values()) - parts["kv_cache"] - parts["beside_its_share"] + chooser.least_kv_cache
    what = f"the server needs {_gb(needs)} and may take {_gb(choice.share * card)}, {choice.share:.0%} of the GPU"
    mends = []
    if wishes.gpu_memory and wishes.gpu_memory < SERVER_SHARE:
        mends.append(_auto(wishes, "gpu_memory"))
    if facts.server_bits == 16 and chooser.shape.quantized is None:
        less = "SERVER_ARGS='--quantization bitsandbytes'"
        if facts.server == "llamafactory":
            less = "BACKEND=huggingface SERVER_ARGS='--quantization_bit 4'"
        mends.append(f"{'' if facts.bitsandbytes else f'{INSTALL} and '}set {less}")
    return Problem(what, ", or ".join([*mends, ELSE]))


def _auto(wishes: Wishes, name: str) -> str:
    """Say how a value of the user's becomes ``auto``: ``TRAIN_ARGS has --x`` or a setting of its own."""
    return f"take it out of {wishes.origin[name].split()[0]}" if name in wishes.origin else f"set {name.upper()}=auto"


def _gb(size: float) -> str:
    return f"{size / memory.GB:.1f} GB"
