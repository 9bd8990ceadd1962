"""What chance alone does to an accuracy: its interval, and what knowing nothing earns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist


def wilson(correct: int, items: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) of a proportion ``correct / items``.

    E. B. Wilson, JASA 22 (1927) 209-212; recommended over the normal interval, which is empty at 0 and 1, by
    Brown, Cai and DasGupta, Statistical Science 16 (2001) 101-133. It covers the draw of the test items only,
    not the draw of the training examples.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / items
    centre = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    half = z / (1 + z**2 / items) * math.sqrt(share * (1 - share) / items + z**2 / (4 * items**2))
    # At 0 and at 1 the bound is exact; rounding must not put it a hair beyond.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == items else centre + half)


def largest_class(support: Sequence[int]) -> tuple[float, float]:
    """Return (accuracy, macro-F1) of always answering the largest class; ``support`` counts the items of each class."""
    share = max(support) / sum(support)
    # Its class has precision = share and recall = 1; every other class has F1 = 0.
    return share, 2 * share / (1 + share) / len(support)
