"""The summary of a night: which sizes are done, failed or not run, why, how long it took, where the log is.

It is made from the outcomes of this night alone; of what lies in ``saves/`` and ``objs/`` only the records of sizes
whose evaluation has ended well are read, for their metrics. Light imports: it runs while a container is being stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UserError, describe_os_error
from ..jsonio import read_json
from ..redaction import redact
from ..results.record import parse
from ..words import duration, one_line
from .outcomes import OF_SIZES, STEPS, Outcome, file_name, read_folder, seconds_between

SIGNALS = {129: "HUP", 130: "INT", 143: "TERM"}
SIZE_STATES = ("done", "failed", "interrupted", "unknown", "not run")
SHOWN = ("learning_curve.png", "results.csv")
COLUMNS = 120  # of a reason in the text; the JSON has it whole


def make(
    folder: Path,
    name: str,
    split: str,
    sizes: Sequence[int],
    objs: Path,
    status: int,
    started: float,
    finished: float,
    command: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """Return the summary of a sweep as ``summary.json`` has it (docs/records.md); what is not known has no key.

    Args:
        folder: the outcomes of this night.
        sizes: those that were asked for; 0 is the base model.
        objs: folder of the evaluation records and, in its ``<name>/``, of the results.
        status: the sweep's exit status.
        started, finished: seconds since the epoch.
        command: what was run.
        reason: why the sweep ends, when no step can tell.
    """
    outcomes, unknown = read_folder(folder)
    if status in SIGNALS:
        # What a step complains of while it is being ended (a server that is gone) is not why it did not end well.
        outcomes = [each._replace(reason=None) if each.state == "running" else each for each in outcomes]
    end = datetime.fromtimestamp(finished, UTC)
    found = {(each.step, each.size): each for each in outcomes}
    sizes = list(dict.fromkeys(sizes))

    def metrics(size: int) -> dict[str, Any]:
        path = objs / f"{name}-llm_train_{size}{'' if split == 'test' else f'.{split}'}.json"
        return {"metrics": dict(_parse_record(path, name, size, split)), "record": redact(str(path))}

    of_sizes = [_of_size(size, found, folder, unknown, end, metrics) for size in sizes]
    counts = {state.replace(" ", "_"): sum(each["state"] == state for each in of_sizes) for state in SIZE_STATES}
    steps = [{"step": each.step, **_step(each, end)} for step in STEPS if (each := found.get((step, None))) is not None]
    drawn = any(each["step"] == "results" and each["state"] == "done" for each in steps)
    summary = {
        "schema": 1,
        "kind": "summary",
        "name": name,
        "split": split,
        "status": status,
        "ended_by": SIGNALS.get(status),
        "reason": redact(reason) if reason else None,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": end.isoformat(timespec="seconds"),
        "seconds": round(finished - started) if finished >= started else None,
        "command": redact(command) if command else None,
        "counts": {"sizes": len(sizes), **counts},
        "sizes": of_sizes,
        "steps": steps,
        "stopped_at": _stopped_at(steps, of_sizes),
        "results": [str(path) for file in SHOWN if drawn and (path := objs / name / file).is_file()] or None,
        "unknown_files": [{"file": file, "reason": why} for file, why in unknown.items()] or None,
    }
    return _known(summary)


def to_text(summary: dict[str, Any]) -> str:
    """Return the summary as a person reads it on a telephone: a line for each size and four at most around them."""
    counts, state = summary["counts"], summary["status"]
    head = f"sweep {summary['name']}: {counts['done']} of {counts['sizes']} sizes done"
    for key in SIZE_STATES[1:]:
        if counts[key.replace(" ", "_")]:
            head += f", {counts[key.replace(' ', '_')]} {key}"
    ended = f"ended by {summary['ended_by']}" if "ended_by" in summary else f"status {state}"
    head += f" ({', '.join([ended, *_duration(summary)])})"

    rows = []
    if "stopped_at" in summary:
        stopped = next(each for each in summary["steps"] if each["step"] == summary["stopped_at"])
        rows.append((stopped["step"], stopped["state"], _why(stopped)))
    elif "reason" in summary:
        rows.append(("sweep", "failed", one_line(summary["reason"], COLUMNS)))
    for each in summary["sizes"]:
        label = f"N = {each['size']}" + " (base)" * (each["size"] == 0)
        rows.append((label, each["state"], _done(each) if each["state"] == "done" else _why(each)))
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [head]
    for label, state, detail in rows:
        shown = "FAILED" if state == "failed" else state
        lines.append(f"  {label:<{widths[0]}}  {shown:<{widths[1]}}  {detail}".rstrip())
    if "results" in summary:
        lines.append(f"results: {', '.join(summary['results'])}")
    if summary["status"] != 0 or counts["done"] < counts["sizes"]:
        lines.append(f"to go on: {summary.get('command', 'the same command again')}")
    return "\n".join(lines) + "\n"


def _of_size(
    size: int,
    found: dict[tuple[str, int | None], Outcome],
    folder: Path,
    unknown: dict[str, str],
    end: datetime,
    metrics: Callable[[int], dict[str, Any]],
) -> dict[str, Any]:
    """Return one size's part. It is done only when no step of it failed or was interrupted, and its record is whole."""
    each = {step: found[step, size] for step in OF_SIZES if (step, size) in found}
    steps: dict[str, Any] = {step: _step(outcome, end) for step, outcome in each.items()}
    result: dict[str, Any] = {"size": size}
    for state in ("failed", "interrupted"):
        # The training before the evaluation: that the one failed is why the other did.
        for step, details in steps.items():
            if details["state"] == state:
                about = {key: details[key] for key in ("reason", "log") if key in details}
                return result | {"state": state, "step": step, **about, **steps}
    damaged = [file for step in OF_SIZES if (file := file_name(step, size)) in unknown]
    if "evaluation" in steps:
        try:
            return result | {"state": "done", **steps, **metrics(size)}
        except UserError as error:
            reason = f"it ended well, but its record does not tell: {error}"
            return result | {"state": "failed", "step": "evaluation", "reason": redact(reason), **steps}
    if damaged:
        reason = f"{folder / damaged[-1]}: {unknown[damaged[-1]]}"
        return result | {"state": "unknown", "reason": redact(reason), **steps}
    trained = {"reason": "trained, not evaluated"} if "training" in steps else {}
    return result | {"state": "not run", **trained, **steps}


