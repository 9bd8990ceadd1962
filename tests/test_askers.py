"""Client processes: who asks, what comes back, and that none is left whatever ends the evaluation."""
# ruff: noqa: F401, F811 - fixtures of another file

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from openai_server import OpenAIServer
from test_evaluation import KEY, RUN, Sweep, _environment, results, right, server, sweep

from fewshot_sft import processes
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import askers, asking
from fewshot_sft.evaluation.ask import GaveUp
from fewshot_sft.evaluation.askers import Askers
from fewshot_sft.evaluation.concurrency import Fixed
from fewshot_sft.program import AGAIN
from fewshot_sft.serving.client import ClientSettings, Refused, Retry, Unanswered


def children(pid: int) -> list[int]:
    """The client processes of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "fewshot_sft.evaluation.asker" in command_of(int(child))]


def command_of(pid: int) -> str:
    """The command line of a process. In the middle of an exec, and when it has ended, it has none."""
    while not (command := Path(f"/proc/{pid}/cmdline").read_bytes()) and processes.is_alive(pid):
        time.sleep(0)
    return command.decode()


def wait_until_gone(handles: list[int]) -> None:
    """Wait for the ends of processes that are not ours, by their pidfds."""
    for handle in handles:
        assert select.select([handle], [], [], 20)[0], "a client process is left"
        os.close(handle)


# py/eval.py as it is, but for the number of processes.
TWO_PROCESSES = """import functools, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
from fewshot_sft.evaluation import evaluation
evaluation.ask_missing = functools.partial(evaluation.ask_missing, processes=2)
runpy.run_path(sys.argv[0], run_name="__main__")"""


class Evaluator:
    """The evaluator as a process of its own with two client processes, each with two requests that hang."""

    def __init__(self, folder: Path, server: OpenAIServer, good: int = 6) -> None:
        self.sweep = Sweep.make(folder, items=30)
        self.server = server
        server.behave = lambda text: "hang" if len(server.answered) >= good else "ok"
        command = [sys.executable, "-c", TWO_PROCESSES, *self.sweep.command(server, CONCURRENCY="4")[3:]]
        environment = os.environ | {"FEWSHOT_SETTINGS": str(self.sweep.folder / "settings.json")}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        server.wait_for(lambda: len(server.answered) >= good and server.in_flight == 4, timeout=300)
        self.children = children(self.process.pid)
        self.handles = [os.pidfd_open(pid) for pid in self.children]

    def finish(self) -> None:
        """Evaluate the rest and check that each item has one answer."""
        kept = {line["index"] for line in self.sweep.lines[1:]}
        self.server.release.set()
        self.server.behave = lambda text: "ok"
        self.server.requests.clear()
        assert self.sweep.evaluate(self.server) == 0
        missing = sorted(text for index, text in enumerate(self.sweep.texts) if index not in kept)
        assert sorted(self.server.asked) == missing
        assert sorted(line["index"] for line in self.sweep.lines[1:]) == list(range(30))
        assert self.sweep.record["metrics"]["accuracy"] == 1


def test_two_processes_find_what_one_finds(tmp_path, server):
    alone = Sweep.make(tmp_path / "alone", items=40)
    shared = Sweep.make(tmp_path / "shared", items=40)
    server.answer = lambda text: {"text 1 ": '"Électricité"', "text 2 ": ""}.get(text[10:17], right(text))
    assert alone.evaluate(server, how={"processes": 1}) == 0
    server.requests.clear()

    assert shared.evaluate(server, how={"processes": 2}, CONCURRENCY="8") == 0

    assert sorted(server.asked) == sorted(shared.texts)
    assert results(shared.record) == results(alone.record)
    assert alone.record["timings"]["processes"] == 1
    assert shared.record["timings"]["processes"] == 2
    bodies = [request.body for request in server.requests]
    assert {str(sorted(body)) for body in bodies} == {"['max_tokens', 'messages', 'model', 'stream', 'temperature']"}


def test_questions_go_to_the_process_with_the_fewest(server):
    server.behave = lambda text: "slow"

    pace = Noted()

    async def ask() -> list[int]:
        async with Askers(settings_for(server), KEY, pace, items=6, processes=2) as asking:
            await asyncio.wait_for(pace.all_ready.wait(), 60)
            questions = [asyncio.ensure_future(asking.ask("Choose.", f"{n} about Physics")) for n in range(6)]
            await asyncio.to_thread(server.wait_for, lambda: server.in_flight == 6)
            loads = [helper.load() for helper in asking._helpers]
            server.release.set()
            answers = await asyncio.gather(*questions)
            assert {answer.text for answer in answers} == {"Physics"}
            assert all(answer.seconds > 0 and not answer.cut for answer in answers)
            return loads

    assert asyncio.run(ask()) == [3, 3]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_evaluator_is_the_end_of_its_processes(tmp_path, server, ending):
    evaluator = Evaluator(tmp_path, server)
    assert len(evaluator.children) == 2
    evaluator.process.send_signal(ending)
    _, error = evaluator.process.communicate(timeout=300)

    assert evaluator.process.returncode == (-ending if ending == signal.SIGKILL else 128 + ending)
    assert "Traceback" not in error
    wait_until_gone(evaluator.handles)
    evaluator.finish()


def test_an_interrupt_from_the_keyboard_reaches_all_and_is_said_by_none(tmp_path, server):
    evaluator = Evaluator(tmp_path, server)
    # What a terminal does: the signal to every process of the group; the children must not end with a traceback.
    for pid in [*evaluator.children, evaluator.process.pid]:
        os.kill(pid, signal.SIGINT)
    _, error = evaluator.process.communicate(timeout=300)

    assert evaluator.process.returncode == 130
    assert "Traceback" not in error
    assert "client process" not in error
    wait_until_gone(evaluator.handles)


def test_a_client_process_that_dies_is_named_and_nothing_is_lost_or_doubled(tmp_path, server):
    evaluator = Evaluator(tmp_path, server)
    victim = evaluator.children[0]
    os.kill(victim, signal.SIGKILL)
    _, error = evaluator.process.communicate(timeout=300)

    assert evaluator.process.returncode == AGAIN
    kept = len(evaluator.sweep.lines) - 1
    assert error.endswith(
        f"size 100: evaluation incomplete: {kept} of 30 items answered, {30 - kept} not; gave up: client process "
        f"{victim} ended by signal 9 (SIGKILL). The answers are kept in {evaluator.sweep.objs}/{RUN}.predictions.jsonl"
        "; run the same command again to go on\n"
    )
    assert kept >= 5  # of the six one was to see whether it answers
    wait_until_gone(evaluator.handles)
    evaluator.finish()


def test_the_key_is_in_no_command_line(tmp_path, server):
    evaluator = Evaluator(tmp_path, server)
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in evaluator.children]
    evaluator.process.kill()
    evaluator.process.communicate()

    assert len(lines) == 2
    assert not any(KEY.encode() in line for line in lines)
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    wait_until_gone(evaluator.handles)


def test_a_refusal_through_another_process_is_said_as_without(sweep, server):
    server.error_body = f"you sent Bearer {KEY}"
    server.behave = lambda text: "400" if "text 3" in text else "ok"

    with pytest.raises(UserError) as error:
        sweep.evaluate(server, how={"processes": 2})

    assert 'size 100: the server refuses: item 3: HTTP 400: {"detail": "you sent Bearer ***"}' in str(error.value)
    assert children(os.getpid()) == []


def test_a_dead_server_ends_the_evaluation_early_whoever_asks(tmp_path, server, capsys):
    sweep = Sweep.make(tmp_path, items=200)
    server.behave = lambda text: "reset"

    assert sweep.evaluate(server, how={"processes": 2}) == AGAIN

    error = capsys.readouterr().err
    assert "0 of 200 items answered, 200 not; gave up: 8 items in a row got no answer; the last: item " in error
    assert "no connection, or it broke: " in error


def test_a_process_that_cannot_start_is_said(sweep, server, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert sweep.evaluate(server, how={"processes": 2}) == AGAIN

    assert "gave up: a client process did not start: [Errno 2] No such file or directory: " in capsys.readouterr().err


# --- When other processes are started ---


class Noted(Fixed):
    """A number that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(4)
        self.overloads: list[float] = []
        self.more = 0
        self.all_ready = asyncio.Event()

    def overloaded(self, began: float, now: float) -> None:
        assert 0 <= now - began < 20
        self.overloads.append(now)

    def more_capacity(self) -> None:
        self.more += 1
        self.all_ready.set()


