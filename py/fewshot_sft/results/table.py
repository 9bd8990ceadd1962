"""The sweep in numbers: one row a run, for the terminal, for results.csv and for results.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from ..words import display_width
from .interval import largest_class, wilson
from .record import METRICS, Run
from .sweep import Sweep

Row = dict[str, Any]
MADE_WITH = ("model", "adapter", "template", "server", "backend", "identity", "git_revision")


def row_of(run: Run) -> Row:
    """Return one run as a flat row: shares from 0 to 1, counts, seconds. What was not measured has no key."""
    record, training = run.record, run.training or {}
    low, high = wilson(run.correct, run.items)
    timings = record.get("timings") or {}
    tokens = training.get("tokens") or {}
    row = {
        "name": run.name,
        "run": run.run,
        "size": run.size,
        "split": record["split"],
        **run.metrics,
        "accuracy_low": low,
        "accuracy_high": high,
        "outside_rate": run.not_in_labels / run.items,
        **{f"seed_{key}": value for key, value in (run.seed_metrics or {}).items()},
        **{f"constrained_{key}": value for key, value in (run.constrained or {}).items()},
        "largest_class_accuracy": largest_class(run.support)[0],
        "largest_class_f1": largest_class(run.support)[1],
        "items": run.items,
        "correct": run.correct,
        "in_labels": run.in_labels,
        "not_in_labels": run.not_in_labels,
        "seconds": timings.get("seconds"),
        "items_per_second": timings.get("items_per_second"),
        "train_examples": training.get("examples"),
        "train_never_seen": len(training["never_seen"]) if "never_seen" in training else None,
        "train_truncated": tokens.get("truncated"),
        "train_loss_last": (training.get("loss") or {}).get("last"),
        "train_seconds": training.get("seconds"),
        **{key: record.get(key) for key in MADE_WITH},
    }
    return {key: value for key, value in row.items() if value is not None}


# Every column that a row can have, in order: the same header whatever was measured.
CSV_COLUMNS = (
    *("name", "run", "size", "split", *METRICS, "accuracy_low", "accuracy_high", "outside_rate"),
    *(f"seed_{key}" for key in METRICS),
    *(f"constrained_{key}" for key in METRICS),
    *("largest_class_accuracy", "largest_class_f1", "items", "correct", "in_labels", "not_in_labels"),
    *("seconds", "items_per_second", "train_examples", "train_never_seen", "train_truncated", "train_loss_last"),
    "train_seconds",
    *MADE_WITH,
)


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return the rows as CSV (UTF-8, LF, floats with all their digits); what was not measured is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


# (heading, how a row shows it); a missing key shows as "-".
_Column = tuple[str, Callable[[Row], str]]
_COLUMNS: tuple[_Column, ...] = (
    ("N", lambda row: "0 (base)" if row["size"] == 0 else str(row["size"])),
    ("accuracy", lambda row: f"{row['accuracy']:.3f}"),
    ("95% interval", lambda row: f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}"),
    ("precision", lambda row: f"{row['precision']:.3f}"),
    ("recall", lambda row: f"{row['recall']:.3f}"),
    ("F1", lambda row: f"{row['f1']:.3f}"),
    ("outside", lambda row: f"{row['outside_rate']:.1%}"),
    ("seed acc.", lambda row: f"{row['seed_accuracy']:.3f}"),
    ("seed F1", lambda row: f"{row['seed_f1']:.3f}"),
    ("items", lambda row: str(row["items"])),
    ("seconds", lambda row: f"{row['seconds']:.1f}"),
    ("items/s", lambda row: f"{row['items_per_second']:.1f}"),
)
# Shown only where an evaluation was made with --constrain.
_CONSTRAINED: tuple[_Column, ...] = (
    ("constr. acc.", lambda row: f"{row['constrained_accuracy']:.3f}"),
    ("constr. F1", lambda row: f"{row['constrained_f1']:.3f}"),
)
_CONSTRAINED_AFTER = "seed F1"
_CONSTRAINED_NOTE = (
    "constr. acc., constr. F1: a second evaluation in which the server lets the model answer with a label only."
)
NOTES = (
    "precision, recall, F1: macro averages. An answer outside the labels counts as wrong; its rate is `outside`.\n"
    "seed acc., seed F1: as the original scripts score, such answers replaced by a random label.\n"
    "95% interval: Wilson's, of the accuracy, over the test items only (one draw of the training examples)."
)


def to_text(sweeps: Sequence[Sweep], *, bold: bool = False) -> str:
    """Return the table for a terminal; absent sizes, classes without training example and the columns' meaning below.

    With several sweeps their names are the first column. Columns are aligned by the width that a terminal gives
    to a character. ``bold`` sets the heading in bold, by ANSI escapes.
    """
    several = len(sweeps) > 1
    constrained = any(run.constrained for sweep in sweeps for run in sweep.runs)
    columns = [
        column
        for each in _COLUMNS
        for column in (each, *(_CONSTRAINED if constrained and each[0] == _CONSTRAINED_AFTER else ()))
    ]
    heading = [*(["sweep"] if several else []), *(title for title, _ in columns)]
    lines = [
        [*([sweep.name] if several else []), *(_cell(show, row_of(run)) for _, show in columns)]
        for sweep in sweeps
        for run in sweep.runs
    ]
    widths = [max(map(display_width, column)) for column in zip(heading, *lines, strict=True)]
    text = [_line(line, widths, left=several) for line in (heading, *lines)]
    if bold:
        text[0] = f"\x1b[1m{text[0]}\x1b[0m"
    caption = f"{', '.join(sweep.name for sweep in sweeps)}: split {sweeps[0].runs[0].record['split']}"
    absent = [
        f"absent: {f'{sweep.name}, ' if several else ''}N = {size}: {why}"
        for sweep in sweeps
        for size, why in sweep.absent
    ]
    unseen = [
        f"classes never seen: {f'{sweep.name}, ' if several else ''}N = {run.size}: {count} of {len(run.labels)}"
        for sweep in sweeps
        for run in sweep.runs
        if (count := row_of(run).get("train_never_seen"))
    ]
    notes = [NOTES, *([_CONSTRAINED_NOTE] if constrained else [])]
    return "\n".join([caption, "", *text, "", *absent, *unseen, *([""] if absent or unseen else []), *notes])


def _cell(show: Any, row: Row) -> str:
    try:
        return str(show(row))
    except KeyError:
        return "-"


def _line(cells: Sequence[str], widths: Sequence[int], *, left: bool) -> str:
    """Align the cells to the right, the first to the left when it is a name."""
    padded = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - display_width(cell))
        padded.append(cell + space if left and index == 0 else space + cell)
    return "  ".join(padded).rstrip()
