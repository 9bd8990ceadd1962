"""How many seconds a sweep takes by a plan: its schedule played through, with measured constants.

A trainer starts, then computes; the server starts, then answers for each adapter that is trained. What computes on a
GPU at the same time shares it. The constants are of an H200 and an H100 with GLM-4-9B's shape (docs/performance.json);
other cards' are scaled by what their makers say of dense bf16, which has not been measured. The plan is chosen by it:
what counts is the order of the plans, not the seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

# FLOP/s of training, by a part of the card's name: of the first two measured, of the others 0.35 of the peak.
FLOPS = {
    "H200": 430e12,
    "H100": 350e12,
    "B200": 790e12,
    "A100": 110e12,
    "L40S": 127e12,
    "4090": 58e12,
    "3090": 25e12,
    "A10": 44e12,
}
UNKNOWN = 40e12
ANSWERING = 1.4  # times that: forward alone, many at once
# Seconds an item takes client and server at least, on the CPU: of vLLM's front end in Python, and in Rust.
ASKED, ASKED_IN_RUST = 1 / 300, 1 / 1000
# Seconds a step takes the CPU: a layer's kernels, forward and backward, or all of it where they are a graph.
LAUNCH, GRAPH = 0.004, 0.015
IMPORTS, SERVER_START = 20.0, 60.0  # seconds until a trainer, the server loads weights
LOADING = 2e9  # bytes a second
TOGETHER = 0.1  # of a GPU's speed is won by each further process on it, where steps are graphs


@dataclass(frozen=True)
class Work:
    """Work on a GPU: ``seconds`` when it is alone, in which it has the GPU busy for the share ``demand``."""

    seconds: float
    demand: float = 1.0

    @classmethod
    def of(cls, gpu: float, cpu: float) -> Work:
        """Return a job that takes the GPU and the CPU so many seconds, side by side."""
        seconds = max(gpu, cpu)
        return cls(seconds, gpu / seconds if seconds else 0.0)


@dataclass(frozen=True)
class Workload:
    """What there is to do, whatever the plan."""

    trainings: Sequence[Work]  # in their order
    start: float  # seconds of a trainer until its first step
    server: float  # seconds of the server until it answers
    answers: Work  # of one run's items
    untrained: int = 0  # runs that need no training
    together: float = 0.0  # TOGETHER, or nothing


@dataclass(eq=False)
class _Process:
    """A trainer, or the server."""

    gpu: int
    waits: float
    jobs: deque[Work] = field(default_factory=deque)
    done: float = 0.0  # seconds of the first job


def seconds(sweep: Workload, gpus: int, at_once: int, overlap: bool) -> float:
    """Return how long the sweep takes.

    Args:
        sweep: what there is to do.
        gpus: how many; the server has the last one.
        at_once: trainers at once, each on the GPU that the fewest are on.
        overlap: the server runs beside the trainers, else after them.
    """
    queue = deque(sweep.trainings)
    server = _Process(gpus - 1, sweep.server, deque([sweep.answers] * sweep.untrained))
    trainers: list[_Process] = []
    free = deque(number % gpus for number in range(at_once))
    now = 0.0
    while True:
        while queue and free:
            trainers.append(_Process(free.popleft(), sweep.start, deque([queue.popleft()])))
        serves = overlap or not trainers
        working = [*trainers, *([server] if serves and (server.waits or server.jobs) else [])]
        if not trainers and not server.jobs:
            return now
        rates = _rates(working, sweep.together)
        step = min(each.waits or (each.jobs[0].seconds - each.done) / rates[each.gpu] for each in working)
        now += step
        for each in working:
            if each.waits:
                each.waits = max(0.0, each.waits - step)
                continue
            each.done += step * rates[each.gpu]
            if each.done >= each.jobs[0].seconds - 1e-9:
                each.jobs.popleft()
                each.done = 0.0
                if each is not server:
                    trainers.remove(each)
                    free.append(each.gpu)
                    server.jobs.append(sweep.answers)


def _rates(working: Sequence[_Process], together: float) -> dict[int, float]:
    """Return by GPU how fast each process on it computes, 1 alone."""
    demands: dict[int, list[float]] = {each.gpu: [] for each in working}
    for each in working:
        if each.jobs and not each.waits:
            demands[each.gpu].append(each.jobs[0].demand)
    return {
        gpu: min(1.0, (1 + together * (len(found) - 1)) / busy) if (busy := sum(found)) else 1.0
        for gpu, found in demands.items()
    }


def flops(card: str) -> float:
    """Return a card's FLOP/s of training."""
    return next((value for name, value in FLOPS.items() if name in card), UNKNOWN)
