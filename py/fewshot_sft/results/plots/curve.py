"""The learning curve: accuracy and macro-F1 against the number of training examples, one line a sweep and seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from ..interval import largest_class, wilson
from ..sweep import Sweep
from .labels import Mark, fit_ticks, place_values
from .style import new_figure, sweep_style, wrap

_PANELS = (("accuracy", "accuracy"), ("f1", "macro-F1"))
_GREY = "#555555"
_BAR = {"fmt": "none", "elinewidth": 1, "capsize": 3}
_CHANCE = {"color": _GREY, "linestyle": ":", "linewidth": 1.2}


def draw(sweeps: Sequence[Sweep]) -> Figure:
    """Return the picture: two panels on one scale from 0 to 1, the sizes themselves as ticks of a log axis.

    A logarithm has no 0, so the base model is a dashed line across. The dotted line is what always answering the
    largest class would get. Several lines are moved sideways by a hair, so that their error bars stay apart.
    """
    figure = new_figure(11, 5.4)
    split = sweeps[0].evaluations[0].record["split"]
    title = f"{sweeps[0].name}: learning curve" if len(sweeps) == 1 else "Learning curves"
    figure.suptitle(wrap(f"{title}, split {split} ({_items(sweeps)})", 110))
    panels = figure.subplots(1, 2, sharey=True)
    figure.legend(handles=_handles(panels[0], sweeps), loc="outside lower center", ncols=2)
    for panel, (_, metric) in zip(panels, _PANELS, strict=True):
        _axis(panel, sweeps)
        panel.set_title(metric)
    fit_ticks(panels)
    drawn = [_lines(panel, sweeps, key) for panel, (key, _) in zip(panels, _PANELS, strict=True)]
    for panel, (marks, lines) in zip(panels, drawn, strict=True):
        left_out = place_values(panel, marks, lines)
        if left_out:
            panel.set_xlabel(f"{panel.get_xlabel()}; values without room for them: {left_out}")
    return figure


def _items(sweeps: Sequence[Sweep]) -> str:
    counts = sorted({one.items for sweep in sweeps for one in sweep.evaluations})
    return f"{' / '.join(map(str, counts))} items"


def _axis(panel: Axes, sweeps: Sequence[Sweep]) -> None:
    sizes = sorted({size for sweep in sweeps for one in sweep.evaluations if (size := one.run.size)})
    panel.set_xscale("log")
    low, high = (sizes[0], sizes[-1]) if sizes else (10, 1000)
    room = max((high / low) ** 0.09, 1.4 if low == high else 1.12)
    panel.set_xlim(low / room, high * room)
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.set_ylim(-0.03, 1.03)
    panel.set_yticks([tick / 10 for tick in range(0, 11, 2)])
    panel.grid(axis="y")
    panel.set_xlabel("training examples (log scale)" if sizes else "only zero-shot was evaluated")


def _lines(panel: Axes, sweeps: Sequence[Sweep], key: str) -> tuple[list[Mark], list[list[tuple[float, float]]]]:
    """Draw one panel and return the values to be written and the lines that they should keep off."""
    left, right = panel.get_xlim()
    marks, lines = [], []
    series = [(sweep.name, seed) for sweep in sweeps for seed in _seeds(sweep)]
    for index, sweep in enumerate(sweeps):
        style = sweep_style(index)
        points: dict[int | None, list[tuple[float, float]]] = {seed: [] for seed in _seeds(sweep)}
        for one in sweep.evaluations:
            value, size, seed = one.metrics[key], one.run.size, one.run.seed
            if size is None:
                panel.axhline(value, **_base_style(style))
                panel.plot([0, 1], [value] * 2, transform=panel.get_yaxis_transform(), **_base_marker(style, sweeps))
                lines.append([(left, value), (right, value)])
                continue
            sideways = series.index((sweep.name, seed)) - (len(series) - 1) / 2
            x, low, high = size * (right / left) ** (0.012 * sideways), value, value
            if key == "accuracy":
                low, high = wilson(one.correct, one.items)
                panel.errorbar([x], [value], [[value - low], [high - value]], **_BAR, ecolor=style["color"])
            marks.append(Mark(x, value, low, high, f"{value:.3f}", style["color"]))
            points[seed].append((x, value))
        for line in points.values():
            panel.plot(*zip(*line, strict=True), **style, linewidth=1.5)
            lines.append(line)
    for value in {largest_class(one.support)[key == "f1"] for sweep in sweeps for one in sweep.evaluations}:
        panel.axhline(value, **_CHANCE)
        lines.append([(left, value), (right, value)])
    return sorted(marks, key=lambda mark: (mark.x, -mark.y)), lines


def _seeds(sweep: Sweep) -> list[int | None]:
    return list(dict.fromkeys(one.run.seed for one in sweep.evaluations if one.run.size))


def _base_style(style: dict[str, Any]) -> dict[str, Any]:
    return {"color": style["color"], "linestyle": (0, (4, 3)), "linewidth": 1.1}


def _base_marker(style: dict[str, Any], sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """The sweep's marker, hollow, at both ends of the base model's line: it tells whose line it is, without colour."""
    marker = style["marker"] if len(sweeps) > 1 else ""
    return {"color": style["color"], "marker": marker, "linestyle": "", "markerfacecolor": "white", "clip_on": False}


def _handles(panel: Axes, sweeps: Sequence[Sweep]) -> list[Artist]:
    """Return what the legend explains; the lines across have their values there, where nothing is in their way."""
    handles: list[Artist] = []
    for index, sweep in enumerate(sweeps):
        style, base, tuned = sweep_style(index), sweep.evaluations[0], sweep.evaluations[-1]
        names = ("fine-tuned on N examples" + ", a line for each seed" * (len(_seeds(sweep)) > 1), "zero-shot")
        if len(sweeps) > 1:
            # A legend leaves out what begins with an underscore.
            name = wrap(sweep.name, 60).replace("_", " _", sweep.name.startswith("_"))
            names = name, f"{name}: zero-shot"
        if tuned.run.size:
            handles.append(Line2D([], [], **style, linewidth=1.5, label=names[0]))
        if base.run.size is None:
            line = {**_base_marker(style, sweeps), **_base_style(style)}
            handles.append(Line2D([], [], **line, label=f"{names[1]} ({_both(**base.metrics)})"))
    chance = "; ".join(
        _both(*pair) for pair in sorted({largest_class(one.support) for sweep in sweeps for one in sweep.evaluations})
    )
    handles.append(Line2D([], [], **_CHANCE, label=f"always the largest class ({chance})"))
    if any(sweep.evaluations[-1].run.size for sweep in sweeps):
        label = "accuracy: Wilson 95 % interval over the test items"
        handles.append(panel.errorbar([1], [math.nan], [0], **_BAR, ecolor=_GREY, label=label))
    return handles


def _both(accuracy: float, f1: float, **_: float) -> str:
    return f"accuracy {accuracy:.3f}, F1 {f1:.3f}"
