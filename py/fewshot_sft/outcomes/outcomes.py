"""Outcomes: how each step of the sweep that runs now has ended, one small JSON file for a step, or a run of it.

They lie in ``logs/<sweep>.outcomes/``, which FEWSHOT_OUTCOMES names and the sweep empties when it starts: nothing in
there is of another night. A script that is started alone leaves none.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError, describe, describe_os_error
from ..jsonio import read_json, write_json
from ..redaction import redact

STEPS = ("data", "base model", "preflight", "baselines", "training", "evaluation", "gpu baselines", "results")
OF_RUNS = ("training", "evaluation")  # these have a file for each run, and one for the step as a whole
# "left out": what this machine cannot do, which is no failure of the sweep.
STATES = ("running", "done", "skipped", "left out", "failed")
VARIABLE = "FEWSHOT_OUTCOME"  # the file of the step that runs now
FOLDER = "FEWSHOT_OUTCOMES"
SCHEMA = 2


class Outcome(NamedTuple):  # a dataclass would cost 15 ms of imports
    """One step's outcome, or that of one run in it; what is not known is None."""

    step: str
    run: str | None  # its name
    state: str
    reason: str | None = None
    log: str | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None  # wall time


def file_name(step: str, run: str | None = None) -> str:
    """Return the name of an outcome's file: ``base-model.json``, ``training-tiny-llm_train_100.json``."""
    return step.replace(" ", "-") + ("" if run is None else f"-{run}") + ".json"


def begin(folder: Path, step: str, run: str | None = None, log: str | None = None) -> None:
    """Write that a step has begun; what an earlier attempt left in its file is gone.

    Raises:
        OSError: it cannot be written.
    """
    _write(folder / file_name(step, run), Outcome(step, run, "running", log=log, started=_text(_now())))


def finish(folder: Path, step: str, state: str, run: str | None = None, reason: str | None = None) -> None:
    """Write how a step has ended: ``done``, ``skipped`` (it was done before), ``left out`` or ``failed``.

    A reason that the file has already stays, for the program that noted it knows better than its caller; what is done
    has none. ``seconds`` is left out of a skipped step, and when the clock was set back meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    path, finished = folder / file_name(step, run), _now()
    before = _read_or_none(path) or Outcome(step, run, state)
    ended = before._replace(
        state=state,
        reason=(before.reason or reason) if state in ("left out", "failed") else None,
        finished=_text(finished),
        seconds=seconds_between(before.started, finished) if state != "skipped" else None,
    )
    _write(path, ended)


@contextmanager
def of_run(step: str, run: str, log: Path | None = None) -> Iterator[Callable[[str], None]]:
    """Note the outcome of a run's step: it begins now. Yields a function that ends it with a state.

    A step that ends in an error has failed of that; one that is ended by a signal stays ``running``, which the summary
    calls interrupted. Without FEWSHOT_OUTCOMES nothing is noted. That something cannot be noted ends no step.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        yield lambda state: None
        return
    os.environ[VARIABLE] = str(Path(folder) / file_name(step, run))

    def note(state: str, reason: str | None = None) -> None:
        try:
            if state == "running":
                begin(Path(folder), step, run, str(log) if log else None)
            else:
                finish(Path(folder), step, state, run, reason)
        except OSError:
            lost = f"what became of it could not be noted in {folder}; the summary will not know"
            print(f"warning: {step} of {run}: {lost}", file=sys.stderr)

    note("running")
    try:
        yield note
    except Exception as error:
        note("failed", describe(error))
        raise


def note_reason(text: str) -> None:
    """Keep ``text`` as the reason why the running step fails, in the outcome that FEWSHOT_OUTCOME names.

    Without that variable, or when the step's outcome is not there or not ``running``, nothing happens. It never
    raises: a full disk must not hide the error that it was called for.
    """
    try:
        name = os.environ.get(VARIABLE)
        if not name or not text.strip():
            return
        found = _read_or_none(Path(name))
        if found is not None and found.state == "running":
            _write(Path(name), found._replace(reason=text))
    except Exception:
        pass


def read(path: Path) -> Outcome:
    """Read one outcome.

    Raises:
        UserError: the file is damaged, or none of ours; the message does not name it.
    """
    try:
        if not path.is_file():
            raise UserError("not a file")
        found = read_json(path)
    except UserError as error:
        raise UserError(str(error).removeprefix(f"{path}: ")) from None
    except OSError as error:
        raise UserError(describe_os_error(error).removeprefix(f"{path}: ")) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of brackets
        raise UserError(f"not valid JSON ({error})") from None
    try:
        outcome = _parse(found)
        if path.name == file_name(outcome.step, outcome.run):
            return outcome
    except (KeyError, ValueError, TypeError, AttributeError):
        pass
    raise UserError("not an outcome")


def read_folder(folder: Path) -> tuple[list[Outcome], dict[str, str]]:
    """Return the outcomes of a folder, and the files that are none: their name and what is wrong with them.

    A folder that is missing has no outcomes. Files whose name begins with a dot are passed over: writing is atomic,
    and one that was killed in the middle leaves such a file.
    """
    found, unknown = [], {}
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return [], {}
    except OSError as error:
        return [], {str(folder): describe_os_error(error).removeprefix(f"{folder}: ")}
    for path in paths:
        try:
            found.append(read(path))
        except UserError as error:
            unknown[path.name] = str(error)
    return found, unknown


def seconds_between(started: str | None, finished: datetime) -> float | None:
    """Return the seconds from an outcome's ``started`` to a moment; None when the clock was set back in between."""
    if started is None:
        return None
    seconds = (finished - datetime.fromisoformat(started)).total_seconds()
    return round(seconds, 1) if seconds >= 0 else None


def _write(path: Path, outcome: Outcome) -> None:
    record = {"schema": SCHEMA, "kind": "outcome", **outcome._asdict()}
    free = {key: redact(record[key]) for key in ("reason", "log") if record.get(key)}
    write_json(path, {key: value for key, value in (record | free).items() if value not in (None, "")})


def _read_or_none(path: Path) -> Outcome | None:
    try:
        return read(path)
    except UserError:
        return None


def _parse(record: Any) -> Outcome:
    """Check a record's types.

    Raises:
        KeyError, ValueError, TypeError, AttributeError: it is no outcome.
    """
    if record["schema"] != SCHEMA or record["kind"] != "outcome":
        raise ValueError("kind")
    step, state, run = record["step"], record["state"], record.get("run")
    if step not in STEPS or state not in STATES:
        raise ValueError("state")
    if run is not None and (not isinstance(run, str) or step not in OF_RUNS):
        raise ValueError("run")
    texts = {key: record[key] for key in ("reason", "log", "started", "finished") if key in record}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("text")
    for key in ("started", "finished"):
        if key in texts and datetime.fromisoformat(texts[key]).tzinfo is None:
            raise ValueError(key)
    seconds = record.get("seconds")
    if seconds is not None and (type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds < 0):
        raise ValueError("seconds")
    return Outcome(step, run, state, seconds=seconds, **texts)


def _now() -> datetime:
    return datetime.now(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
