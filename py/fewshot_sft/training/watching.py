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

from .trainer_log import TRAINER_LOG, Follower, Mark, broken_step, mark_of

INTERVAL = 2.0  # seconds between two looks
BEFORE_FIRST_STEP = 4  # times TRAIN_STALL: a download or a large model's loading may show no progress


class Abort(NamedTuple):
    """Why a training is to be ended, and whether the next one can go on from its last checkpoint."""

    reason: str
    resumable: bool


class Silence:
    """How long nothing has been written, in seconds between the looks of this process.

    No clock of the day takes part, and a look that comes late (the machine was suspended, the container paused, and
    the trainer with it) counts as one interval only.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._marks: tuple[Mark, ...] = ()
        self._last = time.monotonic()

    def look(self, *marks: Mark) -> float:
        """Return the seconds since the last change of any file, of which these are the marks."""
        now = time.monotonic()
        self.seconds = self.seconds + min(now - self._last, 2 * INTERVAL) if marks == self._marks else 0.0
        self._last, self._marks = now, marks
        return self.seconds


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
        self._follower, self._silence = Follower(folder / TRAINER_LOG), Silence()
        self._log, self._stall = log, stall
        self._step = self._resumed_at = resumed_at

    def look(self) -> Abort | None:
        """Return why the training is to be ended, or None. Called every :data:`INTERVAL` seconds."""
        for step, loss in self._follower.new():
            self._step = step
            if (reason := broken_step(step, loss)) is not None:
                return Abort(reason, resumable=False)
        begun = self._step > self._resumed_at
        patience = self._stall * (1 if begun else BEFORE_FIRST_STEP)
        if self._silence.look(self._follower.mark, mark_of(self._log)) >= patience > 0:
            when = "" if begun else ", before its first step"
            return Abort(f"the trainer has been silent for {patience} s{when}", resumable=True)
        return None
