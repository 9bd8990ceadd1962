"""Who asks: this process, or, where one is not enough for the server, client processes of its own (asker.py).

LangChain's ``ChatOpenAI`` costs about 3 ms of CPU time an item, so one process asks some 300 items a second. This
process stays the only one that knows the items and keeps the answers; the others only ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from ..processes import usable_cpus
from ..provenance import PROJECT
from ..serving.client import Answer, ChatClient, ClientSettings, Refused, Unanswered
from .ask import GaveUp
from .asker import LONGEST
from .concurrency import Pace

# A server that computes in batches answers many questions at once and waits for the next while this process works
# through them: wanting a CPU for more than BUSY of the time, it holds the server back, which FEW others mend; from
# SATURATED on, what it would want is not known. Below IDLE it has time for something else.
BUSY, SATURATED, IDLE = 0.5, 0.9, 0.3
FEW, MOST = 2, 4
# With so many items and CPUs FEW can start at once.
MANY_ITEMS, MANY_CPUS = 1000, 8
# A client process is ready after 2 s of imports; with less than this left to ask, in seconds, it is not worth it.
WORTHWHILE = 6.0


class Askers:
    """Ask one server, through this process or others. Use it as an async context manager, for one evaluation."""

    def __init__(
        self,
        settings: ClientSettings,
        api_key: str,
        pace: Pace,
        *,
        items: int,
        processes: int | None = 1,
        at_once: bool = False,
        idle: Callable[[], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            settings: of every client.
            api_key: the other processes take it from the environment, not from here.
            pace: is told of overloads, and when more processes can do more.
            items: how many will be asked.
            processes: 1: this one; more: so many others; None: this one until that is too slow, then others.
            at_once: with None, where there are many items and CPUs, a few others start with this one.
            idle: called once, in a thread, when this process has time for it.
        """
        self._settings = settings
        self._key = api_key
        self._pace = pace
        self._left = items
        self._wanted = processes
        self._at_once = at_once
        self._idle = idle
        self._here: ChatClient | None = None
        self._helpers: list[_Helper] = []
        self._ready: list[_Helper] = []
        self._some_ready = asyncio.Event()
        self._lost: GaveUp | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._began = self._looked = (time.monotonic(), cpu_wanted())
        self._answered = 0
        self.start_seconds = 0.0  # until the first request could be sent: mostly imports

    async def __aenter__(self) -> Self:
        """Make the client, or start the client processes and wait for the first of them."""
        began = time.monotonic()
        if self._wanted is None or self._wanted == 1:
            if self._wanted is None and self._at_once and self._left >= MANY_ITEMS and usable_cpus() >= MANY_CPUS:
                self._start(FEW)
                # They import what they need while this process does, which hears nothing meanwhile.
                await asyncio.gather(*(helper.told.wait() for helper in self._helpers))
            self._here = self._settings.client(self._key, self._was_overloaded)
        else:
            self._start(self._wanted)
            try:
                await self._some_ready.wait()
            except BaseException:
                await self.__aexit__()
                raise
        self.start_seconds = time.monotonic() - began
        self._began = self._looked = (time.monotonic(), cpu_wanted())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the client processes and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(helper.end() for helper in self._helpers))
        if self._here is not None:
            await self._here.close()

    @property
    def processes(self) -> int:
        """How many processes ask, or asked: this one, or all of the others."""
        return len(self._helpers) if self._ready else 1

    async def ask(self, system: str | None, human: str) -> Answer:
        """Return the model's answer.

        Raises:
            Refused, Unanswered: as :meth:`ChatClient.ask` does.
            GaveUp: a client process has died.
        """
        if self._lost:
            raise self._lost
        if self._ready:
            answer = await min(self._ready, key=_Helper.load).ask(system, human)
        else:
            assert self._here is not None
            answer = await self._here.ask(system, human)
        self._left -= 1
        self._answered += 1
        return answer

    def tick(self) -> None:
        """Look whether this process is too slow, or has time; to be called about once a second.

        Raises:
            GaveUp: a client process has died.
        """
        if self._lost:
            raise self._lost
        now, cpu = time.monotonic(), cpu_wanted()
        share = (cpu - self._looked[1]) / max(now - self._looked[0], 1e-9)
        rate = self._answered / max(now - self._began[0], 1e-9)
        self._looked = (now, cpu)
        if self._thread is not None and self._thread.is_alive():
            return  # it and the event loop hinder each other: the share means nothing
        if self._wanted is None and not self._helpers and share > BUSY and self._left > WORTHWHILE * rate:
            # One CPU is left to the server, which may be on this machine. One other process would not be faster.
            if (count := min(MOST if share > SATURATED else FEW, usable_cpus() - 1)) > 1:
                self._start(count)
        elif self._idle is not None and share < IDLE and len(self._ready) == len(self._helpers):
            # A daemon: an interrupt ends this process without waiting for it.
            self._thread = threading.Thread(target=self._idle, daemon=True)
            self._idle = None
            self._thread.start()

    def _start(self, count: int) -> None:
        self._helpers = [_Helper() for _ in range(count)]
        for helper in self._helpers:
            task = asyncio.get_running_loop().create_task(self._follow(helper))
            self._tasks.add(task)

    async def _follow(self, helper: _Helper) -> None:
        """Run a client process from its start to its end."""
        try:
            await helper.run(self._settings, lambda: self._is_ready(helper), self._pace.overloaded)
        except OSError as error:
            reason = f"a client process did not start: {error}"
        else:
            reason = helper.obituary()
        self._lost = GaveUp(reason)
        self._some_ready.set()
        helper.told.set()
        helper.fail(self._lost)

    def _is_ready(self, helper: _Helper) -> None:
        self._ready.append(helper)
        self._some_ready.set()
        if len(self._ready) == len(self._helpers):
            self._pace.more_capacity()

    def _was_overloaded(self, began: float) -> None:
        self._pace.overloaded(began, time.monotonic())


