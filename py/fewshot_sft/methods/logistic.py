"""Logistic regression, the last step of most methods: its strength is chosen by cross-validation on the subset."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from . import Answers, Task, of_seen, only

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # C, the inverse of the regularization
FOLDS = 5
WITHOUT_FOLDS = 1.0  # C where a label has a single example, which no fold can hold out
STEPS = 500  # of the optimizer


def fit(task: Task, features: Any) -> tuple[Any, dict[str, Any]]:
    """Fit on the training texts' features; return the model and what was chosen by the cross-validated accuracy.

    The model is None where the subset has one label only, for there is nothing to tell apart.

    Args:
        task: labels and seed.
        features: a matrix, dense or sparse, a row for each training text.
    """
    labels = list(task.labels)
    folds = min(FOLDS, *Counter(labels).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        if len(set(labels)) == 1:
            return None, {"folds": 0}
        if folds < 2:
            model = LogisticRegression(C=WITHOUT_FOLDS, max_iter=STEPS)
            return model.fit(features, labels), {"C": WITHOUT_FOLDS, "folds": 0}
        splits = StratifiedKFold(folds, shuffle=True, random_state=task.seed)
        model = LogisticRegressionCV(Cs=STRENGTHS, cv=splits, scoring="accuracy", max_iter=STEPS, tol=1e-3)
        model.fit(features, labels)
        scores = np.mean(np.stack([*model.scores_.values()] if isinstance(model.scores_, dict) else [model.scores_]), 0)
    chosen = float(np.ravel(model.C_)[0])
    accuracy = float(np.reshape(scores, (folds, len(STRENGTHS))).mean(0).max())
    return model, {"C": chosen, "folds": folds, "cross_validated_accuracy": round(accuracy, 4)}


def answers_of(task: Task, model: Any, features: Any, facts: dict[str, Any]) -> Answers:
    """Return the model's answers to the asked texts; without a model the only label that was seen."""
    if model is None:
        return replace(only(task), facts=facts)
    order = [list(model.classes_).index(label) for label in task.seen]
    return of_seen(task, model.predict_proba(features)[:, order], facts)
