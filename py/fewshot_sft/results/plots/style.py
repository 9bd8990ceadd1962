"""One look for all pictures: readable in black and white, the same bytes for the same records, any script's letters."""

from __future__ import annotations

import contextlib
import html
import io
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...jsonio import write_bytes
from ...runs import METHODS, ZERO_SHOT
from ...words import display_width
from . import fonts

DPI = 160
# Told apart without colour by marker and dashes; the first five sweeps by their colours' lightness as well.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.2)), (0, (6, 2, 1, 2)), (0, (10, 3)))
SWEEP_COLOURS = ("#000000", "#0072b2", "#d55e00", "#56b4e9", "#7a4b94", "#009e73", "#8c6d00")

_SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "figure.dpi": DPI,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "text.parse_math": False,  # a label may hold dollar signs
    "svg.fonttype": "none",  # text stays text: it can be searched and read out
    "svg.hashsalt": "few-shot-sft",  # the same ids on every run
}


@contextlib.contextmanager
def drawing(texts: Iterable[str]) -> Iterator[str | None]:
    """Set the look for a ``with`` block, whatever the user's matplotlibrc says, with fonts that can write ``texts``.

    Yields what the user should know (once) when no installed font has all letters, else None; matplotlib's own
    warnings about them, one a letter, are silenced.
    """
    families, complaint = fonts.families_for(texts)
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        # The generic name is for whoever opens an SVG without these fonts.
        looks = {"font.family": [*families, "sans-serif"], "font.sans-serif": families[:1]}
        matplotlib.rcParams.update({**_SETTINGS, **looks})
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield complaint


def new_figure(width: float, height: float, title: str, layout: str | None = "constrained") -> Figure:
    """Return a figure of ``width`` x ``height`` inches; the default layout keeps its parts from overlapping.

    ``title`` tells what it shows to those who do not see it.
    """
    figure = Figure(figsize=(width, height), layout=layout)
    figure.set_label(title)
    FigureCanvasAgg(figure)
    if layout:
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure


def draw_and_save(draw: Callable[[Any], Figure], what: object, stem: Path) -> list[Path]:
    """Draw ``what``, write ``<stem>.png`` and ``<stem>.svg``, and return their paths."""
    return save(draw(what), stem)


def save(figure: Figure, stem: Path, numbers: str = "results.csv") -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.svg``, each atomically, and return their paths; ``numbers``: what has them."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine("none")  # the layout is done: both files get this one
    paths = []
    for kind, metadata in (("png", {}), ("svg", {"Date": None})):
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, dpi=DPI, metadata=metadata, facecolor="white")
        paths.append(stem.with_name(f"{stem.name}.{kind}"))
        content = picture.getvalue()
        write_bytes(paths[-1], content if kind == "png" else _told(content, figure, numbers))
    return paths


def _told(svg: bytes, figure: Figure, numbers: str) -> bytes:
    """Return the SVG with what a screen reader says of it."""
    title, seen = html.escape(figure.get_label()), html.escape(" ".join(figure.get_suptitle().split()))
    description = f"{seen}. All numbers are in {html.escape(numbers)}.".removeprefix(". ")
    head, start, rest = svg.partition(b"<svg ")
    attributes, end, drawing = rest.partition(b">")
    told = f'<title id="title">{title}</title><desc id="description">{description}</desc>'
    role = b'role="img" aria-labelledby="title description" '
    return head + start + role + attributes + end + told.encode() + drawing


def size_styles(sizes: Iterable[int | None]) -> dict[int | None, dict[str, Any]]:
    """Return line settings for each size: darker with more examples, its own marker and dashes; None is zero-shot."""
    ordered = sorted(set(sizes), key=lambda size: size or 0)
    colours = matplotlib.colormaps["viridis"]
    steps = max(len(ordered) - 1, 1)
    return {
        size: {
            "color": colours(0.78 * (len(ordered) - 1 - index) / steps),
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": DASHES[index % len(DASHES)],
        }
        for index, size in enumerate(ordered)
    }


def sweep_style(index: int) -> dict[str, Any]:
    """Return the line settings of the sweep at ``index``."""
    return {
        "color": SWEEP_COLOURS[index % len(SWEEP_COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def method_style(method: str) -> dict[str, Any]:
    """Return the line settings of a method, the same in every picture; zero-shot is a dashed line."""
    if method == ZERO_SHOT:
        return {"color": "#000000", "marker": "x", "linestyle": (0, (4, 3))}
    return sweep_style(METHODS.index(method) - 1) | {"linestyle": "-"}


def size_text(size: int | None) -> str:
    """Return how a legend calls a size."""
    return "zero-shot" if size is None else f"N = {size}"


def wrap(text: str, columns: int, lines: int | None = None) -> str:
    """Break ``text`` into lines of ``columns`` Latin letters' width, at most ``lines``, shortened with "…"."""
    # Chinese letters are twice as wide as Latin ones.
    width = max(int(columns * len(text) / max(display_width(text), 1)), 1)
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …")) or text


def panel_grid(count: int) -> tuple[int, int]:
    """Return (rows, columns) for ``count`` panels, two beside each other."""
    return -(-count // 2), min(count, 2)
