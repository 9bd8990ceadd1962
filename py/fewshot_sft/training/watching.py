"""The watch over a training: it is ended as soon as its loss is broken or its trainer is silent.

The loss is broken when it is nan, infinite or exactly 0, as :mod:`.checks` has it afterwards: that training has failed,
and its hours are better spent on the next run. The trainer is silent when neither its trainer_log.jsonl nor its log has
changed for TRAIN_STALL seconds, or four times as long before the first step that it logs in this attempt. That must be
longer than what a healthy trainer takes without a word: LOGGING_STEPS updates (the log's progress bar moves with each),
or saving the model.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from .trainer_log import TRAINER_LOG, broken_step, losses_so_far

INTERVAL = 2.0  # seconds between two looks
BEFORE_FIRST_STEP = 4  # times TRAIN_STALL: a download or a large model's loading may show no progress


class Abort(NamedTuple):
    """Why a training is to be ended, and whether the next one can go on from its last checkpoint."""

    reason: str
    resumable: bool


Mark = tuple[int, int, int] | None


def mark_of(path: Path) -> Mark:
    """Return what changes when a file is written to or replaced (inode, size, mtime in ns); None: it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


class Watch:
    """The watch over one training."""

    def __init__(self, folder: Path, log: Path, stall: int, resumed_at: int) -> None:
        """Begin to watch.

        Args:
            folder: the trainer's output_dir; it need not be there yet.
            log: the file of the trainer's stdout and stderr.
            stall: TRAIN_STALL, in seconds; 0: never.
            resumed_at: the step that the trainer goes on from. What was logged up to there tells nothing of this
                attempt, which may load its model for minutes.
        """
        self._losses, self._log, self._stall, self._resumed_at = folder / TRAINER_LOG, log, stall, resumed_at
        self._marks: tuple[Mark, ...] = ()
        self._silent, self._last = 0.0, time.monotonic()

    def look(self) -> Abort | None:
        """Return why the training is to be ended, or None. Called every :data:`INTERVAL` seconds."""
        marks, begun = (mark_of(self._losses), mark_of(self._log)), False
        for step, loss in losses_so_far(self._losses):
            begun = begun or step > self._resumed_at
            if (reason := broken_step(step, loss)) is not None:
                return Abort(reason, resumable=False)
        patience = self._stall * (1 if begun else BEFORE_FIRST_STEP)
        # No clock of the day takes part, and a look that comes late (the machine was suspended, the container paused,
        # and the trainer with it) counts as one interval only.
        now = time.monotonic()
        self._silent = self._silent + min(now - self._last, 2 * INTERVAL) if marks == self._marks else 0.0
        self._last, self._marks = now, marks
        if self._silent >= patience > 0:
            when = "" if begun else ", before its first step"
            return Abort(f"the trainer has been silent for {patience} s{when}", resumable=True)
        return None
