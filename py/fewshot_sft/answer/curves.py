"""The curves of a sweep, one a method, from its evaluation records and the answers beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import UserError
from ..evaluation import predictions, scoring
from ..results.record import Result
from . import texts
from .intervals import Cell, Point

Span = tuple[float, float]  # begin and end


@dataclass(frozen=True)
class Curve:
    """A method's points: the sizes that every seed has, smallest first."""

    method: str
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    cells: Mapping[int, Point]  # by size
    seconds: Mapping[int, Mapping[str, float]]  # by size, of one run, the mean over seeds: cost()
    left_out: tuple[str, ...] = ()  # captions of runs that not every seed has

    def scores(self, metric: str) -> np.ndarray:
        """Return (sizes, seeds)."""
        return np.stack([self.cells[size].score(metric) for size in self.sizes])


def read(evaluations: Sequence[Result]) -> tuple[list[Curve], list[Curve]]:
    """Return the curves of the methods that have sizes, and of those that have none (zero-shot, as size 0).

    Raises:
        UserError: the evaluations are of different test data, or the answers of one are not there.
    """
    if len({one.test_data for one in evaluations}) > 1:
        raise UserError("the runs were evaluated on different data, so no answer comes of them; run bin/eval.sh again")
    by_method: dict[str, list[Result]] = {}
    for one in evaluations:
        by_method.setdefault(one.series, []).append(one)
    curves, without, alone = [], [], shares(evaluations)
    for method, own in by_method.items():
        if own[0].run.size is None:
            without.append(_curve(method, own[:1], alone))
        else:
            curves.append(_curve(method, own, alone))
    return curves, without


def _curve(method: str, evaluations: Sequence[Result], alone: Mapping[Span | None, float]) -> Curve:
    table = {(one.run.size or 0, one.run.seed or 0): one for one in evaluations}
    every = sorted({size for size, _ in table})
    seeds = sorted({seed for _, seed in table})
    # A point counts where all seeds are there: most of the sizes decide which seeds that are.
    complete = [seed for seed in seeds if sum((size, seed) in table for size in every) == len(every)] or seeds[:1]
    sizes = [size for size in every if all((size, seed) in table for seed in complete)]
    left = tuple(one.run.caption for (size, seed), one in table.items() if size not in sizes or seed not in complete)
    cells, seconds = {}, {}
    for size in sizes:
        own = [table[size, seed] for seed in complete]
        cells[size] = cell(own) if own[0].labels else texts.cell(own)
        spent = [cost(one, alone) for one in own]
        seconds[size] = {kind: float(np.mean([each[kind] for each in spent])) for kind in spent[0]}
    return Curve(method, tuple(sizes), tuple(complete), cells, seconds, left)


def cell(evaluations: Sequence[Result]) -> Cell:
    """Return the answers of one method at one size, a row for each seed.

    Raises:
        UserError: the answers that a record was made of are not there.
    """
    rows, truth = [], np.array([])
    for one in evaluations:
        path = one.run.result(".predictions.jsonl")
        found = predictions.read(path).predictions
        if len(found) < one.items:
            raise UserError(
                f"{path}: has {len(found)} of {one.items} answers; move {one.run.result('.json')} away and run again"
            )
        ordered = [found[index] for index in range(one.items)]
        rows.append(scoring.numbers([each.pred for each in ordered], one.labels))
        truth = np.array(scoring.numbers([each.label for each in ordered], one.labels))
    return Cell(np.array(rows), truth, len(evaluations[0].labels))


def cost(one: Result, alone: Mapping[Span | None, float]) -> dict[str, float]:
    """Return the seconds that a run took, training and evaluation: ``gpu``, ``cpu``; ``evaluation`` is part of them.

    What the runs of a method share, the vectors of the texts, counts in each: any one of them alone would need it. What
    was trained or asked beside it counts only its part: of an hour of four runs at once each has a quarter.

    Args:
        one: the run.
        alone: of each training and evaluation, the share of its time that is its own: :func:`shares`.
    """
    timings, training = one.record.get("timings") or {}, one.training or {}
    evaluation = float(timings.get("seconds") or 0) * alone.get(_span(timings), 1)
    trained = float(training.get("seconds") or 0) * alone.get(_span(training), 1)
    seconds = evaluation + trained + float(timings.get("shared_seconds") or 0)
    where = "gpu" if one.run.settings.device == "gpu" and one.record.get("device", "gpu") == "gpu" else "cpu"
    return {"gpu": 0.0, "cpu": 0.0, "evaluation": evaluation, where: seconds}


def shares(evaluations: Sequence[Result]) -> dict[Span | None, float]:
    """Return of each training and each evaluation by a server, by its begin and end, the share that is its own."""
    records = [one.record.get("timings") or {} for one in evaluations] + [one.training or {} for one in evaluations]
    # Two of the same second are two.
    spans = [span for each in records if (span := _span(each)) and span[0] < span[1]]
    moments = sorted({moment for span in spans for moment in span})
    own: dict[Span, float] = dict.fromkeys(spans, 0.0)
    for begin, end in pairwise(moments):
        there = [span for span in spans if span[0] <= begin and end <= span[1]]
        for span in set(there):
            own[span] += (end - begin) / len(there)
    return {span: seconds / (span[1] - span[0]) for span, seconds in own.items()}


def _span(record: Mapping[str, Any]) -> Span | None:
    """Return when something began and ended, in seconds since 1970; None where the record does not tell."""
    try:
        return tuple(datetime.fromisoformat(record[key]).timestamp() for key in ("started", "finished"))  # type: ignore[return-value] # two
    except (KeyError, TypeError, ValueError):
        return None
