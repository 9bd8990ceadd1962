"""The learning curve: accuracy and macro-F1 against the number of training examples, one line a method and sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from ...runs import FREE_METRICS
from ..interval import largest_class, wilson
from ..record import Result
from ..sweep import Sweep
from .placing import Mark, fit_ticks, place_values
from .style import method_style, new_figure, sweep_style, wrap

_PANELS = (("accuracy", "accuracy"), ("f1", "macro-F1"))
_FREE_PANELS = tuple((key, FREE_METRICS[key]) for key in ("rouge_l", "chrf"))
_GREY = "#555555"
_BAR = {"fmt": "none", "elinewidth": 1, "capsize": 3}
_CHANCE = {"color": _GREY, "linestyle": ":", "linewidth": 1.2}
_LAW = {"linestyle": (0, (3, 2)), "linewidth": 1.1}
_BAND = {"alpha": 0.13, "linewidth": 0}
_DOT = {"marker": "o", "markersize": 3.2, "linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.5}


@dataclass(frozen=True)
class _Point:
    """A method's mean over seeds at one size; without interval, ``low`` and ``high`` are the mean."""

    size: int
    mean: float
    low: float
    high: float
    singles: list[float]  # of each seed


@dataclass(frozen=True)
class _Series:
    """One line: a method of a sweep."""

    sweep: Sweep
    method: str
    style: dict[str, Any]
    evaluations: Mapping[int, Sequence[Result]]  # by size
    found: Mapping[str, Any] = field(default_factory=dict)  # answer.json's part about the method

    def points(self, key: str) -> Iterator[_Point]:
        """Yield the points with the interval of the answer, else, for the accuracy of one seed, Wilson's."""
        answered = {point["size"]: point[key] for point in self.found.get("points", ())}
        for size, own in sorted(self.evaluations.items()):
            singles = [one.metrics[key] for one in own]
            mean = fmean(singles)
            low, high = mean, mean
            if size in answered:
                mean, low, high = (answered[size][name] for name in ("mean", "low", "high"))
            elif key == "accuracy" and len(own) == 1:
                low, high = wilson(own[0].correct, own[0].items)
            yield _Point(size, mean, low, high, singles)

    @property
    def ahead(self) -> list[Mapping[str, Any]]:
        """What the answer expects at twice and four times the largest size, if it does."""
        expected = self.found.get("expected", {})
        return [expected[name] for name in ("2x", "4x") if name in expected]


def draw(sweeps: Sequence[Sweep], answer: Mapping[str, Any] | None = None) -> Figure:
    """Return the picture: two panels on one scale from 0 to 1, the sizes themselves as ticks of a log axis.

    A logarithm has no 0, so the base model is a dashed line across. The dotted line is what always answering the
    largest class would get. Several lines are moved sideways by a hair, so that their error bars stay apart.

    Args:
        sweeps: with at least one evaluation each.
        answer: answer.json of the only sweep: its intervals, and what it expects of more labels.
    """
    answer = answer or {}
    series = _all_series(sweeps, answer)
    handles = _handles(sweeps, series, answer)
    shown = _panels(sweeps)
    told = f"{shown[0][1].capitalize() if shown is _PANELS else shown[0][1]} and {shown[1][1]}"
    figure = new_figure(11, 5.1 + 0.1 * len(handles), f"{told} by number of training examples")
    split = sweeps[0].evaluations[0].record["split"]
    title = f"{sweeps[0].name}: learning curve" if len(sweeps) == 1 else "Learning curves"
    figure.suptitle(wrap(f"{title}, split {split} ({_items(sweeps)})", 110))
    panels = figure.subplots(1, 2, sharey=True)
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    for panel, (key, metric) in zip(panels, shown, strict=True):
        _axis(panel, series, key == answer.get("metric"))
        panel.set_title(metric)
    fit_ticks(panels)
    drawn = [_lines(panel, sweeps, series, key, answer) for panel, (key, _) in zip(panels, shown, strict=True)]
    for panel, (marks, lines) in zip(panels, drawn, strict=True):
        left_out = place_values(panel, marks, lines)
        if left_out:
            panel.set_xlabel(f"{panel.get_xlabel()}; values without room for them: {left_out}")
    return figure