def settings_for(server: OpenAIServer, **changes: object) -> ClientSettings:
    return replace(ClientSettings(server.base_url, "served", 7, 20.0, Retry(1, 0.0)), **changes)


@pytest.mark.parametrize("processes", [1, 2])
def test_overloads_are_told_wherever_they_happen(server, processes):
    server.script.extend(["429", "503", "500", "reset", "ok"])
    pace = Noted()

    async def ask() -> None:
        retry = Retry(5, 0.0)
        async with Askers(settings_for(server, retry=retry), KEY, pace, items=1, processes=processes) as asking:
            assert (await asking.ask("Choose.", "text about Physics")).text == "Physics"

    asyncio.run(ask())

    assert len(pace.overloads) == 2


def test_a_timeout_is_an_overload(server):
    server.script.append("hang")
    pace = Noted()

    async def ask() -> None:
        async with Askers(settings_for(server, timeout=2), KEY, pace, items=1) as asking:
            await asking.ask("Choose.", "text about Physics")

    asyncio.run(ask())

    assert len(pace.overloads) == 1


class Clock:
    """The share of the time for which this process wants a CPU, as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpus: int = 3) -> None:
        self.share = 1.0
        self._began = time.monotonic()
        self._wanted = 0.0
        self._last = self._began
        monkeypatch.setattr(askers, "cpu_wanted", self.wanted)
        monkeypatch.setattr(askers, "usable_cpus", lambda: cpus)

    def wanted(self) -> float:
        now = time.monotonic()
        self._wanted += self.share * (now - self._last)
        self._last = now
        return self._wanted


@pytest.mark.parametrize(("share", "count"), [(0.6, 2), (1.0, 4)])
def test_other_processes_take_over_when_this_one_is_the_bottleneck(server, monkeypatch, share, count):
    clock = Clock(monkeypatch, cpus=8)
    pace = Noted()
    idle: list[threading.Thread] = []

    async def ask() -> int:
        asking = Askers(settings_for(server), KEY, pace, items=10**6, processes=None, idle=lambda: idle.append(1))
        async with asking:
            await asking.ask("Choose.", "one about Physics")
            clock.share = 0.45
            asking.tick()
            assert children(os.getpid()) == []
            clock.share = share
            asking.tick()
            asking.tick()
            await asking.ask("Choose.", "two about Physics")
            await asyncio.wait_for(pace.all_ready.wait(), 60)
            await asking.ask("Choose.", "three about Physics")
            assert idle == []
            assert len(children(os.getpid())) == count
            clock.share = 0.1
            asking.tick()
            assert asking._thread is not None
            asking._thread.join(20)
            asking.tick()
        assert idle == [1]
        assert children(os.getpid()) == []
        return asking.processes

    assert asyncio.run(ask()) == count
    assert pace.more == 1


@pytest.mark.parametrize(
    ("at_once", "items", "cpus", "count"),
    [(True, 999, 8, None), (True, 1000, 7, None), (False, 1000, 8, None), (True, 1000, 8, 1)],
)
def test_this_process_begins_alone(server, monkeypatch, at_once, items, cpus, count):
    Clock(monkeypatch, cpus)

    async def ask() -> list[object]:
        asking = Askers(settings_for(server), KEY, Fixed(4), items=items, processes=count, at_once=at_once)
        async with asking:
            return asking._helpers

    assert asyncio.run(ask()) == []


def test_two_others_start_at_once_for_many_items(server, monkeypatch):
    Clock(monkeypatch, cpus=8)
    pace = Noted()

    async def ask() -> int:
        asking = Askers(settings_for(server), KEY, pace, items=1000, processes=None, at_once=True)
        real = ClientSettings.client
        others: list[int] = []

        def client(*arguments: object) -> object:
            others.extend(children(os.getpid()))
            return real(*arguments)

        monkeypatch.setattr(ClientSettings, "client", client)
        async with asking:
            assert len(others) == 2  # they run before this process begins its imports
            assert (await asking.ask("Choose.", "one about Physics")).text == "Physics"
            await asyncio.wait_for(pace.all_ready.wait(), 60)
            assert (await asking.ask("Choose.", "two about Physics")).text == "Physics"
            assert len(children(os.getpid())) == 2
        return asking.processes

    assert asyncio.run(ask()) == 2
    assert children(os.getpid()) == []


@pytest.mark.parametrize(("cpus", "items"), [(2, 10**6), (1, 10**6), (8, 1)])
def test_no_other_process_is_started_without_cpus_or_work_for_it(server, monkeypatch, cpus, items):
    Clock(monkeypatch, cpus)

    async def ask() -> None:
        async with Askers(settings_for(server), KEY, Fixed(4), items=items, processes=None) as asking:
            if items == 1:
                await asking.ask("Choose.", "one about Physics")
            asking.tick()
            assert asking._helpers == []

    asyncio.run(ask())


def test_an_evaluation_that_ends_while_processes_start_leaves_none(server, monkeypatch):
    Clock(monkeypatch)

    async def ask() -> list[int]:
        async with Askers(settings_for(server), KEY, Fixed(4), items=10**6, processes=None) as asking:
            await asking.ask("Choose.", "one about Physics")
            asking.tick()
            while any(helper._process is None for helper in asking._helpers):
                await asyncio.sleep(0)
            return [os.pidfd_open(helper._process.pid) for helper in asking._helpers]

    wait_until_gone(asyncio.run(ask()))


def test_this_process_keeps_asking_while_others_start_and_says_when_one_dies_there(server, monkeypatch):
    Clock(monkeypatch)

    async def ask() -> None:
        async with Askers(settings_for(server), KEY, Fixed(4), items=10**6, processes=None) as asking:
            await asking.ask("Choose.", "one about Physics")
            asking.tick()
            while any(helper._process is None for helper in asking._helpers):
                await asking.ask("Choose.", "two about Physics")
            victim = asking._helpers[0]._process
            victim.kill()
            for _ in range(10**6):
                await asking.ask("Choose.", "three about Physics")

    with pytest.raises(GaveUp, match=r"^client process \d+ ended by signal 9 \(SIGKILL\)$"):
        asyncio.run(ask())


def test_cpus_are_those_that_a_container_gives(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    real = Path.read_text
    limit = "max 100000"
    monkeypatch.setattr(Path, "read_text", lambda self, **more: limit if self.name == "cpu.max" else real(self, **more))
    assert processes.usable_cpus() == 8
    limit = "350000 100000"
    assert processes.usable_cpus() == 3
    limit = "50000 100000"
    assert processes.usable_cpus() == 1


def test_the_cpu_that_a_thread_wants_grows_when_it_computes():
    before, began = askers.cpu_wanted(), time.thread_time()
    while time.thread_time() < began + 0.02:
        sum(range(10_000))
    assert askers.cpu_wanted() - before > 0.01


# --- Concurrency that adapts ---


def test_concurrency_auto_is_noted_with_what_it_reached(tmp_path, server):
    sweep = Sweep.make(tmp_path, items=60)
    server.behave = lambda text: "slow"
    done = []
    thread = threading.Thread(target=lambda: done.append(sweep.evaluate(server, CONCURRENCY="auto")))
    thread.start()
    server.wait_for(lambda: server.in_flight == 8)
    server.release.set()
    thread.join(30)

    assert done == [0]
    assert sweep.record["settings"]["concurrency"] == "auto"
    assert sweep.record["timings"]["highest_concurrency"] >= 8
    assert sweep.record["timings"]["processes"] == 1
    assert sweep.record["metrics"]["accuracy"] == 1


def test_concurrency_auto_asks_less_of_a_server_that_has_too_much_to_do(tmp_path, server, monkeypatch):
    monkeypatch.setattr(asking, "RETRY", Retry(60, 0.0))
    sweep = Sweep.make(tmp_path, items=80)
    # More than 3 at once are turned away.
    server.behave = lambda text: "ok" if server.in_flight <= 3 else "429"

    assert sweep.evaluate(server, CONCURRENCY="auto") == 0

    assert sweep.record["metrics"]["accuracy"] == 1
    assert sorted(server.answered) == sorted(sweep.texts)
