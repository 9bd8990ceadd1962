"""How sure a score is: bootstrap over the test items, jointly for all runs, and over seeds; paired comparisons.

All runs are scored on the same items, so one draw of items serves them all: differences between runs are then compared
item by item, which is much sharper than two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from .texts import TextCell

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

    metrics: ClassVar[tuple[str, ...]] = METRICS

    @property
    def seeds(self) -> int:
        """How many seeds."""
        return len(self.answers)

    @property
    def items(self) -> int:
        """How many test items."""
        return len(self.truth)

    def score(self, metric: str) -> np.ndarray:
        """Return the score of each seed, (seeds,)."""
        return np.array([scores(row, self.truth, self.classes, metric) for row in self.answers])

    def drawn(self, metric: str, weights: np.ndarray) -> np.ndarray:
        """Return each seed's score on each draw of items, (draws, seeds)."""
        return np.stack([scores(row, self.truth, self.classes, metric, weights) for row in self.answers], 1)


Point = Cell | TextCell


def class_scores(answers: np.ndarray, truth: np.ndarray, classes: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the F1 of each class, (draws, classes), or (classes,) without weights.

    A class without items counts 0, as in scikit-learn's macro mean over given labels. NaN is a class that has items of
    which a draw has none: what the draw does not show is left out of its mean, else draws of rare classes would all
    lie below the score.
    """
    rows = np.ones((1, len(truth))) if weights is None else weights

    def count(which: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        columns = numbers % (classes + 1)  # the last one is for OUTSIDE
        table = sparse.csr_array((which, (np.arange(len(truth)), columns)), shape=(len(truth), classes + 1))
        return (rows @ table)[:, :classes]

    once = np.ones(len(truth))
    items = count(once, truth)
    both = items + count(once, answers)
    hits = count((answers == truth).astype(float), truth)
    each = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    each[(items == 0) & np.isin(np.arange(classes), truth)] = np.nan
    return each[0] if weights is None else each


def scores(answers: np.ndarray, truth: np.ndarray, classes: int, metric: str, weights: np.ndarray | None = None):
    """Return accuracy or macro-F1 of one run: a number, or with weights one for each draw.

    Args:
        answers, truth: (items,).
        classes: how many labels there are.
        metric: of METRICS.
        weights: (draws, items), how often each item was drawn; None is once each.
    """
    if metric == "accuracy":
        right = answers == truth
        return right.mean() if weights is None else weights @ right.astype(float) / weights.sum(1)
    return np.nanmean(class_scores(answers, truth, classes, weights), axis=-1)


def draws_of_items(items: int, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Return (draws, items): how often each item was drawn, to be shared by all cells."""
    return rng.multinomial(items, np.full(items, 1 / items), size=draws).astype(float)


def bootstrap(each: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return draws of the mean over seeds, (draws,), of items and, if there are several, of seeds.

    Args:
        each: (draws, seeds), from :meth:`Cell.drawn`.
        rng: draws the seeds. A bootstrap of n values is too narrow by sqrt((n-1)/n), which matters for three: the
            deviation is widened by that.
    """
    seeds = each.shape[1]
    mean = each.mean(1)
    if seeds == 1:
        return mean
    chosen = np.take_along_axis(each, rng.integers(0, seeds, size=each.shape), 1).mean(1)
    return mean + (chosen - mean) * np.sqrt(seeds / (seeds - 1))


def interval(draws: np.ndarray, items: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of a score's draws, within 0 and 1.

    Where all draws are 0, or all 1, they know nothing of what the next item would be: then it is Clopper and Pearson's.
    """
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    if low == high and low in (0, 1):
        low, high = proportion_confint(low * items, items, 1 - level, method="beta")
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def class_intervals(cell: Cell, weights: np.ndarray, rng: np.random.Generator) -> dict[int, tuple[float, float, float]]:
    """Return mean over seeds, low and high of the F1 of each class that has items, by its number."""
    means = np.mean([class_scores(row, cell.truth, cell.classes) for row in cell.answers], 0)
    draws = np.stack([class_scores(row, cell.truth, cell.classes, weights) for row in cell.answers], 2)
    found = {}
    for number, items in zip(*np.unique(cell.truth, return_counts=True), strict=True):
        low, high = interval(bootstrap(draws[:, number], rng), int(items))
        found[int(number)] = (float(means[number]), low, high)
    return found


def item_covariance(each: Sequence[np.ndarray], items: int) -> np.ndarray:
    """Return the covariance of the cells' mean scores that comes from their common test items, (cells, cells).

    No variance is below that of 0 right ones (after Agresti and Coull): a bootstrap of answers that are all right, or
    all wrong, would say that nothing is unknown.

    Args:
        each: of each cell (draws, seeds), from :meth:`Cell.drawn` with the same weights.
        items: how many there are.
    """
    covariance = np.atleast_2d(np.cov(np.stack([one.mean(1) for one in each])))
    share = 2 / (items + 4)
    least = share * (1 - share) / (items + 4)
    missing = np.sqrt(np.maximum(least - np.diag(covariance), 0))
    return covariance + np.outer(missing, missing)  # the items are the same, so what they hide is the same


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
    pairs: Sequence[tuple[str, str]],
    cells: Mapping[str, Point],
    each: Mapping[str, np.ndarray],
    metric: str,
    rng: np.random.Generator,
) -> list[Comparison]:
    """Compare cells on their common items.

    With one seed each the p-value of accuracy is McNemar's exact one; else it is of the difference over its deviation
    in the paired bootstrap, over items and seeds (a p-value counted from 1,000 draws could never be small enough for
    the correction). Holm's correction is for all pairs.

    Args:
        pairs: names of cells.
        cells: by name.
        each: by name, (draws, seeds), from :meth:`Cell.drawn` with the same weights.
        metric: of METRICS.
        rng: draws the seeds.
    """
    found = []
    scored = {name: cells[name].score(metric) for name in dict.fromkeys(name for pair in pairs for name in pair)}
    for first, second in pairs:
        one, two = cells[first], cells[second]
        draws = bootstrap(each[second], rng) - bootstrap(each[first], rng)
        seen = scored[first], scored[second]
        difference = float(seen[1].mean() - seen[0].mean())
        if metric == "accuracy" and isinstance(one, Cell) and isinstance(two, Cell) and one.seeds == two.seeds == 1:
            a, b = one.answers[0] == one.truth, two.answers[0] == two.truth
            table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
            p, test = float(mcnemar(table, exact=True).pvalue), "McNemar"
        else:
            p, test = _p_value(difference, draws, seen, one.items), "paired bootstrap"
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        found.append((first, second, difference, float(low), float(high), p, test))
    corrected = multipletests([each[5] for each in found], method="holm")[1] if found else []
    return [Comparison(*each[:6], float(c), each[6]) for each, c in zip(found, corrected, strict=True)]


def _p_value(difference: float, draws: np.ndarray, seen: Sequence[np.ndarray], items: int) -> float:
    """Return the p-value of a difference, from its deviation and Student's t.

    The deviation is that under no difference: for accuracy it is McNemar's. The degrees of freedom are few where the
    seeds, of which there are few, make most of the noise (Satterthwaite).
    """
    variance = draws.var(ddof=1) + difference**2 / items
    if variance == 0:
        return 1.0
    shares = [(each.var(ddof=1) / len(each), len(each) - 1) for each in seen if len(each) > 1]
    of_seeds = sum(share**2 / free for share, free in shares)
    free = variance**2 / (of_seeds + variance**2 / max(items - 1, 1))
    return float(2 * stats.t.sf(abs(difference) / np.sqrt(variance), free))
