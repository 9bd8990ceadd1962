"""F1 for ``evaluate.load("py/metrics/f1")``: scikit-learn's, and no code fetched from a hub."""

import datasets
import evaluate
from sklearn.metrics import f1_score


class F1(evaluate.Metric):
    """F1 over classes; options (``average``, ``labels``, ``zero_division``) go to ``f1_score``."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions, references, **options):
        return {"f1": float(f1_score(references, predictions, **options))}
