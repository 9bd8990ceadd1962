"""What an evaluation found, as its record ``objs/<run>.json`` tells it (every key: docs of the schema)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..data.categories import listed
from ..text import COMPARISON
from . import metrics, scoring


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
        "metrics": metrics.compute(scoring.numbers(answers, classes), references, classes=range(len(classes))),
        "per_class": scoring.per_class(counts["per_class"]),
        "not_in_labels": scoring.outside(answers, classes),
        "seed_scoring": {
            "seed": seed,
            "metrics": metrics.compute(scoring.seed_numbers(answers, classes, seed), references),
        },
        "confusion": {"rows": "true label", "columns": [*classes, scoring.OUTSIDE_COLUMN], "matrix": matrix},
    }


def summary(found: dict[str, Any]) -> list[str]:
    """Return the result in a line, and a line for each thing that makes it worth less than it looks."""
    counts, scores = found["counts"], found["metrics"]
    lines = [
        f"accuracy {scores['accuracy']:.4f}, macro F1 {scores['f1']:.4f}; "
        f"{counts['not_in_labels']} of {counts['items']} answers outside the labels"
    ]
    if counts["cut_by_max_tokens"]:
        lines.append(f"warning: MAX_TOKENS cut off {counts['cut_by_max_tokens']} answers; a label may need more")
    empty = [label for label, counted in counts["per_class"].items() if not counted["items"]]
    if empty:
        lines.append(f"warning: {len(empty)} labels without an item here count 0 in the macro means: {listed(empty)}")
    return lines
