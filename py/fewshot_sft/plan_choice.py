"""The choices of the hardware plan: which way of training fits, who shares a GPU, what the server gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from . import memory
from .batch_plan import GRAPHED, MOST_TOKENS, Cost, eights, few_lengths
from .memory import Shape

SHARE = 0.92  # of a GPU that is planned with; the rest covers what the estimates miss
SERVER_SHARE = 0.9  # of a GPU that the server alone gets
LLAMAFACTORY_SHARE = 0.7  # its vllm_gpu_util: with SERVER=llamafactory, where that is enough
NOTICED = 1.0 * 2**30  # below, what others hold of a GPU is the driver's own and that of the process that looked
# Several trainers on one GPU compute little faster than one (samples/s, H200: one 41, two 39, with MPS 45; with graphs
# one 55, two 61, three 67), but while one starts, 11 to 28 s long, the others train.
JOBS_PER_GPU, GRAPHED_JOBS_PER_GPU = 2, 3
CORES_PER_JOB = 2  # CPU cores that a trainer keeps busy
SEQUENCES, SEQUENCES_AT_MOST = 128, 1024  # that the KV cache holds beside trainers: at least, and where there is room
MODEL_LENGTH = 4096  # --max-model-len of the server
# Measured on an H200 with GLM-4-9B's shape: `vllm serve`, four adapters, 512 requests in flight.
START = {"eager": 31.6, "graphs": 95.4, "graphs, compiled before": 47.7}  # seconds until the server answers
RATE = {"eager": 233.3, "graphs": 235.7}  # items/s
# With few requests in flight the CPU that launches kernels is what a request waits for: one at a time 5.2 and 22.6
# items/s, and the difference shrinks by their number up to about 64.
WAIT, FEW = 1 / 5.2 - 1 / 22.6, 64
# The same for training, through 8.89 samples/s (micro-batch 2, checkpointing) and 28.2 (8, without): seconds a layer
# for forward and backward of one step, however few tokens, and the share of the GPU's arithmetic that the tokens get.
STEP, ACHIEVED = 0.00275, 0.51
# FLOP per clock and multiprocessor of a dense bf16 product, by compute capability.
FLOP_PER_CLOCK = {"8.0": 2048, "9.0": 4096, "10.0": 8192, "10.3": 8192}
FLOP_PER_CLOCK_ELSE, CLOCK = 512, 1.7e9
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
        used = 0 if self.free is None else self.memory - self.free
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
    length_known: bool = True
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
    fast: bool = False  # py/fast_trainer.py with liger-kernel
    graphs: bool = False  # its steps may be launched as CUDA graphs: nothing in the settings is against it
    common: int = 0  # tokens that all examples begin with, where they may be computed once (SHARED_PREFIX)
    common_always: bool = False  # SHARED_PREFIX=1: not only where steps are graphs
    concurrency: int | None = None  # requests in flight for one size; None: as many as make it faster

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
class Way:
    """One way to train: what of it is planned, and the bytes that it needs alone on a GPU, and beside others."""

    micro_batch: int
    checkpointing: bool
    bits: int
    need: int = 0
    shared: int = 0

    def times(self, jobs: int, beside: float = 0) -> float:
        """Return the bytes of so many trainers and what is beside them."""
        return self.need if jobs == 1 and not beside else jobs * self.shared + beside


@dataclass(frozen=True)
class Server:
    """What the server gets: bytes by part, its share of the GPU, and the sequences that its KV cache holds."""

    parts: dict[str, int]
    share: float
    eager: bool
    fits: bool  # at least one sequence of the longest kind
    sequences: int | None = None  # None: whatever the share leaves
    no_room_for_graphs: bool = False

    @property
    def total(self) -> int:
        """All its bytes."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Layout:
    """Who is on which GPU."""

    overlap: bool
    alone: bool  # with overlap: the server has the last GPU for itself
    per_gpu: int  # trainers on one GPU
    jobs: int


