"""The decision: what the curves say about how many labels, and which method; or why they do not say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from ..catalogue import words
from ..runs import FREE_METRICS
from . import law
from .curves import Curve
from .intervals import (
    Cell,
    Comparison,
    Point,
    bootstrap,
    class_intervals,
    compare,
    draws_of_items,
    interval,
    item_covariance,
)
from .sentences import refusal

REFUSED_BELOW = 0.001  # p of the hypothesis that a member of the law's family gave the scores
LEAST_DRAWS = 50  # effective
LEAST_SIZES = 3
SURE = 0.95  # probability from which on a thing is said without "probably"
UNLIKELY = 0.05
HORIZON = 16  # times the largest size: farther nothing is said
WORTH = 0.01  # a gain of the score below which more labels are not worth having
ALIKE = 0.02  # a difference of the scores up to which a method that is much cheaper is as good
CHEAPER = 0.5  # of the other's seconds
NOTICED = 60  # seconds: to save fewer is worth nothing
SIGNIFICANT = 0.05
NEXT = 100  # labels

Draws = dict[str, dict[str, np.ndarray]]  # by metric and name of the cell: (draws, seeds)
Outlook = Callable[[Any], np.ndarray]  # sizes -> (draws, sizes)


def decide(
    curves: Sequence[Curve],
    without: Sequence[Curve],
    metric: str,
    *,
    target: float | None = None,
    tolerance: float = 0.2,
    gpu_price: float | None = None,
    label_cost: float | None = None,
    labels: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Return the answer, as answer.json has it (docs/answer.md).

    Args:
        curves: of the methods that learn from labels.
        without: of those that do not.
        metric: of the points' metrics.
        target: the score that is wanted.
        tolerance: the width of the 95 % band at twice the largest size from which on it says nothing.
        gpu_price, label_cost: money for an hour of GPU, and for a label.
        labels: the names of the classes; without them the F1 of each class is left out.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    every = [*without, *curves]
    first = next(iter(every[0].cells.values()))
    weights = draws_of_items(first.items, rng)
    cells = {_name(curve.method, size): curve.cells[size] for curve in every for size in curve.sizes}
    draws: Draws = {each: {name: cell.drawn(each, weights) for name, cell in cells.items()} for each in first.metrics}
    comparisons = compare(_pairs(every), cells, draws[metric], metric, rng)
    chance = _chance(first, metric)
    methods: dict[str, Any] = {}
    ahead: dict[str, Outlook] = {}
    for index, curve in enumerate(every):
        points = [_point(curve, size, draws, rng, gpu_price, label_cost) for size in curve.sizes]
        last = curve.cells[curve.sizes[-1]]
        if labels and isinstance(last, Cell):
            found = class_intervals(last, weights, rng)
            points[-1]["per_class"] = {
                labels[number]: {"mean": mean, "low": low, "high": high} for number, (mean, low, high) in found.items()
            }
        methods[curve.method] = {"points": points, "left_out": list(curve.left_out) or None}
        if curve in without:
            ahead[curve.method] = _level(bootstrap(draws[metric][_name(curve.method, 0)], rng), rng)
            if target is not None:
                p = float((ahead[curve.method]([0]) >= target).mean())
                methods[curve.method]["target"] = {"p_now": p} | ({"reached_from": 0} if p >= SURE else {})
            continue
        covariance = item_covariance([draws[metric][_name(curve.method, size)] for size in curve.sizes], first.items)
        # Each method has its own draws: with common ones, differences between laws would look surer than they are.
        outlook = Forecast(curve, metric, covariance, seed + 2 * index)
        drops = _drops(curve, comparisons)
        low = points[-1][metric]["low"]
        methods[curve.method] |= outlook.tell(
            target, tolerance, drops, chance if chance is not None and low <= chance else None
        )
        if "expected" in methods[curve.method]:
            ahead[curve.method] = outlook.law.at
    answer = {
        "metric": metric,
        "target": target,
        "items": first.items,
        "chance": chance,
        "seeds": {curve.method: list(curve.seeds) for curve in curves},
        "methods": methods,
        "comparisons": [asdict(each) for each in comparisons],
        "break_even": _break_even(every, ahead),
        "pareto": _pareto(methods, metric),
    }
    answer |= _advice(answer, every, metric)
    return _without_none(answer)


def _name(method: str, size: int) -> str:
    return f"{method} {size}" if size else method


def _chance(cell: Point, metric: str) -> float | None:
    """Return what an answer without regard to the text scores: the most frequent label, or labels by their shares.

    Of free text that is not known.
    """
    if not isinstance(cell, Cell):
        return None
    if metric == "accuracy":
        return float(np.bincount(cell.truth).max() / len(cell.truth))
    return 1 / cell.classes


def _level(draws: np.ndarray, rng: np.random.Generator) -> Outlook:
    """Return the outlook of a method that stays where it is."""
    chosen = rng.choice(draws, law.KEPT)
    return lambda sizes: np.repeat(chosen[:, None], len(sizes), 1)


def _point(
    curve: Curve,
    size: int,
    draws: Draws,
    rng: np.random.Generator,
    gpu_price: float | None,
    label_cost: float | None,
) -> dict[str, Any]:
    """Return a point of a curve with its intervals and what it cost."""
    cell, seconds = curve.cells[size], curve.seconds[size]
    point: dict[str, Any] = {"size": size or None, "seeds": cell.seeds}
    for metric in cell.metrics:
        low, high = interval(bootstrap(draws[metric][_name(curve.method, size)], rng), cell.items)
        each = cell.score(metric)
        point[metric] = {"mean": float(each.mean()), "low": low, "high": high}
        if len(each) > 1:
            point[metric]["seeds_sd"] = float(each.std(ddof=1))
    point |= {"gpu_seconds": round(seconds["gpu"], 1), "cpu_seconds": round(seconds["cpu"], 1)}
    if gpu_price is not None or label_cost is not None:
        point["cost"] = round((gpu_price or 0) * seconds["gpu"] / 3600 + (label_cost or 0) * size, 4)
    return point


def _pairs(every: Sequence[Curve]) -> list[tuple[str, str]]:
    """Return the cells to compare: neighbouring sizes of each method, and the methods at each size that they share."""
    pairs = [
        (_name(curve.method, a), _name(curve.method, b))
        for curve in every
        for a, b in zip(curve.sizes, curve.sizes[1:], strict=False)
    ]
    for index, one in enumerate(every):
        for other in every[index + 1 :]:
            shared = [size for size in one.sizes if size in other.sizes]
            pairs += [(_name(one.method, size), _name(other.method, size)) for size in shared]
            if one.sizes == (0,) and other.sizes:  # without labels against the most of them
                pairs.append((_name(one.method, 0), _name(other.method, other.sizes[-1])))
    return pairs


def _drops(curve: Curve, comparisons: Sequence[Comparison]) -> list[tuple[float, int, int]]:
    """Return where a method's score falls significantly: by how much, from which size, to which."""
    made = {(each.first, each.second): each for each in comparisons}
    found = []
    for a, b in zip(curve.sizes, curve.sizes[1:], strict=False):
        each = made[_name(curve.method, a), _name(curve.method, b)]
        if each.difference < 0 and each.corrected < SIGNIFICANT:
            found.append((each.difference, a, b))
    return found


