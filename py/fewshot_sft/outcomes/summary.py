"""The summary of a night: which runs are done, failed or not begun, why, how long it took, where the log is.

It is made from the outcomes of this night alone; of what lies in ``saves/`` and ``objs/`` only the records of runs
whose evaluation has ended well are read, for their metrics. Light imports: it runs while a container is being stopped.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UserError, describe_os_error
from ..jsonio import read_json
from ..redaction import redact
from ..results.record import parse
from ..runs import LORA, SCHEMA, Run, every
from ..settings import Settings
from ..words import duration, one_line
from .outcomes import OF_RUNS, STEPS, Outcome, file_name, read_folder, seconds_between

SIGNALS = {129: "HUP", 130: "INT", 143: "TERM"}
RUN_STATES = ("done", "left out", "failed", "interrupted", "unknown", "not run")
SHORT = ("done", "left out", "not run")  # states that several runs of a method share a line for
SHOWN = ("report.html", "learning_curve.png", "results.csv")
COLUMNS = 120  # of a reason in the text; the JSON has it whole


def make(folder: Path, settings: Settings, status: int, started: float, finished: float) -> dict[str, Any]:
    """Return the summary of a sweep as ``summary.json`` has it (docs/records.md); what is not known has no key.

    Args:
        folder: the outcomes of this night.
        settings: the sweep's.
        status: its exit status.
        started, finished: seconds since the epoch.
    """
    outcomes, unknown = read_folder(folder)
    if status in SIGNALS:
        # After a signal, a step's own error (a server that is gone) is a symptom.
        outcomes = [each._replace(reason=None) if each.state == "running" else each for each in outcomes]
    end = datetime.fromtimestamp(finished, UTC)
    found = {(each.step, each.run): each for each in outcomes}
    runs = [_of_run(run, found, folder, unknown, end) for run in every(settings)]
    counts = {state.replace(" ", "_"): sum(each["state"] == state for each in runs) for state in RUN_STATES}
    steps = [{"step": each.step, **_step(each, end)} for step in STEPS if (each := found.get((step, None))) is not None]
    drawn = any(each["step"] == "results" and each["state"] == "done" for each in steps)
    results = settings.objs_dir / settings.sweep_name
    answer = _answer(results / "answer.json") if drawn else None
    summary = {
        "schema": SCHEMA,
        "kind": "summary",
        "name": settings.sweep_name,
        "split": settings.split,
        "status": status,
        "ended_by": SIGNALS.get(status),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "finished": end.isoformat(timespec="seconds"),
        "seconds": round(finished - started) if finished >= started else None,
        "plan": None if status or settings.device == "cpu" else _plan(settings, outcomes),
        "answer": redact(answer) if answer else None,
        "counts": {"runs": len(runs), **counts},
        "runs": runs,
        "steps": steps,
        "stopped_at": _stopped_at(steps, runs),
        "results": [str(path) for file in SHOWN if drawn and (path := results / file).is_file()] or None,
        "unknown_files": [{"file": file, "reason": why} for file, why in unknown.items()] or None,
    }
    return _known(summary)


def to_text(summary: dict[str, Any]) -> str:
    """Return the summary as a person reads it on a telephone: head, answer, a line for each run, two at most below.

    Of a method beside LoRA all runs that are done, left out for the same reason or not begun have one line together.
    """
    counts, state = summary["counts"], summary["status"]
    head = f"sweep {summary['name']}: {counts['done']} of {counts['runs']} runs done"
    for key in RUN_STATES[1:]:
        if counts[key.replace(" ", "_")]:
            head += f", {counts[key.replace(' ', '_')]} {key}"
    ended = f"ended by {summary['ended_by']}" if "ended_by" in summary else f"status {state}"
    head += f" ({', '.join([ended, *_duration(summary)])})"

    rows = []
    if "stopped_at" in summary:
        stopped = next(each for each in summary["steps"] if each["step"] == summary["stopped_at"])
        rows.append((stopped["step"], stopped["state"], _why(stopped)))
    rows += [_row(group, summary["runs"]) for group in _groups(summary["runs"])]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    lines = [head, *([summary["answer"]] if "answer" in summary else [])]
    for caption, state, detail in rows:
        shown = "FAILED" if state == "failed" else state
        lines.append(f"  {caption:<{widths[0]}}  {shown:<{widths[1]}}  {detail}".rstrip())
    if "results" in summary:
        lines.append(f"results: {', '.join(summary['results'])}")
    if summary["status"] != 0 or counts["done"] + counts["left_out"] < counts["runs"]:
        lines.append("to go on: the same command again")
    return "\n".join(lines) + "\n"


def _plan(settings: Settings, outcomes: list[Outcome]) -> dict[str, Any] | None:
    """Return what the plan thought of training and evaluation, and what they took; None where not all was made now."""
    own = [each for each in outcomes if each.step in OF_RUNS and each.run]
    if not own or any(each.state != "done" or not each.started or not each.finished for each in own):
        return None
    try:
        estimate = read_json(settings.logs_dir / f"{settings.sweep_name}.plan.json").get("seconds")
    except (UserError, OSError, ValueError, AttributeError):
        return None
    begun, ended = min(str(each.started) for each in own), max(str(each.finished) for each in own)
    took = seconds_between(begun, datetime.fromisoformat(ended))
    is_known = isinstance(estimate, int | float) and math.isfinite(estimate)
    return {"estimated_seconds": round(estimate), "seconds": took} if is_known and took else None


def _answer(path: Path) -> str | None:
    """Return the answer in words, or why there is none; None when its record does not tell."""
    try:
        record = read_json(path)
        return str(record["sentence"]) if "sentence" in record else f"no answer: {record['absent']}"
    except (UserError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _groups(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the runs that have a line together, in the order of their first."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in runs:
        alone = each["method"] == LORA or each["state"] not in SHORT
        key = (each["run"],) if alone else (each["method"], each["state"], each.get("reason", ""))
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _row(group: list[dict[str, Any]], runs: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Return a line's caption, state and details."""
    first = group[0]
    if len(group) == 1:
        return first["caption"], first["state"], _done(first) if first["state"] == "done" else _why(first)
    count = f"{len(group)} of {sum(each['method'] == first['method'] for each in runs)} runs"
    if first["state"] != "done":
        return first["method"], first["state"], f"{count}: {why}" if (why := _why(first)) else count
    key, name = ("rouge_l", "ROUGE-L") if "rouge_l" in first["metrics"] else ("f1", "macro F1")
    scores = sorted(each["metrics"][key] for each in group)
    return first["method"], "done", f"{count}, {name} {scores[0]:.3f} to {scores[-1]:.3f}"