@dataclass(frozen=True)
class Decision:
    """All that is chosen; ``fits`` is False when not even this, the most frugal way, fits."""

    way: Way
    fits: bool
    layout: Layout
    server: Server


class Chooser:
    """The choices for one set of facts and wishes."""

    def __init__(self, facts: Facts, wishes: Wishes, shape: Shape) -> None:
        self.facts, self.wishes, self.shape = facts, wishes, shape
        self.card = min(facts.gpus, key=lambda gpu: gpu.usable)  # the smallest decides
        # The least that the server needs beside trainers.
        self.beside = sum(self.server_parts(SEQUENCES, self.eager()).values())

    def decide(self) -> Decision:
        """Choose."""
        many, beside = len(self.facts.gpus), self.beside if self.wishes.overlap else 0
        jobs = min(self.wishes.train_jobs or 1, len(self.facts.sizes))
        alone = bool(beside) and many > 1 and not self.fitting(math.ceil(jobs / many), beside)
        way, fits = self.choose(math.ceil(jobs / (many - alone)), 0 if alone else beside)
        layout = self.share_out(way, fits, alone)
        return Decision(way, fits, layout, self.server(way, layout))

    # The way of training

    def parts(self, way: Way, alone: bool = True) -> dict[str, int]:
        """Return what a trainer needs, by what for."""
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
            alone=alone,
            fast=facts.fast,
            merged=self.merged(way),
        )

    def merged(self, way: Way) -> int:
        """Return the tokens of the one sequence that fast_trainer.py makes of a batch; 0 where it does not."""
        graphed = self.is_graphed(way)
        if not (graphed or (self.facts.fast and self.facts.common_always)):
            return 0
        return self.as_one_sequence(way, few_lengths if graphed else eights)

    def as_one_sequence(self, way: Way, padded: Callable[[int], int]) -> int:
        """Return the tokens of a batch of the longest examples as one sequence; 0 where that costs more."""
        facts, shape = self.facts, self.shape
        common = min(facts.common, facts.length - 1)
        if common <= 0 or way.micro_batch == 1:
            return 0
        tokens = padded(common + way.micro_batch * (facts.length - common))
        cost = Cost.of_decoder(shape.parameters, shape.layers, shape.query)
        return tokens if cost.of(1, tokens) < cost.of(way.micro_batch, facts.length) else 0

    def is_graphed(self, way: Way) -> bool:
        """Return whether steps are launched as CUDA graphs, all of them, as step_graphs.py will decide."""
        tokens = self.as_one_sequence(way, few_lengths) or way.micro_batch * self.facts.length
        return (
            self.facts.fast
            and self.facts.graphs
            and self.shape.kind in GRAPHED
            and not way.checkpointing
            and way.bits >= 16
            and self.shape.quantized is None
            and tokens <= MOST_TOKENS
        )

    def measured(self, way: Way) -> Way:
        """Return the way with its needs."""
        return replace(way, need=sum(self.parts(way).values()), shared=sum(self.parts(way, alone=False).values()))

    def ways(self, bits: int) -> Iterator[Way]:
        """Yield all ways that the wishes leave."""
        wishes = self.wishes
        for micro in (wishes.micro_batch,) if wishes.micro_batch else divisors(self.facts.global_batch):
            for checkpointing in (False, True) if wishes.checkpointing is None else (wishes.checkpointing,):
                yield self.measured(Way(micro, checkpointing, bits))

    def bits(self) -> list[int]:
        """Return the widths of the weights that may be planned, the best first."""
        if self.shape.quantized is not None:
            return [16]
        if self.wishes.quantization is not None:
            return [16 if self.wishes.quantization == "none" else int(self.wishes.quantization)]
        return [16, 4] if self.facts.bitsandbytes else [16]

    def fitting(self, jobs: int, beside: float) -> list[Way]:
        """Return the ways that fit so many times beside so many bytes, all of the best width of weights."""
        for bits in self.bits():
            fit = [way for way in self.ways(bits) if way.times(jobs, beside) <= self.card.usable]
            if fit:
                return fit
        return []

    def choose(self, jobs: int, beside: float) -> tuple[Way, bool]:
        """Return the fastest way that fits, or the most frugal one and False."""
        fit = self.fitting(jobs, beside)
        if fit:
            return min(fit, key=self.seconds), True
        return self.most_frugal(self.bits()[-1]), False

    def most_frugal(self, bits: int) -> Way:
        """Return the way that needs the least."""
        return min(self.ways(bits), key=lambda way: way.need)

    def seconds(self, way: Way) -> float:
        """Return the seconds of one update.

        Forward and backward are 2 FLOP a parameter and token each, as frozen weights get no gradient; checkpointing
        does the forward twice.
        """
        passes = 3 if way.checkpointing else 2
        computed = 2 * passes * self.shape.parameters * way.micro_batch * self.facts.length / self.card.flops
        return self.facts.global_batch / way.micro_batch * (STEP * self.shape.layers * passes / 2 + computed)

    # Who shares a GPU

    def jobs_on(self, way: Way, beside: float, gpus: int, most: int | None = None) -> tuple[int, int]:
        """Return how many trainers share a GPU, and how many there are, when ``beside`` bytes of each are taken."""
        sizes = len(self.facts.sizes)
        most = most or (GRAPHED_JOBS_PER_GPU if self.is_graphed(way) else JOBS_PER_GPU)
        if self.wishes.train_jobs:
            return math.ceil(min(self.wishes.train_jobs, sizes) / gpus), self.wishes.train_jobs
        for jobs in range(min(most, math.ceil(sizes / gpus)), 1, -1):
            if self.has_cores(jobs * gpus) and way.times(jobs, beside) <= self.card.usable:
                return jobs, min(jobs * gpus, sizes)
        return 1, min(gpus, sizes)

    def has_cores(self, jobs: int) -> bool:
        """Return whether the machine has CPU cores for so many trainers."""
        return not self.facts.cpus or self.facts.cpus >= CORES_PER_JOB * jobs

    def share_out(self, way: Way, fits: bool, alone: bool) -> Layout:
        """Return who is where; ``alone``: an OVERLAP of the user's has room only where the server has its own GPU."""
        many = len(self.facts.gpus)
        apart = Layout(False, False, *self.jobs_on(way, 0, many))
        if self.wishes.overlap:
            most = 1 if alone else None
            return Layout(True, alone, *self.jobs_on(way, 0 if alone else self.beside, many - alone, most))
        if self.facts.server != "vllm" or self.wishes.overlap is False or not fits:
            return apart
        options = []
        together = Layout(True, False, *self.jobs_on(way, self.beside, many))
        if way.times(together.per_gpu, self.beside) <= self.card.usable:
            options.append(together)
        if many > 1 and self.beside <= self.card.usable:
            # A trainer gets the GPU that the fewest run on: with one a GPU never the last, which is the server's.
            beside = Layout(True, True, *self.jobs_on(way, 0, many - 1, most=1))
            if way.times(beside.per_gpu) <= self.card.usable:
                options.append(beside)
        return max(options, key=lambda layout: layout.jobs) if options else apart

    # The server

    def server_parts(self, sequences: int, eager: bool) -> dict[str, int]:
        """Return what a server whose KV cache holds so many sequences needs, by what for.

        A GPU_MEMORY of the user's decides the sum; the KV cache is what the other parts leave of it.
        """
        facts = self.facts
        found = memory.server(
            self.shape,
            card=self.card.memory,
            tokens=max(MODEL_LENGTH, sequences * (facts.length + facts.max_tokens)),
            eager=eager,
            rank=facts.rank,
            adapters=min(8, len(facts.sizes)) if facts.server == "vllm" else 1,
            target=facts.target,
            bits=facts.server_bits,
            width=facts.width,
        )
        return self.filled(found, self.wishes.gpu_memory) if self.wishes.gpu_memory else found

    def filled(self, parts: dict[str, int], share: float) -> dict[str, int]:
        """Return the parts with the KV cache that a share of the GPU leaves."""
        others = sum(parts.values()) - parts["kv_cache"] - parts["beside_its_share"]
        return {**parts, "kv_cache": max(0, math.floor(share * self.card.memory) - others)}

    def server(self, way: Way, layout: Layout) -> Server:
        """Return what the server gets."""
        training = layout.per_gpu * way.shared if layout.overlap and not layout.alone else 0
        eager = self.eager()
        return self.server_beside(training, eager) if training else self.server_alone(eager)

    def server_alone(self, eager: bool) -> Server:
        """Return a server that no trainer is beside of."""
        jobs = 1
        if self.facts.server == "llamafactory":  # each gets the GPU that the fewest run on
            jobs = math.ceil(self.facts.eval_jobs / len(self.facts.gpus))
        free = 1 - self.card.others / self.card.memory
        share = self.wishes.gpu_memory or math.floor(100 * SERVER_SHARE * free / jobs) / 100
        if self.facts.server == "llamafactory" and not self.wishes.gpu_memory and share > LLAMAFACTORY_SHARE:
            parts = self.filled(self.server_parts(SEQUENCES, eager), LLAMAFACTORY_SHARE)
            share = LLAMAFACTORY_SHARE if self.holds_one(parts) else share
        parts = self.filled(self.server_parts(SEQUENCES, eager), share)
        fits = self.holds_one(parts)
        if not fits and not eager and self.wishes.eager is None:
            without = self.filled(self.server_parts(SEQUENCES, True), share)
            if self.holds_one(without):
                return Server(without, share, True, True, no_room_for_graphs=True)
        return Server(parts, share, eager, fits)

    def server_beside(self, training: float, eager: bool) -> Server:
        """Return a server beside trainers that hold so many bytes."""
        parts, sequences = self.server_parts(SEQUENCES, eager), SEQUENCES
        if self.wishes.gpu_memory:
            return Server(parts, self.wishes.gpu_memory, eager, self.holds_one(parts))
        while sequences < SEQUENCES_AT_MOST:
            more = self.server_parts(2 * sequences, eager)
            if sum(more.values()) + training > self.card.usable:
                break
            parts, sequences = more, 2 * sequences
        within = sum(parts.values()) - parts["beside_its_share"]
        return Server(parts, math.ceil(100 * within / self.card.memory) / 100, eager, self.holds_one(parts), sequences)

    def holds_one(self, parts: dict[str, int]) -> bool:
        """Return whether the KV cache holds one sequence of the longest kind; else vLLM refuses to start."""
        return parts["kv_cache"] >= self.least_kv_cache

    @property
    def least_kv_cache(self) -> int:
        """Bytes of the KV cache of one sequence of the longest kind."""
        return memory.kv_cache(self.shape, MODEL_LENGTH, self.facts.width)

    def eager(self) -> bool:
        """Return whether to start without compilation and CUDA graphs, where it is not set."""
        facts = self.facts
        if self.wishes.eager is not None:
            return self.wishes.eager
        if facts.server != "vllm" or facts.items is None:
            return True
        return facts.items < self.break_even()

    def break_even(self) -> int:
        """Return from how many items on a start with compilation and CUDA graphs is the faster way."""
        start = START["graphs, compiled before" if self.facts.compiled else "graphs"] - START["eager"]
        item = 1 / RATE["eager"] - 1 / RATE["graphs"]
        flight = (self.facts.concurrency or FEW) * len(self.facts.sizes)  # all sizes are asked at once
        return math.ceil(start / (WAIT / flight if flight < FEW else item))


def divisors(number: int) -> list[int]:
    """Return all divisors, the smallest first."""
    return [each for each in range(1, number + 1) if number % each == 0]
