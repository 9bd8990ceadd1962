"""A training's two records: what is being trained, written first, and what became of it, written last and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..data import manifest
from ..evaluation import first_answers
from ..identity import read_record, settings_of
from ..jsonio import write_json
from ..provenance import git_revision, now, versions
from ..runs import SCHEMA, Run, sizes
from ..serving.weights import adapter_identity
from . import checks
from .deciding import RECORD, STARTED, Decision
from .watching import Abort


def begin(run: Run, decision: Decision, command: Sequence[str], resumed_at: int) -> dict[str, Any]:
    """Write the note of what is being trained, in place of what was recorded before, and return it.

    Args:
        run: the run.
        decision: what it was decided by.
        command: the trainer's.
        resumed_at: the step of the checkpoint that the trainer goes on from, 0 without one.
    """
    for name in (RECORD, first_answers.FILE):
        (run.adapter / name).unlink(missing_ok=True)
    note = {
        "schema": SCHEMA,
        "kind": "training started",
        **run.fields,
        "identity": decision.identity,
        "decides": decision.parts,
        "settings": settings_of(list(command)),
        "matched_to": max(sizes(run.settings)) if run.settings.match_steps else None,
        "resumed_at": resumed_at,
        "started": now(),
        "never_seen": manifest.never_seen(run.data_file.parent, run.dataset),
    }
    note = {key: value for key, value in note.items() if value is not None}
    write_json(run.adapter / STARTED, note)
    return note


def finish(run: Run, started: dict[str, Any], status: int, seconds: int, abort: Abort | None = None) -> dict[str, Any]:
    """Check what the trainer left, write the record and return it.

    Its ``status`` is ``done`` only when the trainer ended well, trained on exactly ``size`` examples and its loss was
    finite and not zero. A trainer that ended well before it could be ended is judged by what it left, like any other.

    Args:
        run: the run.
        started: the note that :func:`begin` wrote.
        status: the trainer's exit status.
        seconds: its wall time.
        abort: why the watch had it ended, if it had.
    """
    log = run.log("train")
    findings: dict[str, Any] = {}
    reason, resumable = checks.failure_of_process(status, log), True
    if reason is None:
        findings, reason = checks.check(run.adapter, started["size"], started["settings"])
        resumable = False
    elif abort is not None:
        reason, resumable = abort.reason, abort.resumable
    if reason is None:
        findings |= {"status": "done", "adapter": adapter_identity(run.adapter)}
        findings["check"] = read_record(run.adapter / first_answers.FILE).get("check")
    else:
        findings |= {"status": "failed", "reason": reason, "resumable": resumable}
    record = {
        **started,
        "kind": "training",
        **findings,
        "seconds": seconds,
        "finished": now(),
        "log": str(log),
        "versions": versions(),
        "git_revision": git_revision(),
    }
    record = {key: value for key, value in record.items() if value is not None}
    write_json(run.adapter / RECORD, record)
    (run.adapter / first_answers.FILE).unlink(missing_ok=True)
    return record
