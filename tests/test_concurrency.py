"""How many requests are under way, decided against servers that are simulated: no clock, no waiting."""

from __future__ import annotations

import asyncio
import heapq
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fewshot_sft.evaluation.ask import ask_all
from fewshot_sft.evaluation.concurrency import MOST, START, START_BATCHING, Adaptive, Fixed
from fewshot_sft.processes import usable_cpus
from fewshot_sft.serving.client import Answer

TIMEOUT = 120.0


@dataclass
class Simulation:
    """A server that answers ``rate`` requests a second at most, none in less than ``latency`` seconds.

    ``full``: with more requests than that under way it turns the next one away, after 10 ms.
    ``batch``: it answers only at multiples of so many seconds. ``noise``: service times vary by so much.
    """

    pace: Fixed
    rate: float
    latency: float
    full: int | None = None
    batch: float = 0.0
    noise: float = 0.0
    now: float = 0.0
    served: int = 0
    timeouts: int = 0
    refused: int = 0
    limits: list[tuple[float, int]] = field(default_factory=list)  # (time, limit) of each change
    _events: list[tuple[float, int, float, bool]] = field(default_factory=list)
    _free: float = 0.0  # when the server has done all that it has accepted
    _asked: int = 0
    _inside: int = 0  # requests that the server has accepted and not answered
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self, items: int, until: Callable[[], bool] = lambda: False) -> Simulation:
        """Ask so many items more; a request that fails is asked again."""
        left = items
        while (left or self._events) and not until():
            while left and len(self._events) < self.pace.limit:
                self._ask()
                left -= 1
            self.now, _, began, answered = heapq.heappop(self._events)
            self._inside -= answered
            if answered:
                self.served += 1
                self.pace.answered(self.now, len(self._events))
            else:
                left += 1
                self.pace.overloaded(began, self.now)
            if not self.limits or self.limits[-1][1] != self.pace.limit:
                self.limits.append((self.now, self.pace.limit))
        return self

    def _ask(self) -> None:
        self._asked += 1
        if self.full is not None and self._inside >= self.full:
            self.refused += 1
            heapq.heappush(self._events, (self.now + 0.01, self._asked, self.now, False))
            return
        service = (1 + self._random.uniform(-self.noise, self.noise)) / self.rate
        self._free = max(self.now, self._free) + service
        done = max(self.now + self.latency, self._free)
        if self.batch:
            done = (done // self.batch + 1) * self.batch
        answered = done <= self.now + TIMEOUT
        self._inside += answered
        self.timeouts += not answered
        heapq.heappush(self._events, (min(done, self.now + TIMEOUT), self._asked, self.now, answered))


def test_a_fixed_number_stays_whatever_happens():
    pace = Fixed(16)

    Simulation(pace, rate=1000, latency=0.01, full=10).run(1000)

    assert pace.limit == pace.highest == 16


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize(("rate", "latency"), [(300, 0.05), (300, 0.4), (1000, 0.1), (60, 0.5)])
def test_it_takes_what_a_batching_server_can_give(rate, latency, noise):
    # 5,000 items: the whole of an evaluation, its beginning included.
    pace = Adaptive(TIMEOUT)

    simulation = Simulation(pace, rate, latency, noise=noise).run(5000)

    ideal = 5000 / rate + latency
    assert ideal / simulation.now > 0.9
    assert pace.highest >= rate * latency


@pytest.mark.parametrize(("rate", "latency"), [(250, 0.6), (250, 1.0), (80, 3.0)])
def test_where_a_server_is_known_to_compute_in_batches_it_begins_high(rate, latency):
    # A server beside trainers takes long for each answer, and the climb from 8 long, too.
    slow = Simulation(Adaptive(TIMEOUT), rate, latency, noise=0.3).run(5000)
    fast = Simulation(Adaptive(TIMEOUT, start=START_BATCHING), rate, latency, noise=0.3).run(5000)

    assert (5000 / rate + latency) / fast.now > 0.95
    assert slow.now > 1.1 * fast.now
    assert fast.timeouts == 0


def test_it_takes_what_a_server_can_give_that_answers_in_bursts():
    simulation = Simulation(Adaptive(TIMEOUT), rate=300, latency=0.2, batch=0.25).run(5000)

    assert 5000 / simulation.now > 0.85 * 300


@pytest.mark.parametrize("seconds", [0.02, 0.3, 2.0, 7.0])
def test_a_server_that_answers_one_at_a_time_gets_few_at_a_time_and_never_times_out(seconds):
    pace = Adaptive(TIMEOUT)

    simulation = Simulation(pace, rate=1 / seconds, latency=seconds, noise=0.3).run(500)

    assert pace.limit <= 2 * START
    # Nothing that would make a request wait for half of the timeout is even tried.
    assert pace.highest <= max(START, min(4 * START, TIMEOUT / 2 / seconds))
    assert simulation.timeouts == 0
    assert simulation.now == pytest.approx(500 * seconds, rel=0.05)


def test_a_server_slower_than_the_timeout_allows_gets_one_at_a_time():
    pace = Adaptive(TIMEOUT)

    Simulation(pace, rate=1 / 29, latency=29).run(40)

    assert pace.limit == 1


def test_a_server_that_turns_requests_away_is_asked_below_that():
    pace = Adaptive(TIMEOUT)

    simulation = Simulation(pace, rate=500, latency=0.2, full=40).run(5000)

    assert simulation.served == 5000
    assert 20 <= pace.limit <= 40
    # It tries again less and less often.
    assert simulation.refused < 0.05 * 5000


def test_one_overload_halves_once_and_not_for_each_request_of_it():
    pace = Adaptive(TIMEOUT)
    Simulation(pace, rate=300, latency=0.8).run(5000, until=lambda: pace.limit >= 64)
    before = pace.limit

    for now in (100.0, 100.1, 100.2):
        pace.overloaded(began=99.0, now=now)

    assert pace.limit == before // 2
    pace.overloaded(began=100.3, now=101.0)
    assert pace.limit == before // 4
    for again in range(102, 120):
        pace.overloaded(began=again, now=again + 0.5)
    assert pace.limit == 1


def test_it_never_exceeds_its_bound():
    pace = Adaptive(TIMEOUT)
    Simulation(pace, rate=100_000, latency=1.0).run(20_000)
    assert pace.highest == pace.limit == MOST

    small = Adaptive(TIMEOUT, most=3)
    Simulation(small, rate=100_000, latency=1.0).run(500)
    assert small.highest == small.limit == 3


def test_a_server_that_gets_faster_is_noticed_after_some_time():
    pace = Adaptive(TIMEOUT)
    simulation = Simulation(pace, rate=20, latency=0.2).run(400)
    assert pace.limit <= 2 * START
    simulation.rate = 200
    simulation.run(4000)

    assert pace.limit >= 200 * 0.2


def test_it_tries_again_less_and_less_often():
    simulation = Simulation(Adaptive(TIMEOUT), rate=50, latency=0.02).run(20_000)

    tries = sum(limit > START for _, limit in simulation.limits)
    assert 2 <= tries <= 10


def test_a_server_that_gets_slow_is_asked_less_before_requests_time_out_in_its_queue():
    pace = Adaptive(TIMEOUT)
    simulation = Simulation(pace, rate=300, latency=0.3).run(3000)
    assert pace.limit >= 64
    simulation.rate = 4
    simulation.run(600)

    assert pace.limit <= 4 * TIMEOUT / 4
    assert simulation.timeouts == 0


def test_answers_to_what_was_asked_before_say_nothing_about_the_number_now():
    pace = Adaptive(TIMEOUT)
    now = 0.0

    def answers(count: int, each: float) -> None:
        nonlocal now
        for _ in range(count):
            now += each
            pace.answered(now, pace.limit - 1)

    answers(8 + 1 + 8, each=0.1)
    assert pace.limit == 32
    answers(8, each=0.001)  # these had waited: a rate taken from them would be too good
    answers(1 + 32, each=0.1)
    assert pace.limit == 16
    answers(32, each=0.001)
    answers(1 + 16, each=0.1)
    assert pace.limit == 8


def test_the_end_of_the_items_is_no_sign_of_a_slow_server():
    pace = Adaptive(TIMEOUT)
    simulation = Simulation(pace, rate=300, latency=0.5).run(3000)
    before = pace.limit
    # Fewer items than may be under way, again and again: nothing that a rate could be taken from.
    for _ in range(200):
        simulation.run(3)

    assert pace.limit == before


class Told(Fixed):
    """The number that the answers so far ask for."""

    def __init__(self) -> None:
        super().__init__(4)
        self.answers = 0

    def answered(self, now: float, in_flight: int) -> None:
        self.answers += 1
        assert 0 <= in_flight < 6
        self.limit = 4 if self.answers < 10 else 1 if self.answers < 20 else 6


def test_as_many_are_under_way_as_it_says_more_and_fewer():
    pace = Told()
    running = 0
    began: list[tuple[int, int]] = []  # (the number asked for, under way) when a question begins
    got: list[int] = []

    async def ask(item: int) -> Answer:
        nonlocal running
        running += 1
        began.append((pace.limit, running))
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        return Answer("", False, 0.0)

    failures = asyncio.run(ask_all(enumerate(range(40)), ask, lambda index, _: got.append(index), pace))

    assert failures == []
    assert sorted(got) == list(range(40))
    assert all(running <= limit for limit, running in began)
    assert {limit: max(running for at, running in began if at == limit) for limit in (4, 1, 6)} == {4: 4, 1: 1, 6: 6}


def test_cpus_are_those_that_a_container_gives(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    real, limit = Path.read_text, ""
    monkeypatch.setattr(Path, "read_text", lambda self, **more: limit if self.name == "cpu.max" else real(self, **more))
    for limit, cpus in (("max 100000", 8), ("350000 100000", 3), ("50000 100000", 1)):  # noqa: B007 - read_text has it
        assert usable_cpus() == cpus
