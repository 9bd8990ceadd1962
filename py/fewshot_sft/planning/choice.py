"""The choices of the hardware plan: which way of training fits, who shares a GPU, what the server gets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..training.batches import FAST, MOST_WORK, Cost, few_lengths, few_shapes
from . import memory, schedule
from .facts import Facts, Gpu, Wishes
from .memory import ModelShape

SERVER_SHARE = 0.9  # of a GPU that a server alone gets
LLAMAFACTORY_SHARE = 0.7  # LLaMA-Factory's default vllm_gpu_util: with SERVER=llamafactory, where that is enough
JOBS_PER_GPU = 3  # trainers at most; more have not been measured
CORES_PER_JOB = 2  # CPU cores that a trainer keeps busy
SEQUENCES, SEQUENCES_AT_MOST = 128, 1024  # that the KV cache holds beside trainers
MODEL_LENGTH = 4096  # --max-model-len of the server
# Answers from which on the server's CUDA graphs pay: 11 s to capture them, 1/440 - 1/649 s saved an answer
# (docs/performance.json).
GRAPHS_PAY = 15_000


@dataclass(frozen=True)
class Way:
    """One way to train, and the bytes that a trainer needs alone on a GPU and beside others."""

    micro_batch: int
    checkpointing: bool
    bits: int
    need: int = 0
    shared: int = 0

    def times(self, jobs: int, beside: float = 0) -> float:
        """Return the bytes of so many trainers and of what runs beside them."""
        return self.need if jobs == 1 and not beside else jobs * self.shared + beside


@dataclass(frozen=True)
class Choice:
    """All that is chosen; ``fits`` is False when not even this, the most frugal way, fits."""

    way: Way
    fits: bool
    per_gpu: int  # trainers on one GPU
    jobs: int  # trainers at once
    overlap: bool  # the server runs during the training
    server: dict[str, int]  # bytes by part
    share: float  # of the GPU, for the server
    server_fits: bool  # its KV cache holds a sequence of the longest kind; else vLLM refuses to start
    seconds: float  # of the sweep, by schedule.py
    otherwise: dict[bool, float]  # without and with overlap, the least that any plan that fits takes


class Chooser:
    """The choices for one set of facts and wishes."""

    def __init__(self, facts: Facts, wishes: Wishes, shape: ModelShape) -> None:
        self.facts, self.wishes, self.shape = facts, wishes, shape
        self.card = min(facts.gpus, key=lambda gpu: gpu.usable)  # the smallest decides
        self.quantizes_server = False
        # Like the trainer's, the server's weights are quantized only where they do not fit otherwise.
        if self.may_quantize() and not any(map(self.serves, self.overlaps())):
            self.quantize_server()

    def choose(self) -> Choice:
        """Choose what takes the least time; among equals fewer trainers, then what launches fewer kernels."""
        facts, wishes = self.facts, self.wishes
        plans: list[tuple[Way, int, bool]] = []
        for bits in self.bits():
            plans = plans or [
                (way, per_gpu, overlap)
                for way in self.ways(bits)
                for overlap in self.overlaps()
                for per_gpu in self.jobs_on_gpu()
                if not facts.trainings or self.needs(way, per_gpu, overlap) <= self.card.usable
            ]
        fits = bool(plans)
        if not fits:
            plans = [(self.most_frugal(self.bits()[-1]), min(self.jobs_on_gpu()), bool(wishes.overlap))]
        served = [each for each in plans if self.serves(each[2])]
        if not served and self.may_quantize():  # of unlike GPUs only that which these plans do not serve on holds it
            self.quantize_server()
            return self.choose()
        plans = served or plans
        took = {each: self.seconds(*each) for each in plans}
        best = min(took, key=lambda each: (round(took[each]), each[1], each[0].checkpointing, -each[0].micro_batch))
        way, per_gpu, overlap = best
        jobs = wishes.train_jobs or max(1, min(per_gpu * len(facts.gpus), facts.trainings))
        parts, share = self.server_beside(per_gpu * way.shared) if self.shares(overlap) else self.server_alone(overlap)
        least: dict[bool, float] = {}
        for (_, _, beside), needed in took.items():
            least[beside] = min(needed, least.get(beside, needed))
        return Choice(way, fits, per_gpu, jobs, overlap, parts, share, self.holds_one(parts), took[best], least)

    def needs(self, way: Way, per_gpu: int, overlap: bool) -> float:
        """Return the bytes of a GPU with so many trainers and what runs beside them."""
        return way.times(per_gpu, self.beside if self.shares(overlap) else 0)

    def shares(self, overlap: bool) -> bool:
        """Return whether the server shares a GPU with trainers. It has the last one; trainers take the first, and where
        they are fewer than the GPUs, the last has none."""
        trainings = max(1, self.facts.trainings)
        return overlap and min(self.wishes.train_jobs or trainings, trainings) >= len(self.facts.gpus)

    def overlaps(self) -> tuple[bool, ...]:
        """Return whether the server may run beside the training."""
        if self.wishes.overlap is not None:
            return (self.wishes.overlap,)
        return (False, True) if self.facts.server == "vllm" else (False,)

    def jobs_on_gpu(self) -> list[int]:
        """Return how many trainers may share a GPU."""
        trainings, cpus, gpus = max(1, self.facts.trainings), self.facts.cpus, len(self.facts.gpus)
        if self.wishes.train_jobs:
            return [math.ceil(min(self.wishes.train_jobs, trainings) / gpus)]
        most = min(JOBS_PER_GPU, math.ceil(trainings / gpus))
        return [jobs for jobs in range(1, most + 1) if jobs == 1 or not cpus or cpus >= CORES_PER_JOB * jobs * gpus]

    def seconds(self, way: Way, per_gpu: int, overlap: bool) -> float:
        """Return the seconds of the sweep."""
        facts, shape, card = self.facts, self.shape, schedule.flops(self.card.name)
        weights, graphed = shape.parameters - shape.embeddings, self.is_graphed(way)
        tokens = (self.merged(way) if graphed else 0) or way.micro_batch * facts.length
        passes = 3 if way.checkpointing else 2  # over the weights, which need no gradient
        gpu = passes * 2 * weights * tokens / card
        cpu = schedule.GRAPH if graphed else schedule.LAUNCH * shape.layers * passes / 2
        steps = [count * facts.global_batch / way.micro_batch for count in facts.updates]
        loading = memory.weights(shape, 16, facts.width) / schedule.LOADING
        sweep = schedule.Workload(
            trainings=[schedule.Work.of(count * gpu, count * cpu) for _ in range(facts.seeds) for count in steps],
            start=schedule.IMPORTS + loading,
            server=schedule.SERVER_START + loading,
            answers=schedule.Work.of(
                facts.items * self.answering,
                facts.items * (schedule.ASKED_IN_RUST if self.rust_front else schedule.ASKED),
            ),
            untrained=facts.untrained,
            together=schedule.TOGETHER if graphed else 0.0,
        )
        at_once = self.wishes.train_jobs or per_gpu * len(facts.gpus)
        return schedule.seconds(sweep, len(facts.gpus), at_once, overlap)

    @property
    def answering(self) -> float:
        """Return the seconds of a GPU that an answer takes."""
        facts, shape = self.facts, self.shape
        own = facts.length - facts.common + facts.max_tokens
        return 2 * (shape.parameters - shape.embeddings) * own / (schedule.ANSWERING * schedule.flops(self.card.name))

    @property
    def rust_front(self) -> bool:
        """Return whether vLLM's front end is that in Rust: where the one in Python would hold the GPU back."""
        return self.facts.server == "vllm" and self.facts.rust_front and self.answering < schedule.ASKED

    @property
    def server_graphs(self) -> bool:
        """Return whether the server captures CUDA graphs: where so much is asked that the seconds that it takes pay."""
        facts = self.facts
        return self.rust_front and facts.items * (facts.trainings + facts.untrained) >= GRAPHS_PAY

    # How to train

    def parts(self, way: Way, alone: bool = True) -> dict[str, int]:
        """Return the bytes of a trainer by part."""
        facts, graphed = self.facts, self.is_graphed(way)
        return memory.trainer(
            self.shape,
            micro_batch=way.micro_batch,
            length=few_shapes(way.micro_batch, facts.length) if graphed else facts.length,
            checkpointing=way.checkpointing,
            bits=way.bits,
            rank=facts.rank,
            target=facts.target,
            width=facts.width,
            alone=alone,
            fast=facts.fast,
            merged=self.merged(way) if graphed else 0,
        )

    def merged(self, way: Way) -> int:
        """Return the tokens of a batch of the longest examples as one sequence; 0 where that costs more."""
        facts, shape = self.facts, self.shape
        common = min(facts.common, facts.length - 1)
        if common <= 0 or way.micro_batch == 1 or (shape.window and facts.length > shape.window):
            return 0
        tokens = few_lengths(common + way.micro_batch * (facts.length - common))
        cost = Cost.of_decoder(shape.parameters, shape.layers, shape.query)
        return tokens if cost.of(1, tokens) < cost.of(way.micro_batch, facts.length) else 0

    def is_graphed(self, way: Way) -> bool:
        """Return whether all steps are launched as CUDA graphs, as step_graphs.py will decide."""
        tokens = self.merged(way) or way.micro_batch * few_shapes(way.micro_batch, self.facts.length)
        return (
            self.facts.fast
            and self.facts.graphs
            and self.shape.kind in FAST
            and not way.checkpointing
            and way.bits >= 16
            and self.shape.quantized is None
            and tokens * self.shape.parameters <= MOST_WORK
        )

    def ways(self, bits: int) -> Iterator[Way]:
        """Yield all ways that the wishes leave."""
        wishes = self.wishes
        for micro in (wishes.micro_batch,) if wishes.micro_batch else divisors(self.facts.global_batch):
            for checkpointing in (False, True) if wishes.checkpointing is None else (wishes.checkpointing,):
                way = Way(micro, checkpointing, bits)
                need, shared = (sum(self.parts(way, alone).values()) for alone in (True, False))
                yield replace(way, need=need, shared=shared)

    def bits(self) -> list[int]:
        """Return the widths of the weights that may be planned, the best first: 4 bits change the result, so only where
        16 do not fit even alone on a GPU. A wish to share it is no reason."""
        if self.shape.quantized is not None:
            return [16]
        if self.wishes.quantization is not None:
            return [16 if self.wishes.quantization == "none" else int(self.wishes.quantization)]
        fits = any(way.need <= self.card.usable for way in self.ways(16))
        return [16] if fits or not self.facts.bitsandbytes else [16, 4]

    def most_frugal(self, bits: int) -> Way:
        """Return the way that needs the least."""
        return min(self.ways(bits), key=lambda way: way.need)

    # The server

    def serving(self, overlap: bool) -> Gpu:
        """Return the GPU of the server: the last one beside the training, else the first. Where each run has a server,
        these are on all GPUs, and the smallest decides."""
        gpus = self.facts.gpus
        return gpus[-overlap] if self.facts.server == "vllm" else min(gpus, key=lambda gpu: gpu.memory_bytes)

    def quantize_server(self) -> None:
        """Have the server's weights quantized."""
        self.quantizes_server, self.facts = True, replace(self.facts, server_bits=4)

    @property
    def beside(self) -> int:
        """Return the least bytes that the server needs beside trainers."""
        return sum(self.server_parts(SEQUENCES, self.serving(True)).values())

    def serves(self, overlap: bool) -> bool:
        """Return whether the GPU of the server holds it where no trainer is."""
        card = self.serving(overlap)
        parts = self.server_parts(SEQUENCES, card)
        return self.holds_one(self.filled(parts, self.most(parts, card), card))

    def server_parts(self, sequences: int, card: Gpu) -> dict[str, int]:
        """Return the bytes by part of a server on this GPU whose KV cache holds so many sequences, or, where GPU_MEMORY
        is the user's, what the other parts leave of it."""
        facts = self.facts
        common = min(facts.common, facts.length - 1)  # there once, by prefix caching
        parts = memory.server(
            self.shape,
            card=card.memory_bytes,
            tokens=max(MODEL_LENGTH, common + sequences * (facts.length - common + facts.max_tokens)),
            graphs=self.server_graphs or facts.compiled,
            rank=facts.server_rank,
            adapters=min(8, facts.trainings) if facts.server == "vllm" else 1,
            bits=facts.server_bits,
            width=facts.width,
        )
        return self.filled(parts, self.wishes.gpu_memory, card) if self.wishes.gpu_memory else parts

    def filled(self, parts: dict[str, int], share: float, card: Gpu) -> dict[str, int]:
        """Return the parts with the KV cache that a share of the GPU leaves."""
        others = sum(parts.values()) - parts["kv_cache"] - parts["beside_its_share"]
        return {**parts, "kv_cache": max(0, math.floor(share * card.memory_bytes) - others)}

    def may_quantize(self) -> bool:
        """Return whether `vllm serve` can quantize the weights, and nobody has said how."""
        facts = self.facts
        return (facts.server, facts.server_bits) == ("vllm", 16) and facts.bitsandbytes and self.shape.quantized is None

    def most(self, parts: dict[str, int], card: Gpu, servers: int = 1) -> float:
        """Return the share of a GPU that each of so many servers without trainers gets."""
        usual = SERVER_SHARE * (card.memory_bytes - card.others) / servers
        # Of a small GPU a tenth does not hold what a server takes beside its share, and what others may hold unnoticed.
        most = (card.memory_bytes - max(card.others, card.noticed)) / servers - parts["beside_its_share"]
        return max(0, math.floor(100 * min(usual, most) / card.memory_bytes)) / 100

    def server_alone(self, overlap: bool) -> tuple[dict[str, int], float]:
        """Return parts and share of a server that has its GPU without trainers."""
        card, servers = self.serving(overlap), 1
        parts, cards = self.server_parts(SEQUENCES, card), [card]
        if self.facts.server == "llamafactory":  # each starts on the GPU that the fewest run on
            servers, cards = math.ceil(self.facts.eval_jobs / len(self.facts.gpus)), list(self.facts.gpus)
        share = self.wishes.gpu_memory or min(self.most(parts, each, servers) for each in cards)
        if self.facts.server == "llamafactory" and not self.wishes.gpu_memory and share > LLAMAFACTORY_SHARE:
            share = LLAMAFACTORY_SHARE if self.holds_one(self.filled(parts, LLAMAFACTORY_SHARE, card)) else share
        return self.filled(parts, share, card), share

    def server_beside(self, trainers: int) -> tuple[dict[str, int], float]:
        """Return parts and share of a server beside so many bytes: as large a KV cache as is worth it and fits."""
        card, sequences = self.serving(True), SEQUENCES
        parts = self.server_parts(sequences, card)
        if self.wishes.gpu_memory:
            return parts, self.wishes.gpu_memory
        while sequences < SEQUENCES_AT_MOST:
            sequences *= 2
            more = self.server_parts(sequences, card)
            if sum(more.values()) > card.usable - trainers:
                break
            parts = more
        within = sum(parts.values()) - parts["beside_its_share"]
        return parts, math.ceil(100 * within / card.memory_bytes) / 100

    def holds_one(self, parts: dict[str, int]) -> bool:
        """Return whether the KV cache holds one sequence of the longest kind."""
        return parts["kv_cache"] >= self.least_kv_cache

    @property
    def least_kv_cache(self) -> int:
        """Bytes of the KV cache of one sequence of the longest kind."""
        return memory.kv_cache(self.shape, MODEL_LENGTH, self.facts.width)


def divisors(number: int) -> list[int]:
    """Return all divisors, the smallest first."""
    return [each for each in range(1, number + 1) if number % each == 0]
