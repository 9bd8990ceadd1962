"""Four metrics for ``evaluate.load("py/metrics")``: scikit-learn's, and no code fetched from a hub."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score, precision_recall_fscore_support


class Metrics(evaluate.Metric):
    """Accuracy, and precision, recall and F1 as unweighted means over ``labels`` (default: those that occur)."""

    def _info(self):
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions, references, labels=None):
        # 0 is scikit-learn's own value for a class without predictions; saying it only leaves out the warning.
        precision, recall, f1, _ = precision_recall_fscore_support(
            references, predictions, labels=labels, average="macro", zero_division=0
        )
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
