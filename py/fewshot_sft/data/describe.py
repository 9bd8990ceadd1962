"""What a person is told of a data build: the table, the warnings, and why a size is too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .categories import NUMBER, listed
from .cleaning import Example
from .readers import Table
from .sampling import fitting


def table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the splits as text: rows, classes that occur, the smallest and largest of all, and those never seen."""
    width = max(16, *(len(name) + 1 for name in splits))
    if not any(record["per_class"] for record in splits.values()):  # free text
        rows = (f"{name:<{width}}{record['rows']:>8}" for name, record in splits.items())
        return "\n".join([f"{'split':<{width}}{'rows':>8}", *rows])
    lines = [f"{'split':<{width}}{'rows':>8}{'classes':>9}{'smallest':>10}{'largest':>9}"]
    for name, record in splits.items():
        counts = record["per_class"].values()
        present = sum(1 for count in counts if count)
        lines.append(f"{name:<{width}}{record['rows']:>8}{present:>9}{min(counts):>10}{max(counts):>9}")
    for name, record in splits.items():
        absent = [label for label, count in record["per_class"].items() if not count]
        if absent and "size" in record:
            lines.append(f"{name}: classes never seen: {len(absent)} of {len(record['per_class'])}: {listed(absent)}")
    return "\n".join(lines)


def sizes_taken(asked: Sequence[int], sizes: Sequence[int], rows: int) -> str:
    """Return the warning that the default sizes do not fit, and which are taken instead."""
    return (
        f"the default SIZES ({' '.join(map(str, asked))}) do not fit {rows} training rows; these are taken: "
        f'SIZES="{" ".join(map(str, sizes))}"'
    )


def too_few(
    sizes: Sequence[int],
    pool: Sequence[Example],
    evaluation: Mapping[str, Sequence[Example]],
    tables: Mapping[str, Table],
    removed: Mapping[str, Mapping[str, Sequence[int]]],
) -> str:
    """Return why these sizes cannot be drawn or tested: how many rows are left, where the others went, what fits."""
    gone = [f"{len(rows)} {phrase(reason)}" for reason, rows in removed["train"].items() if rows]
    gone += [f"{len(rows)} held out for {split}" for split, rows in evaluation.items() if split not in tables and rows]
    source, left = tables["train"], len(pool)
    where = f" (of {len(source.texts)} rows: {', '.join(gone)})" if gone else ""
    if not left:
        held_out = any(split not in tables and rows for split, rows in evaluation.items())
        mend = "lower TEST_COUNT and VALID_COUNT" if held_out else "bring other data"
        return f"{source.where}: no row is left to train on{where}; {mend}"
    has = f"{source.where} has {left} row{'s' * (left > 1)} to train on{where}"
    if not evaluation["test"]:
        return (
            f"{has}, one a label, so that none can be held out for the test; name a file of other rows with TEST_FILE"
        )
    large = [size for size in sizes if size > left]
    fits = " ".join(map(str, fitting(sizes, left)))
    return f'{has}, fewer than size{"s" * (len(large) > 1)} {", ".join(map(str, large))}; what fits: SIZES="{fits}"'


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
        told.append(f"no training example of {listed(missing)}")
    for split in ("llm_valid", "llm_test"):
        absent = [name for name, count in records[split]["per_class"].items() if not count and name in trainable]
        if not records[split]["rows"]:
            told.append(f"{split}: no row could be spared for it; SPLIT=valid needs a VALID_FILE")
        elif absent:
            told.append(f"{split}: no example of {listed(absent)}")
    if names and all(NUMBER.fullmatch(name) for name in names):
        told.append("the labels are bare numbers and the model sees nothing else; name them with LABELS_FILE")
    return told


def phrase(reason: str) -> str:
    """Return a reason of the manifest in words, to follow a count."""
    return {
        "empty_text": "with an empty text",
        "empty_answer": "without an answer",
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
