"""Puts value labels and tick labels where no text covers another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.path import Path as Outline
from matplotlib.transforms import Bbox


@dataclass(frozen=True)
class Mark:
    """A point that wants its value written beside it, or "" nothing; ``low`` and ``high`` end its error bar."""

    x: float
    y: float
    low: float
    high: float
    text: str
    color: str


# (horizontal, vertical) side of the point, in the order of preference: a rising curve leaves free what is above it
# to the left and below it to the right. "end" is beyond the end of the error bar.
_PLACES = (
    *((-1, 1), (1, -1), (0, "end"), (0, "-end"), (1, 1), (-1, -1), (-1, 0), (1, 0)),
    *((-1, 2), (1, -2), (1, 2), (-1, -2)),
)
_GAP = 4  # points between a marker and its label


def place_values(axes: Axes, marks: Sequence[Mark], lines: Sequence[Sequence[tuple[float, float]]]) -> int:
    """Write each mark's text near its point, over no marker, error bar, line or other label.

    ``lines`` are polylines in data coordinates. A value that fits nowhere is left out; returns how many were. The
    layout must be final and drawn: call it last. Greedy, in the order of the marks.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    to_pixels = axes.transData.transform
    taken = []
    for mark in marks:
        (x, y), (_, low), (_, high) = to_pixels([(mark.x, mark.y), (mark.x, mark.low), (mark.x, mark.high)])
        taken += [Bbox.from_extents(x - 3 * scale, y - 3 * scale, x + 3 * scale, y + 3 * scale)]
        taken += [Bbox.from_extents(x - 3 * scale, low - scale, x + 3 * scale, high + scale)]
    segments = [Outline(to_pixels(pair)) for line in lines for pair in itertools.pairwise(line)]
    inside = axes.get_window_extent(renderer)
    left_out = 0
    for mark in filter(lambda mark: mark.text, marks):
        label = axes.text(0, 0, mark.text, fontsize=8, color=mark.color, ha="center", va="center")
        label.set_in_layout(False)
        size = label.get_window_extent(renderer)
        boxes = (_box(to_pixels, mark, place, size.width, size.height, _GAP * scale) for place in _PLACES)
        free = (
            box
            for box in boxes
            if inside.contains(*box.min)
            and inside.contains(*box.max)
            and not any(box.overlaps(other) for other in taken)
            and not any(segment.intersects_bbox(box, filled=False) for segment in segments)
        )
        box = next(free, None)
        if box is None:
            label.remove()
            left_out += 1
            continue
        label.set_position(axes.transData.inverted().transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)))
        taken.append(box)
    return left_out


def _box(to_pixels: Callable, mark: Mark, place: tuple, width: float, height: float, gap: float) -> Bbox:
    """Return the pixel box of a label of that size at that place."""
    side, level = place
    (x, y), (_, low), (_, high) = to_pixels([(mark.x, mark.y), (mark.x, mark.low), (mark.x, mark.high)])
    middle_x = x + side * (width / 2 + gap)
    if level == "end":
        middle_y = high + height / 2 + gap
    elif level == "-end":
        middle_y = low - height / 2 - gap
    else:
        middle_y = y + level * (height / 2 + gap / 2)
    return Bbox.from_extents(middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2)


def fit_ticks(panels: Sequence[Axes]) -> None:
    """Turn the x tick labels of a figure's panels upright where they would overlap, and blank those that do even then.

    The figure is drawn afterwards, so that its layout is known.
    """
    figure = panels[0].figure
    figure.draw_without_rendering()
    crowded = [axes for axes in panels if _overlapping(axes)]
    if not crowded:
        return
    for axes in crowded:
        axes.tick_params(axis="x", labelrotation=90)
    figure.draw_without_rendering()
    for axes in crowded:
        if drop := _overlapping(axes):
            texts = [tick.get_text() for tick in axes.get_xticklabels()]
            axes.set_xticks(axes.get_xticks(), ["" if index in drop else text for index, text in enumerate(texts)])
    figure.draw_without_rendering()


def _overlapping(axes: Axes) -> set[int]:
    """Return the indices of the x tick labels that overlap the last one kept to their left."""
    renderer = axes.figure.canvas.get_renderer()
    drop, edge = set(), float("-inf")
    for index, tick in enumerate(axes.get_xticklabels()):
        box = tick.get_window_extent(renderer)
        if box.x0 < edge:
            drop.add(index)
        else:
            edge = box.x1 + 2
    return drop
