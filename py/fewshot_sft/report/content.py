"""The whole report as plain data, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import classes, errors, headline, ran, scores, trust
from .blocks import Section
from .catalogue import Words
from .headline import Headline
from .source import Source

SECTIONS = (
    scores.learning_curve,
    scores.by_cost,
    scores.table,
    classes.classes,
    errors.confusion,
    errors.outside,
    trust.calibration,
    trust.data,
    ran.losses,
    ran.what_was_run,
    ran.warnings,
    ran.repeat,
)


@dataclass(frozen=True)
class Report:
    """What the templates write."""

    w: Words
    head: Headline
    sections: Sequence[Section]


def make(source: Source) -> Report:
    """Return the report of a sweep.

    Raises:
        OSError: the answers of a run cannot be read.
    """
    return Report(source.w, headline.make(source), [section(source) for section in SECTIONS])