def _all_series(sweeps: Sequence[Sweep], answer: Mapping[str, Any]) -> list[_Series]:
    series: list[_Series] = []
    for sweep in sweeps:
        by_method: dict[str, dict[int, list[Result]]] = {}
        for one in sweep.evaluations:
            if one.run.size is not None:
                by_method.setdefault(one.run.method, {}).setdefault(one.run.size, []).append(one)
        for method, evaluations in by_method.items():
            style = method_style(method) if len(sweeps) == 1 else sweep_style(len(series))
            series.append(_Series(sweep, method, style, evaluations, answer.get("methods", {}).get(method, {})))
    return series


def _items(sweeps: Sequence[Sweep]) -> str:
    counts = sorted({one.items for sweep in sweeps for one in sweep.evaluations})
    return f"{' / '.join(map(str, counts))} items"


def _axis(panel: Axes, series: Sequence[_Series], ahead: bool) -> None:
    sizes = {size for each in series for size in each.evaluations}
    sizes |= {expected["size"] for each in series for expected in each.ahead if ahead}
    ticks = sorted(sizes)
    panel.set_xscale("log")
    low, high = (ticks[0], ticks[-1]) if ticks else (10, 1000)
    room = max((high / low) ** 0.09, 1.4 if low == high else 1.12)
    panel.set_xlim(low / room, high * room)
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(ticks, [str(size) for size in ticks])
    panel.set_ylim(-0.03, 1.03)
    panel.set_yticks([tick / 10 for tick in range(0, 11, 2)])
    panel.grid(axis="y")
    panel.set_xlabel("training examples (log scale)" if ticks else "only zero-shot was evaluated")


def _lines(
    panel: Axes, sweeps: Sequence[Sweep], series: Sequence[_Series], key: str, answer: Mapping[str, Any]
) -> tuple[list[Mark], list[list[tuple[float, float]]]]:
    """Draw one panel and return the points with the values to be written, and the lines that they should keep off."""
    left, right = panel.get_xlim()
    marks, lines = [], []
    for sweep in sweeps:
        base = sweep.evaluations[0]
        if base.run.size is None:
            value, style = base.metrics[key], _base_style(sweep, sweeps, series)
            panel.axhline(value, **style | {"marker": ""})
            panel.plot([0, 1], [value] * 2, transform=panel.get_yaxis_transform(), **style | {"linestyle": ""})
            lines.append([(left, value), (right, value)])
    # With several methods only the best one's values are written: of all of them none could be read.
    written = [each for each in series if len(series) == len(sweeps) or each.method == answer.get("use")]
    one_color = {"color": "#000000"} if len(written) == 1 else {}
    step = min(0.012, 0.06 / max(len(series), 1))
    for index, each in enumerate(series):
        color, sideways = each.style["color"], (right / left) ** (step * (index - (len(series) - 1) / 2))
        line = []
        for point in each.points(key):
            x = point.size * sideways
            line.append((x, point.mean))
            if point.low < point.high:
                ends = [[point.mean - point.low], [point.high - point.mean]]
                panel.errorbar([x], [point.mean], ends, **_BAR, ecolor=color)
            if len(point.singles) > 1:
                panel.plot([x] * len(point.singles), point.singles, **_DOT, color=color)
            text = f"{point.mean:.3f}" if each in written else ""
            marks.append(Mark(x, point.mean, point.low, point.high, text, (each.style | one_color)["color"]))
        panel.plot(*zip(*line, strict=True), **each.style, linewidth=1.5)
        lines.append(line)
        if key == answer.get("metric") and each.ahead:
            lines.append(_law(panel, line[-1], each))
    for value in {pair[key == "f1"] for pair in _chances(sweeps)}:
        panel.axhline(value, **_CHANCE)
        lines.append([(left, value), (right, value)])
    return sorted(marks, key=lambda mark: (mark.x, -mark.y)), lines


