"""The sweep in numbers: one row a run, for the terminal, for results.csv and for results.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..runs import FREE_METRICS, Run
from ..words import display_width
from .interval import largest_class, wilson
from .record import METRICS, Result
from .sweep import Sweep

Row = dict[str, Any]
MADE_WITH = ("model", "base_model", "adapter", "template", "server", "backend", "identity", "git_revision")


def row_of(one: Result) -> Row:
    """Return one run as a flat row: shares from 0 to 1, counts, seconds. What was not measured has no key."""
    record, training = one.record, one.training or {}
    timings = record.get("timings") or {}
    tokens = training.get("tokens") or {}
    row = {
        **{key: one.run.fields[key] for key in ("name", "run", "method", "size", "seed")},
        "split": record["split"],
        **one.metrics,
        **(_of_labels(one) if one.labels else {"exact_matches": one.correct, "empty": record["counts"].get("empty")}),
        **{f"original_{key}": value for key, value in (one.original_metrics or {}).items()},
        **{f"constrained_{key}": value for key, value in (one.constrained or {}).items()},
        "items": one.items,
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


def _of_labels(one: Result) -> Row:
    low, high = wilson(one.correct, one.items)
    return {
        "accuracy_low": low,
        "accuracy_high": high,
        "outside_rate": one.not_in_labels / one.items,
        "largest_class_accuracy": largest_class(one.support)[0],
        "largest_class_f1": largest_class(one.support)[1],
        "correct": one.correct,
        "in_labels": one.in_labels,
        "not_in_labels": one.not_in_labels,
    }


# Every column that a row can have, in order: the same header whatever was measured.
CSV_COLUMNS = (
    *("name", "run", "method", "size", "seed", "split", *METRICS, "accuracy_low", "accuracy_high", "outside_rate"),
    *(f"original_{key}" for key in METRICS),
    *(f"constrained_{key}" for key in METRICS),
    *("largest_class_accuracy", "largest_class_f1", "items", "correct", "in_labels", "not_in_labels"),
    *("seconds", "items_per_second", "train_examples", "train_never_seen", "train_truncated", "train_loss_last"),
    "train_seconds",
    *MADE_WITH,
)
# The same of free text.
FREE_COLUMNS = (
    *("name", "run", "method", "size", "seed", "split", *FREE_METRICS, "exact_matches", "empty", "items"),
    *(column for column in CSV_COLUMNS[CSV_COLUMNS.index("seconds") :] if column != "train_never_seen"),
)


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return the rows as CSV (UTF-8, LF, floats with all their digits); what was not measured is an empty field."""
    text = io.StringIO()
    columns = FREE_COLUMNS if any("rouge_l" in row for row in rows) else CSV_COLUMNS
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _score(key: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key]:.3f}"


def _mean(key: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key]['mean']:.3f}"


def _interval(key: str) -> Callable[[Row], str]:
    return lambda row: f"{row[key]['low']:.3f}-{row[key]['high']:.3f}"


# (heading, how a row shows it); a missing key shows as "-".
_Column = tuple[str, Callable[[Row], str]]
_CONSTRAINED: tuple[_Column, ...] = (
    ("constr. acc.", lambda row: f"{row['constrained_accuracy']:.3f}"),
    ("constr. F1", lambda row: f"{row['constrained_f1']:.3f}"),
)
_COLUMNS: tuple[_Column, ...] = (
    ("sweep", lambda row: row["name"]),
    ("method", lambda row: row["method"]),
    ("N", lambda row: str(row["size"])),
    ("seed", lambda row: str(row["seed"])),
    ("accuracy", lambda row: f"{row['accuracy']:.3f}"),
    ("95% interval", lambda row: f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}"),
    ("precision", lambda row: f"{row['precision']:.3f}"),
    ("recall", lambda row: f"{row['recall']:.3f}"),
    ("F1", lambda row: f"{row['f1']:.3f}"),
    ("outside", lambda row: f"{row['outside_rate']:.1%}"),
    ("original's acc.", lambda row: f"{row['original_accuracy']:.3f}"),
    ("original's F1", lambda row: f"{row['original_f1']:.3f}"),
    *_CONSTRAINED,
    ("items", lambda row: str(row["items"])),
    ("seconds", lambda row: f"{row['seconds']:.1f}"),
    ("items/s", lambda row: f"{row['items_per_second']:.1f}"),
)
# A sweep has those of its task; what it does not have is not shown.
_OF_LABELS = {"accuracy", "95% interval", "precision", "recall", "F1", "outside", "original's acc.", "original's F1"}
_FREE: tuple[_Column, ...] = tuple((name, _score(key)) for key, name in FREE_METRICS.items())
_MEANS = {"accuracy": "accuracy", "f1": "F1"}  # the metrics of labels, and their names
NOTES = (
    "precision, recall, F1: macro averages. An answer outside the labels counts as wrong; its rate is `outside`.\n"
    "original's acc., original's F1: as the original scores, such answers replaced by a random label.\n"
    "95% interval: Wilson's, of the accuracy, over the test items only (one draw of the training examples)."
)
FREE_NOTES = (
    "ROUGE-L: mean F1 over the items; exact match: share of the items; BLEU, chrF: of the whole set; all from 0 to 1."
)
_FREE_MEANS_NOTE = "means: over the seeds; their intervals by bootstrap over test items and seeds."
_MEANS_NOTE = "mean accuracy, mean F1: over the seeds; their intervals by bootstrap over test items and seeds."
_CONSTRAINED_NOTE = (
    "constr. acc., constr. F1: a second evaluation in which the server lets the model answer with a label only."
)


