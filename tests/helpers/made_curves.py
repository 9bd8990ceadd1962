"""Curves of answers that were never given: of a method that has the scores that a test wants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fewshot_sft.answer.curves import Curve
from fewshot_sft.answer.intervals import Cell


def made(
    method: str,
    scores: Mapping[int, float],
    *,
    items: int = 1000,
    classes: int = 4,
    seeds: int = 1,
    spread: float = 0.0,
    seconds: float = 10.0,
    rng: int = 0,
) -> Curve:
    """Return a curve with these shares of right answers, the same items hard at every size, as real ones are.

    Args:
        method: its name.
        scores: by size; 0 is the size of a method without labels.
        items, classes, seeds: how many; each class has the same number of items.
        spread: standard deviation of the scores between seeds.
        seconds: of a run with 100 labels.
        rng: other numbers make other answers.
    """
    random = np.random.default_rng(rng)
    truth = np.arange(items) % classes
    hard = random.random((seeds, items))
    cells = {}
    for size, score in scores.items():
        rows = []
        for own in hard:
            wanted = np.clip(score + spread * random.standard_normal(), 0, 1)
            rank = np.argsort(np.argsort(0.7 * own + 0.3 * random.random(items)))
            wrong = (truth + random.integers(1, classes, items)) % classes
            rows.append(np.where(rank < round(wanted * items), truth, wrong))
        cells[size] = Cell(np.array(rows), truth, classes)
    spent = {size: {"gpu": 0.0, "cpu": seconds * max(size, 1) / 100, "evaluation": 2.0} for size in scores}
    return Curve(method, tuple(scores), tuple(range(seeds)), cells, spent)
