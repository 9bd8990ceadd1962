"""Charts as plain geometry; the template writes the SVG, with colours from CSS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# Beside its colour (CSS class ``s<number>``) each series has a marker and dashes: it is told apart in black and white.
MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",  # circle
    "M-3.6-3.6h7.2v7.2h-7.2z",  # square
    "M0-4.8 4.6 3.6h-9.2z",  # triangle
    "M0-5 5 0 0 5-5 0z",  # diamond
    "M0 4.8 4.6-3.6h-9.2z",  # triangle downwards
    "M-1.6-4.4h3.2v2.8h2.8v3.2h-2.8v2.8h-3.2v-2.8h-2.8v-3.2h2.8z",  # plus
    "M-4.6-2.4-2.4-4.6 0-2.2 2.4-4.6 4.6-2.4 2.2 0 4.6 2.4 2.4 4.6 0 2.2-2.4 4.6-4.6 2.4-2.2 0z",  # cross
    "M0-5.2 1.5-1.6 5-1.6 2.2.9 3.2 4.6 0 2.4-3.2 4.6-2.2.9-5-1.6-1.5-1.6z",  # star
)
DASHES = ("", "9 3", "2.5 2.5", "9 3 2.5 3", "14 4", "5 2", "1.5 4", "7 2 1.5 2 1.5 2")


@dataclass(frozen=True)
class Scale:
    """An axis: from ``low`` to ``high``, its ticks with their texts."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value is, from 0 at ``low`` to 1 at ``high``."""
        if self.log:
            return math.log(max(value, 1e-12) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Series:
    """A line with its markers, and the band around it."""

    label: str
    style: int
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()  # x, low, high
    role: str = "line"  # line; expected: dashed, without markers; thin: a line alone
    rings: Sequence[tuple[float, float]] = ()  # points that are marked
    legend: bool = True

    @property
    def marker(self) -> str:
        """The marker's path around 0, 0."""
        return MARKERS[self.style % len(MARKERS)]

    @property
    def dash(self) -> str:
        """The line's dashes; solid where markers tell it apart."""
        return "4 4" if self.role == "expected" else DASHES[self.style % len(DASHES)] if self.role == "thin" else ""


@dataclass(frozen=True)
class Rule:
    """A line across: horizontal at ``y``, or vertical at ``x``."""

    label: str
    x: float | None = None
    y: float | None = None
    role: str = "rule"  # rule (dotted), target (dashed), diagonal


@dataclass(frozen=True)
class Chart:
    """One chart, in a box of ``width`` x ``height`` units."""

    title: str
    description: str
    x: Scale
    y: Scale
    series: Sequence[Series]
    rules: Sequence[Rule] = field(default_factory=list)
    width: int = 640
    height: int = 390
    left: int = 50
    right: int = 16
    top: int = 36
    bottom: int = 60

    def at_x(self, value: float) -> float:
        """Return the place of a value on the x axis."""
        return round(self.left + self.x.share(value) * (self.width - self.left - self.right), 1)

    def at_y(self, value: float) -> float:
        """Return the place of a value on the y axis."""
        return round(self.height - self.bottom - self.y.share(value) * (self.height - self.bottom - self.top), 1)

    def line(self, points: Iterable[tuple[float, float]]) -> str:
        """Return the path through the points."""
        return "M" + "L".join(f"{self.at_x(x):g} {self.at_y(y):g}" for x, y in points)

    def area(self, band: Sequence[tuple[float, float, float]]) -> str:
        """Return the path around a band."""
        return self.line([(x, low) for x, low, _ in band] + [(x, high) for x, _, high in reversed(band)]) + "z"

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """The ticks of the x axis with a text where there is room for it, even where letters are large."""
        placed: list[tuple[float, str]] = []
        free = -math.inf
        for value, text in sorted(self.x.ticks):
            at, half = self.at_x(value), 6.0 * len(text)
            placed.append((at, text if at - half >= free else ""))
            free = at + half + 6 if placed[-1][1] else free
        return placed

    @property
    def bottom_y(self) -> int:
        """The place of the x axis."""
        return self.height - self.bottom

    @property
    def legend(self) -> list[Series]:
        """The series to explain."""
        return [each for each in self.series if each.legend]


def unit_scale(title: str, values: Iterable[float] = (0, 1)) -> Scale:
    """Return an axis for shares: from 0 to 1, or that part of it in fifths where all values are."""
    known = list(values) or [0, 1]
    low, high = math.floor(min(known) * 5 + 1e-9) / 5, math.ceil(max(known) * 5 - 1e-9) / 5
    low, high = max(low, 0.0), min(max(high, low + 0.2), 1.0)
    step = 0.2 if high - low > 0.5 else 0.1 if high - low > 0.25 else 0.05
    count = round((high - low) / step)
    return Scale(title, low, high, [(low + i * step, f"{round(low + i * step, 2):g}") for i in range(count + 1)])


def log_scale(title: str, values: Iterable[float], ticks: Iterable[float] | None = None) -> Scale:
    """Return a logarithmic axis for positive values; ticks at 1, 2, 5, ... unless they are given."""
    known = [value for value in values if value > 0] or [1, 10]
    low, high = min(known), max(known)
    if ticks is None:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if high / low < 300 else (1,)
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]
    ends = [*known, *ticks]
    room = (max(ends) / min(ends)) ** 0.03 if max(ends) > min(ends) else 1.5
    return Scale(title, min(ends) / room, max(ends) * room, [(tick, f"{tick:g}") for tick in ticks], log=True)


def linear_scale(title: str, values: Iterable[float]) -> Scale:
    """Return an axis from 0 on, with about five ticks at round values."""
    high = max(values) or 1
    step = 10.0 ** math.floor(math.log10(high))
    step *= next(times for times in (0.2, 0.5, 1, 2) if high / (step * times) <= 6)
    count = math.ceil(high / step)
    return Scale(title, 0, count * step * 1.02, [(i * step, f"{i * step:g}") for i in range(count + 1)])
