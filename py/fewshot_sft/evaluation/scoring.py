"""Scoring as pure functions over lists of strings: the answers, the true labels, the known labels.

``classes`` are the known labels in order; a label's position is its number. An answer is right when it is the label, as
:func:`fewshot_sft.text.comparable` compares; one that is none of the classes is *outside*.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..text import comparable

OUTSIDE = -1
OUTSIDE_COLUMN = "(outside the labels)"
QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"


def numbers(answers: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return each answer's class number, ``OUTSIDE`` (-1) for one outside: it equals no label, so it is wrong."""
    number = {comparable(label): position for position, label in enumerate(classes)}
    return [number.get(comparable(answer), OUTSIDE) for answer in answers]


def original_numbers(answers: Sequence[str], classes: Sequence[str], seed: int) -> list[int]:
    """Return the class numbers as the original's ``infer_eval.py`` scores: a random class for an answer outside.

    The original drew without a seed; here ``random.Random(seed)`` draws one for each such answer, in item order.
    """
    rng = random.Random(seed)
    return [rng.randrange(len(classes)) if n == OUTSIDE else n for n in numbers(answers, classes)]


def confusion(answers: Sequence[str], truth: Sequence[str], classes: Sequence[str]) -> list[list[int]]:
    """Return counts, K rows (true label) of K+1 columns (answer; the last is outside)."""
    matrix = [[0] * (len(classes) + 1) for _ in classes]
    for answer, label in zip(numbers(answers, classes), numbers(truth, classes), strict=True):
        matrix[label][answer] += 1  # OUTSIDE is -1: the last column
    return matrix


def counts(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> dict[str, Any]:
    """Return the counts of a confusion matrix, in all and of each class."""
    items = sum(map(sum, matrix))
    outside = sum(row[OUTSIDE] for row in matrix)
    return {
        "items": items,
        "correct": sum(matrix[k][k] for k in range(len(classes))),
        "in_labels": items - outside,
        "not_in_labels": outside,
        "per_class": {
            label: {"items": sum(matrix[k]), "predicted": sum(row[k] for row in matrix), "correct": matrix[k][k]}
            for k, label in enumerate(classes)
        },
    }


def per_class(counted: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and support of each class from its counts; 0 where scikit-learn divides by 0."""
    return {
        label: {
            "precision": _ratio(n["correct"], n["predicted"]),
            "recall": _ratio(n["correct"], n["items"]),
            "f1": _ratio(2 * n["correct"], n["predicted"] + n["items"]),
            "support": n["items"],
        }
        for label, n in counted.items()
    }


def strangers(answers: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return the answers outside the labels, in the order of the items."""
    found = numbers(answers, classes)
    return [answer for answer, number in zip(answers, found, strict=True) if number == OUTSIDE]


def outside(answers: Sequence[str], classes: Sequence[str], samples: int = 20) -> dict[str, Any]:
    """Return the rate of answers outside the labels and the most frequent ones.

    ``match_without_quotes_and_case`` counts those that a more lenient rule would accept: the instruction shows the
    categories in double quotes, and models repeat them. Information only; no metric uses it.
    """
    found = Counter(strangers(answers, classes))
    bare = {_bare(label) for label in classes}
    return {
        "rate": found.total() / len(answers),
        "match_without_quotes_and_case": sum(n for answer, n in found.items() if _bare(answer) in bare),
        "samples": [{"answer": answer, "count": n} for answer, n in found.most_common(samples)],
    }


def _bare(text: str) -> str:
    return comparable(comparable(text).strip(QUOTES)).casefold()


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