def _law(panel: Axes, last: tuple[float, float], series: _Series) -> list[tuple[float, float]]:
    """Draw what is expected of more labels and return its line."""
    sizes = [each["size"] for each in series.ahead]
    line = [last, *zip(sizes, (each["median"] for each in series.ahead), strict=True)]
    panel.plot(*zip(*line, strict=True), **_LAW, color=series.style["color"])
    low, high = ([each[name] for each in series.ahead] for name in ("low80", "high80"))
    panel.fill_between(sizes, low, high, **_BAND, color=series.style["color"])
    return line


def _base_style(sweep: Sweep, sweeps: Sequence[Sweep], series: Sequence[_Series]) -> dict[str, Any]:
    """Return the settings of the base model's line; its hollow marker tells, without colour, which sweep it is of."""
    own = next((each.style for each in series if each.sweep is sweep), sweep_style(len(series) + sweeps.index(sweep)))
    look = {"color": "#000000", "marker": ""} if len(sweeps) == 1 else {key: own[key] for key in ("color", "marker")}
    return look | {"linestyle": (0, (4, 3)), "linewidth": 1.1, "markerfacecolor": "white", "clip_on": False}


def _handles(sweeps: Sequence[Sweep], series: Sequence[_Series], answer: Mapping[str, Any]) -> list[Artist]:
    """Return what the legend explains; the lines across have their values there, where nothing is in their way."""
    handles: list[Artist] = []
    for sweep in sweeps:
        # A legend leaves out what begins with an underscore.
        name = wrap(sweep.name, 60).replace("_", " _", sweep.name.startswith("_"))
        own = [each for each in series if each.sweep is sweep]
        for each in own:
            label = each.method if len(sweeps) == 1 else name + f": {each.method}" * (len(own) > 1)
            handles.append(Line2D([], [], **each.style, linewidth=1.5, label=label))
        base = sweep.evaluations[0]
        if base.run.size is None:
            label = f"{name}: zero-shot" if len(sweeps) > 1 else "zero-shot"
            style = _base_style(sweep, sweeps, series)
            handles.append(Line2D([], [], **style, label=f"{label} ({_written(base)})"))
    if chances := _chances(sweeps):
        chance = "; ".join(_both(*pair) for pair in sorted(chances))
        handles.append(Line2D([], [], **_CHANCE, label=f"always the largest class ({chance})"))
    several = any(len(own) > 1 for each in series for own in each.evaluations.values())
    if any(each.found for each in series):
        label = f"95 % interval over test items{' and seeds' * several}"
    else:
        label = "accuracy: Wilson 95 % interval over the test items" + ", where there is one seed" * several
    shown = _panels(sweeps)
    if any(point.low < point.high for each in series for key, _ in shown for point in each.points(key)):
        bar = {"color": _GREY, "marker": "|", "markersize": 11, "markeredgewidth": 1, "linestyle": ""}
        handles.append(Line2D([], [], **bar, label=label))
    if several:
        handles.append(Line2D([], [], **_DOT, color=_GREY, label="single seeds; the line is their mean"))
    if any(each.ahead for each in series):
        metric = dict(shown)[answer["metric"]]
        handles.append(Line2D([], [], **_LAW, color=_GREY, label=f"{metric} expected up to 4 times the largest size"))
        label = "80 % band: with that probability the expected curve is in it"
        handles.append(Patch(**_BAND | {"alpha": 0.3}, color=_GREY, label=label))
    return handles


def _panels(sweeps: Sequence[Sweep]) -> tuple[tuple[str, str], ...]:
    return _PANELS if sweeps[0].evaluations[0].labels else _FREE_PANELS


def _chances(sweeps: Sequence[Sweep]) -> set[tuple[float, float]]:
    """Return the (accuracy, macro-F1) of always answering the largest class; none of free text."""
    return {largest_class(one.support) for sweep in sweeps for one in sweep.evaluations if one.labels}


def _written(one: Result) -> str:
    if one.labels:
        return _both(**one.metrics)
    return ", ".join(f"{name} {one.metrics[key]:.3f}" for key, name in _FREE_PANELS)


def _both(accuracy: float, f1: float, **_: float) -> str:
    return f"accuracy {accuracy:.3f}, F1 {f1:.3f}"
