"""How to compute a sweep on the hardware at hand: pure functions from facts and wishes to a plan with reasons.

What decides the result stays as it is set: global batch, epochs, learning rate, rank, cutoff, seed. The one exception
is 4 bit quantization, which is planned only where nothing else fits, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from . import memory
from .errors import UserError
from .memory import GB, Shape

SHARE = 0.92  # of a GPU that is planned with; the rest covers what the estimates miss
SERVER_SHARE = 0.9  # of a GPU that the server alone gets
NOTICED = 1.0 * 2**30  # below, what others hold of a GPU is the driver's own and that of the process that looked
JOBS_PER_GPU = 2  # a third trainer on one GPU was not measured to gain anything
WORTH_IT = 1.05  # another trainer on the same GPU has to make the training faster by this factor
SEQUENCES = 128  # that the KV cache has to hold at least beside trainers
SEQUENCES_AT_MOST = 1024
MODEL_LENGTH = 4096  # --max-model-len of the server
# Measured on an H200 with GLM-4-9B's shape.
LAUNCH = 0.0071  # seconds a layer for forward and backward of one step, however few tokens: the CPU launching kernels
START = {"eager": 82.0, "graphs": 139.0, "graphs, compiled before": 105.0}  # seconds until the server answers
RATE = {"eager": 173.0, "graphs": 297.0}  # items/s
# FLOP per clock and multiprocessor of a dense bf16 product, by compute capability; and the share that training gets.
FLOP_PER_CLOCK = {"8.0": 2048, "9.0": 4096, "10.0": 8192, "10.3": 8192}
FLOP_PER_CLOCK_ELSE, CLOCK, ACHIEVED = 512, 1.7e9, 0.45
FLOPS_UNKNOWN = 50e12


@dataclass(frozen=True)
class Gpu:
    """One GPU: bytes in all, and bytes that are free where that is known."""

    name: str
    memory: int
    free: int | None = None
    capability: str = ""
    multiprocessors: int | None = None

    @property
    def others(self) -> int:
        """Bytes that other processes hold."""
        used = self.memory - (self.memory if self.free is None else self.free)
        return used if used >= NOTICED else 0

    @property
    def usable(self) -> float:
        """Bytes to plan with."""
        return SHARE * self.memory - self.others

    @property
    def flops(self) -> float:
        """FLOP/s that a training in bf16 may reach, by the kind of GPU; right within a factor of two."""
        if not self.multiprocessors:
            return FLOPS_UNKNOWN
        return FLOP_PER_CLOCK.get(self.capability, FLOP_PER_CLOCK_ELSE) * CLOCK * self.multiprocessors * ACHIEVED


@dataclass(frozen=True)
class Facts:
    """What the plan is made from."""

    device: str  # cpu or gpu
    gpus: tuple[Gpu, ...]
    shape: Shape | None  # None: ``unknown`` says why
    length: int  # tokens of the longest training example
    sizes: tuple[int, ...]
    batch_size: int
    accumulation: int
    unknown: str = ""
    length_basis: str = "CUTOFF_LEN"
    items: int | None = None  # that will be asked; None: not known
    server: str = "llamafactory"
    backend: str = "vllm"
    eval_jobs: int = 1
    rank: int = 8
    target: str = "all"
    width: int = 2  # bytes a number of the precision
    bitsandbytes: bool = False  # installed
    server_bits: int = 16
    max_tokens: int = 64
    compiled: bool = False  # the server's compile cache is there
    cpus: int | None = None

    @property
    def global_batch(self) -> int:
        """Examples an update."""
        return self.batch_size * self.accumulation


@dataclass(frozen=True)
class Wishes:
    """The settings that are not ``auto``; None is ``auto``. ``origin`` says where one comes from that is no setting."""

    micro_batch: int | None = None
    checkpointing: bool | None = None
    quantization: str | None = None  # none, 4 or 8
    train_jobs: int | None = None
    overlap: bool | None = None
    gpu_memory: float | None = None
    eager: bool | None = None
    origin: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reason:
    """Why a setting has its value; a warning is something that the user should know before the start."""

    setting: str
    value: str
    why: str
    warning: bool = False


@dataclass(frozen=True)
class Plan:
    """The settings by name, as bash takes them, and why; ``problem`` says why not even the most frugal plan fits."""

    settings: dict[str, str]
    reasons: list[Reason]
    memory: dict[str, Any]
    problem: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Way:
    """One way to train: what of it is planned, and the bytes it needs."""

    micro_batch: int
    checkpointing: bool
    bits: int
    need: int

    @property
    def words(self) -> str:
        """The way as a person says it."""
        bits = "16 bit weights" if self.bits == 16 else f"{self.bits} bit weights"
        return f"micro-batch {self.micro_batch}, {'' if self.checkpointing else 'no '}gradient checkpointing, {bits}"


def make(facts: Facts, wishes: Wishes) -> Plan:
    """Return the plan.

    Raises:
        UserError: MICRO_BATCH is no divisor of the global batch.
    """
    if wishes.micro_batch and facts.global_batch % wishes.micro_batch:
        divisors = ", ".join(str(each) for each in _divisors(facts.global_batch))
        raise UserError(
            f"MICRO_BATCH {wishes.micro_batch} does not divide the global batch of {facts.global_batch} (BATCH_SIZE "
            f"{facts.batch_size} x GRADIENT_ACCUMULATION {facts.accumulation}); take one of {divisors}, or auto"
        )
    if facts.device == "cpu":
        return _as_set(facts, wishes, "on a CPU nothing is planned: the settings are taken as they are")
    if not facts.gpus:
        return _as_set(facts, wishes, "the GPUs are not known (logs/hardware.json): the seed's way")
    if facts.shape is None:
        return _as_set(facts, wishes, f"{facts.unknown}: the seed's way")
    return _Planner(facts, wishes, facts.shape).plan()


def _as_set(facts: Facts, wishes: Wishes, why: str) -> Plan:
    """The user's values, the seed's for the rest."""
    jobs = wishes.train_jobs or max(1, min(len(facts.gpus), len(facts.sizes)))
    micro = wishes.micro_batch or facts.batch_size
    settings = {
        "MICRO_BATCH": str(micro),
        "ACCUMULATION": str(facts.global_batch // micro),
        "CHECKPOINTING": str(int(wishes.checkpointing is not False)),
        "QUANTIZATION": wishes.quantization or "none",
        "TRAIN_JOBS": str(jobs),
        "OVERLAP": str(int(facts.device == "gpu" and bool(wishes.overlap))),
        "SERVER_ALONE": "0",
        "GPU_MEMORY": _share(wishes.gpu_memory or SERVER_SHARE),
        "KV_CACHE_BYTES": "0",
        "EAGER": str(int(wishes.eager is not False)),
    }
    return Plan(settings, [Reason("all", "", why)], {})


class _Planner:
    """The steps of one plan; each leaves its reasons."""

    def __init__(self, facts: Facts, wishes: Wishes, shape: Shape) -> None:
        self.facts, self.wishes, self.shape = facts, wishes, shape
        self.card = min(facts.gpus, key=lambda gpu: gpu.usable)  # the smallest decides
        self.reasons: list[Reason] = []
        self.settings: dict[str, str] = {}

    def plan(self) -> Plan:
        many = len(self.facts.gpus)
        jobs = self.wishes.train_jobs or 1
        beside = self.server(SEQUENCES)["total"] if self.wishes.overlap else 0
        alone = bool(beside) and many > 1 and not self.ways(1, beside)
        way, fits = self.choose(math.ceil(jobs / (many - alone)), 0 if alone else beside)
        overlap, alone, per_gpu, jobs = self.share_out(way, fits, alone)
        self.tell_training(way, fits, overlap, jobs, per_gpu, alone)
        server = self.tell_server(way, overlap, alone, per_gpu)
        problem, mend = ("", "") if fits else self.too_small(way, jobs, overlap)
        if problem:
            self.reasons.append(Reason("memory", "", f"{problem}; {mend}", warning=True))
        found = {
            "trainer_bytes": way.need,
            "trainer_parts": self.parts(way),
            "trainers_per_gpu": per_gpu,
            "server_bytes": server["total"],
            "server_parts": {key: value for key, value in server.items() if key != "total"},
            "gpu_bytes": self.card.memory,
            "usable_bytes": round(self.card.usable),
        }
        return Plan(self.settings, self.reasons, found, problem, mend)

    # The trainer

    def parts(self, way: Way) -> dict[str, int]:
        facts = self.facts
        return memory.trainer(
            self.shape,
            micro_batch=way.micro_batch,
            length=facts.length,
            checkpointing=way.checkpointing,
            bits=way.bits,
            rank=facts.rank,
            target=facts.target,
            width=facts.width,
        )

    def candidates(self, bits: int) -> Iterator[Way]:
        wishes = self.wishes
        for micro in [wishes.micro_batch] if wishes.micro_batch else _divisors(self.facts.global_batch):
            for checkpointing in (False, True) if wishes.checkpointing is None else (wishes.checkpointing,):
                way = Way(micro, checkpointing, bits, 0)
                yield replace(way, need=sum(self.parts(way).values()))

    def bits(self) -> list[int]:
        """The widths of the weights that may be planned, the best first."""
        if self.shape.quantized is not None:
            return [16]
        if self.wishes.quantization is not None:
            return [16 if self.wishes.quantization == "none" else int(self.wishes.quantization)]
        return [16, 4] if self.facts.bitsandbytes else [16]

    def ways(self, jobs: int, beside: float) -> list[Way]:
        """The ways that fit ``jobs`` times beside so many bytes, all of the best width of weights."""
        for bits in self.bits():
            fit = [way for way in self.candidates(bits) if jobs * way.need + beside <= self.card.usable]
            if fit:
                return fit
        return []

    def choose(self, jobs: int, beside: float) -> tuple[Way, bool]:
        """Return the fastest way that fits, or the most frugal one and False."""
        fit = self.ways(jobs, beside)
        if fit:
            return min(fit, key=lambda way: (round(self.seconds(way), 4), -way.micro_batch, way.checkpointing)), True
        return min(self.candidates(self.bits()[-1]), key=lambda way: way.need), False

    def seconds(self, way: Way, jobs: int = 1) -> float:
        """Seconds of one update, of each of ``jobs`` trainers on one GPU.

        A step takes as long as the CPU launches its kernels, or as the GPU computes, whichever is more. Forward and
        backward are 2 FLOP a parameter and token each, as frozen weights get no gradient; checkpointing does the
        forward twice.
        """
        passes = 3 if way.checkpointing else 2
        launch = LAUNCH * self.shape.layers * passes / 2
        computed = 2 * passes * self.shape.parameters * way.micro_batch * self.facts.length / self.card.flops
        return self.facts.global_batch / way.micro_batch * max(launch, jobs * computed)

    # Who shares a GPU

    def jobs_on(self, way: Way, beside: float, gpus: int) -> tuple[int, int]:
        """Return how many trainers share a GPU, and how many there are, when ``beside`` bytes are taken."""
        sizes = len(self.facts.sizes)
        if self.wishes.train_jobs:
            return math.ceil(min(self.wishes.train_jobs, sizes) / gpus), self.wishes.train_jobs
        if not self.facts.cpus or self.facts.cpus >= 2 * gpus:
            for jobs in range(min(JOBS_PER_GPU, math.ceil(sizes / gpus)), 1, -1):
                faster = self.seconds(way) * jobs / self.seconds(way, jobs)
                enough = not self.facts.cpus or self.facts.cpus >= 2 * jobs * gpus
                if enough and jobs * way.need + beside <= self.card.usable and faster >= WORTH_IT:
                    return jobs, min(jobs * gpus, sizes)
        return 1, min(gpus, sizes)

    def share_out(self, way: Way, fits: bool, alone: bool) -> tuple[bool, bool, int, int]:
        """Return OVERLAP, whether the server has a GPU of its own then, trainers on a GPU, and TRAIN_JOBS."""
        many = len(self.facts.gpus)
        without = (False, False, *self.jobs_on(way, 0, many))
        if self.facts.server != "vllm" or self.wishes.overlap is False:
            return without
        if self.wishes.overlap:
            beside = 0 if alone else self.server(SEQUENCES)["total"]
            return (True, alone, *self.jobs_on(way, beside, many - alone))
        if not fits:
            return without
        options = []
        beside = self.server(SEQUENCES)["total"]
        shared = (True, False, *self.jobs_on(way, beside, many))
        if shared[2] * way.need + beside <= self.card.usable:
            options.append(shared)
        if many > 1 and beside <= self.card.usable:
            apart = (True, True, *self.jobs_on(way, 0, many - 1))
            if apart[2] * way.need <= self.card.usable:
                options.append(apart)
        return max(options, key=lambda option: option[3]) if options else without

    # The server

    def server(self, sequences: int, eager: bool | None = None) -> dict[str, int]:
        """Return the bytes of a server whose KV cache holds so many sequences, by part and as ``total``.

        A GPU_MEMORY of the user's is the total; its KV cache is what the other parts leave.
        """
        facts = self.facts
        tokens = max(MODEL_LENGTH, sequences * (facts.length + facts.max_tokens))
        found = memory.server(
            self.shape,
            card=self.card.memory,
            tokens=tokens,
            eager=bool(self.wishes.eager) if eager is None else eager,
            rank=facts.rank,
            adapters=min(8, len(facts.sizes)) if facts.server == "vllm" else 1,
            target=facts.target,
            bits=facts.server_bits,
            width=facts.width,
        )
        if self.wishes.gpu_memory:
            others = sum(found.values()) - found["kv_cache"]
            found["kv_cache"] = max(0, round(self.wishes.gpu_memory * self.card.memory) - others)
        return {**found, "total": sum(found.values())}

    def tell_server(self, way: Way, overlap: bool, alone: bool, per_gpu: int) -> dict[str, int]:
        facts, wishes, card = self.facts, self.wishes, self.card
        beside = per_gpu * way.need if overlap and not alone else 0
        eager, why = self.eager(overlap)
        if not beside:
            share = wishes.gpu_memory or self.share_alone()
            if wishes.eager is None and not eager and not self.holds_a_sequence(share, eager):
                eager, why = True, "beside its weights there is no room for CUDA graphs"
            server = self.server(SEQUENCES, eager)
            server["kv_cache"] = max(0, math.floor(share * card.memory) - (server["total"] - server["kv_cache"]))
            server["total"] = math.floor(share * card.memory)
            if wishes.gpu_memory:
                self.add("GPU_MEMORY", _share(share), self.as_set("gpu_memory"))
            elif facts.server == "llamafactory" and facts.eval_jobs > 1:
                self.add(
                    "GPU_MEMORY", _share(share), f"each of {facts.eval_jobs} servers at once (EVAL_JOBS) gets a part"
                )
            else:
                what = "has a GPU of its own" if alone else "runs when the training has ended"
                others = f", of which others hold {_gb(card.others)}" if card.others else ""
                self.add("GPU_MEMORY", _share(share), f"the server {what}: most of the {_gb(card.memory)}{others}")
            self.settings["KV_CACHE_BYTES"] = "0"
            if facts.backend == "vllm" and not self.holds_a_sequence(share, eager):
                self.add("GPU_MEMORY", _share(share), self.server_too_large(share), warning=True)
        else:
            server, sequences = self.server(SEQUENCES, eager), SEQUENCES
            while sequences < SEQUENCES_AT_MOST and not wishes.gpu_memory:
                more = self.server(2 * sequences, eager)
                if more["total"] + beside > card.usable:
                    break
                server, sequences = more, 2 * sequences
            share = wishes.gpu_memory or math.ceil(100 * server["total"] / card.memory) / 100
            weights, cache = _gb(server["weights"]), _gb(server["kv_cache"])
            why_share = f"beside the training {_gb(server['total'])} of {_gb(card.memory)}: weights {weights}, "
            why_share += f"KV cache {cache}" + ("" if wishes.gpu_memory else f" for {sequences} sequences")
            self.add("GPU_MEMORY", _share(share), self.as_set("gpu_memory") if wishes.gpu_memory else why_share)
            # vLLM would take for its own what the trainers gain while it measures.
            self.settings["KV_CACHE_BYTES"] = str(server["kv_cache"])
        self.add("EAGER", str(int(eager)), why)
        return server

    def share_alone(self) -> float:
        """The share of a GPU for a server that no trainer is beside of."""
        free = 1 - self.card.others / self.card.memory
        jobs = self.facts.eval_jobs if self.facts.server == "llamafactory" else 1
        return math.floor(100 * SERVER_SHARE * free / jobs) / 100

    def holds_a_sequence(self, share: float, eager: bool) -> bool:
        fixed = self.server(SEQUENCES, eager)
        needed = fixed["total"] - fixed["kv_cache"] + memory.kv_cache(self.shape, MODEL_LENGTH, self.facts.width)
        return needed <= share * self.card.memory

    def server_too_large(self, share: float) -> str:
        found = self.server(SEQUENCES, True)
        what = f"the server needs about {_gb(found['total'] - found['kv_cache'])} and the KV cache, and may take "
        what += f"{_gb(share * self.card.memory)} of the GPU's {_gb(self.card.memory)}"
        if self.facts.server_bits < 16:
            return f"{what}; take a smaller MODEL or a larger GPU"
        if self.facts.server == "vllm":
            return f"{what}; {INSTALL} and set SERVER_ARGS='--quantization bitsandbytes', or take a smaller MODEL"
        return f"{what}; {INSTALL} and set BACKEND=huggingface SERVER_ARGS='--quantization_bit 4', or a smaller MODEL"

    def eager(self, overlap: bool) -> tuple[bool, str]:
        facts, wishes = self.facts, self.wishes
        if wishes.eager is not None:
            return wishes.eager, self.as_set("eager")
        if facts.server != "vllm":
            return True, "SERVER=llamafactory starts one server for each size, as the seed does"
        if overlap:
            return False, "compiling and capturing takes its time while the training runs"
        graphs = "graphs, compiled before" if facts.compiled else "graphs"
        even = break_even(graphs)
        start = f"a start of {START[graphs]:.0f} s with compilation and CUDA graphs"
        start += " (compiled before)" if facts.compiled else ""
        start += f" against {START['eager']:.0f} s without pays from {even:,} items on (measured on an H200)"
        if facts.items is None:
            return False, f"{start}; how many will be asked is not known yet"
        return facts.items < even, f"{facts.items:,} items will be asked, and {start}"

    # The words

    def add(self, setting: str, value: str, why: str, warning: bool = False) -> None:
        self.settings[setting] = value
        self.reasons.append(Reason(setting, value, why, warning))

    def as_set(self, name: str) -> str:
        return self.wishes.origin.get(name, "as it is set")

    def tell_training(self, way: Way, fits: bool, overlap: bool, jobs: int, per_gpu: int, alone: bool) -> None:
        facts, wishes, card = self.facts, self.wishes, self.card
        limit = f"{_gb(way.need)} of the {_gb(card.usable)} to plan with"
        many = len(facts.gpus)
        share = f"{SHARE:.0%} of the GPU's {_gb(card.memory)}"
        share += f" less the {_gb(card.others)} that others hold" if card.others else ""
        accumulation = facts.global_batch // way.micro_batch
        batch = f"x {accumulation} steps is the global batch of {facts.global_batch}"
        tokens = f"examples of up to {facts.length} tokens ({facts.length_basis})"
        if wishes.micro_batch:
            why = f"{self.as_set('micro_batch')}; {batch}"
        elif not fits:
            why = f"{batch}; as little as possible"
        elif way.micro_batch == facts.global_batch:
            why = f"the whole global batch in one step: with {tokens} a trainer needs {limit} ({share})"
        else:
            why = f"{batch}; with {tokens} a trainer needs {limit} ({share})"
            larger = replace(way, micro_batch=_next(facts.global_batch, way.micro_batch))
            why += f", with {larger.micro_batch} it would be {_gb(sum(self.parts(larger).values()))}"
        self.add("MICRO_BATCH", str(way.micro_batch), why)
        self.settings["ACCUMULATION"] = str(accumulation)
        self.tell_checkpointing(way, fits)
        self.tell_quantization(way, fits)
        self.tell_jobs(way, jobs, per_gpu, many, alone, overlap)
        self.tell_overlap(way, overlap, alone, fits)

    def tell_checkpointing(self, way: Way, fits: bool) -> None:
        if self.wishes.checkpointing is not None:
            why = self.as_set("checkpointing")
        elif not way.checkpointing:
            why = "it fits without: no layer is computed twice"
        else:
            needs = _gb(sum(self.parts(replace(way, checkpointing=False)).values()))
            why = f"without, micro-batch {way.micro_batch} needs {needs}"
            least = min(_divisors(self.facts.global_batch))
            smallest = replace(way, checkpointing=False, micro_batch=self.wishes.micro_batch or least)
            if fits and sum(self.parts(smallest).values()) <= self.card.usable:
                why += ", and a smaller one would be slower"
        self.add("CHECKPOINTING", str(int(way.checkpointing)), why)

    def tell_quantization(self, way: Way, fits: bool) -> None:
        value = "none" if way.bits >= 16 else str(way.bits)
        warning = False
        weights = _gb(memory.weights(self.shape, 16, self.facts.width))
        if self.shape.quantized is not None:
            why = f"the model is quantized already, its weights take {_gb(self.shape.quantized)}"
        elif self.wishes.quantization is not None:
            why = self.as_set("quantization")
        elif way.bits < 16:
            why = (
                f"the weights take {weights} at {8 * self.facts.width} bits: the base model is "
                "trained on in 4 bit (QLoRA), which changes the result; compare it with results of 4 bit only"
            )
            warning = True
        elif not fits and not self.facts.bitsandbytes:
            least = min(self.candidates(4), key=lambda each: each.need)
            why, warning = f"the weights take {weights}, and bitsandbytes is not installed", True
            if least.need <= self.card.usable:
                why += f": with it, QUANTIZATION=4 needs {_gb(least.need)}; {INSTALL}"
        else:
            why = f"the weights take {weights} and fit as they are"
        self.add("QUANTIZATION", value, why, warning)

    def tell_jobs(self, way: Way, jobs: int, per_gpu: int, many: int, alone: bool, overlap: bool) -> None:
        gpus = many - alone
        where = f"{gpus} GPUs" + (" beside the server's" if alone else "") if many > 1 else "one GPU"
        if self.wishes.train_jobs:
            why = self.as_set("train_jobs")
        elif len(self.facts.sizes) == 1:
            why = "there is one size"
        elif many > 1 and per_gpu == 1:
            why = f"a size on each of {where}" if gpus > 1 else f"one size at a time on {where}"
        elif per_gpu > 1:
            beside = self.server(SEQUENCES)["total"] if overlap and not alone else 0
            why = f"{per_gpu} trainers on {where if many == 1 else 'each of ' + where}: {per_gpu} x {_gb(way.need)}"
            why += f" and the server's {_gb(beside)}" * bool(beside) + f" fit into {_gb(self.card.usable)}"
        elif 2 * way.need > self.card.usable:
            why = f"two would need {_gb(2 * way.need)}"
        elif overlap and 2 * way.need + self.server(SEQUENCES)["total"] > self.card.usable:
            why = "a second one would not fit beside the server"
        elif self.facts.cpus and self.facts.cpus < 4 * gpus:
            why = f"the machine has {self.facts.cpus} CPU cores, and a trainer keeps one to two busy"
        else:
            why = "one keeps the GPU busy"
        self.add("TRAIN_JOBS", str(jobs), why)

    def tell_overlap(self, way: Way, overlap: bool, alone: bool, fits: bool) -> None:
        if self.wishes.overlap is not None and (self.wishes.overlap == overlap):
            why = self.as_set("overlap")
        elif self.facts.server != "vllm":
            why = "it needs SERVER=vllm, one server for all sizes"
        elif alone:
            why = "the server has the first GPU, the trainers the others"
        else:
            needed = _gb(self.server(SEQUENCES)["total"])
            if overlap:
                why = f"the server needs {needed} at least and fits beside the training"
            else:
                why = f"the server needs {needed} at least beside the trainer's {_gb(way.need)}"
        if overlap and self.wishes.overlap and not alone and not fits:
            why += f"; beside the training it needs {_gb(self.server(SEQUENCES)['total'])}"
        self.add("OVERLAP", str(int(overlap)), why)
        self.settings["SERVER_ALONE"] = str(int(alone))

    def too_small(self, way: Way, jobs: int, overlap: bool) -> tuple[str, str]:
        """Say that it does not fit, and what would mend it."""
        facts, wishes, card = self.facts, self.wishes, self.card
        frugal = "the most frugal plan" if wishes == Wishes() else "the most frugal plan with these settings"
        problem = f"{frugal} ({way.words}) needs about {_gb(way.need)} of the GPU's {_gb(card.memory)}"
        problem += f", of which others hold {_gb(card.others)}" if card.others else ""
        mends = []
        if wishes.train_jobs and wishes.train_jobs > len(facts.gpus) and way.need <= card.usable:
            problem += f" for each of {jobs} trainers"
            mends.append("set TRAIN_JOBS=auto")
        if wishes.overlap and overlap:
            problem += f", and the server {_gb(self.server(SEQUENCES)['total'])}"
            mends.append("set OVERLAP=auto")
        for name, setting, frugal_value in (
            ("micro_batch", "MICRO_BATCH", 1),
            ("checkpointing", "CHECKPOINTING", True),
        ):
            value = getattr(wishes, name)
            if value is not None and value != frugal_value:
                mends.append(
                    f"set {setting}=auto" if name not in wishes.origin else f"{wishes.origin[name]}: take it out"
                )
        if way.bits > 4 and self.shape.quantized is None:
            least = min(self.candidates(4), key=lambda each: each.need)
            if least.need <= card.usable:
                install = "" if facts.bitsandbytes else f"{INSTALL} and "
                mends.append(f"{install}set QUANTIZATION=4")
        if facts.length > 512:
            mends.append("lower CUTOFF_LEN")
        mends.append("take a smaller MODEL or a larger GPU")
        return problem, ", or ".join(mends)


INSTALL = "install bitsandbytes (uv pip install bitsandbytes)"


def break_even(graphs: str = "graphs") -> int:
    """Return from how many items on a start with compilation and CUDA graphs is the faster way."""
    return math.ceil((START[graphs] - START["eager"]) / (1 / RATE["eager"] - 1 / RATE["graphs"]))


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _next(number: int, divisor: int) -> int:
    return next(each for each in _divisors(number) if each > divisor)


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"


def _share(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
