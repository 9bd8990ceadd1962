"""All questions of an evaluation, some at a time, and when to stop asking a server that has gone."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from ..serving.client import Answer, Refused, Unanswered

Item = TypeVar("Item")


# A server counts as gone when so many items end unanswered (each after its retries) with no answer between them, or
# when nothing is answered for STALL seconds; the caller may then start it anew and go on.
IN_A_ROW = 8
STALL = 300.0


class GaveUp(Exception):
    """The server is gone: asking the remaining items would only take hours."""


async def ask_all(
    items: Iterable[tuple[int, Item]],
    ask: Callable[[Item], Awaitable[Answer]],
    answered: Callable[[int, Answer], None],
    limit: int,
    tick: Callable[[], None] = lambda: None,
    stall: float = STALL,
) -> list[tuple[int, str]]:
    """Ask every item, ``limit`` at a time, and call ``answered`` as each answer comes.

    ``tick`` is called about once a second, whether answers come or not. Returns the ``(index, reason)`` of the items
    that got no answer.

    Raises:
        Refused: the server refused an item for good; its index is in the message.
        GaveUp: the server is gone.
        Whatever ``answered`` raises. In every case no request is left under way.
    """
    queue = deque(items)
    failures: list[tuple[int, str]] = []
    in_a_row = 0
    last = time.monotonic()

    async def worker() -> None:
        while queue:
            await one(*queue.popleft())

    async def one(index: int, item: Item) -> None:
        nonlocal in_a_row, last
        try:
            answer = await ask(item)
        except Refused as error:
            raise Refused(f"item {index}: {error}") from error
        except Unanswered as error:
            failures.append((index, str(error)))
            in_a_row += 1
            if in_a_row >= IN_A_ROW:
                raise GaveUp(f"{in_a_row} items in a row got no answer; the last: item {index}: {error}") from error
        else:
            in_a_row = 0
            last = time.monotonic()
            answered(index, answer)

    async def watch() -> None:
        while True:
            await asyncio.sleep(min(1.0, stall / 4))
            tick()
            if time.monotonic() - last >= stall:
                raise GaveUp(f"no answer to anything for {stall:g} s: the server hangs")

    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(limit, len(queue))):
                    workers.create_task(worker())
            watching.cancel()
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from None
    return failures


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
