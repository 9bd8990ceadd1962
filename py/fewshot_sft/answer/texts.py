"""A point of a curve in free text: what each item gives to each metric, for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import UserError
from ..evaluation import free_text
from ..identity import read_record
from ..results.record import Result


@dataclass(frozen=True)
class TextCell:
    """As :class:`fewshot_sft.answer.intervals.Cell` for the metrics of free text.

    Attributes:
        found: by metric, (seeds, items, values), as :func:`free_text.items` has them.
    """

    found: Mapping[str, np.ndarray]

    metrics: ClassVar[tuple[str, ...]] = free_text.METRICS

    @property
    def seeds(self) -> int:
        """How many seeds."""
        return len(self.found[self.metrics[0]])

    @property
    def items(self) -> int:
        """How many test items."""
        return self.found[self.metrics[0]].shape[1]

    def score(self, metric: str) -> np.ndarray:
        """Return the score of each seed, (seeds,)."""
        return np.array([free_text.score(metric, each) for each in self.found[metric]])

    def drawn(self, metric: str, weights: np.ndarray) -> np.ndarray:
        """Return each seed's score on each draw of items, (draws, seeds)."""
        return np.stack([free_text.score(metric, each, weights) for each in self.found[metric]], 1)


def cell(evaluations: Sequence[Result]) -> TextCell:
    """Return one method at one size.

    Raises:
        UserError: the items' scores that a record was made of are not there.
    """
    every = []
    for one in evaluations:
        path = one.run.result(".item_scores.json")
        record = read_record(path)
        try:
            if record["identity"] != one.record.get("identity"):
                raise ValueError
            found = {name: np.array(record["items"][name], float) for name in free_text.METRICS}
            if any(values.ndim != 2 or len(values) != one.items for values in found.values()):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: not the scores of the record's items; bin/eval.sh makes them again") from None
        every.append(found)
    return TextCell({name: np.stack([each[name] for each in every]) for name in free_text.METRICS})
