"""Recall for ``evaluate.load("py/metrics/recall")``: scikit-learn's, and no code fetched from a hub."""

import datasets
import evaluate
from sklearn.metrics import recall_score


class Recall(evaluate.Metric):
    """Recall over classes; options (``average``, ``labels``, ``zero_division``) go to ``recall_score``."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions, references, **options):
        return {"recall": float(recall_score(references, predictions, **options))}
