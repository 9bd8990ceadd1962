"""The items that have no answer yet, asked through a server that runs; each answer is kept as it arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..asynchronous import run_async
from ..errors import UserError
from ..processes import is_alive
from ..progress import Progress
from ..runs import Run
from ..serving import endpoint
from ..serving.client import Answer, ClientSettings, Refused, Retry
from ..serving.ports import NotOurs
from ..serving.prompt import stop_token_ids
from ..serving.server import Server
from . import metrics
from .ask import GaveUp, Patience, ask_all
from .askers import Askers
from .concurrency import START, START_BATCHING, Adaptive, Fixed, Pace
from .predictions import Prediction, PredictionLog
from .questions import Item

RETRY = Retry()
STALL = 300.0  # seconds without any answer after which the server hangs


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
    processes: int | None = None,
    at_once: bool = False,
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
        processes: that ask; None: this one, and when it is the bottleneck up to 4 others.
        at_once: the server is fast and asked by this evaluation alone, mostly: begin with other processes, where there
            are many items and CPUs, and at `vllm serve` with many requests.
        stall: seconds without any answer after which the server hangs.
        kept: called when an answer was added to ``log``.

    Returns what was measured, and what went wrong with the server ("" when all items have an answer).

    Raises:
        UserError: the server refuses for good.
    """
    settings = run.settings
    missing = [(index, item) for index, item in enumerate(items) if index not in log.predictions]
    if not missing:
        return {}, ""
    client = ClientSettings(
        server.url,
        run.served_as,
        settings.max_tokens,
        settings.request_timeout,
        RETRY,
        tuple(choices) if choices is not None else None,
        stop_token_ids(settings),
        tuple(examples),
        *tokens,
    )
    start = START_BATCHING if settings["SERVER"] == "vllm" and at_once else START
    adaptive = settings.concurrency is None
    pace: Pace = Adaptive(settings.request_timeout, start=start) if adaptive else Fixed(settings.concurrency)
    port = server.port
    progress = Progress(title, len(items), len(log.predictions))
    measured: dict[str, Any] = {}

    def keep(index: int, answer: Answer) -> None:
        port.check_again()
        # Stripped as the original does.
        text, label = answer.text.strip(), items[index].output
        log.append(Prediction(index, text, label, answer.seconds, answer.cut, answer.scores))
        kept()
        progress.advance()

    async def ask_them() -> list[tuple[int, str]]:
        askers = Askers(
            client,
            endpoint.api_key(),
            pace,
            items=len(missing),
            processes=processes,
            at_once=at_once,
            idle=metrics.prepare,
        )

        async def ask(item: Item) -> Answer:
            return await askers.ask(item.instruction or None, item.input)

        def tick() -> None:
            if not is_alive(server.pid):  # known at once, not when all retries are used up
                raise GaveUp("the server has ended")
            port.check()
            progress.tick()
            askers.tick()

        async with askers:
            failures = await ask_all(missing, ask, keep, pace, Patience(stall=stall or STALL), tick)
        measured["processes"] = askers.processes
        measured["client_start_seconds"] = round(askers.start_seconds, 3)
        return failures

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
    if adaptive:
        measured["highest_concurrency"] = pace.highest
    return measured, trouble
