"""Which unlabelled texts are worth a label most: those that a cheap model is unsure of, and unlike one another.

The order is that of k-means++ (Arthur and Vassilvitskii, 2007), each text far from those before it, where a text weighs
as much as the model is unsure of it (Zhdanov, arXiv 1901.05954, weighs k-means so).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ..methods import logistic, tfidf
from . import Absent
from .projection import projected

METHOD = "k-means++, weighted by how unsure tfidf is"
WARNING = (
    "chosen texts are no random sample: labelled and added to the training data they bend the learning curve, and "
    "in the test data they make every score wrong"
)
MOST = 1000  # rows
POOL = 20_000  # that the model is least sure of; only these are compared with one another
BATCH = 10_000  # texts that are vectors at once


@dataclass(frozen=True)
class Suggestion:
    """An unlabelled text, and the label that it probably has."""

    index: int
    likely: str
    p_likely: float


def rank(texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> list[Suggestion]:
    """Return the unlabelled texts, at most MOST, the one whose label is worth most first.

    Args:
        texts: the labelled ones.
        labels: theirs.
        unlabelled: texts that are not among them.

    Raises:
        Absent: there is but one label, or no text.
    """
    if len(set(labels)) < 2:
        raise Absent("the labelled texts have but one label")
    if not unlabelled:
        raise Absent("every text of UNLABELLED_FILE is labelled already")
    features = tfidf.features()
    model = LogisticRegression(C=logistic.WITHOUT_FOLDS, max_iter=logistic.STEPS, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features.fit_transform(texts), labels)
    best = np.zeros((len(unlabelled), 2))  # the two largest probabilities, the larger one last
    likely = np.zeros(len(unlabelled), dtype=int)
    for begin in range(0, len(unlabelled), BATCH):
        part = slice(begin, begin + BATCH)
        probabilities = model.predict_proba(features.transform(unlabelled[part]))
        best[part] = np.sort(probabilities, 1)[:, -2:]
        likely[part] = probabilities.argmax(1)
    margin = best[:, 1] - best[:, 0]
    by_margin = np.argsort(margin, kind="stable")
    pool = by_margin[:POOL]
    vectors = projected(features.transform([unlabelled[index] for index in pool]))
    weights = np.maximum(1 - margin[pool], 1e-6)
    _, picked = kmeans_plusplus(vectors, min(MOST, len(pool)), sample_weight=weights, random_state=0)
    order = list(dict.fromkeys([*pool[picked], *by_margin]))[:MOST]  # of texts that are alike one is picked
    return [Suggestion(int(index), str(model.classes_[likely[index]]), float(best[index, 1])) for index in order]
