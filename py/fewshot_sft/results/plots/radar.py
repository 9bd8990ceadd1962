"""The radar of the original result.png: accuracy, precision, recall and F1 of every run, all axes from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from ...runs import FREE_METRICS, METHODS
from ..record import METRICS, Result
from ..sweep import Sweep
from .style import method_style, new_figure, panel_grid, size_styles, size_text, wrap

_NAMES = ("accuracy", "macro\nprecision", "macro recall", "macro\nF1")
_ANGLES = [2 * math.pi * index / len(METRICS) for index in range(len(METRICS))]
_Key = tuple[str, int | None]  # method, size
# Inches. Constrained layout places round axes badly: their labels get clipped.
_DISC, _SIDE, _ABOVE, _BELOW = 3.4, 0.85, 1.2, 0.45


def draw(sweeps: Sequence[Sweep]) -> Figure:
    """Return the picture: one panel a sweep, one polygon a size, or a method at its largest; one scale on all axes.

    ``radar_plot`` of the ``evaluate`` package scales each axis by its own range, which makes equal differences look
    unequal (and has nothing to scale for one run); here a longer way from the centre is always a larger value. Of
    several seeds it is the mean.
    """
    panels = [_polygons(sweep) for sweep in sweeps]
    if len({method for polygons in panels for method, size in polygons if size}) > 1:
        legend, beside = "method, at its largest size", 3.0
        panels = [_largest(polygons) for polygons in panels]
        styles = {key: method_style(key[0]) for polygons in panels for key in polygons}
        entries = {}
        for method in sorted({method for method, _ in styles}, key=METHODS.index):
            sizes = sorted(size for name, size in styles if name == method and size)
            entries[f"{method}, N = {' / '.join(map(str, sizes))}" if sizes else method] = method_style(method)
    else:
        legend, beside = "training examples", 2.1
        by_size = size_styles(size for polygons in panels for _, size in polygons)
        styles = {key: by_size[key[1]] for polygons in panels for key in polygons}
        entries = {size_text(size): style for size, style in by_size.items()}
    rows, columns = panel_grid(len(sweeps))
    panel_width, panel_height = _DISC + 2 * _SIDE, _DISC + _ABOVE + _BELOW
    width, height = columns * panel_width + beside, rows * panel_height
    names = _names(sweeps[0])
    told = "Accuracy, macro precision, recall and F1" if names is _NAMES else ", ".join(names)
    figure = new_figure(width, height, f"{told} of each method or size", layout=None)
    for index, sweep in enumerate(sweeps):
        left = index % columns * panel_width + _SIDE
        bottom = height - (index // columns + 1) * panel_height + _BELOW
        box = (left / width, bottom / height, _DISC / width, _DISC / height)
        panel = figure.add_axes(box, projection="polar")
        _panel(panel, names)
        for key, values in panels[index].items():
            panel.plot([*_ANGLES, 0], [*values, values[0]], **styles[key], linewidth=1.4, clip_on=False)
        title = f"{wrap(sweep.name, 48, 3)}\nsplit {sweep.evaluations[0].record['split']}, all axes from 0 to 1"
        figure.text((left + _DISC / 2) / width, (bottom + _DISC + 0.42) / height, title, ha="center")
    handles = [Line2D([], [], **style, linewidth=1.4, label=name) for name, style in entries.items()]
    place = ((width - beside) / width, (height - _ABOVE) / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, title=legend)
    return figure


def _polygons(sweep: Sweep) -> dict[_Key, list[float]]:
    """Return the metrics' means over seeds, by method and size."""
    groups: dict[_Key, list[Result]] = {}
    for one in sweep.evaluations:
        groups.setdefault((one.run.method, one.run.size), []).append(one)
    return {key: [fmean(one.metrics[name] for one in own) for name in own[0].metrics] for key, own in groups.items()}


def _largest(polygons: dict[_Key, list[float]]) -> dict[_Key, list[float]]:
    """Return each method's largest size."""
    largest = {method: (method, size) for method, size in polygons}  # the last one stays
    return {key: polygons[key] for key in largest.values()}


def _names(sweep: Sweep) -> tuple[str, ...]:
    one = sweep.evaluations[0]
    return _NAMES if one.labels else tuple(FREE_METRICS[key] for key in one.metrics)


def _panel(panel: PolarAxes, names: Sequence[str]) -> None:
    """Set the four axes: the first on top, then clockwise, circles at the fifths with their values beside."""
    panel.set_theta_offset(math.pi / 2)
    panel.set_theta_direction(-1)
    panel.set_ylim(0, 1)
    labels = panel.set_thetagrids([math.degrees(angle) for angle in _ANGLES], names)[1]
    for text, side in zip(labels, ("center", "left", "center", "right"), strict=True):
        text.set_horizontalalignment(side)
    panel.tick_params(axis="x", pad=2)
    fifths = [step / 5 for step in range(1, 6)]
    panel.set_rgrids(fifths, [""] * len(fifths))
    for value in fifths:
        # On white and above the lines, which would cross them out.
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        panel.text(math.pi / 4, value, f"{value:.1f}", fontsize=7, ha="center", va="center", bbox=white, zorder=5)
