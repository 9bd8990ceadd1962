"""The items that have no answer yet, asked through a server that runs; each answer is kept as it arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from .. import runs
from ..asynchronous import run_async
from ..errors import UserError
from ..processes import is_alive
from ..progress import Progress
from ..runs import Run
from ..serving import endpoint
from ..serving.client import Answer, ChatClient, Refused, Retry
from ..serving.label_scorer import scorer_of
from ..serving.ports import NotOurs
from ..serving.prompt import stop_token_ids
from ..serving.server import Server
from ..settings import Settings
from . import macro
from .ask import STALL, GaveUp, ask_all
from .predictions import Prediction, PredictionLog
from .questions import Item

RETRY = Retry()
IDLE = 0.3  # share of a CPU below which this process has time for something else


def in_flight(settings: Settings) -> int:
    """Return how many requests of one run are under way at once: CONCURRENCY, or what suits the server.

    `vllm serve` computes in batches: with 256 in flight a run gets 90 % of what more requests and processes get
    (docs/performance.md). All runs may be asked at the same time, and what is beyond its 1,024 sequences only waits,
    and may time out.
    """
    if settings.concurrency is not None or settings["SERVER"] != "vllm":
        return settings.concurrency or 8
    return max(8, min(256, 1024 // len(runs.evaluations(settings))))


def ask_missing(
    run: Run,
    server: Server,
    items: Sequence[Item],
    log: PredictionLog,
    title: str,
    *,
    choices: Sequence[str] | None = None,
    examples: Sequence[tuple[str, str]] = (),
    tokens: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]] = ((), ()),
    stall: float | None = None,
    kept: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Any], str]:
    """Ask the items that ``log`` has no answer to.

    Args:
        run: whose name and settings.
        server: whom.
        items: all items.
        log: takes the answers.
        title: what messages call this.
        choices: the only answers that the server lets the model give.
        examples: pairs of a human message and its answer, which come before each question.
        tokens: of each label, and those that end an answer: the labels' probabilities are asked for, too.
        stall: seconds without any answer after which the server hangs; None: STALL, or as long as a request may take.
        kept: called when an answer was added to ``log``.

    Returns what was measured, and what went wrong with the server ("" when all items have an answer).

    Raises:
        UserError: the server refuses for good.
    """
    settings = run.settings
    missing = [(index, item) for index, item in enumerate(items) if index not in log.predictions]
    if not missing:
        return {}, ""
    port = server.port
    progress = Progress(title, len(items), len(log.predictions))
    limit = in_flight(settings)
    measured: dict[str, Any] = {"concurrency": limit}

    def keep(index: int, answer: Answer) -> None:
        port.check_again()
        # Stripped as the original does.
        text, label = answer.text.strip(), items[index].output
        log.append(Prediction(index, text, label, answer.seconds, answer.cut, answer.scores))
        kept()
        progress.advance()

    async def ask_them() -> list[tuple[int, str]]:
        client = ChatClient(
            server.url,
            run.served_as,
            endpoint.api_key(),
            max_tokens=settings.max_tokens,
            timeout=settings.request_timeout,
            retry=RETRY,
            choices=choices,
            stop_token_ids=stop_token_ids(settings),
            examples=examples,
            scorer=scorer_of(run, tokens),
        )
        measured["client_start_seconds"] = round(time.monotonic() - begin, 3)  # mostly imports
        preparing: threading.Thread | None = None
        looked = time.monotonic(), time.thread_time()

        async def ask(item: Item) -> Answer:
            return await client.ask(item.instruction or None, item.input)

        def tick() -> None:
            nonlocal looked, preparing
            if not is_alive(server.pid):  # known at once, not when all retries are used up
                raise GaveUp("the server has ended")
            port.check()
            progress.tick()
            before, looked = looked, (time.monotonic(), time.thread_time())
            if preparing is None and looked[1] - before[1] < IDLE * (looked[0] - before[0]):
                # A daemon: an interrupt ends this process without waiting for it.
                preparing = threading.Thread(target=macro.prepare, daemon=True)
                preparing.start()

        try:
            return await ask_all(missing, ask, keep, limit, tick, stall or max(STALL, 2 * settings.request_timeout))
        finally:
            await client.close()

    begin = time.monotonic()
    trouble = ""
    try:
        port.check()
        try:
            failures = run_async(ask_them())
        except Refused as error:
            port.check()
            raise UserError(
                f"{title}: the server refuses: {error} (at {server.url}, as {run.served_as}, key from "
                f"{endpoint.API_KEY}); the answers so far are kept in {log.path}"
            ) from None
        if failures:
            trouble = f"first error: item {failures[0][0]}: {failures[0][1]}"
    except GaveUp as error:
        trouble = f"gave up: {error}"
    except NotOurs as error:
        trouble = f"the server has lost its port: {error}"
    finally:
        progress.close()
    seconds = time.monotonic() - begin
    measured |= {"seconds": round(seconds, 3), "items_per_second": round(len(missing) / seconds, 2)}
    return measured, trouble
