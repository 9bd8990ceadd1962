"""Training and evaluation loss of trainings by step, the best evaluation marked."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from ...training.trainer_state import History
from .style import new_figure, sweep_style, wrap


def draw(histories: Mapping[str, History]) -> Figure:
    """Return one panel with the losses of each training, nothing smoothed: as logged, the evaluation dashed."""
    height = max(4.8, 0.9 * len(histories))  # of the legend
    figure = new_figure(8.4, height, "Loss by optimizer step: training as a line, evaluation dashed, its best marked")
    panel = figure.subplots()
    for index, (name, history) in enumerate(histories.items()):
        colour, title = sweep_style(index)["color"], wrap(name, 34)
        if history.training:
            steps, losses = zip(*history.training, strict=True)
            alone = {"marker": "."} if len(steps) == 1 else {}
            panel.plot(steps, losses, color=colour, linewidth=1.3, label=f"{title}\ntraining", **alone)
        if history.best:
            dashes = {"color": colour, "linestyle": (0, (6, 2)), "marker": "o", "markersize": 3}
            panel.plot(*zip(*history.evaluation, strict=True), **dashes, label=f"{title}\nevaluation")
            step, loss = history.best
            star = {"color": colour, "marker": "*", "markersize": 12, "linestyle": "none"}
            panel.plot([step], [loss], **star, label=f"best: {loss:.4g} at step {step}")
    panel.set_xlabel("optimizer step")
    panel.set_ylabel("loss, as logged, not smoothed")
    panel.set_ylim(bottom=0)
    panel.grid()
    figure.legend(loc="outside right upper")
    return figure
