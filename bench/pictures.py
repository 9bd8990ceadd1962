"""Draw docs/performance_time.png and docs/performance_loss.png from docs/performance.json: python bench/pictures.py"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

from fewshot_sft.jsonio import write_bytes
from fewshot_sft.results.plots.style import DPI, drawing, new_figure

DOCS = Path(__file__).resolve().parents[1] / "docs"
# Told apart without colour by lightness and hatching.
TRAINING = {"facecolor": "#0072b2", "edgecolor": "white"}
WAITING = {"facecolor": "white", "edgecolor": "#8c5a00", "hatch": "////"}
ASKING = {"facecolor": "#e69f00", "edgecolor": "white"}
AROUND = {"facecolor": "#bfbfbf", "edgecolor": "white"}
STARTS = {"facecolor": "#4d4d4d", "edgecolor": "white"}
RUNS = {"default": "ours, one GPU", "two_gpus": "ours, two GPUs"}
LAST = 340  # seconds that the timelines show
BAR = 0.62  # of a row's height
ABREAST = 4  # models in a row of the picture of losses


def time_picture(found: dict[str, Any]) -> Figure:
    """Return where the time goes: the totals on one scale, then two of our runs, a row for each size and step."""
    figure = new_figure(9.6, 8.6, "Seconds of each step")
    totals, *timelines = figure.subplots(3, 1, height_ratios=(1.0, 1.75, 1.75))
    draw_totals(totals, found)
    for panel, (run, title) in zip(timelines, RUNS.items(), strict=True):
        draw_timeline(panel, found["ours"][run], title)
    explain_timelines(timelines[0])
    return figure


def draw_totals(panel: Axes, found: dict[str, Any]) -> None:
    """Draw the original's computed total in its parts and, on the same scale, our measured totals."""
    parts, begin = found["seed"]["computed_parts_seconds"], 0.0
    look = {
        "around_training": (AROUND, "start and end of the trainer"),
        "training": (TRAINING, "training"),
        "server_starts": (STARTS, "start of the server"),
        "asking": (ASKING, "asking, one at a time"),
    }
    for part, (style, label) in look.items():
        panel.barh(0, parts[part], BAR, begin, label=f"{label}: {parts[part]:,.0f} s", **style)
        begin += parts[part]
    for row, run in enumerate(RUNS, 1):
        seconds, times = (found["ours"][run][key] for key in ("total_seconds", "times_faster_than_computed_seed"))
        panel.barh(row, seconds, BAR, color="black")
        panel.text(seconds + 100, row, f"{seconds} s, measured whole ({times} times faster)", va="center")
    total = found["seed"]["computed_total_seconds"]
    title = f"The whole experiment: the original's way, {total:,} s computed from a timed part, and ours"
    panel.set_title(title, loc="left")
    finish(panel, ["the original's way", *RUNS.values()], total * 1.01)
    panel.legend(loc="center right", bbox_to_anchor=(1.0, 0.31), ncols=1)


def draw_timeline(panel: Axes, run: dict[str, Any], title: str) -> None:
    """Draw when each size of a run was trained, waited for its evaluation, and was asked."""
    sizes = sorted(run["sizes"], key=lambda each: -each["size"])
    for row, size in enumerate(sizes):
        bars = (
            (size["training"], TRAINING),
            (size["evaluation"], WAITING),
            (size["asked"], ASKING),
        )
        for (begin, end), style in bars:
            panel.barh(row, end - begin, BAR, begin, **style)
        label = f"{size['items_per_second']:.0f} items/s"
        background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        panel.text(size["evaluation"][1] + 4, row, label, va="center", bbox=background)
    begin, end = run["results"]
    panel.barh(len(sizes), end - begin, BAR, begin, **STARTS)
    panel.axvline(run["training_ends"], color="black", linewidth=0.9, linestyle=(0, (4, 3)))
    panel.set_title(
        f"{title}: {run['total_seconds']} s, {run['seconds_after_the_last_training']} s of it after the last training",
        loc="left",
    )
    finish(panel, [*(f"N = {size['size']}" for size in sizes), "results"], LAST)


def explain_timelines(panel: Axes) -> None:
    """Draw the legend of all timelines into a panel that has room for it."""
    legend = (
        Patch(**TRAINING, label="training, start included"),
        Patch(**WAITING, label="adapter loading, probe, client start"),
        Patch(**ASKING, label="5,000 items asked"),
        Line2D([], [], color="black", linewidth=0.9, linestyle=(0, (4, 3)), label="the last training ends"),
    )
    panel.legend(handles=legend, loc="lower left")


def finish(panel: Axes, rows: list[str], last: float) -> None:
    """Name the rows, the first on top, and the axis."""
    panel.set_yticks(range(len(rows)), rows)
    panel.invert_yaxis()
    panel.tick_params(axis="y", length=0)
    panel.set_xlim(0, last)
    panel.set_xlabel("seconds")
    panel.grid(axis="x")


def loss_picture(found: dict[str, Any]) -> Figure:
    """Return the losses of both ways to train, step by step and two panels for each model, and their differences."""
    models = found["families"]["models"]
    rows = -(-len(models) // ABREAST)
    figure = new_figure(13.0, 4.4 * rows, "Training losses, ours and the original's")
    panels = figure.subplots(2 * rows, ABREAST, height_ratios=(2.2, 1) * rows, squeeze=False)
    for row in range(0, 2 * rows, 2):
        panels[row, 0].set_ylabel("training loss of a step")
        panels[row + 1, 0].set_ylabel("ours less the original's")
    for number, column in enumerate(panels.reshape(rows, 2, ABREAST).transpose(0, 2, 1).reshape(-1, 2)):
        if number < len(models):
            draw_losses(column, models[number])
        else:
            for panel in column:
                panel.set_axis_off()
    panels[0, 0].legend(loc="upper right")
    panels[1, 0].legend(loc="lower right", fontsize=8, framealpha=0)
    return figure


def draw_losses(column: Any, model: dict[str, Any]) -> None:
    """Draw a model's losses in the upper panel, in the lower one how ours differ from the original's."""
    upper, lower = column
    original, ours = (model[way]["losses"] for way in ("original", "fast"))
    steps = range(1, len(original) + 1)
    upper.plot(steps, original, color="#b3b3b3", linewidth=6, label="the original's flags")
    upper.plot(steps, ours, color="black", linewidth=1.2, label="ours")
    upper.set_title(f"{model['model']}, {model['weights']} weights", loc="left", fontsize=10)
    upper.tick_params(labelbottom=False)
    rounding = abs(model["loss_difference"]["first_step"])
    lower.axhspan(-rounding, rounding, color="#e6e6e6", zorder=0, label="as far apart as at the first step")
    lower.plot(steps, [one - other for one, other in zip(ours, original, strict=True)], color="black", linewidth=1.2)
    lower.set_ylim(-0.05, 0.035)
    lower.set_xlabel("optimizer step")
    for panel in column:
        panel.grid()


def main() -> None:
    """Draw both."""
    found = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))
    with drawing([]):
        for name, draw in (("time", time_picture), ("loss", loss_picture)):
            picture = io.BytesIO()
            draw(found).savefig(picture, format="png", dpi=DPI, facecolor="white")
            write_bytes(DOCS / f"performance_{name}.png", picture.getvalue())


if __name__ == "__main__":
    main()
