"""The whole report as plain data, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..catalogue import Words
from ..errors import describe
from . import classes, confusions, headline, ran, scores, trust
from .blocks import Block, Section, Text, cut
from .headline import Headline
from .source import Source

# name, key of the title, what makes it
SECTIONS: Sequence[tuple[str, str, Callable[[Source], Iterable[Block]]]] = (
    ("curve", "curve.title", scores.learning_curve),
    ("cost", "cost.title", scores.by_cost),
    ("table", "table.title", scores.table),
    ("classes", "classes.title", classes.classes),
    ("confusion", "confusion.title", confusions.confusion),
    ("outside", "outside.title", confusions.outside),
    ("calibration", "calibration.title", trust.calibration),
    ("data", "data.title", trust.data),
    ("examples", "examples.title", scores.examples),
    ("losses", "losses.title", ran.losses),
    ("ran", "ran.title", ran.what_was_run),
    ("warnings", "warnings.title", ran.warnings),
    ("repeat", "repeat.title", ran.repeat),
)
OF_LABELS = ("classes", "confusion", "outside", "calibration", "data")
OF_FREE_TEXT = ("examples",)


@dataclass(frozen=True)
class Report:
    """What the templates write."""

    w: Words
    head: Headline
    sections: Sequence[Section]


def make(source: Source) -> tuple[Report, list[str]]:
    """Return the report of a sweep, and what the user should know: parts that could not be made."""
    sections, complaints = [], []
    for name, title, blocks in SECTIONS:
        if name in (OF_LABELS if source.is_free else OF_FREE_TEXT):
            continue
        try:
            found = list(blocks(source))
        except Exception as error:  # of one damaged record: the other parts are worth having
            why = describe(error)
            complaints.append(f"the report's part {source.w(title)!r} could not be made: {why}")
            found = [Text(source.w("absent.failed", why=cut(why)), "absent")]
        sections.append(Section(name, source.w(title), found))
    return Report(source.w, headline.make(source), sections), complaints
