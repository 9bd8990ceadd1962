"""The training losses of a run, as the trainer logged them (``trainer_log.jsonl``)."""

from __future__ import annotations

import math

from ..training import trainer_log
from .record import Result

Points = list[tuple[int, float]]  # (optimizer step, mean loss since the line before)


def read_losses(one: Result) -> Points:
    """Return the finite losses that the trainer logged for a run; empty when there is no adapter or no log.

    Raises:
        UserError: a line of the log is no JSON.
    """
    if one.adapter is None or not (one.adapter / trainer_log.TRAINER_LOG).is_file():
        return []
    return [(step, loss) for step, loss in trainer_log.losses(one.adapter) if math.isfinite(loss)]
