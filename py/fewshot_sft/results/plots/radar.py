"""The radar of the original result.png: accuracy, precision, recall and F1 of every run, all axes from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.projections.polar import PolarAxes

from ..record import METRICS
from ..sweep import Sweep
from .style import new_figure, panel_grid, size_styles, size_text, wrap

_NAMES = ("accuracy", "macro\nprecision", "macro recall", "macro\nF1")
_ANGLES = [2 * math.pi * index / len(METRICS) for index in range(len(METRICS))]
# Inches. Constrained layout places round axes badly: their labels get clipped.
_DISC, _SIDE, _ABOVE, _BELOW, _LEGEND = 3.4, 0.85, 1.2, 0.45, 2.1


def draw(sweeps: Sequence[Sweep]) -> Figure:
    """Return the picture: one panel a sweep, one polygon a run in its size's colour, one scale on all axes.

    ``radar_plot`` of the ``evaluate`` package scales each axis by its own range, which makes equal differences look
    unequal (and has nothing to scale for one run); here a longer way from the centre is always a larger value.
    """
    rows, columns = panel_grid(len(sweeps))
    panel_width, panel_height = _DISC + 2 * _SIDE, _DISC + _ABOVE + _BELOW
    width, height = columns * panel_width + _LEGEND, rows * panel_height
    figure = new_figure(width, height, layout=None)
    styles = size_styles(one.run.size for sweep in sweeps for one in sweep.evaluations)
    for index, sweep in enumerate(sweeps):
        left = index % columns * panel_width + _SIDE
        bottom = height - (index // columns + 1) * panel_height + _BELOW
        box = (left / width, bottom / height, _DISC / width, _DISC / height)
        panel = figure.add_axes(box, projection="polar")
        _panel(panel)
        for one in sweep.evaluations:
            values = [one.metrics[key] for key in METRICS]
            panel.plot([*_ANGLES, 0], [*values, values[0]], **styles[one.run.size], linewidth=1.4, clip_on=False)
        title = f"{wrap(sweep.name, 48, 3)}\nsplit {sweep.evaluations[0].record['split']}, all axes from 0 to 1"
        figure.text((left + _DISC / 2) / width, (bottom + _DISC + 0.42) / height, title, ha="center")
    handles = [Line2D([], [], **style, linewidth=1.4, label=size_text(size)) for size, style in styles.items()]
    place = ((width - _LEGEND) / width, (height - _ABOVE) / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, title="training examples")
    return figure


def _panel(panel: PolarAxes) -> None:
    """Set the four axes: accuracy on top, then clockwise, circles at the fifths with their values beside."""
    panel.set_theta_offset(math.pi / 2)
    panel.set_theta_direction(-1)
    panel.set_ylim(0, 1)
    labels = panel.set_thetagrids([math.degrees(angle) for angle in _ANGLES], _NAMES)[1]
    for text, side in zip(labels, ("center", "left", "center", "right"), strict=True):
        text.set_horizontalalignment(side)
    panel.tick_params(axis="x", pad=2)
    fifths = [step / 5 for step in range(1, 6)]
    panel.set_rgrids(fifths, [""] * len(fifths))
    for value in fifths:
        # On white and above the lines, which would cross them out.
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        panel.text(math.pi / 4, value, f"{value:.1f}", fontsize=7, ha="center", va="center", bbox=white, zorder=5)
