"""Precision for ``evaluate.load("py/metrics/precision")``: scikit-learn's, and no code fetched from a hub."""

import datasets
import evaluate
from sklearn.metrics import precision_score


class Precision(evaluate.Metric):
    """Precision over classes; options (``average``, ``labels``, ``zero_division``) go to ``precision_score``."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions, references, **options):
        return {"precision": float(precision_score(references, predictions, **options))}
