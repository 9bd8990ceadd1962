"""The training of the run that is evaluated: only a finished one counts, and one under way is waited for."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..errors import UserError
from ..identity import read_record
from ..outcomes import outcomes
from ..processes import is_alive
from ..runs import Run

INTERVAL = 0.5  # seconds between two looks


def check(run: Run) -> None:
    """Let only a finished training be evaluated, on its own base model: a failed run must not look like a weak one.

    Raises:
        UserError: the adapter's training has failed, was interrupted or never ran, or was of another revision.
    """
    if not run.is_trained:
        return
    record = read_record(run.adapter / "training.json")
    now, then = run.settings.model_commit, record.get("decides", {}).get("model", {}).get("revision")
    if record.get("status") == "done":
        if then in (None, now) or not now:
            return
        state = f"it was trained on revision {then} of the base model, which is {now} now"
    elif record:
        state = f"its training failed: {record.get('reason', 'no reason noted')}"
    elif run.adapter.is_dir():
        state = "its training was interrupted"
    else:
        state = "it was not trained"
    raise UserError(f"{run.title}: not evaluated, {state} ({run.adapter}); run bin/train.sh")


def wait(run: Run | None, pid: int) -> None:
    """Wait until the training of a run, or with None the whole step, has ended, well or not, or can end no more.

    How it ended is for its own record to tell.

    Args:
        run: whose training.
        pid: the process that trains, bin/train.sh.
    """
    while not has_ended(run, pid):
        time.sleep(INTERVAL)


def has_ended(run: Run | None, pid: int) -> bool:
    """Return whether its outcome tells an end, which a missing or damaged one does not, or the process is gone."""
    outcome = Path(os.environ.get(outcomes.FOLDER, "")) / outcomes.file_name("training", run.name if run else None)
    try:
        return outcomes.read(outcome).state != "running" or not is_alive(pid)
    except UserError:
        return not is_alive(pid)
