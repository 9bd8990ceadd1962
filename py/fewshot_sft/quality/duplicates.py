"""Texts that are there nearly twice: the cosine of their TF-IDF vectors over shingles of three characters.

Identical texts are no matter of this module (``data/cleaning.py``), unless their labels differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from . import Labelled
from .projection import projected

SHINGLE = 3  # characters; also of languages without spaces
SIMILAR = 0.8  # bench/duplicates.py, docs/data_quality.md
SLACK = 0.1  # of a projection's cosine
BLOCK = 500  # rows that are compared at once with all
PARTNERS = 10  # of one text, at most: boilerplate gives millions

Kind = Literal["contradiction", "leak", "repeat"]
KINDS: tuple[Kind, ...] = ("contradiction", "leak", "repeat")


@dataclass(frozen=True)
class Pair:
    """Two texts that are nearly the same: with different labels, else in different splits, else neither."""

    similarity: float
    first: Labelled
    second: Labelled

    @property
    def kind(self) -> Kind:
        """What is the matter with them."""
        if self.first.label != self.second.label:
            return "contradiction"
        return "leak" if self.first.split != self.second.split else "repeat"


def find(rows: Sequence[Labelled], similar: float = SIMILAR) -> list[Pair]:
    """Return the pairs, contradictions first, then leaks, each by similarity.

    All texts are compared with all by short vectors, in blocks; the similarity of what is near then is exact. Of one
    text there are at most PARTNERS pairs with later ones.
    """
    plain = [" ".join(row.text.split()) for row in rows]
    matrix = TfidfVectorizer(
        # Spaces around: a text of one character has a shingle, too.
        preprocessor=lambda text: f" {text.lower()} ",
        analyzer="char",
        ngram_range=(SHINGLE, SHINGLE),
        sublinear_tf=True,
        dtype=np.float32,
    ).fit_transform(plain)
    vectors = projected(matrix)
    labels = np.unique([row.label for row in rows], return_inverse=True)[1]
    splits = np.unique([row.split for row in rows], return_inverse=True)[1]
    found = []
    for begin in range(0, len(rows), BLOCK):
        first, second = _near(vectors, labels, splits, begin, similar - SLACK)
        exact = np.asarray(matrix[first].multiply(matrix[second]).sum(1)).ravel()
        for similarity, one, other in zip(exact, first, second, strict=True):
            same = plain[one] == plain[other] and labels[one] == labels[other]
            if similarity >= similar and not same:
                found.append(Pair(min(float(similarity), 1.0), rows[one], rows[other]))
    return sorted(found, key=lambda pair: (KINDS.index(pair.kind), -pair.similarity))


def _near(
    vectors: np.ndarray, labels: np.ndarray, splits: np.ndarray, begin: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of a row of the block at ``begin`` and a later row that are near, a row's most telling only."""
    block = slice(begin, begin + BLOCK)
    near = vectors[block] @ vectors[begin:].T
    near[np.tril_indices(len(near), 0, near.shape[1])] = -1
    near[near < least] = -1
    telling = near.copy()
    telling[(labels[block, None] != labels[begin:]) & (near > 0)] += 2
    telling[(splits[block, None] != splits[begin:]) & (near > 0)] += 1
    count = min(PARTNERS, near.shape[1])
    best = np.argpartition(telling, near.shape[1] - count, axis=1)[:, near.shape[1] - count :]
    first, which = np.nonzero(np.take_along_axis(telling, best, 1) >= 0)
    return first + begin, best[first, which] + begin
