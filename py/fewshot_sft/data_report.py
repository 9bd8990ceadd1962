"""What a person is told of a data build: the table, the warnings, and why a size is too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cleaning import Example
from .prompts import quoted
from .readers import Table


def table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the splits as text: rows, classes that occur, and the smallest and largest of all classes."""
    lines = [f"{'split':<16}{'rows':>8}{'classes':>9}{'smallest':>10}{'largest':>9}"]
    for name, record in splits.items():
        counts = record["per_class"].values()
        present = sum(1 for count in counts if count)
        lines.append(f"{name:<16}{record['rows']:>8}{present:>9}{min(counts):>10}{max(counts):>9}")
    return "\n".join(lines)


def too_large(
    size: int,
    pool: Sequence[Example],
    evaluation: Mapping[str, Sequence[Example]],
    tables: Mapping[str, Table],
    removed: Mapping[str, Mapping[str, Sequence[int]]],
) -> str:
    """Return the message for a size larger than the training pool, with where the other rows went."""
    gone = [f"{len(rows)} {phrase(reason)}" for reason, rows in removed["train"].items() if rows]
    gone += [f"{len(rows)} held out for {split}" for split, rows in evaluation.items() if split not in tables]
    left = f" (of {len(tables['train'].texts)} rows: {', '.join(gone)})" if gone else ""
    return (
        f"--sizes: {size} is larger than the training data: {tables['train'].where} leaves {len(pool)} rows{left}; "
        f"ask for smaller sizes or bring more data"
    )


def warnings(
    names: Sequence[str],
    pool: Sequence[Example],
    records: Mapping[str, Mapping[str, Any]],
    removed: Mapping[str, Mapping[str, Sequence[int]]],
    repeated: Mapping[str, Mapping[str, Sequence[int]]],
) -> list[str]:
    """Return what the user should know of: rows left out, rows that repeat, classes without examples."""
    told = [
        f"{split}: {len(rows)} {phrase(reason)}, left out ({first_rows(rows)})"
        for split, reasons in removed.items()
        for reason, rows in reasons.items()
        if rows
    ]
    told += [
        f"{split}: {len(rows)} {phrase(reason)}, kept ({first_rows(rows)})"
        for split, reasons in repeated.items()
        for reason, rows in reasons.items()
        if rows
    ]
    trainable = {example.label for example in pool}
    if missing := [name for name in names if name not in trainable]:
        told.append(f"no training example of {', '.join(map(quoted, missing))}")
    for split, record in records.items():
        absent = [name for name, count in record["per_class"].items() if not count and name in trainable]
        if absent:
            told.append(f"{split}: no example of {', '.join(map(quoted, absent))}")
    if all(name.lstrip("-").isdecimal() for name in names):
        told.append("the labels are bare numbers and the model sees nothing else; name them with LABELS_FILE")
    return told


def phrase(reason: str) -> str:
    """Return a reason of the manifest in words, to follow a count."""
    return {
        "empty_text": "with an empty text",
        "duplicate": "with the text of an earlier row",
        "conflicting_labels": "with the same text and different labels",
        "also_in_valid": "whose text is in validation too",
        "also_in_test": "whose text is in test too",
    }[reason]


def first_rows(rows: Sequence[int]) -> str:
    """Return the first row numbers in words."""
    shown = ", ".join(map(str, rows[:5]))
    return f"row{'s' if len(rows) > 1 else ''} {shown}{f' and {len(rows) - 5} more' if len(rows) > 5 else ''}"


def counted(reasons: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return rows by reason as the manifest has them: a count and the row numbers."""
    return {reason: {"count": len(rows), "rows": list(rows)} for reason, rows in reasons.items()}
