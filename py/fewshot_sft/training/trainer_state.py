"""The losses in a ``trainer_state.json`` of transformers, of any project: its ``log_history``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..jsonio import read_json

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


def read(path: Path) -> History:
    """Read a file.

    Raises:
        UserError: it is missing, damaged or holds no loss.
    """
    state = read_json(path)
    entries = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: no log_history in it; give a trainer_state.json, which the trainer writes")
    found = History(*(_points(path, entries, key) for key in ("loss", "eval_loss")))
    if not found.training and not found.evaluation:
        raise UserError(f"{path}: no loss in its log_history; lower LOGGING_STEPS and train again")
    return found


def _points(path: Path, entries: list[dict[str, object]], key: str) -> Points:
    found: dict[int, float] = {}
    for number, entry in enumerate(entries, 1):
        if key not in entry:
            continue
        step, loss = entry.get("step"), entry[key]
        if not isinstance(step, int) or not isinstance(loss, (int, float)):
            raise UserError(f"{path}: entry {number} of log_history: step and {key} are no numbers")
        if math.isfinite(loss):
            found[step] = loss
    return sorted(found.items())
