"""How to compute a sweep on the hardware at hand: a plan with reasons, from facts and wishes; nothing is read.

What decides the result stays as it is set: global batch, epochs, learning rate, rank, cutoff, seed. The one exception
is 4 bit quantization, which is planned only where nothing else fits, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from . import memory
from .errors import UserError
from .plan_choice import (
    CORES_PER_JOB,
    LLAMAFACTORY_SHARE,
    SERVER_SHARE,
    SHARE,
    START,
    Chooser,
    Decision,
    Facts,
    Way,
    Wishes,
    divisors,
)

SETTINGS = ("MICRO_BATCH", "CHECKPOINTING", "QUANTIZATION", "TRAIN_JOBS", "OVERLAP", "GPU_MEMORY", "EAGER")
SHORT = 256  # tokens that a CUTOFF_LEN may come down to
INSTALL = "install bitsandbytes (bin/setup.sh gpu)"


@dataclass(frozen=True)
class Reason:
    """Why a setting has its value; a warning is something that the user should know before the start."""

    setting: str
    value: str
    why: str
    warning: bool = False


class Problem(NamedTuple):
    """What is in the way of a plan, and what mends it."""

    what: str
    mend: str
    certain: bool = True  # False: only if the examples, not known yet, are as long as the cutoff


@dataclass(frozen=True)
class Plan:
    """The plan; ``problems`` are what is in its way and what mends it, for example that nothing fits.

    ``settings`` are the SETTINGS, as bash takes them. ``details`` follow from them: ACCUMULATION; KV_CACHE_BYTES, for a
    server beside trainers (vLLM would take for its own what they gain while it measures), else 0; SERVER_ALONE, 1 where
    the last GPU is the server's and the others the trainers'.
    """

    settings: dict[str, str]
    details: dict[str, str]
    reasons: list[Reason]
    memory: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)


def make(facts: Facts, wishes: Wishes) -> Plan:
    """Return the plan.

    Raises:
        UserError: MICRO_BATCH is no divisor of the global batch.
    """
    if wishes.micro_batch and facts.global_batch % wishes.micro_batch:
        raise UserError(
            f"MICRO_BATCH={wishes.micro_batch} does not divide the global batch of {facts.global_batch} (BATCH_SIZE "
            f"{facts.batch_size} x GRADIENT_ACCUMULATION {facts.accumulation}); "
            f"take one of {', '.join(map(str, divisors(facts.global_batch)))}, or auto"
        )
    if facts.device == "cpu":
        return _as_set(facts, wishes, "nothing is planned for a CPU, what is auto is as in the seed")
    if not facts.gpus:
        return _as_set(facts, wishes, "the GPUs are not known, py/hardware.py has left no record: the seed's way")
    if facts.shape is None:
        return _as_set(facts, wishes, f"{facts.unknown}: the seed's way")
    return _Words(Chooser(facts, wishes, facts.shape)).plan()


def _as_set(facts: Facts, wishes: Wishes, why: str) -> Plan:
    """The user's values, the seed's for the rest."""
    micro = wishes.micro_batch or facts.batch_size
    jobs = wishes.train_jobs or max(1, min(len(facts.gpus), len(facts.sizes)))
    settings = {
        "MICRO_BATCH": str(micro),
        "CHECKPOINTING": str(int(wishes.checkpointing is not False)),
        "QUANTIZATION": wishes.quantization or "none",
        "TRAIN_JOBS": str(jobs),
        "OVERLAP": str(int(facts.device == "gpu" and bool(wishes.overlap))),
        "GPU_MEMORY": _share(wishes.gpu_memory or SERVER_SHARE),
        "EAGER": str(int(wishes.eager is not False)),
    }
    details = {"ACCUMULATION": str(facts.global_batch // micro), "KV_CACHE_BYTES": "0", "SERVER_ALONE": "0"}
    return Plan(settings, details, [Reason("all", "", why)], {})


class _Words:
    """A decision in words."""

    def __init__(self, chooser: Chooser) -> None:
        self.chooser, self.facts, self.wishes = chooser, chooser.facts, chooser.wishes
        self.card, self.shape = chooser.card, chooser.shape
        self.decision: Decision = chooser.decide()

    def plan(self) -> Plan:
        way, layout, server = self.decision.way, self.decision.layout, self.decision.server
        quantization = "none" if way.bits >= 16 else str(way.bits)
        settings = {
            "MICRO_BATCH": str(way.micro_batch),
            "CHECKPOINTING": str(int(way.checkpointing)),
            "QUANTIZATION": quantization,
            "TRAIN_JOBS": str(layout.jobs),
            "OVERLAP": str(int(layout.overlap)),
            "GPU_MEMORY": _share(server.share),
            "EAGER": str(int(server.eager)),
        }
        said = {
            "MICRO_BATCH": self.micro_batch(),
            "CHECKPOINTING": self.checkpointing(),
            "QUANTIZATION": self.quantization(),
            "TRAIN_JOBS": self.train_jobs(),
            "OVERLAP": self.overlap(),
            "GPU_MEMORY": self.gpu_memory(),
            "EAGER": self.eager(),
        }
        changes_result = quantization != "none" and self.wishes.quantization is None
        reasons = [
            Reason(name, settings[name], why, warning=name == "QUANTIZATION" and changes_result)
            for name, why in said.items()
        ]
        problems = [] if self.decision.fits else [self.does_not_fit()]
        if way.bits < 16 and not self.facts.bitsandbytes:
            problems.append(Problem(f"QUANTIZATION={way.bits} needs bitsandbytes, which is not installed", INSTALL))
        if self.facts.backend == "vllm" and not server.fits:
            problems.append(self.server_too_large())
        reasons += [Reason("", "", f"{each.what}; {each.mend}", warning=True) for each in problems]
        beside = layout.overlap and not layout.alone
        details = {
            "ACCUMULATION": str(self.facts.global_batch // way.micro_batch),
            "KV_CACHE_BYTES": str(server.parts["kv_cache"] if beside else 0),
            "SERVER_ALONE": str(int(layout.alone)),
        }
        parts = self.chooser.parts(way, alone=layout.per_gpu == 1 and not beside)
        found = {
            "trainer_bytes": sum(parts.values()),
            "trainer_parts": parts,
            "trainers_per_gpu": layout.per_gpu,
            "server_bytes": server.total,
            "server_parts": server.parts,
            "gpu_bytes": self.card.memory,
            "usable_bytes": round(self.card.usable),
        }
        return Plan(settings, details, reasons, found, problems)

    def as_set(self, name: str) -> str | None:
        """Return whose choice a setting is, when it is not ours."""
        return None if getattr(self.wishes, name) is None else self.wishes.origin.get(name, "as it is set")

    def micro_batch(self) -> str:
        way, facts, card = self.decision.way, self.facts, self.card
        steps = facts.global_batch // way.micro_batch
        if way.micro_batch == facts.global_batch:
            batch = "the whole global batch in one step"
        else:
            batch = f"{steps} steps make the global batch of {facts.global_batch}"
        if found := self.as_set("micro_batch"):
            return f"{found}; {batch}"
        if not self.decision.fits:
            return f"{batch}; as little as possible"
        why = f"{batch}: with examples of up to {facts.length} tokens ({facts.length_basis}) a trainer needs "
        why += f"{_gb(way.need)} of {_gb(card.usable)}, {SHARE:.0%} of the GPU's {_gb(card.memory)}"
        why += f" less {_gb(card.others)} that others hold" if card.others else ""
        larger = next((each for each in divisors(facts.global_batch) if each > way.micro_batch), None)
        if larger:
            other = self.chooser.measured(replace(way, micro_batch=larger))
            why += f"; {larger} would need {_gb(other.need)}" if other.need > card.usable else ""
        return why

    def checkpointing(self) -> str:
        if found := self.as_set("checkpointing"):
            return found
        way = self.decision.way
        without = self.chooser.measured(replace(way, checkpointing=False))
        if not way.checkpointing:
            return "it fits without, and no layer is computed twice"
        if not self.decision.fits:
            return "as little as possible"
        return f"without, micro-batch {way.micro_batch} needs {_gb(without.need)}"

    def quantization(self) -> str:
        if found := self.as_set("quantization"):
            return found
        way, width = self.decision.way, 8 * self.facts.width
        if self.shape.quantized is not None:
            return f"the model is quantized already, its weights take {_gb(self.shape.quantized)}"
        weights = f"the weights take {_gb(memory.weights(self.shape, 16, self.facts.width))} at {width} bits"
        if way.bits < 16:
            why = f"{weights}, which does not fit: trained with 4 bit weights (QLoRA). That changes the result; "
            return why + "compare it only with others of 4 bit"
        if self.decision.fits:
            return f"{weights} and fit"
        if self.facts.bitsandbytes:
            return weights
        return f"{weights}; 4 bit needs bitsandbytes, which is not installed"

    def train_jobs(self) -> str:
        if found := self.as_set("train_jobs"):
            return found
        layout, way, card, sizes = self.decision.layout, self.decision.way, self.card, len(self.facts.sizes)
        gpus = len(self.facts.gpus) - layout.alone
        beside = self.chooser.beside if layout.overlap and not layout.alone else 0
        each = "" if gpus == 1 else f" on each of {gpus} GPUs"
        if layout.per_gpu > 1:
            server = f" and the server's {_gb(beside)}" if beside else ""
            others = "one trains while another starts" if layout.per_gpu == 2 else "the others train while one starts"
            why = f"{layout.per_gpu} trainers{each}, {others}: "
            return why + f"{layout.per_gpu} x {_gb(way.shared)}{server} of {_gb(card.usable)}"
        if sizes <= gpus:
            return f"there {'is one size' if sizes == 1 else f'are {sizes} sizes'}, each on a GPU of its own"
        if way.times(2, 0) > card.usable:
            why = f"two on one GPU would need {_gb(way.times(2, 0))}"
        elif way.times(2, beside) > card.usable:
            why = f"two on one GPU and the server would need {_gb(way.times(2, beside))}"
        else:
            wanted = 2 * CORES_PER_JOB * gpus
            return f"one size{each or ' at a time'}; two want {wanted} CPU cores, the machine has {self.facts.cpus}"
        return f"one size{each or ' at a time'}; {why} of {_gb(card.usable)}"

    def overlap(self) -> str:
        if found := self.as_set("overlap"):
            return found
        layout, way, card = self.decision.layout, self.decision.way, self.card
        if self.facts.server != "vllm":
            return "it needs SERVER=vllm, one server for all sizes"
        if layout.alone:
            return "the server has the last GPU, the trainers the others"
        needs = f"the server needs at least {_gb(self.chooser.beside)}"
        if layout.overlap:
            return f"{needs} and fits beside the training"
        if not self.decision.fits:
            return "the training alone does not fit"
        return f"{needs}, with one trainer {_gb(way.times(1, self.chooser.beside))} of {_gb(card.usable)}"

    def gpu_memory(self) -> str:
        if found := self.as_set("gpu_memory"):
            return found
        layout, server, card = self.decision.layout, self.decision.server, self.card
        if server.sequences is not None:
            parts = f"weights {_gb(server.parts['weights'])}, KV cache {_gb(server.parts['kv_cache'])}"
            return f"{_gb(server.share * card.memory)} beside the training: {parts} for {server.sequences} sequences"
        if self.facts.server == "llamafactory" and self.facts.eval_jobs > 1:
            return f"{self.facts.eval_jobs} servers at once (EVAL_JOBS) share the GPU"
        if self.facts.server == "llamafactory":
            usual = server.share == LLAMAFACTORY_SHARE
            return f"LLaMA-Factory's own {LLAMAFACTORY_SHARE}" + ("" if usual else " does not hold the model here")
        why = "the server has a GPU of its own" if layout.alone else "the server starts when the training has ended"
        return why + (f", and others hold {_gb(card.others)}" if card.others else "")

    def eager(self) -> str:
        if found := self.as_set("eager"):
            return found
        facts = self.facts
        if facts.server != "vllm":
            return "SERVER=llamafactory starts one server for each size, as the seed does"
        if self.decision.server.no_room_for_graphs:
            return "beside its weights there is no room for CUDA graphs"
        start = START["graphs, compiled before" if facts.compiled else "graphs"]
        asked = "it is not known yet how many items" if facts.items is None else f"{facts.items:,} items"
        why = f"{asked} will be asked; compilation and CUDA graphs pay from {self.chooser.break_even():,} on "
        compiled = " with a compile cache" if facts.compiled else ""
        return why + f"(start {start:.0f} s{compiled} against {START['eager']:.0f} s, measured on an H200)"

    def does_not_fit(self) -> Problem:
        """Say what does not fit, and what would mend it."""
        facts, wishes, card, way = self.facts, self.wishes, self.card, self.decision.way
        layout = self.decision.layout
        problem = f"the most frugal plan ({_way(way)}) needs {_gb(way.need)} of the {_gb(card.usable)} that "
        problem += f"{SHARE:.0%} of the GPU are" + (f" less {_gb(card.others)} of others" if card.others else "")
        mends = []
        if way.need <= card.usable:  # alone it fits
            together = [f"{layout.per_gpu} trainers"] * (layout.per_gpu > 1)
            together += [f"the server ({_gb(self.chooser.beside)})"] * layout.overlap
            problem += f", and {' and '.join(together)} are to share it"
            mends += ["set TRAIN_JOBS=auto"] * (layout.per_gpu > 1) + ["set OVERLAP=auto"] * layout.overlap
        for name, setting in (("micro_batch", "MICRO_BATCH"), ("checkpointing", "CHECKPOINTING")):
            value = getattr(wishes, name)
            if value is not None and value is not True and value != 1:
                mends.append(f"set {setting}=auto" if name not in wishes.origin else "take it out of TRAIN_ARGS")
        if way.bits >= 16 and self.shape.quantized is None:
            least = self.chooser.most_frugal(4)
            if least.need <= card.usable:
                install = "" if facts.bitsandbytes else f"{INSTALL} and "
                mends.append(f"{install}set QUANTIZATION=4, which needs {_gb(least.need)}")
        short = Chooser(replace(facts, length=min(facts.length, SHORT)), wishes, self.shape).most_frugal(way.bits)
        shorter = way.need > card.usable >= short.need
        mends += ["lower CUTOFF_LEN"] * shorter
        mend = ", or ".join([*mends, "take a smaller MODEL or a larger GPU"])
        return Problem(problem, mend, certain=facts.length_known or not shorter)

    def server_too_large(self) -> Problem:
        """Say why the server cannot start, and what would mend it."""
        server, card = self.decision.server, self.card
        needs = server.total - server.parts["kv_cache"] - server.parts["beside_its_share"]
        what = f"the server needs {_gb(needs + self.chooser.least_kv_cache)} and may take "
        what += f"{_gb(server.share * card.memory)}, {server.share:.0%} of the GPU's {_gb(card.memory)}"
        mends = []
        if self.wishes.gpu_memory and self.wishes.gpu_memory < SERVER_SHARE:
            mends.append(
                "set GPU_MEMORY=auto" if "gpu_memory" not in self.wishes.origin else "take it out of SERVER_ARGS"
            )
        if self.facts.server_bits == 16 and self.shape.quantized is None:
            less = "SERVER_ARGS='--quantization bitsandbytes'"
            if self.facts.server == "llamafactory":
                less = "BACKEND=huggingface SERVER_ARGS='--quantization_bit 4'"
            mends.append(f"{'' if self.facts.bitsandbytes else f'{INSTALL} and '}set {less}")
        return Problem(what, ", or ".join([*mends, "take a smaller MODEL or a larger GPU"]))


def _way(way: Way) -> str:
    checkpointing = "" if way.checkpointing else "no "
    return f"micro-batch {way.micro_batch}, {checkpointing}gradient checkpointing, {way.bits} bit weights"


def _gb(size: float) -> str:
    return f"{size / memory.GB:.1f} GB"


def _share(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
