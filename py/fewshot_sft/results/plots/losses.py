"""The training losses of all runs in one picture, as the trainer logged them (``trainer_log.jsonl``)."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from ...runs import Run
from ...training.trainer_state import Points
from .style import new_figure, panel_grid, size_styles, size_text, wrap


def draw(losses: Mapping[str, Mapping[Run, Points]]) -> Figure:
    """Return the picture of ``losses[name][run]``: one panel a sweep, one line a run, nothing smoothed.

    Steps are on a log axis when the longest training has more than four times the steps of the shortest (epochs are
    fixed, so that steps grow with N), losses when they span more than a factor of 50.
    """
    rows, columns = panel_grid(len(losses))
    figure = new_figure(6.2 * columns + 1.4, 4.4 * rows, "Training losses by optimizer step, one line a run")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    styles = size_styles(run.size for runs in losses.values() for run in runs)
    every = [points for runs in losses.values() for points in runs.values()]
    lengths = [points[-1][0] for points in every]
    values = [loss for points in every for _, loss in points]
    log_x = max(lengths) > 4 * min(lengths)
    log_y = min(values) > 0 and max(values) > 50 * min(values)
    for index, (panel, (name, runs)) in enumerate(zip(panels, losses.items(), strict=False)):
        panel.set_title(wrap(name, 70))
        for run, points in runs.items():
            # Markers at equal distances on the page, not on every point.
            panel.plot(*zip(*points, strict=True), **styles[run.size], linewidth=1.3, markevery=0.12)
        panel.set_xscale("log" if log_x else "linear")
        panel.set_yscale("log" if log_y else "linear")
        if not log_y:
            panel.set_ylim(0, max(values) * 1.05)
        for axis in [panel.xaxis] * log_x + [panel.yaxis] * log_y:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(ScalarFormatter())  # 100, not a power of ten
            axis.set_minor_locator(NullLocator())
        panel.grid()
        if index + columns >= len(losses):
            panel.tick_params(labelbottom=True)
            panel.set_xlabel(f"optimizer step{' (log scale)' if log_x else ''}")
        if index % columns == 0:
            panel.set_ylabel(f"training loss{' (log scale)' if log_y else ''}, as logged, not smoothed")
    for panel in panels[len(losses) :]:
        panel.set_visible(False)
    handles = [Line2D([], [], **style, linewidth=1.3, label=size_text(size)) for size, style in styles.items()]
    figure.legend(handles=handles, loc="outside right upper", title="training examples")
    return figure
