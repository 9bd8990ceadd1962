"""answer.json: the answer of a sweep, made from its records."""

from __future__ import annotations

from typing import Any

from ..errors import UserError
from ..evaluation import free_text
from ..provenance import now
from ..results.sweep import Sweep
from ..settings import Settings
from . import curves, decision, sentences


def make(sweep: Sweep, settings: Settings) -> dict[str, Any]:
    """Return the record; where no answer can be made, it says why.

    Args:
        sweep: with at least one evaluation.
        settings: targets, prices, tolerance.
    """
    head = {"schema": 1, "kind": "answer", "name": sweep.name, "split": settings["SPLIT"], "created": now()}
    metric, target = "f1", settings.target_f1
    if not sweep.evaluations[0].labels:
        metric, target = free_text.METRICS[0], None
    elif settings.target_accuracy is not None and target is None:
        metric, target = "accuracy", settings.target_accuracy
    try:
        found, without = curves.read(sweep.evaluations)
        if not found:
            raise UserError("no method that learns from labels was measured")
    except UserError as error:
        return head | {"absent": str(error)}
    answer = decision.decide(
        found,
        without,
        metric,
        target=target,
        tolerance=settings.tolerance,
        gpu_price=settings.gpu_price,
        label_cost=settings.label_cost,
        labels=sweep.evaluations[0].labels,
        seed=settings.split_seed,
    )
    return head | {"sentence": sentences.headline(answer)} | answer
