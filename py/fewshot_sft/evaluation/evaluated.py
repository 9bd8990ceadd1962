"""What an evaluation found, as its record ``objs/<run>.json`` tells it (every key: docs/records.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.categories import listed
from ..identity import read_record
from ..jsonio import write_bytes, write_json
from ..provenance import git_revision, versions
from ..runs import FREE_METRICS, Run
from ..text import COMPARISON
from . import free_text, macro, notebook_pickle, scoring
from .files import EvaluationFiles
from .predictions import PredictionLog
from .questions import EvaluationSet


def findings(
    answers: Sequence[str], truth: Sequence[str], classes: Sequence[str], cut: int, seed: int
) -> dict[str, Any]:
    """Return the record's part that follows from the answers: counts, both scorings, confusion matrix, strangers.

    Args:
        answers: one an item.
        truth: the items' labels, each one of ``classes``.
        classes: the known labels, in order.
        cut: how many answers max_tokens ended.
        seed: draws the labels that the original's scoring puts for answers outside.
    """
    matrix = scoring.confusion(answers, truth, classes)
    counts = scoring.counts(matrix, classes)
    references = scoring.numbers(truth, classes)
    return {
        "labels": list(classes),
        "comparison": COMPARISON,
        "counts": counts | {"cut_by_max_tokens": cut},
        "metrics": macro.compute(scoring.numbers(answers, classes), references, classes=range(len(classes))),
        "per_class": scoring.per_class(counts["per_class"]),
        "not_in_labels": scoring.outside(answers, classes),
        "original_scoring": {
            "seed": seed,
            "metrics": macro.compute(scoring.original_numbers(answers, classes, seed), references),
        },
        "confusion": {"rows": "true label", "columns": [*classes, scoring.OUTSIDE_COLUMN], "matrix": matrix},
    }


def free_findings(found: free_text.Items, answers: Sequence[str], cut: int) -> dict[str, Any]:
    """Return the record's part that follows from the answers in free text, of which each item gives ``found``."""
    counts = {"items": len(answers), "correct": int(found["exact_match"].sum())}
    return {
        "labels": [],
        "comparison": COMPARISON,
        "counts": counts | {"empty": sum(not answer for answer in answers), "cut_by_max_tokens": cut},
        "metrics": free_text.metrics(found),
        "signatures": free_text.signatures(),
    }


def summary(found: dict[str, Any]) -> list[str]:
    """Return the result in a line, and a line for each thing that makes it worth less than it looks."""
    counts, scores = found["counts"], found["metrics"]
    if not found["labels"]:
        said = ", ".join(f"{FREE_METRICS[name]} {scores[name]:.4f}" for name in free_text.METRICS)
        lines = [f"{said}; {counts['items']} items"]
        if cut := counts["cut_by_max_tokens"]:
            lines.append(f"warning: answers that MAX_TOKENS cut off: {cut}; they count as they are, raise it")
        if counts["empty"]:
            lines.append(f"warning: empty answers: {counts['empty']}")
        return lines
    lines = [
        f"accuracy {scores['accuracy']:.4f}, macro F1 {scores['f1']:.4f}; "
        f"{counts['not_in_labels']} of {counts['items']} answers outside the labels"
    ]
    if counts["cut_by_max_tokens"]:
        lines.append(f"warning: answers that MAX_TOKENS cut off: {counts['cut_by_max_tokens']}; a label may need more")
    empty = [label for label, counted in counts["per_class"].items() if not counted["items"]]
    if empty:
        lines.append(f"warning: without an item here, so 0 in the macro means: {listed(empty)}")
    return lines


def write_served(
    run: Run, data: EvaluationSet, log: PredictionLog, files: EvaluationFiles, rest: dict[str, Any]
) -> None:
    """Do as :func:`write` for a run that a server has answered for."""
    settings = run.settings
    served = {
        "base_model": settings["MODEL"],
        "base_model_revision": settings.model_commit or None,
        "adapter": str(run.adapter) if run.is_trained else None,
        "template": settings["TEMPLATE"],
        "server": settings["SERVER"],
        "backend": settings["BACKEND"],
    }
    asked = {
        "limit": settings.eval_limit,
        "temperature": 0,
        "max_tokens": settings.max_tokens,
        "concurrency": settings.concurrency or "auto",
        "request_timeout": settings.request_timeout,
    }
    write(run, data, log, files, served, asked, rest)


def write(
    run: Run,
    data: EvaluationSet,
    log: PredictionLog,
    files: EvaluationFiles,
    made_by: dict[str, Any],
    made_with: dict[str, Any],
    rest: dict[str, Any],
) -> None:
    """Score all answers; write pickle and list, and last the record: it marks the evaluation as complete.

    Args:
        run: what was evaluated.
        data: the items and labels.
        log: an answer to each item.
        files: where to write.
        made_by: keys of the record about what has answered.
        made_with: its ``settings``, beside the data.
        rest: more keys of the record.
    """
    answers, truth, result = _score(run, data, log)
    if data.labels:
        # The notebook gets the original's own scoring, so that its figures compare with those it was published with.
        original = result["original_scoring"]["metrics"]
        notebook_pickle.write(files.pickle, run.name, answers, truth, data.labels, original)
    else:
        counted = {name: values.tolist() for name, values in result.pop("items").items()}
        head = run.head("item scores") | {"identity": rest["identity"]}
        write_bytes(files.items, json.dumps(head | {"items": counted}).encode())
    write_list(files.listed, data, answers)
    record = {
        "split": run.settings["SPLIT"],
        **made_by,
        **result,
        "predictions": str(files.predictions),
        "settings": _measured({"data": str(data.path), "data_sha256": data.sha256, **made_with}),
        "versions": versions(),
        "git_revision": git_revision(),
        **rest,
    }
    write_json(files.record, run.head("evaluation") | _measured(record))
    for line in summary(result):
        print(f"{run.title}: {line}")


def write_list(path: Path, data: EvaluationSet, answers: Sequence[str]) -> None:
    """Write ``[{"input", "predict", "target"}]``, in the order of the items: what people and other tools read."""
    found = [
        {"input": item.input, "predict": answer, "target": item.output}
        for item, answer in zip(data.items, answers, strict=True)
    ]
    write_bytes(path, (json.dumps(found, ensure_ascii=False, indent=4) + "\n").encode())


def add_constrained(
    run: Run, data: EvaluationSet, log: PredictionLog, files: EvaluationFiles, rest: dict[str, Any]
) -> None:
    """Score the answers of CONSTRAIN=1 and add them to the record, which is there."""
    _, _, result = _score(run, data, log)
    constrained = {key: result[key] for key in ("metrics", "counts", "confusion")}
    record = read_record(files.record) | {"constrained": constrained | {"predictions": str(files.constrained)} | rest}
    write_json(files.record, record)
    for line in summary(result):
        print(f"{run.title}, constrained to the labels: {line}")


def _score(run: Run, data: EvaluationSet, log: PredictionLog) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return the answers in the order of the items, the items' labels, and what follows from the two."""
    found = [log.predictions[index] for index in range(len(data.items))]
    answers, truth = [each.pred for each in found], [item.output for item in data.items]
    cut = sum(each.cut for each in found)
    if data.labels:
        return answers, truth, findings(answers, truth, data.labels, cut, run.settings.split_seed)
    counted = free_text.items(answers, truth)
    return answers, truth, free_findings(counted, answers, cut) | {"items": counted}


def _measured(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without those that do not apply: absent rather than null."""
    return {key: value for key, value in fields.items() if value is not None}