def _of_run(
    run: Run, found: dict[tuple[str, str | None], Outcome], folder: Path, unknown: dict[str, str], end: datetime
) -> dict[str, Any]:
    """Return one run's part. It is done only when no step of it failed or was interrupted, and its record is whole."""
    steps = {step: _step(found[step, run.name], end) for step in OF_RUNS if (step, run.name) in found}
    result = _known(run.fields) | {"caption": run.caption}
    for state in ("failed", "interrupted", "left out"):
        # The training before the evaluation: that the one failed is why the other did.
        for step, details in steps.items():
            if details["state"] == state:
                reason = details.get("reason", "").removeprefix(f"{run.title}: ") or None
                about = _known({"reason": reason, "log": details.get("log")})
                where = {} if state == "left out" else {"step": step}
                return result | {"state": state, **where, **about, **steps}
    damaged = [file for step in OF_RUNS if (file := file_name(step, run.name)) in unknown]
    if "evaluation" in steps:
        try:
            return result | {"state": "done", **steps, **_metrics(run)}
        except UserError as error:
            reason = f"it ended well, but its record does not tell: {error}"
            return result | {"state": "failed", "step": "evaluation", "reason": redact(reason), **steps}
    if damaged:
        reason = f"{folder / damaged[-1]}: {unknown[damaged[-1]]}"
        return result | {"state": "unknown", "reason": redact(reason), **steps}
    trained = {"reason": "trained, not evaluated"} if "training" in steps else {}
    return result | {"state": "not run", **trained, **steps}


def _metrics(run: Run) -> dict[str, Any]:
    path = run.result(".json")
    try:
        metrics = parse(path, read_json(path), run).metrics
    except OSError as error:
        raise UserError(describe_os_error(error)) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    return {"metrics": metrics, "record": redact(str(path))}


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


def _stopped_at(steps: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str | None:
    """Return the first step that failed or was interrupted as a whole.

    One whose runs tell more is passed over, and so is one that fails because runs have failed: the training and the
    other methods without a reason of their own, and the results, which then may have nothing to show.
    """
    told = {each.get("step") for each in runs}
    failed = any(each["state"] == "failed" for each in runs)
    for each in steps:
        silent = each["step"] in (*OF_RUNS, "baselines", "gpu baselines") and "reason" not in each
        follows = failed and (each["step"] == "results" or silent)
        if each["state"] in ("failed", "interrupted") and each["step"] not in told and not follows:
            return each["step"]
    return None


def _done(run: dict[str, Any]) -> str:
    scores = run["metrics"]
    times = [
        f"{verb} before" if details["state"] == "skipped" else " in ".join([verb, *_duration(details)])
        for step, verb in (("training", "trained"), ("evaluation", "evaluated"))
        if (details := run.get(step))
    ]
    text = ", ".join(times)
    if text == "trained before, evaluated before":
        text = "trained and evaluated before"
    if "rouge_l" in scores:
        return f"ROUGE-L {scores['rouge_l']:.3f}, chrF {scores['chrf']:.3f} ({text})"
    return f"accuracy {scores['accuracy']:.3f}, macro F1 {scores['f1']:.3f} ({text})"


def _why(part: dict[str, Any]) -> str:
    """Return what is known of a run, or of a step, that is not done: where, why, after how long, the log."""
    # A run names the step that stopped it and has that step's times; a step is such a part itself.
    of_run = "run" in part
    said = [part["step"]] if of_run and "step" in part else []
    if reason := part.get("reason"):
        said.append(one_line(reason, COLUMNS))
    about = [f"after {time}" for time in _duration(part.get(part.get("step", ""), {}) if of_run else part)]
    if "log" in part:
        about.append(f"log: {part['log']}")
    return " ".join([": ".join(said), f"({'; '.join(about)})" if about else ""]).strip()


def _duration(timed: dict[str, Any]) -> list[str]:
    return [duration(timed["seconds"])] if "seconds" in timed else []


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