def to_text(sweeps: Sequence[Sweep], answer: Mapping[str, Any] | None = None, *, bold: bool = False) -> str:
    """Return the table for a terminal; absent runs, classes without training example and the columns' meaning below.

    With several sweeps their names are the first column; with several methods or seeds there is a column of them, and
    an empty line between the methods. Where ``answer`` (answer.json) has means over seeds, they come first. Columns are
    aligned by the width that a terminal gives to a character. ``bold`` sets the headings in bold, by ANSI escapes.
    """
    several = len(sweeps) > 1
    shown = [(sweep, one, row_of(one)) for sweep in sweeps for one in sweep.evaluations]
    constrained = any(one.constrained for _, one, _ in shown)
    hidden = set() if several else {"sweep"}
    hidden |= set() if len({row["seed"] for *_, row in shown if "seed" in row}) > 1 else {"seed"}
    hidden |= set() if len({row["method"] for *_, row in shown if "size" in row}) > 1 else {"method"}
    hidden |= set() if constrained else {heading for heading, _ in _CONSTRAINED}
    free = not any(one.labels for _, one, _ in shown)
    hidden |= _OF_LABELS if free else set()
    columns = [column for column in _COLUMNS if column[0] not in hidden]
    if free:
        at = next(place for place, column in enumerate(columns) if column[0] == "items")
        columns[at:at] = _FREE
    rows = [{"size": row["method"], **row} if "method" in hidden else row for *_, row in shown]
    text = _aligned(columns, rows, bold=bold)
    if means := _means(answer or {}):
        text = [*_aligned(_mean_columns(FREE_METRICS if free else _MEANS), means, bold=bold), "", *text]
    caption = f"{', '.join(sweep.name for sweep in sweeps)}: split {shown[0][2]['split']}"
    absent = [f"absent: {f'{sweep.name}, ' * several}{what}: {why}" for sweep in sweeps for what, why in _absent(sweep)]
    unseen = [
        f"classes never seen: {f'{sweep.name}, ' * several}{one.run.title}: {count} of {len(one.labels)}"
        for sweep, one, row in shown
        if (count := row.get("train_never_seen"))
    ]
    trained = [one.training for _, one, _ in shown if one.training]
    notes = [
        FREE_NOTES if free else NOTES,
        *_updates(trained),
        *([_CONSTRAINED_NOTE] if constrained else []),
        *([_FREE_MEANS_NOTE if free else _MEANS_NOTE] if means else []),
    ]
    return "\n".join([caption, "", *text, "", *absent, *unseen, *([""] if absent or unseen else []), *notes])


def _mean_columns(names: Mapping[str, str]) -> tuple[_Column, ...]:
    means = (((f"mean {name}", _mean(key)), ("95% interval", _interval(key))) for key, name in names.items())
    return (
        ("method", lambda row: row["method"]),
        ("N", lambda row: str(row["size"])),
        ("seeds", lambda row: str(row["seeds"])),
        *(column for pair in means for column in pair),
    )


def _means(answer: Mapping[str, Any]) -> list[Row]:
    """Return a row for each method and size whose scores are means over several seeds; none where there is one seed."""
    points = [
        {"method": method, **point} for method, found in answer.get("methods", {}).items() for point in found["points"]
    ]
    return points if any(point["seeds"] > 1 for point in points) else []


def _absent(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield what is absent and why; the runs of a method beside LoRA together where they have the same reason."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run, why in sweep.absent:
        groups.setdefault((run.title if run.is_trained else run.method, why), []).append(run)
    for (what, why), own in groups.items():
        yield (own[0].title if len(own) == 1 else f"{what}, {len(own)} runs"), why


def _aligned(columns: Sequence[_Column], rows: Sequence[Row], *, bold: bool) -> list[str]:
    """Return heading and rows, with an empty line between the methods where they have a column."""
    lines = [[title for title, _ in columns], *([_cell(show, row) for _, show in columns] for row in rows)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    heading, *text = [_line(line, widths, left=columns[0][0] in ("sweep", "method")) for line in lines]
    if "method" in lines[0]:
        text = [
            ("\n" if index and row["method"] != rows[index - 1]["method"] else "") + line
            for index, (row, line) in enumerate(zip(rows, text, strict=True))
        ]
    return [f"\x1b[1m{heading}\x1b[0m" if bold else heading, *text]


def _updates(trained: Sequence[dict[str, Any]]) -> list[str]:
    """Say whether the sizes were trained with the same number of updates; nothing where the records do not tell."""
    if len({each.get("size") for each in trained}) < 2:
        return []
    steps = {each.get("steps") for each in trained}
    if any("matched_to" in each for each in trained) and len(steps) == 1 and None not in steps:
        return [f"updates: {steps.pop()} for every size (MATCH_STEPS=1), so the curve shows the effect of data alone."]
    given = [each.get("settings") or {} for each in trained]
    epochs = {str(each.get("num_train_epochs", "")) for each in given}
    if len(epochs) == 1 and "" not in epochs and not any("max_steps" in each for each in given):
        return [f"updates: {float(epochs.pop()):g} epochs for every size, so a larger one has more of them."]
    return []


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
