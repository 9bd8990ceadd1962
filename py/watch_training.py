"""Watch one training and end with the reason as soon as its loss is broken or, with --stall, its trainer is silent.

    python py/watch_training.py --folder saves/tiny/lora/tiny-llm_train_100 --log logs/tiny-llm_train_100.train.log

It follows the trainer's own trainer_log.jsonl in the folder. The loss is broken when it is nan, infinite or exactly
0, as `training_record.py finish` has it: that training has failed, and its hours are better spent on the next size.
The trainer is silent when neither that file nor the log has changed for --stall seconds after the first step that it
has logged since this watch began, or for four times as long before it. It must be longer than what a healthy trainer
takes without a word: LOGGING_STEPS updates (the log's progress bar moves with each), or saving the model.

The reason goes to stderr, in one line, and to training.aborted.json in the folder, where `training_record.py finish`
finds it. Whoever started both ends the trainer then, and ends this watch when the trainer has ended.
Exit status: 3 the training is to be ended; 2 wrong arguments, or the watch itself cannot go on. It never ends with 0.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_sft.errors import UserError
from fewshot_sft.identity import read_record
from fewshot_sft.jsonio import write_json
from fewshot_sft.program import run
from fewshot_sft.training.log import ABORTED, STARTED, TRAINER_LOG, Follower, Mark, broken_step, mark_of

EXIT_ABORT = 3  # not 1, which is how Python ends that cannot even begin: no reason to end a training
BEFORE_FIRST_STEP = 4  # times --stall: a download or a large model's loading may show no progress


@dataclass(frozen=True)
class Abort:
    """Why a training is to be ended, and whether the next run can go on from its last checkpoint."""

    reason: str
    resumable: bool
    step: int
    loss: float | None = None


class Silence:
    """How long nothing has been written, in seconds of this process' looks.

    No clock of the day takes part, and a look that comes late (the machine was suspended, the container paused, and
    the trainer with it) counts as one interval only.
    """

    def __init__(self, interval: float) -> None:
        self.seconds = 0.0
        self._longest = 2 * interval
        self._marks: tuple[Mark, ...] = ()
        self._last = time.monotonic()

    def look(self, *marks: Mark) -> float:
        """Return the seconds since the last change of any file, of which these are the marks."""
        now = time.monotonic()
        self.seconds = self.seconds + min(now - self._last, self._longest) if marks == self._marks else 0.0
        self._last, self._marks = now, marks
        return self.seconds


def watch(folder: Path, log: Path, interval: float, stall: float | None) -> Abort:
    """Look every ``interval`` seconds; return only when the training is to be ended."""
    follower, silence = Follower(folder / TRAINER_LOG), Silence(interval)
    # What a resumed training logged before says nothing of this one: it may load its model for minutes.
    before = read_record(folder / STARTED).get("resumed_at", 0)
    step = before
    while True:
        for step, loss in follower.new():
            if (reason := broken_step(step, loss)) is not None:
                return Abort(reason, False, step, loss if math.isfinite(loss) else None)
        if stall is not None:
            patience = stall if step > before else BEFORE_FIRST_STEP * stall
            if silence.look(follower.mark, mark_of(log)) >= patience:
                when = "" if step > before else ", before its first step"
                return Abort(f"the trainer has been silent for {patience:g} s{when}", True, step)
        time.sleep(interval)


def note(folder: Path, abort: Abort) -> None:
    """Leave the reason in the folder for ``training_record.py finish``."""
    from fewshot_sft.provenance import now  # imports that a watch does not need until it ends

    record: dict[str, Any] = {
        "schema": 1,
        "kind": "training aborted",
        "run": folder.name,
        "reason": abort.reason,
        "resumable": abort.resumable,
        "step": abort.step,
        "loss": abort.loss,
        "aborted": now(),
    }
    write_json(folder / ABORTED, {key: value for key, value in record.items() if value is not None})


def main(argv: list[str]) -> int:
    """Watch; note and print the reason when there is one, and return the exit status."""
    args = parse_args(argv)
    try:
        abort = watch(args.folder, args.log, args.interval, args.stall)
    except Exception as error:  # no reason to end a training that may be well
        raise UserError(f"the watch of {args.folder} cannot go on: {error!r}") from error
    try:
        note(args.folder, abort)
    except OSError as error:  # a full disk, say: the training is to be ended all the same
        print(f"{args.folder / ABORTED}: not written ({error.strerror or error})", file=sys.stderr)
    print(abort.reason, file=sys.stderr)
    return EXIT_ABORT


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line.

    Raises:
        UserError: a number of seconds is not above 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="output_dir of the trainer; it may not be there yet")
    add("--log", type=Path, required=True, help="file of the trainer's stdout and stderr")
    add("--interval", type=float, default=2, help="seconds between two looks (default: 2)")
    add("--stall", type=float, help="seconds of silence after which the trainer hangs; without it: never")
    args = parser.parse_args(argv)
    for name in ("interval", "stall"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name} {value:g}: a number of seconds above 0 is needed")
    return args


if __name__ == "__main__":
    run(main)
