"""Accuracy for ``evaluate.load("py/metrics/accuracy")``: scikit-learn's, and no code fetched from a hub."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):
    """The share of predictions that equal their reference; options go to ``accuracy_score``."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions, references, **options):
        return {"accuracy": float(accuracy_score(references, predictions, **options))}
