"""calibration.json: whether a run's probabilities are true, and how right it is on what it is sure of.

The likeliest label of a run's scores is what it answers here, and its probability how sure it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..evaluation import label_probabilities, predictions, scoring
from ..results.interval import wilson
from ..results.record import Result
from ..results.sweep import Sweep
from ..runs import ON_CPU, ON_GPU, SCHEMA
from .intervals import DRAWS, LEVEL, draws_of_items

BINS = 10
SHARES = tuple(number / 10 for number in range(1, 11))


def make(sweep: Sweep) -> dict[str, Any]:
    """Return the record: the runs that have scores, and for the others why they have none."""
    runs, absent = [], []
    for one in sweep.evaluations:
        fields = {key: value for key, value in one.run.fields.items() if value is not None} | {"series": one.series}
        try:
            runs.append(fields | of_run(one))
        except UserError as error:
            absent.append(fields | {"reason": str(error)})
    return {"schema": SCHEMA, "kind": "calibration", "name": sweep.name, "runs": runs, "absent": absent}


def of_run(one: Result) -> dict[str, Any]:
    """Return what a run's scores tell.

    Raises:
        UserError: it has none that can be used.
    """
    path = one.run.result(".scores.json")
    if not path.exists():
        raise UserError(_why_none(one, path))
    found = label_probabilities.read(path, one.record.get("identity"), one.labels, one.items)
    answers = predictions.read(one.run.result(".predictions.jsonl")).predictions
    if set(answers) != set(range(one.items)):
        raise UserError(f"{one.run.result('.predictions.jsonl')}: not the answers of the record")
    truth = scoring.numbers([answers[index].label for index in range(one.items)], one.labels)
    said = scoring.numbers([answers[index].pred for index in range(one.items)], one.labels)
    likeliest, confidence = found.argmax(1), found.max(1)
    right = (likeliest == np.array(truth)).astype(float)
    return {
        "items": one.items,
        "same_as_answer": float(np.mean(likeliest == np.array(said))),
        "ece": error(confidence, right, np.random.default_rng(0)),
        "bins": bins(confidence, right),
        "answered": answered(confidence, right),
    }


def groups(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each item, (items,): BINS of about as many items each, equal confidences in the same one.

    Bins of equal mass, for those of equal width leave most of a small test set in one bin and a few items in the
    others: Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019; Roelofs et al., "Mitigating
    bias in calibration error estimation", AISTATS 2022.
    """
    edges = np.quantile(confidence, np.linspace(0, 1, BINS + 1))
    return np.searchsorted(edges[1:-1], confidence)


def bins(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Return the bins of the reliability diagram, from ``low`` to ``high`` confidence, with their mean values.

    Args:
        confidence: (items,), the probability of the likeliest label.
        right: (items,), 1 where that is the true one, else 0.
    """
    found, group = [], groups(confidence)
    for number in np.unique(group):
        own = group == number
        found.append(
            {
                "low": float(confidence[own].min()),
                "high": float(confidence[own].max()),
                "items": int(own.sum()),
                "confidence": float(confidence[own].mean()),
                "accuracy": float(right[own].mean()),
            }
        )
    return found


def error(confidence: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Return the expected calibration error, ``value``, and its 95 % interval, ``low`` and ``high``.

    It is the mean over items of the distance between confidence and accuracy of an item's bin, which chance alone makes
    greater than 0. So does each draw of the bootstrap over items once more: the interval is the basic one, mirrored at
    the value. It begins at 0 where a model with these confidences, all true, has as great an error by chance.
    """
    items = len(confidence)
    member = np.eye(BINS)[groups(confidence)]

    def of(distance: np.ndarray) -> np.ndarray:
        return np.abs(distance @ member).sum(-1) / items

    value = float(of(right - confidence))
    drawn = of(draws_of_items(items, rng) * (right - confidence))
    true = of((rng.random((DRAWS, items)) < confidence) - confidence)
    outer = (1 + LEVEL) / 2
    first, last = np.quantile(drawn, [1 - outer, outer])
    low = 0.0 if value <= np.quantile(true, outer) else max(0.0, 2 * value - float(last))
    return {"value": value, "low": low, "high": min(1.0, max(value, 2 * value - float(first)))}


def answered(confidence: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Return for each of SHARES how right the run is on the surest of the items, with Wilson's interval.

    ``at_least`` is the confidence from which on it answers; with equal ones ``items`` is more than the share.
    """
    found, falling = [], np.sort(confidence)[::-1]
    for share in SHARES:
        least = falling[max(1, round(share * len(falling))) - 1]
        own = right[confidence >= least]
        low, high = wilson(int(own.sum()), len(own))
        accuracy = float(own.mean())
        found.append(
            {
                "share": share,
                "items": len(own),
                "accuracy": accuracy,
                "low": low,
                "high": high,
                "at_least": float(least),
            }
        )
    return found


def _why_none(one: Result, path: Path) -> str:
    """Return why a run has no file of scores."""
    if not one.labels:
        return "free text has no label scores"
    if one.run.method in (*ON_CPU, *ON_GPU):
        return f"{path} is missing; bin/baselines.sh makes it"
    if one.record.get("server") == "vllm":
        return "it was evaluated without label scores, by an earlier version; bin/eval.sh --force makes them"
    if one.record.get("backend") == "huggingface":
        return (
            "BACKEND=huggingface: bin/results.sh scores the labels of models below a billion parameters only; "
            "SERVER=vllm those of any"
        )
    return "llamafactory-cli api does not tell the probabilities; SERVER=vllm does"
