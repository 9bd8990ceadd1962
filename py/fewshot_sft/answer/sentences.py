"""The answer in words: the first line of the summary and of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..catalogue import Words, words
from ..runs import FREE_METRICS

SIGNIFICANT, UNLIKELY = 0.05, 0.05


def metric_name(metric: str, w: Words) -> str:
    """Return what the answer's metric is called."""
    known = {"accuracy": w("metric.accuracy"), "f1": w("metric.f1"), "exact_match": w("metric.exact_match")}
    return known.get(metric) or FREE_METRICS[metric]


def headline(answer: Mapping[str, Any], w: Words | None = None) -> str:
    """Return the answer in a few sentences: what is reached, by which method, what more labels bring, what to do.

    Args:
        answer: answer.json, without ``absent``.
        w: the language; English where it is left out.
    """
    w = w or words(free_text=answer["metric"] in FREE_METRICS)
    use, metric = answer["use"], answer["metric"]
    methods, target, name = answer["methods"], answer.get("target"), metric_name(answer["metric"], w)
    found = methods[use]
    last = found["points"][-1]
    has = w("answer.has", method=use, metric=name, score=w.score(last[metric]), labels=w.labels(last.get("size")))
    about = found.get("target", {})
    reached = about.get("reached_from")
    if reached is not None:
        where = w("answer.from_labels", size=reached) if reached else w("answer.without_labels")
        parts = [w("answer.reached", metric=name, target=f"{target:g}", method=use, where=where), has]
    elif target is None:
        parts = [has]
    elif "p_now" in about:
        given = {"metric": name, "target": f"{target:g}", "p": w.percent(about["p_now"])}
        unlikely = about["p_now"] <= UNLIKELY
        parts = [w("answer.not_reached", **given) if unlikely else w("answer.not_surely", **given), has]
    else:
        parts = [w("answer.reached_unknown", metric=name, target=f"{target:g}"), has]
    for rival in _rivals(answer):
        parts += [_against(answer, rival, w), _crossing(answer, use, rival, w)]
    if reached is None:
        parts += [_chances(found, w), *_outlook(answer, found, w)]
    if last["seeds"] == 1 and last.get("size"):
        parts.append(w("answer.one_seed"))
    names = tuple(methods)
    said = [part if part.startswith(names) else part[0].upper() + part[1:] for part in parts if part]
    return w("answer.stop").join(said) + w("answer.stop").rstrip()


def _rivals(answer: Mapping[str, Any]) -> list[str]:
    """Return what the method is compared with: the best one where that is another, LoRA, or else the next best."""
    methods, use, metric = answer["methods"], answer["use"], answer["metric"]
    named = [name for name in dict.fromkeys((answer["best"], *_lora(methods))) if name != use]
    others = [name for name in methods if name != use]
    if named or not others:
        return named
    return [max(others, key=lambda name: methods[name]["points"][-1][metric]["mean"])]


def _lora(methods: Mapping[str, Any]) -> list[str]:
    return [name for name in methods if name.split()[0] == "lora"]


def _against(answer: Mapping[str, Any], rival: str, w: Words) -> str:
    """Compare the method with another one, at the largest size that both have."""
    methods, use, metric = answer["methods"], answer["use"], answer["metric"]
    ours, theirs = ({each.get("size", 0): each for each in methods[name]["points"]} for name in (use, rival))
    shared = sorted(set(ours) & set(theirs))
    if shared:
        a = b = shared[-1]
    elif 0 in ours or 0 in theirs:  # one needs no labels
        a, b = max(ours), max(theirs)
    else:
        return ""
    first, second = (f"{name} {size}" if size else name for name, size in ((use, a), (rival, b)))
    made = {(each["first"], each["second"]): each for each in answer["comparisons"]}
    each, sign = (made[first, second], -1) if (first, second) in made else (made[second, first], 1)
    low, high = sorted((sign * each["low"], sign * each["high"]))
    by = {"method": use, "difference": w.difference(sign * each["difference"], low, high)}
    text = w("answer.rival", rival=rival, score=w.score(theirs[b][metric]), labels=w.labels(theirs[b].get("size")))
    if each["corrected"] >= SIGNIFICANT:
        if low <= 0 <= high:
            text += w("answer.not_significant", **by)
        else:  # the interval alone would say that there is a difference
            text += w("answer.not_after_correction", **by, count=len(answer["comparisons"]))
    elif sign * each["difference"] < 0:
        text += w("answer.behind", **by)
    else:
        everywhere = len(shared) > 1 and all(
            ours[size][metric]["mean"] > theirs[size][metric]["mean"] for size in shared
        )
        text += w("answer.ahead", **by) + w("answer.everywhere") * everywhere
    if rival == answer["best"]:
        spent = (point["gpu_seconds"] + point["cpu_seconds"] for point in (ours[a], theirs[b]))
        mine, its = map(w.duration, spent)
        text += w("answer.takes", rival=rival, its=its, mine=mine)
    return text


def _crossing(answer: Mapping[str, Any], use: str, rival: str, w: Words) -> str:
    """Say from how many labels on which of two methods is the better one, if they change places."""
    for each in answer["break_even"]:
        if {use, rival} == set(each["methods"]) and "on_the_mean" in each:
            text = w("answer.crossing", method=each["leads_later"], size=each["on_the_mean"])
            return text + (w("answer.crossing_surely", size=each["surely"]) if "surely" in each else "")
    return ""


def _chances(found: Mapping[str, Any], w: Words) -> str:
    if "p_target" not in found.get("expected", {}).get("2x", {}):
        return ""
    expected = found["expected"]
    chances = {name: w.percent(expected[times]["p_target"]) for name, times in (("p", "2x"), ("later", "4x"))}
    text = w("answer.chances", **chances, twice=expected["2x"]["size"], four=expected["4x"]["size"])
    about = found["target"]
    if "at_most" in about:
        return text + w("answer.takes_between", low=about["at_least"], high=about["at_most"])
    return text + (w("answer.takes_at_least", low=about["at_least"]) if "at_least" in about else "")


def _outlook(answer: Mapping[str, Any], found: Mapping[str, Any], w: Words) -> list[str]:
    then, last = answer["then"], found["points"][-1].get("size")
    if last is None:
        if then == "decide":
            return [w("answer.overtaken_unknown")]
        return [w("answer.never_overtaken") if then == "stop" else w("answer.overtaken_later")]
    if "refused" in found:
        needs = w("answer.needs", needs=needed(found, w))
        return [w("answer.refused", why=refusal(found, w)), needs]
    text = w("answer.twice", gain=w.gain(found["gain_of_next_doubling"]))
    if then == "decide":
        return [text, w("answer.target_needs", needs=needed(found, w))]
    hopeless = found["expected"]["4x"].get("p_target", 1) < UNLIKELY
    advice = w("answer.label") if then == "label" else w("answer.hopeless") if hopeless else w("answer.stop_labelling")
    return [w("answer.so", text=text, advice=advice)]


def refusal(found: Mapping[str, Any], w: Words) -> str:
    """Return why nothing is predicted of a method."""
    because = found["refused_because"]
    return w(because["reason"], **{key: value for key, value in because.items() if key != "reason"})


def needed(found: Mapping[str, Any], w: Words) -> str:
    """Return what would decide it, and about how long each takes."""
    last = found["points"][-1]["size"]
    names = {"seed": w("needs.seed"), "size": w("needs.size", size=2 * last), "items": w("needs.items")}
    times = {each: w.duration(found["needs_seconds"][each]) for each in found["needs"]}
    return w("answer.or").join(w("needs.about", what=names[each], time=time) for each, time in times.items())