class Forecast:
    """What is to be expected of a method, or why that cannot be said and what would decide it."""

    def __init__(self, curve: Curve, metric: str, covariance: np.ndarray, seed: int) -> None:
        """Fit the law to ``curve``; ``covariance``: of its scores, from the items; ``seed``: of the draws."""
        self.curve, self.covariance, self.seed = curve, covariance, seed
        self.scores = curve.scores(metric)
        self.words = words(free_text=metric in FREE_METRICS)
        self.last = curve.sizes[-1]
        self.law = law.fit(list(curve.sizes), self.scores, covariance, seed)

    def tell(
        self, target: float | None, tolerance: float, drops: Sequence[tuple[float, int, int]], chance: float | None
    ) -> dict[str, Any]:
        """Return the method's part of the answer; ``chance``: what the method is not better than, if so."""
        last = self.last
        drawn = self.law.at([last, 2 * last, 4 * last, last + NEXT, max(last // 2, self.curve.sizes[0])])
        found: dict[str, Any] = {"fit": {"p": round(self.law.p, 4), "effective_draws": round(self.law.effective)}}
        refused, needs, fits = self._refusal(drawn, tolerance, drops, chance)
        if fits and len(self.curve.sizes) > 1:
            found["gain_of_last_doubling"] = _gain(drawn[:, 0] - drawn[:, 4])
        if refused:
            found |= {"refused_because": refused, "needs": needs, "needs_seconds": self._time_for(needs)}
            found["refused"] = refusal(found, self.words)
        else:
            found["expected"] = {
                "2x": _expected(2 * last, drawn[:, 1], target),
                "4x": _expected(4 * last, drawn[:, 2], target),
                f"+{NEXT}": _gain(drawn[:, 3] - drawn[:, 0]),
            }
            found["gain_of_next_doubling"] = _gain(drawn[:, 1] - drawn[:, 0])
        if target is not None:
            about = found["target"] = self._about_target(target, fits, bool(refused))
            if not refused and UNLIKELY < about["p_now"] < SURE:  # perhaps reached: it is the noise that hides it
                needs = self._noise()[:1]
                found |= {"needs": needs, "needs_seconds": self._time_for(needs)}
        return found

    def _refusal(
        self, drawn: np.ndarray, tolerance: float, drops: Sequence[tuple[float, int, int]], chance: float | None
    ) -> tuple[dict[str, Any], list[str], bool]:
        """Return why nothing is predicted, what would decide it, and whether the law fits what was measured.

        Why is a text of the catalogue, as ``reason``, with its values; nothing where there is a prediction.
        """
        count = len(self.curve.sizes)
        if drops:
            difference, a, b = min(drops)
            why = {"reason": "refused.falls", "first": a, "second": b, "difference": f"{difference:+.3f}"}
            return why, ["seed"], False
        if self.law.p < REFUSED_BELOW:
            return {"reason": "refused.no_fit", "p": f"{self.law.p:.2g}"}, ["seed", "size"], False
        if self.law.effective < LEAST_DRAWS:
            return {"reason": "refused.unusual"}, ["seed", "size"], False
        if count < LEAST_SIZES:
            reason = "refused.few_sizes" if count > 1 else "refused.one_size"
            return {"reason": reason, "count": count, "least": LEAST_SIZES}, ["size"], True
        if chance is not None:
            why = {"reason": "refused.chance", "size": self.last, "chance": f"{chance:.3f}"}
            return why, ["size", "items"] if self.scores[-1].mean() > chance else ["size"], True
        low, high = np.quantile(drawn[:, 1], [0.025, 0.975])
        if high - low > tolerance:
            why = {"reason": "refused.wide", "size": 2 * self.last, "width": f"{high - low:.2f}"}
            return why | {"tolerance": f"{tolerance:g}"}, self._widest(drawn), True
        return {}, [], True

    def _noise(self) -> list[str]:
        """Return the two sources of noise at the largest size, the larger first."""
        items, seeds = self.covariance[-1, -1], len(self.curve.seeds)
        if seeds > 1:
            between = self.scores[-1].var(ddof=1)
        else:
            between = law.usual_deviation(self.scores[-1:].mean(1), np.array([self.last]))[0] ** 2
        return ["items", "seed"] if items > between / seeds else ["seed", "items"]

    def _widest(self, drawn: np.ndarray) -> list[str]:
        """Return what would narrow the band, what is least known first: the curve's shape, or the score itself."""
        needs = [self._noise()[0], "size"]
        return needs if drawn[:, 0].std() > 0.5 * drawn[:, 1].std() else needs[::-1]

    def _time_for(self, needs: Sequence[str]) -> dict[str, float]:
        """Return about how many seconds it takes: another seed, twice the largest size, twice the test items."""
        spent = {size: each["gpu"] + each["cpu"] for size, each in self.curve.seconds.items()}
        asked = sum(each.get("evaluation", 0.0) for each in self.curve.seconds.values())
        seeds = len(self.curve.seeds)
        every = {"seed": sum(spent.values()), "size": 2 * seeds * spent[self.last], "items": seeds * asked}
        return {need: round(every[need], 1) for need in needs}

    def _about_target(self, target: float, fits: bool, refused: bool) -> dict[str, Any]:
        """Return whether the target is reached, from which size on, and else how many labels it may take."""
        sizes = self.curve.sizes
        if fits:
            at = self.law.at(sizes)
        elif len(self.curve.seeds) == 1:  # what the seeds do here is more than usual, and was not measured
            return {}
        else:  # each size by itself, with the seeds' noise that was measured
            alone = [
                law.fit([size], self.scores[i : i + 1], self.covariance[i : i + 1, i : i + 1], self.seed).at([size])
                for i, size in enumerate(sizes)
            ]
            at = np.concatenate(alone, 1)
        sure = (at >= target).mean(0) >= SURE
        from_here = [size for i, size in enumerate(sizes) if sure[i:].all()]
        found: dict[str, Any] = {"p_now": float((at[:, -1] >= target).mean())}
        if from_here:
            return found | {"reached_from": from_here[0]}
        if refused:
            return found
        grid = np.unique(np.round(self.last * 2 ** np.arange(0, np.log2(HORIZON) + 0.01, 0.125)).astype(int))
        ok = np.maximum.accumulate(self.law.at(grid), 1) >= target
        first = np.where(ok.any(1), grid[ok.argmax(1)], np.inf)
        low, high = np.quantile(first, [0.1, 0.9], method="inverted_cdf")
        found["p_within_horizon"] = float(np.isfinite(first).mean())
        if np.isfinite(low):
            found["at_least"] = int(low)
        if np.isfinite(high):
            found["at_most"] = int(high)
        return found


def _gain(draws: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
    return {"median": float(middle), "low80": float(low), "high80": float(high)}


def _expected(size: int, draws: np.ndarray, target: float | None) -> dict[str, Any]:
    low, low80, middle, high80, high = np.quantile(draws, [0.025, 0.1, 0.5, 0.9, 0.975])
    found = {"size": size, "median": middle, "low80": low80, "high80": high80, "low95": low, "high95": high}
    found = {name: float(value) if name != "size" else value for name, value in found.items()}
    return found | ({"p_target": float(np.mean(draws >= target))} if target is not None else {})


def _break_even(every: Sequence[Curve], ahead: Mapping[str, Outlook]) -> list[dict[str, Any]]:
    """Return for each pair of methods from which number of labels on the one is better: on the mean, and surely.

    A method is said to be better where that has a probability of SURE. A pair of which that is true at neither end has
    no break-even point: where two curves are alike, their means cross by chance.
    """
    found = []
    known = [curve for curve in every if curve.method in ahead]

    @cache  # most pairs have the same sizes
    def at(method: str, grid: tuple[int, ...]) -> np.ndarray:
        return ahead[method](grid)

    for index, one in enumerate(known):
        for other in known[index + 1 :]:
            learning = [curve for curve in (one, other) if curve.sizes != (0,)]
            if not learning:  # two models without labels: no number of them changes anything
                continue
            first = max(curve.sizes[0] for curve in learning)
            last = 4 * min(curve.sizes[-1] for curve in learning)
            grid = np.unique(np.round(np.geomspace(first, last, 25)).astype(int))
            difference = at(one.method, tuple(grid)) - at(other.method, tuple(grid))
            middle, p = np.median(difference, 0), (difference > 0).mean(0)

            def better(chance: float, one: Curve = one, other: Curve = other) -> str | None:
                return one.method if chance >= SURE else other.method if chance <= 1 - SURE else None

            entry: dict[str, Any] = {"methods": [one.method, other.method], "from": int(first), "to": int(last)}
            entry |= {"better_at_first": better(p[0]), "better_at_last": better(p[-1])}
            crossed = np.flatnonzero(np.diff(middle > 0))
            if len(crossed) % 2 and (entry["better_at_first"] or entry["better_at_last"]):
                entry["leads_later"] = one.method if middle[-1] > 0 else other.method
                entry["on_the_mean"] = int(grid[crossed[-1] + 1])
                later = p if middle[-1] > 0 else 1 - p
                surely = [size for size, each in zip(grid, later, strict=True) if each >= SURE]
                entry["surely"] = int(surely[0]) if surely else None
            found.append(entry)
    return found


def _pareto(methods: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    """Return the points that no other beats in score and in money, or, without prices, in labels and seconds."""
    points = [
        {
            "method": name,
            "size": point["size"] or 0,
            "score": point[metric]["mean"],
            "low": point[metric]["low"],
            "high": point[metric]["high"],
            "seconds": round(point["gpu_seconds"] + point["cpu_seconds"], 1),
            "cost": point.get("cost"),
        }
        for name, found in methods.items()
        for point in found["points"]
    ]

    def price(point: Mapping[str, Any]) -> tuple[float, ...]:
        return (point["cost"],) if point["cost"] is not None else (point["size"], point["seconds"])

    def beaten(point: Mapping[str, Any]) -> bool:
        return any(
            other is not point
            and other["score"] >= point["score"]
            and all(a <= b for a, b in zip(price(other), price(point), strict=True))
            and (other["score"], price(other)) != (point["score"], price(point))
            for other in points
        )

    return sorted((point for point in points if not beaten(point)), key=price)


def _advice(answer: Mapping[str, Any], every: Sequence[Curve], metric: str) -> dict[str, Any]:
    """Return which method is the best, which is as good and cheaper, and whether more labels are worth having.

    Each method counts with its largest size. ``use`` is the best one, or one that is about as good, not significantly
    worse, and takes less than half of the time and a minute less; ``then`` is what to do: stop, label, or decide (what
    ``needs`` says).
    """
    methods = answer["methods"]
    last = {curve.method: (curve.sizes[-1], methods[curve.method]["points"][-1]) for curve in every}
    score = {name: point[metric]["mean"] for name, (_, point) in last.items()}
    seconds = {name: point["gpu_seconds"] + point["cpu_seconds"] for name, (_, point) in last.items()}
    significant = {
        frozenset((each["first"], each["second"])): each["corrected"] < SIGNIFICANT for each in answer["comparisons"]
    }
    best = max(score, key=lambda name: (score[name], -seconds[name]))

    def is_as_good(name: str) -> bool:
        pair = frozenset((_name(name, last[name][0]), _name(best, last[best][0])))
        return score[best] - score[name] <= ALIKE and not significant.get(pair, True)

    def is_cheaper(name: str) -> bool:
        return seconds[name] < CHEAPER * seconds[best] and seconds[name] <= seconds[best] - NOTICED

    as_good = [name for name in score if name != best and is_cheaper(name) and is_as_good(name)]
    cheaper = min(as_good, key=lambda name: (last[name][0], seconds[name]), default=None)
    use = cheaper or best
    then = _then(methods[use]) if last[use][0] else _then_without(methods, use, last[use][1][metric]["high"])
    return {"best": best, "cheaper": cheaper, "use": use, "then": then}


def _then(found: Mapping[str, Any]) -> str:
    """Return what to do with a method that learns from labels."""
    if found.get("target", {}).get("reached_from") is not None:
        return "stop"
    if "expected" not in found:
        return "decide"
    later = found["expected"]["4x"].get("p_target")
    if later is not None and later < UNLIKELY:
        return "stop"
    if found["gain_of_next_doubling"]["median"] >= WORTH:
        return "label"
    if "needs" in found:
        return "decide"
    return "label" if later is not None and later >= 0.5 else "stop"


def _then_without(methods: Mapping[str, Any], use: str, high: float) -> str:
    """Return what to do where the method without labels is the best: does another one overtake it?"""
    if methods[use].get("target", {}).get("reached_from") is not None:
        return "stop"
    later = [each["expected"]["4x"]["median"] for each in methods.values() if "expected" in each]
    if not later:
        return "decide"
    return "label" if max(later) > high else "stop"


def _without_none(value: Any) -> Any:
    """Return the record without keys that have no value: what is not known is absent."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return value
