"""Coroutines that end in order when the program is told to end."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end. A signal that ``end_on_signals`` would hear cancels it, and raises SystemExit when
    it has ended: raised in the middle of a task of a library it would be told as a traceback.
    """
    heard: list[int] = []

    async def watched() -> Result | None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: int) -> None:
            if not heard:
                heard.append(number)
                assert task is not None
                task.cancel()

        for each in before:
            loop.add_signal_handler(each, end, each)
        try:
            return await coroutine
        except asyncio.CancelledError:
            if not heard:
                raise
            return None
        finally:
            for each, handler in before.items():
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_IGN if heard else handler)

    three = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
    before = {each: signal.getsignal(each) for each in three if callable(signal.getsignal(each))}
    if threading.current_thread() is not threading.main_thread():  # no other can hear signals
        before = {}
    result = asyncio.run(watched())
    if heard:
        raise SystemExit(128 + heard[0])
    return cast(Result, result)
