"""The answer in words: the first line of the summary and of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {"accuracy": "accuracy", "f1": "macro-F1"}
SIGNIFICANT, UNLIKELY = 0.05, 0.05


def headline(answer: Mapping[str, Any]) -> str:
    """Return the answer in a few sentences: what is reached, by which method, what more labels bring, what to do."""
    use, metric = answer["use"], answer["metric"]
    methods, target, name = answer["methods"], answer.get("target"), NAMES[answer["metric"]]
    found = methods[use]
    last = found["points"][-1]
    has = f"{use} has {name} {_score(last, metric)} with {_labels(last)}"
    about = found.get("target", {})
    reached = about.get("reached_from")
    if reached is not None:
        where = f"from {reached} labels on" if reached else "without labels"
        parts = [f"{name} {target:g} is reached by {use} {where}: no more labels are needed for it", has]
    elif target is None:
        parts = [has]
    elif "p_now" in about:
        surely = "" if about["p_now"] <= UNLIKELY else "surely "
        parts = [f"{name} {target:g} is not {surely}reached (probability {_percent(about['p_now'])})", has]
    else:
        parts = [f"whether {name} {target:g} is reached cannot be said", has]
    parts += [_against(answer, rival) for rival in _rivals(answer)]
    if reached is None:
        parts += [_chances(found), _outlook(answer, found)]
    if last["seeds"] == 1 and last.get("size"):
        parts.append("one seed: what another draw of the training texts would change is assumed, not measured")
    said = [part if part.split()[0] in methods else part[0].upper() + part[1:] for part in parts if part]
    return ". ".join(said) + "."


def _score(point: Mapping[str, Any], metric: str) -> str:
    score = point[metric]
    return f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # no -0.000


def _labels(point: Mapping[str, Any]) -> str:
    return f"{point['size']} labels" if point.get("size") else "no labels"


def _percent(p: float) -> str:
    return "below 1 %" if p < 0.01 else "above 99 %" if p > 0.99 else f"{100 * p:.0f} %"


def _rivals(answer: Mapping[str, Any]) -> list[str]:
    """Return what the method is compared with: the best one where that is another, LoRA, or else the next best."""
    methods, use, metric = answer["methods"], answer["use"], answer["metric"]
    named = [name for name in dict.fromkeys((answer["best"], "lora")) if name in methods and name != use]
    others = [name for name in methods if name != use]
    if named or not others:
        return named
    return [max(others, key=lambda name: methods[name]["points"][-1][metric]["mean"])]


def _against(answer: Mapping[str, Any], rival: str) -> str:
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
    by = f"{_signed(sign * each['difference'])} ({_signed(low)} to {_signed(high)})"
    text = f"{rival} has {_score(theirs[b], metric)} with {_labels(theirs[b])}; "
    if each["corrected"] >= SIGNIFICANT:
        text += f"the difference of {use} to it, {by}, is not significant"
    elif sign * each["difference"] < 0:
        text += f"{use} is behind by {by}"
    else:
        everywhere = len(shared) > 1 and all(
            ours[size][metric]["mean"] > theirs[size][metric]["mean"] for size in shared
        )
        text += f"{use} is ahead by {by}" + (", and was so at every smaller size" if everywhere else "")
    if rival == answer["best"]:
        spent = (point["gpu_seconds"] + point["cpu_seconds"] for point in (ours[a], theirs[b]))
        mine, its = map(_duration, spent)
        text += f", and {rival} takes {its} instead of {mine}"
    return text + _crossing(answer, use, rival)


def _crossing(answer: Mapping[str, Any], use: str, rival: str) -> str:
    """Say from how many labels on which of two methods is the better one, if they change places."""
    for each in answer["break_even"]:
        if {use, rival} == set(each["methods"]) and "on_the_mean" in each:
            later = each["leads_later"]
            surely = f", surely from {each['surely']} on" if "surely" in each else ""
            return f". {later} leads from about {each['on_the_mean']} labels on{surely}"
    return ""


def _chances(found: Mapping[str, Any]) -> str:
    if "p_target" not in found.get("expected", {}).get("2x", {}):
        return ""
    twice, four = found["expected"]["2x"], found["expected"]["4x"]
    chances = [f"{_percent(each['p_target'])} with {each['size']} labels" for each in (twice, four)]
    text = f"the probability that it is reached is {' and '.join(chances)}"
    about = found["target"]
    if "at_most" in about:
        return f"{text}: it takes {about['at_least']} to {about['at_most']} labels (80 %)"
    return f"{text}: it takes at least {about['at_least']} labels (90 %)" if "at_least" in about else text


def _outlook(answer: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    then, last = answer["then"], found["points"][-1].get("size")
    if last is None:
        return {
            "stop": "no other method is expected to be better with up to four times the labels: stop labelling",
            "label": "with four times the labels another method is expected to be better: label more",
            "decide": "whether another method overtakes it with more labels cannot be said",
        }[then]
    if "refused" in found:
        needs = _needs(found, last)
        return f"what more labels bring cannot be said: {found['refused']}. What would decide it: {needs}"
    gain = found["gain_of_next_doubling"]
    low, high = _signed(gain["low80"]), _signed(gain["high80"])
    text = f"twice the labels bring about {_signed(gain['median'])} ({low} to {high}, 80 %)"
    if then == "label":
        return f"{text}: label more"
    if then == "decide":
        return f"{text}. What would decide whether the target is reached: {_needs(found, last)}"
    hopeless = found["expected"]["4x"].get("p_target", 1) < UNLIKELY
    return f"{text}: " + ("more labels alone will hardly reach the target" if hopeless else "stop labelling")


def _needs(found: Mapping[str, Any], last: int) -> str:
    names = {"seed": "another seed", "size": f"a run with {2 * last} labels", "items": "twice the test items"}
    return " or ".join(f"{names[each]} (about {_duration(found['needs_seconds'][each])})" for each in found["needs"])


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"
