"""How often the intervals of macro-F1 are right, by simulation from the answers of real runs.

    FEWSHOT_SETTINGS=logs/tiny.settings.json python bench/coverage_f1.py [--items 150] [--times 50]

The test items of a finished sweep are the population, and a run's score on all of them the truth. --times times some
of the items are drawn; from the answers to these the intervals are made as in a sweep. In the second part the law sees
the sizes but the largest, and predicts the score there: what differs from the first part is the curve, not the items.
Seeds count as runs of their own in the first part, so that it tells of the items alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.answer import curves, law
from fewshot_sft.answer.curves import Curve
from fewshot_sft.answer.intervals import METRICS, Cell, draws_of_items, interval, item_covariance
from fewshot_sft.results.sweep import read_sweep
from fewshot_sft.settings import Settings

LEVELS = (0.95, 0.8)


def some_items(cell: Cell, chosen: np.ndarray) -> Cell:
    """Return the cell with these items only."""
    return Cell(cell.answers[:, chosen], cell.truth[chosen], cell.classes)


def of_items(every: Sequence[Cell], metric: str, items: int, times: int, rng: np.random.Generator) -> list[list[float]]:
    """Return for each simulated run and level whether the interval holds the truth, and the width of the 95 % one."""
    rows = []
    for cell in every:
        for row in cell.answers:
            one = Cell(row[None], cell.truth, cell.classes)
            truth = one.score(metric)[0]
            for _ in range(times):
                sample = some_items(one, rng.integers(0, len(one.truth), items))
                draws = sample.drawn(metric, draws_of_items(items, rng))[:, 0]
                bounds = [interval(draws, items, level) for level in LEVELS]
                rows.append([low <= truth <= high for low, high in bounds] + [bounds[0][1] - bounds[0][0]])
    return rows


def of_prediction(
    found: Sequence[Curve], metric: str, items: int, times: int, rng: np.random.Generator
) -> list[list[float]]:
    """Return the same for the score at the largest size, predicted from the others."""
    rows = []
    for curve in found:
        *seen, last = curve.sizes
        truth = curve.cells[last].score(metric).mean()
        for _ in range(times):
            chosen = rng.integers(0, len(curve.cells[last].truth), items)
            cells = [some_items(curve.cells[size], chosen) for size in seen]
            weights = draws_of_items(items, rng)
            covariance = item_covariance([cell.drawn(metric, weights) for cell in cells], items)
            scores = np.stack([cell.score(metric) for cell in cells])
            at = law.fit(list(seen), scores, covariance, int(rng.integers(2**31))).at([last])[:, 0]
            bounds = [np.quantile(at, [(1 - level) / 2, (1 + level) / 2]) for level in LEVELS]
            rows.append([float(low <= truth <= high) for low, high in bounds] + [bounds[0][1] - bounds[0][0]])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=150, help="drawn of the test items (default: 150)")
    parser.add_argument("--times", type=int, default=50, help="draws for each run (default: 50)")
    args = parser.parse_args()
    settings = Settings.read()
    found, _ = curves.read(read_sweep(settings, settings.sweep_name).evaluations)
    rng = np.random.default_rng(7)
    every = [cell for curve in found for cell in curve.cells.values()]
    print(f"{settings.sweep_name}: {len(every)} points of {len(found)} methods, {args.items} items, {args.times} times")
    print(f"{'':<22}{'metric':<10}{'cases':>7}{'95 %':>8}{'80 %':>8}{'width':>8}")
    for name, rows in (
        ("items", {each: of_items(every, each, args.items, args.times, rng) for each in METRICS}),
        ("the largest size", {each: of_prediction(found, each, args.items, args.times // 5, rng) for each in METRICS}),
    ):
        for metric, cases in rows.items():
            in_95, in_80, width = np.mean(cases, 0)
            print(f"{name:<22}{metric:<10}{len(cases):>7}{in_95:>8.3f}{in_80:>8.3f}{width:>8.3f}")


if __name__ == "__main__":
    main()
