"""How sure a score is: bootstrap over the test items, jointly for all runs, and over seeds; paired comparisons.

All runs are scored on the same items, so one draw of items serves them all: differences between runs are then compared
item by item, which is much sharper than two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

DRAWS = 1000
LEVEL = 0.95
OUTSIDE = -1  # an answer that is none of the labels
METRICS = ("accuracy", "f1")  # f1: the macro mean


@dataclass(frozen=True)
class Cell:
    """One point of a curve: a method at a size, with an array of answers for each seed.

    Attributes:
        answers: (seeds, items), each the number of a label, or OUTSIDE.
        truth: (items,).
        classes: how many labels there are.
    """

    answers: np.ndarray
    truth: np.ndarray
    classes: int

    def score(self, metric: str) -> np.ndarray:
        """Return the score of each seed, (seeds,)."""
        return np.array([scores(row, self.truth, self.classes, metric) for row in self.answers])


def scores(answers: np.ndarray, truth: np.ndarray, classes: int, metric: str, weights: np.ndarray | None = None):
    """Return accuracy or macro-F1 of one run, for each row of weights.

    Args:
        answers, truth: (items,).
        classes: how many labels there are. A label without items and answers counts 0, as in scikit-learn's macro mean
            over given labels.
        metric: of METRICS.
        weights: (draws, items), how often each item was drawn; None is once each.
    """
    rows = np.ones((1, len(truth))) if weights is None else weights
    right = (answers == truth).astype(float)
    if metric == "accuracy":
        found = rows @ right / rows.sum(1)
    else:
        one_hot = np.eye(classes + 1)  # the last row is for OUTSIDE
        hits = rows @ (one_hot[truth] * right[:, None])
        both = rows @ (one_hot[truth] + one_hot[answers])
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.where(both > 0, 2 * hits / both, 0.0)
        found = each[:, :classes].mean(1)
    return found[0] if weights is None else found


def draws_of_items(items: int, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Return (draws, items): how often each item was drawn, to be shared by all cells."""
    return rng.multinomial(items, np.full(items, 1 / items), size=draws).astype(float)


def bootstrap(cell: Cell, metric: str, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return draws of a cell's mean score over seeds, (draws,): of items by ``weights``, and of seeds if several."""
    each = np.stack([scores(row, cell.truth, cell.classes, metric, weights) for row in cell.answers], 1)
    seeds = each.shape[1]
    if seeds == 1:
        return each[:, 0]
    chosen = rng.integers(0, seeds, size=each.shape)
    return np.take_along_axis(each, chosen, 1).mean(1)


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def item_covariance(cells: Sequence[Cell], metric: str, weights: np.ndarray) -> np.ndarray:
    """Return the covariance of the cells' mean scores that comes from their common test items, (cells, cells)."""
    means = [
        np.mean([scores(row, cell.truth, cell.classes, metric, weights) for row in cell.answers], 0) for cell in cells
    ]
    return np.atleast_2d(np.cov(np.stack(means)))


@dataclass(frozen=True)
class Comparison:
    """``second`` minus ``first``: the difference, its interval, and a p-value, corrected for how many were made."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    corrected: float
    test: str


def compare(
    pairs: Sequence[tuple[str, str]], cells: dict[str, Cell], metric: str, weights: np.ndarray, rng: np.random.Generator
) -> list[Comparison]:
    """Compare cells on their common items.

    With one seed each the p-value of accuracy is McNemar's exact one; else it is the paired bootstrap's, over items and
    seeds. Holm's correction is for all pairs.
    """
    found = []
    for first, second in pairs:
        one, two = cells[first], cells[second]
        draws = bootstrap(two, metric, weights, rng) - bootstrap(one, metric, weights, rng)
        difference = float(two.score(metric).mean() - one.score(metric).mean())
        if metric == "accuracy" and len(one.answers) == len(two.answers) == 1:
            a, b = one.answers[0] == one.truth, two.answers[0] == two.truth
            table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
            p, test = float(mcnemar(table, exact=True).pvalue), "McNemar"
        else:
            below = (np.count_nonzero(draws <= 0) + 1) / (len(draws) + 1)
            above = (np.count_nonzero(draws >= 0) + 1) / (len(draws) + 1)
            p, test = min(1.0, 2 * min(below, above)), "paired bootstrap"
        found.append((first, second, difference, *interval(draws), p, test))
    corrected = multipletests([each[5] for each in found], method="holm")[1] if found else []
    return [Comparison(*each[:6], float(c), each[6]) for each, c in zip(found, corrected, strict=True)]
