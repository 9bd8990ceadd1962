"""What a report is made of: plain data, which the templates write as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..catalogue import Words
from .charts import Chart

LABEL, TEXT = 90, 240  # letters of a label and of a text that are shown


class Data(str):
    """A text of the user's data or of a program: its own language and direction."""

    __slots__ = ()


def cut(text: object, letters: int = TEXT) -> Data:
    """Return a text of the data on one line, its end replaced by "…" where it is longer."""
    # Twice as much is looked at: a text may be a book.
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)[: 2 * letters]).split())
    return Data(line if len(line) <= letters and len(str(text)) <= 2 * letters else line[: letters - 1].rstrip() + "…")


def isolated(text: object, letters: int = LABEL) -> str:
    """Return a label for the middle of a sentence: whatever its direction, the sentence keeps its own."""
    return f"\u2068{cut(text, letters)}\u2069"


@dataclass(frozen=True)
class Text:
    """A paragraph; ``role`` is empty, ``note`` (small print) or ``absent`` (why there is nothing to show)."""

    kind: ClassVar[str] = "text"
    text: str
    role: str = ""


@dataclass(frozen=True)
class Listing:
    """A list."""

    kind: ClassVar[str] = "listing"
    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """A command."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class TableCell:
    """A cell of a table that is more than a text or a number."""

    text: str
    detail: str = ""  # behind it, in small letters: an interval
    shade: float | None = None  # of its background, from 0 to 1
    strong: bool = False
    interval: tuple[float, float, float] | None = None  # mean, low, high: drawn from 0 to 1
    trend: Sequence[float] = ()  # drawn as a line, evenly spaced, from 0 to 1


def score_cell(w: Words, score: Mapping[str, float], *, strong: bool = False) -> TableCell:
    """Return a score and its interval."""
    low, high = f"{score['low']:.3f}", f"{score['high']:.3f}"
    return TableCell(f"{score['mean']:.3f}", w("number.range", low=low, high=high), strong=strong)


@dataclass(frozen=True)
class Column:
    """A column's heading, and how its cells are set."""

    title: str
    kind: str = "text"  # text, number, count (of a matrix), wide (labels), long (texts), plot


@dataclass(frozen=True)
class TableBlock:
    """A table; the first cell of a row is its heading."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | TableCell]]
    note: str = ""
    stacked: bool = False  # intervals below the numbers, for many columns

    @property
    def is_long(self) -> bool:
        """Whether it has long texts: on a telephone each row is a card then."""
        return any(column.kind == "long" for column in self.columns)


@dataclass(frozen=True)
class Figure:
    """Charts with a common legend; the Markdown has their description and the picture beside it, if there is one."""

    kind: ClassVar[str] = "figure"
    charts: Sequence[Chart]
    note: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Fold:
    """What is shown on demand; open in print."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: Sequence[Block]


Block = Text | Listing | Code | TableBlock | Figure | Fold


@dataclass(frozen=True)
class Section:
    """A part of the report; ``name`` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)
