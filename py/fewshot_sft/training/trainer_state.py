"""The losses in a ``trainer_state.json`` of transformers, of any project: its ``log_history``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json

RISE = 0.05  # of the evaluation loss, from which on a training overfits
Points = list[tuple[int, float]]  # (optimizer step, loss)


@dataclass(frozen=True)
class History:
    """The finite losses by step; a step that is logged twice, after a resume, counts as last logged."""

    training: Points
    evaluation: Points

    @property
    def best(self) -> tuple[int, float] | None:
        """The evaluation with the least loss, the first of equal ones; None without evaluations."""
        return min(self.evaluation, key=lambda point: point[1], default=None)

    @property
    def overfits(self) -> bool:
        """Whether the last evaluation loss is more than RISE above the best, while the training loss fell since."""
        if self.best is None:
            return False
        step, least = self.best
        before = [loss for at, loss in self.training if at <= step] or [loss for _, loss in self.training[:1]]
        fell = bool(before) and self.training[-1][1] < before[-1]
        return fell and self.evaluation[-1][1] > (1 + RISE) * least


def read(path: Path) -> History:
    """Read a file.

    Raises:
        UserError: it is missing, damaged or holds no loss.
    """
    state = read_json(path)
    entries = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: no log_history in it; give a trainer_state.json, which the trainer writes")
    found = History(*(points(path, entries, key) for key in ("loss", "eval_loss")))
    if not found.training and not found.evaluation:
        raise UserError(f"{path}: no loss in its log_history; lower LOGGING_STEPS and train again")
    return found


def overfitting(record: Mapping[str, Any]) -> str:
    """Return what is said of a training that overfits, from its training.json."""
    best = min(each["loss"] for each in record["eval_loss"])
    return (
        f"it overfits: the loss on the validation split was {best:.4f} at step {record['best_step']} and is "
        f"{record['eval_loss'][-1]['loss']:.4f} in the end, while the training loss fell; fewer EPOCHS may do better"
    )


def points(path: Path, entries: list[dict[str, Any]], key: str) -> Points:
    """Return the finite losses of that name in a log_history.

    Raises:
        UserError: one is no number; the message names the file.
    """
    found: dict[int, float] = {}
    for number, entry in enumerate(entries, 1):
        if key not in entry:
            continue
        step, loss = entry.get("step"), entry[key]
        if not isinstance(step, int) or not isinstance(loss, (int, float)):
            raise UserError(f"{path}: entry {number} of log_history: step and {key} are not both numbers")
        if math.isfinite(loss):
            found[step] = loss
    return sorted(found.items())
