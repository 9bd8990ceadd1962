"""Whether a server can be used: it answers, and not as the base model does where it is to serve an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import locks
from ..asynchronous import run_async
from ..jsonio import write_json
from ..log import say, say_why
from ..runs import Run
from . import probe_set
from .probe import NoAnswer, Probe
from .prompt import stop_token_ids


class NotApplied(Exception):
    """The adapter's answers equal the base model's."""


def check(
    run: Run, url: str, pid: int, wait: float, *, load: Path | None = None, base: list[str] | None = None,
    asks_probe_set: bool = False, ready: Path | None = None, prompts: Sequence[dict[str, Any]] = (),
) -> None:  # fmt: skip
    """Wait until a server answers as this run, and ask it the probe set.

    Args:
        run: whose name is asked; its answers to the probe set are kept.
        url: the server's.
        pid: its process.
        wait: seconds for the first answer, and once more for the probe set.
        load: an adapter that the server has to load before.
        base: the base model's answers, of which one must differ.
        asks_probe_set: with the probe set; ``base`` asks it too.
        ready: where to write when it was ready, and its first answer.
        prompts: with the tokens of each, which the server has to make, too.

    Raises:
        NoAnswer: there is no use in waiting, or a prompt is another one; nothing is kept.
        NotApplied: all answers equal the base model's.
    """

    async def ask() -> None:
        probe = Probe(url, pid, run.served_as, wait, stop_token_ids(run.settings))
        try:
            if load:
                await probe.load(load)
            first, another = probe_set.items(run.settings)[0], f"not the server that was expected at {url}"
            answer = await probe.ask(first["instruction"] or None, first["input"], "not ready", another)
            print(f"{run.title}: ready after {probe.seconds:.1f} s", flush=True)
            for prompt in prompts:
                if await probe.tokens(prompt["messages"]) != prompt["tokens"]:
                    text = prompt["messages"][-1]["content"][:60]
                    raise NoAnswer(f"it builds another prompt than was trained, first for the text {text!r}")
            if ready:
                write_json(ready, {"seconds": round(probe.seconds, 2), "answer": answer})
            if asks_probe_set or base is not None:
                await _ask_probe_set(run, probe, base, wait)
        finally:
            await probe.close()

    run_async(ask())


async def _ask_probe_set(run: Run, probe: Probe, base: list[str] | None, wait: float) -> None:
    """One answer that differs is enough, and the last that is asked: beside a run that is being evaluated each waits
    its turn, for seconds.
    """
    answers: list[str] = []
    differs = False
    probe.begin()
    for number, item in enumerate(probe_set.items(run.settings), 1):
        what = f"the probe set's item {number}"
        answers.append(await probe.ask(None, item["input"], f"{what} has no answer", f"{what} is refused"))
        if differs := base is not None and answers[-1] != base[number - 1]:
            break
    count, record = len(answers), probe_set.record_of(run, answers, probe.seconds)
    if base is None:
        path = probe_set.file_of(run)
        # By the jobs of a cluster several servers may be asked at once.
        with locks.hold(path.with_name(f".{run.name}.probe.writing.lock"), run.title, wait):
            write_json(path, record)
        print(f"{run.title}: probe set: {count} answers in {probe.seconds:.1f} s", flush=True)
        return
    write_json(probe_set.file_of(run), record | {"differs": differs})
    if differs:
        print(f"{run.title}: probe set: answer {count} differs from the base model's", flush=True)
    elif len(set(base)) == 1 < count:
        # A model that was hardly trained: it says the same whatever it is asked, and so may any adapter of it.
        print(
            f"{run.title}: probe set: it tells nothing, for the base model gives the same answer to everything",
            flush=True,
        )
    else:
        raise NotApplied(f"all {count} answers of the probe set equal the base model's: the adapter is not applied")


def say_not_applied(run: Run, error: NotApplied) -> None:
    """Say so, and what there is to do."""
    say_why(f"{run.title}: {error}")
    why = "if so few updates may leave its answers as they were, --adapter-check 0 evaluates it"
    say(f"{run.title}: not evaluated; {why}")
