"""The confusion matrix of one run: which label was answered (columns) for which true label (rows)."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..record import Result
from .style import new_figure, wrap

OUTSIDE = "(outside the labels)"


def draw(one: Result) -> Figure:
    """Return the picture: counts, each row shaded by its shares; the column of outside answers only if there are any.

    Up to 12 labels their names are written whole; of more they are cut to one line, and zeros are left blank.
    """
    columns = [*one.labels, *([OUTSIDE] if one.not_in_labels else [])]
    counts = [row[: len(columns)] for row in one.confusion]
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    if few := len(one.labels) <= 12:
        cell_width, cell_height, fontsize = 0.88, 0.6, 8.0
        names = [wrap(name, 15, 6) for name in columns]
        rows = [wrap(name, 30, 3) for name in one.labels]
    else:
        cell_width = cell_height = 0.36 if len(one.labels) <= 40 else 0.24
        fontsize = cell_width * 19
        names = [wrap(name, 32, 1) for name in columns]
        rows = names[: len(one.labels)]
    width = max(cell_width * len(columns) + 3, 5)
    figure = new_figure(width, cell_height * len(rows) + (2 if few else 3.2), f"Confusion matrix of {one.run.name}")
    axes = figure.subplots()
    axes.pcolormesh(shares, cmap="Greys", vmin=0, vmax=1, edgecolors="#cccccc", linewidth=0.5 if few else 0.2)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([index + 0.5 for index in range(len(columns))], names, rotation=0 if few else 90, fontsize=fontsize)
    texts = [f"{name} ({items})" for name, items in zip(rows, one.support, strict=True)]
    axes.set_yticks([index + 0.5 for index in range(len(rows))], texts, fontsize=fontsize)
    axes.set_xlabel("answered (shading: share of the row)")
    axes.set_ylabel("true label (items)")
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            if not (count or few):
                continue
            # A zero is no news: pale, so that the others stand out.
            color = "white" if shares[y][x] > 0.6 else "black" if count else "#999999"
            place = {"ha": "center", "va": "center", "in_layout": False}
            axes.text(x + 0.5, y + 0.5, str(count), color=color, fontsize=fontsize, **place)
    result = f"{one.run.caption}: {one.correct} of {one.items} right, split {one.record['split']}"
    figure.suptitle(f"{wrap(one.run.name, int(width * 10))}\n{result}")
    return figure
