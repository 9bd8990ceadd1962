"""The decision: what the curves say about how many labels, and which method; or why they do not say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from . import law
from .curves import Curve
from .intervals import Comparison, bootstrap, compare, draws_of_items, interval, item_covariance

REFUSED_BELOW = 0.001  # p of the hypothesis that a member of the law's family gave the scores
LEAST_DRAWS = 50  # effective
LEAST_SIZES = 3
SURE = 0.95  # probability from which on a thing is said without "probably"
HORIZON = 16  # times the largest size: farther nothing is said
WORTH = 0.01  # a gain of the score below which more labels are not worth having
SIGNIFICANT = 0.05
NEXT = 100  # labels


def decide(
    curves: Sequence[Curve],
    without: Curve | None,
    metric: str,
    *,
    target: float | None = None,
    tolerance: float = 0.2,
    gpu_price: float | None = None,
    label_cost: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the answer, as answer.json has it (docs/answer.md).

    Args:
        curves: of the methods that learn from labels.
        without: of the one that does not, if it was measured.
        metric: ``accuracy`` or ``f1``.
        target: the score that is wanted.
        tolerance: the width of the 95 % band at twice the largest size from which on it says nothing.
        gpu_price, label_cost: money for an hour of GPU, and for a label.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    every = [*([without] if without else []), *curves]
    first = next(iter(every[0].cells.values()))
    weights = draws_of_items(len(first.truth), rng)
    methods = {}
    laws: dict[str, law.Law] = {}
    comparisons = _comparisons(every, metric, weights, rng)
    for curve in every:
        found = _points(curve, metric, weights, rng, gpu_price, label_cost)
        if curve is not without:
            drops = [each for each in comparisons if _is_drop(each, curve)]
            found |= _outlook(curve, metric, weights, target, tolerance, drops, laws, seed)
        methods[curve.method] = found
    answer = {
        "metric": metric,
        "target": target,
        "items": len(first.truth),
        "seeds": {curve.method: list(curve.seeds) for curve in curves},
        "methods": methods,
        "comparisons": [asdict(each) for each in comparisons],
        "break_even": _break_even(curves, laws),
        "pareto": _pareto(methods),
    }
    answer |= _advice(answer, curves, metric)
    return _without_none(answer)


def _points(
    curve: Curve,
    metric: str,
    weights: np.ndarray,
    rng: np.random.Generator,
    gpu_price: float | None,
    label_cost: float | None,
) -> dict[str, Any]:
    points = []
    for size in curve.sizes:
        cell, seconds = curve.cells[size], curve.seconds[size]
        point: dict[str, Any] = {"size": size or None, "seeds": len(cell.answers)}
        for name in ("accuracy", "f1"):
            low, high = interval(bootstrap(cell, name, weights, rng))
            each = cell.score(name)
            point[name] = {"mean": float(each.mean()), "low": low, "high": high}
            if len(each) > 1:
                point[name]["seeds_sd"] = float(each.std(ddof=1))
        point |= {"gpu_seconds": round(seconds["gpu"], 1), "cpu_seconds": round(seconds["cpu"], 1)}
        if gpu_price is not None or label_cost is not None:
            point["cost"] = round((gpu_price or 0) * seconds["gpu"] / 3600 + (label_cost or 0) * size, 2)
        points.append(point)
    return {"points": points} | ({"left_out": list(curve.left_out)} if curve.left_out else {})


def _comparisons(
    every: Sequence[Curve], metric: str, weights: np.ndarray, rng: np.random.Generator
) -> list[Comparison]:
    """Compare neighbouring sizes of each method, and the methods with each other at each size that they share."""
    cells = {_name(curve.method, size): curve.cells[size] for curve in every for size in curve.sizes}
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
    return compare(pairs, cells, metric, weights, rng)


def _name(method: str, size: int) -> str:
    return f"{method} {size}" if size else method


def _is_drop(each: Comparison, curve: Curve) -> bool:
    names = {_name(curve.method, size) for size in curve.sizes}
    return {each.first, each.second} <= names and each.difference < 0 and each.corrected < SIGNIFICANT


def _outlook(
    curve: Curve,
    metric: str,
    weights: np.ndarray,
    target: float | None,
    tolerance: float,
    drops: Sequence[Comparison],
    laws: dict[str, law.Law],
    seed: int,
) -> dict[str, Any]:
    """Return what is to be expected of a method, or why that cannot be said and what would decide it."""
    if len(curve.sizes) < 2:
        return {"refused": f"{len(curve.sizes)} size was measured, {LEAST_SIZES} are needed", "needs": ["size"]}
    covariance = item_covariance([curve.cells[size] for size in curve.sizes], metric, weights)
    fitted = law.fit(list(curve.sizes), curve.scores(metric), covariance, seed)
    last = curve.sizes[-1]
    ahead = [last, 2 * last, 4 * last, last + NEXT, max(last // 2, curve.sizes[0])]
    drawn = fitted.at(ahead)
    found: dict[str, Any] = {"fit": {"p": round(fitted.p, 4), "effective_draws": round(fitted.effective)}}
    found["gain_of_last_doubling"] = _gain(drawn[:, 0] - drawn[:, 4])
    width = float(np.quantile(drawn[:, 1], 0.975) - np.quantile(drawn[:, 1], 0.025))
    refused = ""
    if len(curve.sizes) < LEAST_SIZES:
        refused, needs = f"{len(curve.sizes)} sizes were measured, {LEAST_SIZES} are needed", ["size"]
    elif drops:
        worst = min(drops, key=lambda each: each.difference)
        refused = f"the score falls significantly from {worst.first} to {worst.second} ({worst.difference:+.3f})"
        needs = ["seed"]
    elif fitted.p < REFUSED_BELOW:
        refused, needs = f"no learning curve fits these scores (p = {fitted.p:.2g})", ["seed", "size"]
    elif fitted.effective < LEAST_DRAWS:
        refused, needs = "the scores are too unlike any learning curve for the method that fits it", ["seed", "size"]
    elif width > tolerance:
        refused = f"the 95 % band at {2 * last} labels is {width:.2f} wide, more than TOLERANCE={tolerance:g}"
        needs = _needs(curve, metric, covariance)
    if refused:
        found |= {"refused": refused, "needs": needs, "needs_seconds": _time_for(curve)}
    else:
        laws[curve.method] = fitted
        found["expected"] = {
            "2x": _expected(2 * last, drawn[:, 1], target),
            "4x": _expected(4 * last, drawn[:, 2], target),
            f"+{NEXT}": _gain(drawn[:, 3] - drawn[:, 0]),
        }
        found["gain_of_next_doubling"] = _gain(drawn[:, 1] - drawn[:, 0])
    if target is not None:
        found["target"] = _about_target(curve, fitted, target, bool(refused))
    return found


def _needs(curve: Curve, metric: str, covariance: np.ndarray) -> list[str]:
    """Return what would narrow the band most: the largest of what is not known at the last size."""
    if len(curve.seeds) == 1:
        return ["seed", "size"]
    seeds = curve.scores(metric)[-1].var(ddof=1) / len(curve.seeds)
    return ["items", "size"] if covariance[-1, -1] > seeds else ["seed", "size"]


def _time_for(curve: Curve) -> dict[str, float]:
    """Return the seconds that another seed of all sizes takes, and about those of twice the largest size."""
    spent = {size: sum(curve.seconds[size].values()) for size in curve.sizes}
    return {"seed": round(sum(spent.values()), 1), "size": round(2 * spent[curve.sizes[-1]], 1)}


def _gain(draws: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
    return {"median": float(middle), "low80": float(low), "high80": float(high)}


def _expected(size: int, draws: np.ndarray, target: float | None) -> dict[str, Any]:
    low, low80, middle, high80, high = np.quantile(draws, [0.025, 0.1, 0.5, 0.9, 0.975])
    found = {"size": size, "median": middle, "low80": low80, "high80": high80, "low95": low, "high95": high}
    found = {name: float(value) if name != "size" else value for name, value in found.items()}
    return found | ({"p_target": float(np.mean(draws >= target))} if target is not None else {})


def _about_target(curve: Curve, fitted: law.Law, target: float, refused: bool) -> dict[str, Any]:
    """Return whether the target is reached, from which size on, and else how many labels it may take."""
    at = fitted.at(list(curve.sizes))
    reached = [size for size, p in zip(curve.sizes, (at >= target).mean(0), strict=True) if p >= SURE]
    found: dict[str, Any] = {"p_now": float((at[:, -1] >= target).mean())}
    if reached:
        return found | {"reached_from": min(reached)}
    if refused:
        return found
    grid = np.unique(np.round(curve.sizes[-1] * 2 ** np.arange(0, np.log2(HORIZON) + 0.01, 0.125)).astype(int))
    ok = np.maximum.accumulate(fitted.at(grid), 1) >= target
    first = np.where(ok.any(1), grid[ok.argmax(1)], np.inf)
    low, high = np.quantile(first, [0.1, 0.9], method="nearest")
    found["p_within_horizon"] = float(np.isfinite(first).mean())
    if np.isfinite(low):
        found["at_least"] = int(low)
    if np.isfinite(high):
        found["at_most"] = int(high)
    return found


def _break_even(curves: Sequence[Curve], laws: Mapping[str, law.Law]) -> list[dict[str, Any]]:
    """Return for each pair of methods from which number of labels on the one is better: on the mean, and surely."""
    found = []
    known = [curve for curve in curves if curve.method in laws]
    for index, one in enumerate(known):
        for other in known[index + 1 :]:
            first = max(one.sizes[0], other.sizes[0])
            last = 4 * min(one.sizes[-1], other.sizes[-1])
            grid = np.unique(np.round(np.geomspace(first, last, 25)).astype(int))
            ahead = laws[one.method].at(grid) - laws[other.method].at(grid)
            mean, sure = np.median(ahead, 0), (ahead > 0).mean(0)
            entry: dict[str, Any] = {"methods": [one.method, other.method], "from": int(first), "to": int(last)}
            signs = np.sign(mean)
            changes = [int(grid[i + 1]) for i in range(len(grid) - 1) if signs[i] != signs[i + 1]]
            entry["better_at_first"] = one.method if mean[0] > 0 else other.method
            if changes:
                entry["on_the_mean"] = changes[0]
                later = sure if mean[-1] > 0 else 1 - sure
                surely = [int(size) for size, p in zip(grid, later, strict=True) if p >= SURE and size >= changes[0]]
                entry["surely"] = surely[0] if surely else None
                entry["better_at_last"] = one.method if mean[-1] > 0 else other.method
            found.append(entry)
    return found


def _pareto(methods: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the points that no other beats in score and in money, or, without prices, in labels and seconds."""
    points = [
        {
            "method": name,
            "size": point["size"] or 0,
            "score": point["f1"]["mean"],
            "seconds": point["gpu_seconds"] + point["cpu_seconds"],
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


def _advice(answer: Mapping[str, Any], curves: Sequence[Curve], metric: str) -> dict[str, Any]:
    """Return which method is the best, which is as good and cheaper, and whether more labels are worth having."""
    methods, last = answer["methods"], {}
    for curve in curves:
        point = methods[curve.method]["points"][-1]
        last[curve.method] = (point[metric]["mean"], point["gpu_seconds"] + point["cpu_seconds"], point["size"])
    best = max(last, key=lambda name: last[name][0])
    worse = {
        frozenset((each["first"], each["second"])): each["corrected"] < SIGNIFICANT for each in answer["comparisons"]
    }
    as_good = [
        name
        for name in last
        if name != best
        and last[name][1] < 0.5 * last[best][1]
        and last[name][2] == last[best][2]
        and not worse.get(frozenset((_name(name, last[name][2]), _name(best, last[best][2]))), True)
    ]
    cheaper = min(as_good, key=lambda name: last[name][1], default=None)
    use = cheaper or best
    gain = methods[use].get("gain_of_next_doubling")
    target = methods[use].get("target", {})
    if target.get("reached_from") is not None:
        then = "stop"
    elif gain is None:
        then = "decide"
    elif gain["median"] >= WORTH:
        then = "label"
    else:
        then = "stop"
    return {"best": best, "cheaper": cheaper, "use": use, "then": then}


def _without_none(value: Any) -> Any:
    """Return the record without keys that have no value: what is not known is absent."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return value