def _step(outcome: Outcome, end: datetime) -> dict[str, Any]:
    """Return a step's part. One that is still "running" at the end of the sweep was interrupted."""
    running = outcome.state == "running"
    return _known(
        {
            "state": "interrupted" if running else outcome.state,
            "seconds": seconds_between(outcome.started, end) if running else outcome.seconds,
            "reason": redact(outcome.reason) if outcome.reason else None,
            "log": redact(outcome.log) if outcome.log else None,
        }
    )


def _stopped_at(steps: list[dict[str, Any]], sizes: list[dict[str, Any]]) -> str | None:
    """Return the first step that failed or was interrupted as a whole.

    One whose sizes tell more is passed over, and so is one that fails because sizes have failed: the training and the
    evaluation without a reason of their own, and the results, which then may have nothing to show.
    """
    told = {each.get("step") for each in sizes}
    failed = any(each["state"] == "failed" for each in sizes)
    for each in steps:
        follows = failed and (each["step"] == "results" or (each["step"] in OF_SIZES and "reason" not in each))
        if each["state"] in ("failed", "interrupted") and each["step"] not in told and not follows:
            return each["step"]
    return None


def _parse_record(path: Path, name: str, size: int, split: str) -> dict[str, float]:
    try:
        return parse(path, read_json(path), name, size, split).metrics
    except OSError as error:
        raise UserError(describe_os_error(error)) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def _done(size: dict[str, Any]) -> str:
    scores = size["metrics"]
    times = [
        f"{verb} before" if details["state"] == "skipped" else " in ".join([verb, *_duration(details)])
        for step, verb in (("training", "trained"), ("evaluation", "evaluated"))
        if (details := size.get(step))
    ]
    text = ", ".join(times)
    if text == "trained before, evaluated before":
        text = "trained and evaluated before"
    return f"accuracy {scores['accuracy']:.3f}, macro F1 {scores['f1']:.3f} ({text})"


def _why(part: dict[str, Any]) -> str:
    """Return what is known of a size, or of a step, that is not done: where, why, after how long, the log."""
    # A size names the step that stopped it and has that step's times; a step is such a part itself.
    of_size = "size" in part
    reason = part.get("reason", "").removeprefix(f"size {part.get('size')}: ")
    said = [part["step"]] if of_size and "step" in part else []
    if reason:
        said.append(one_line(reason, COLUMNS))
    about = [f"after {time}" for time in _duration(part.get(part.get("step", ""), {}) if of_size else part)]
    if "log" in part:
        about.append(f"log: {part['log']}")
    return " ".join([": ".join(said), f"({'; '.join(about)})" if about else ""]).strip()


def _duration(timed: dict[str, Any]) -> list[str]:
    return [duration(timed["seconds"])] if "seconds" in timed else []


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
