"""The answer in words: the first line of the summary and of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {"accuracy": "accuracy", "f1": "macro-F1"}
NEEDS = {"seed": "another seed", "size": "the next size", "items": "more test items"}


def headline(answer: Mapping[str, Any]) -> str:
    """Return the answer in a few sentences: what is reached, by which method, what more labels bring, what to do."""
    use, metric = answer["use"], answer["metric"]
    found = answer["methods"][use]
    last = found["points"][-1]
    score = last[metric]
    name = NAMES[metric]
    shown = f"{name} {score['mean']:.3f} with {_labels(last)} ({score['low']:.3f}-{score['high']:.3f})"
    parts = []
    target = answer.get("target")
    if target is not None and "reached_from" in found.get("target", {}):
        parts.append(
            f"{name} {target:g} is reached: by {use} from {found['target']['reached_from']} labels on; it has {shown}"
        )
    elif target is not None:
        parts.append(f"{name} {target:g} is not surely reached: {use} has {shown}")
        parts.append(_chances(found, target))
    else:
        parts.append(f"{use} has {shown}")
    parts += _against_lora(answer, use, metric)
    if answer.get("cheaper"):
        parts.append(f"{answer['best']} is not significantly better and costs more than twice the time")
    parts.append(_outlook(found, answer["then"]))
    return (
        ". ".join(part[0].upper() + part[1:] if index else part for index, part in enumerate(filter(None, parts))) + "."
    )


def _labels(point: Mapping[str, Any]) -> str:
    return f"{point['size']} labels" if point.get("size") else "no labels"


def _chances(found: Mapping[str, Any], target: float) -> str:
    if "expected" not in found:
        return ""
    twice, four = found["expected"]["2x"], found["expected"]["4x"]
    chances = [f"{each['p_target']:.0%} with {each['size']} labels" for each in (twice, four)]
    text = f"the probability that it is reached is {' and '.join(chances)}"
    about = found["target"]
    if "at_most" in about:
        return f"{text}; {about.get('at_least', twice['size'])} to {about['at_most']} labels (80 %)"
    return f"{text}; at least {about['at_least']} labels" if "at_least" in about else text


def _against_lora(answer: Mapping[str, Any], use: str, metric: str) -> list[str]:
    """Say how far LoRA is behind, where another method is better."""
    lora = answer["methods"].get("lora")
    if lora is None or use == "lora":
        return []
    points = {point["size"]: point[metric]["mean"] for point in lora["points"]}
    own = {point.get("size"): point[metric]["mean"] for point in answer["methods"][use]["points"]}
    shared = [size for size in points if size in own]
    if not shared:
        return []
    better = [size for size in shared if own[size] > points[size]]
    where = "at every size" if len(better) == len(shared) else f"at {len(better)} of {len(shared)} sizes"
    last = shared[-1]
    return [f"LoRA has {points[last]:.3f} with {last} labels; {use} is better {where}"] if better else []


def _outlook(found: Mapping[str, Any], then: str) -> str:
    if "refused" in found:
        spent = found.get("needs_seconds", {})
        needs = [
            NEEDS[each] + (f" (about {_duration(spent[each])})" if each in spent else "") for each in found["needs"]
        ]
        return f"what more labels bring cannot be said: {found['refused']}; what would decide it: {' or '.join(needs)}"
    gain = found.get("gain_of_next_doubling")
    if gain is None:
        return ""
    text = f"twice the labels bring about {gain['median']:+.3f} ({gain['low80']:+.3f} to {gain['high80']:+.3f}, 80 %)"
    return f"{text}: {'label more' if then == 'label' else 'stop labelling'}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(1, round(seconds / 60))} min"
