"""The answer first: what to use, what to do next, and the few numbers that say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..answer.sentences import UNLIKELY, headline, metric_name, needed
from ..catalogue import money
from .source import Source


@dataclass(frozen=True)
class Headline:
    """The top of the page; ``facts`` are (name, value, explanation)."""

    sweep: str
    about: str
    title: str
    advice: str
    sentence: str
    facts: Sequence[tuple[str, str, str]]


def make(source: Source) -> Headline:
    """Return the answer in large type."""
    answer, w = source.answer, source.w
    items = source.sweep.evaluations[0].items
    about = w("head.about", split=source.settings["SPLIT"], items=items)
    about = " · ".join([about, *(time[:10] for time in source.times[-1:])])
    if "sentence" not in answer:
        return Headline(source.sweep.name, about, w("head.no_answer"), "", w("head.why", why=answer["absent"]), [])
    works = answer["methods"][answer["use"]]["points"][-1][answer["metric"]]["mean"] > 0
    title = w("head.use", method=answer["use"]) if works else w("head.none")
    return Headline(source.sweep.name, about, title, _advice(source), headline(answer, w), list(_facts(source)))


def _advice(source: Source) -> str:
    answer, w = source.answer, source.w
    found = answer["methods"][answer["use"]]
    if answer["then"] == "label":
        size = found["points"][-1].get("size")
        return w("next.label", size=2 * size) if size else w("next.label_some")
    if answer["then"] == "decide":
        return w("next.decide", needs=needed(found, w)) if "needs" in found else w("next.unknown")
    if found.get("target", {}).get("reached_from") is not None:
        return w("next.reached")
    hopeless = found.get("expected", {}).get("4x", {}).get("p_target", 1) < UNLIKELY
    return w("next.hopeless") if hopeless else w("next.stop")


def _facts(source: Source) -> Iterator[tuple[str, str, str]]:
    answer, w = source.answer, source.w
    metric, found = answer["metric"], answer["methods"][answer["use"]]
    point, name = found["points"][-1], metric_name(answer["metric"], w)
    score = point[metric]
    named = w("fact.score", metric=name, labels=w.labels(point.get("size")))
    yield named, f"{score['mean']:.3f}", w("fact.interval95", low=f"{score['low']:.3f}", high=f"{score['high']:.3f}")
    if "target" in answer and "p_now" in found.get("target", {}):
        target = f"{answer['target']:g}"
        yield w("fact.target", metric=name, target=target), w.percent(found["target"]["p_now"]), w("fact.p_now")
    if "expected" in found:
        twice = found["expected"]["2x"]
        low, high = (f"{twice[key]:.3f}" for key in ("low80", "high80"))
        yield w("fact.expected", size=twice["size"]), f"{twice['median']:.3f}", w("fact.interval80", low=low, high=high)
    seconds = point["gpu_seconds"] + point["cpu_seconds"]
    where = w("fact.on_gpu") if point["gpu_seconds"] else w("fact.on_cpu")
    yield w("fact.time"), w.duration(seconds), where
    if "cost" in point:
        yield w("fact.cost"), money(point["cost"]), w("fact.cost_of")
