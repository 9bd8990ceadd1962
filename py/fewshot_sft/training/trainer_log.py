"""LLaMA-Factory's ``trainer_log.jsonl``: the losses, read whole or while the trainer writes, and which are broken.

An entry's ``loss`` is the mean over the steps since the entry before, as the trainer computed it, not rounded; the
norm of the gradients is not in this file. By default (``logging_nan_inf_filter``) transformers replaces the loss of
a step that is nan or infinite by the mean of those before it since the last entry, which is 0 when there are none.
So weights that have become nan show as a loss of *exactly* 0, one entry later at the most. A training that is only
very good does not get there: for that, every supervised token of all these steps would have to be predicted with less
than about 6e-8 (the resolution of float32) left to all other tokens together.
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

from ..errors import UserError

TRAINER_LOG = "trainer_log.jsonl"
REMEDY = "GLM-4 and others overflow in fp16: use PRECISION=bf16, or a lower LEARNING_RATE"


def losses(folder: Path) -> list[tuple[int, float]]:
    """Return (optimizer step, loss) of each entry of ``trainer_log.jsonl``; a step logged twice counts as last logged.

    Raises:
        UserError: the file is missing or a line is no log entry.
    """
    path = folder / TRAINER_LOG
    found: dict[int, float] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the trainer logged nothing") from None
    for number, line in enumerate(lines, 1):
        try:
            found |= _logged(line)
        except ValueError:
            raise UserError(f"{path}: line {number}: not an entry of LLaMA-Factory's training log") from None
    return sorted(found.items())


def losses_so_far(path: Path) -> list[tuple[int, float]]:
    """Return (optimizer step, loss) of each whole entry of a log that is being written, in the order of the lines.

    What is no entry is passed over, for :func:`losses` complains of it in the end.
    """
    found: list[tuple[int, float]] = []
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # the last one has no end yet, or is empty
    except OSError:  # not there yet, or a network's file system that hiccups
        return []
    for line in lines:
        with contextlib.suppress(ValueError):
            found += _logged(line).items()
    return found


def _logged(line: bytes) -> dict[int, float]:
    """Return the loss of one line of the log by its optimizer step, nothing for an entry without a loss.

    Raises:
        ValueError: the line is no entry of the log.
    """
    try:
        entry = json.loads(line)
        return {} if entry.get("loss") is None else {int(entry["current_steps"]): float(entry["loss"])}
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an entry of the log: {error!r}") from None


def broken_step(step: int, loss: float) -> str | None:
    """Return why the loss of a step cannot be right (nan, infinite, exactly 0), or None."""
    if not math.isfinite(loss):
        return f"the loss is {loss} at step {step}; {REMEDY}"
    if loss == 0:
        return f"the loss is exactly 0 at step {step}, the mark of an overflow; {REMEDY}"
    return None


def broken_loss(logged: list[tuple[int, float]]) -> str | None:
    """Return why a training's losses cannot be right (nan, infinite, exactly 0, none at all), or None."""
    if not logged:
        return "the trainer logged no loss; lower LOGGING_STEPS"
    return next((reason for each in logged if (reason := broken_step(*each)) is not None), None)


def mean_loss(logged: list[tuple[int, float]]) -> float:
    """Return the mean loss over all steps up to the last that is logged.

    Not the trainer's own, which after a resume is the sum of the steps since then by the number of all.
    """
    steps = [0, *(step for step, _ in logged)]
    return sum(loss * (step - steps[at]) for at, (step, loss) in enumerate(logged)) / steps[-1]
