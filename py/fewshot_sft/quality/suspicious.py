"""Labels that look wrong: confident learning (Northcutt et al., arXiv 1911.00068) on out-of-sample probabilities.

The probabilities are TF-IDF's, by cross-validation. Their mean with the sentence encoder's is a little better, and
takes minutes instead of seconds (docs/data_quality.md).
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ..methods import logistic, tfidf
from . import Absent

FOLDS = 5
# What share of such findings was really wrong where we know it: bench/suspicious.py, docs/data_quality.md.
MEASURED = (
    {"data": "tiny", "wrong_labels": 0.03, "precision": 0.99, "precision_of_ten": 1.0},
    {"data": "AG News", "wrong_labels": 0.03, "precision": 0.47, "precision_of_ten": 0.8},
)


@dataclass(frozen=True)
class Suspicion:
    """A label that looks wrong."""

    index: int  # of the text
    likely: str
    p_given: float
    p_likely: float


@dataclass(frozen=True)
class Suspicions:
    """What was found, the worst first, and which labels have too few texts to be looked at."""

    found: list[Suspicion]
    checked: int
    too_rare: list[str]


def find(texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> Suspicions:
    """Return the labels that look wrong. A label with fewer texts than folds is not looked at.

    Raises:
        Absent: fewer than two labels have as many texts as there are folds.
        ImportError: cleanlab is not installed.
    """
    counts = Counter(labels)
    classes = sorted(label for label, count in counts.items() if count >= FOLDS)
    if len(classes) < 2:
        raise Absent(f"fewer than two labels have {FOLDS} texts, which the cross-validation needs of each")
    kept = [index for index, label in enumerate(labels) if counts[label] >= FOLDS]
    numbers = {label: number for number, label in enumerate(classes)}
    given = np.array([numbers[labels[index]] for index in kept])
    probabilities = out_of_sample([texts[index] for index in kept], given, seed)
    likely = probabilities.argmax(1)
    found = [
        Suspicion(
            kept[each], classes[likely[each]], probabilities[each, given[each]], probabilities[each, likely[each]]
        )
        for each in issues(given, probabilities)
        if likely[each] != given[each]
    ]
    return Suspicions(found, len(kept), sorted(set(counts) - set(classes)))


def issues(given: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Return the rows whose label looks wrong, the least probable first.

    Confident learning counts how many there are; which they are follows from the probability of the given label. Of
    cleanlab's choices this one was right most often (docs/data_quality.md).

    Args:
        given: the label's number of each row; every number has rows.
        probabilities: (rows, labels), out of sample.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    from cleanlab.filter import find_label_issues

    found: Any = find_label_issues(
        given, probabilities, return_indices_ranked_by="self_confidence", filter_by="low_self_confidence", n_jobs=1
    )
    return [int(each) for each in found]


def out_of_sample(texts: Sequence[str], given: np.ndarray, seed: int) -> np.ndarray:
    """Return each label's probability for each text, by models that did not learn from it: (texts, labels).

    The strength of the regularization is fixed: a cross-validation of its own chose the same on `tiny` and AG News, in
    four times the time.
    """
    matrix = tfidf.features().fit_transform(texts).tocsc()
    matrix = matrix[:, np.diff(matrix.indptr) > 1].tocsr()  # what one text has tells nothing about another
    model = LogisticRegression(C=logistic.WITHOUT_FOLDS, max_iter=logistic.STEPS, tol=1e-3)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_val_predict(model, matrix, given, cv=folds, method="predict_proba")