class _Helper:
    """One client process."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = 0
        self._is_ready = False
        self.told = asyncio.Event()  # its settings, or it has ended

    def load(self) -> int:
        """Return how many of its questions have no answer yet."""
        return len(self._waiting)

    async def run(
        self, settings: ClientSettings, ready: Callable[[], None], overloaded: Callable[[float, float], None]
    ) -> None:
        """Start it and take its answers; returns when it has ended.

        Raises:
            OSError: it cannot be started.
        """
        # Ctrl-C is for this process, which then ends the others: they inherit that it is blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fewshot_sft.evaluation.asker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_environment(),
                limit=LONGEST,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        assert self._process.stdout is not None
        self._tell(asdict(settings))
        self.told.set()
        while line := await self._process.stdout.readline():
            if not line.endswith(b"\n"):  # it died in the middle
                break
            message = json.loads(line)
            if "ready" in message:
                self._is_ready = True
                ready()
            elif "overloaded" in message:
                now = time.monotonic()
                overloaded(now - message["overloaded"], now)
            else:
                self._take(message)
        await self._process.wait()

    async def ask(self, system: str | None, human: str) -> Answer:
        """Ask one question."""
        self._numbers += 1
        number = self._numbers
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._tell({"number": number, "system": system, "human": human})
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    def fail(self, error: Exception) -> None:
        """Let all its questions fail."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)

    def obituary(self) -> str:
        """Say how it ended."""
        assert self._process is not None
        status = self._process.returncode or 0
        how = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with status {status}"
        return f"client process {self._process.pid} ended {how}"

    async def end(self) -> None:
        """Let it end, by force if it is still importing (and hears nothing) or does not end within 2 s."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(2 if self._is_ready else 0):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # Without waiting: what it has not read is what is under way. One that has died is noticed where it is read.
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _take(self, message: dict[str, Any]) -> None:
        answer = self._waiting.get(message["number"])
        if answer is None or answer.done():
            return
        if "refused" in message:
            answer.set_exception(Refused(message["refused"]))
        elif "unanswered" in message:
            answer.set_exception(Unanswered(message["unanswered"]))
        else:
            scores = tuple(message["scores"]) if message["scores"] is not None else None
            answer.set_result(Answer(message["text"], message["cut"], message["seconds"], scores))


def cpu_wanted() -> float:
    """Return for how many seconds this thread has had a CPU, or waited for one that others had, since it began."""
    try:
        ran, waited, _ = Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
    except (OSError, ValueError):  # not every kernel counts it
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9


def _environment() -> dict[str, str]:
    package = str(PROJECT / "py")
    return os.environ | {"PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])}
