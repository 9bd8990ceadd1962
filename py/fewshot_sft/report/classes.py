"""The labels one by one: which are hard, and which need examples most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from .blocks import LABEL, Block, Column, Fold, TableBlock, TableCell, Text, cut, isolated, score_cell
from .scores import no_answer
from .source import Source

SHOWN = 12  # labels; more are folded
NAMED = 6  # in a sentence


def classes(source: Source) -> Iterator[Block]:
    """Yield the F1 of each label of the method in use, the hardest first."""
    w = source.w
    if not source.methods:
        yield no_answer(source)
        return
    point = source.methods[source.use]["points"][-1]
    found = sorted(point.get("per_class", {}).items(), key=lambda each: (each[1]["mean"], each[1]["high"]))
    mean = point["f1"]["mean"]
    below = [label for label, score in found if score["high"] < mean]
    if below:
        named = w("list.comma").join(isolated(label) for label in below[:NAMED])
        more = w("classes.more", count=len(below) - NAMED) if len(below) > NAMED else ""
        yield Text(w("classes.below", labels=named + more, mean=w.score(point["f1"])))
    else:
        yield Text(w("classes.alike", mean=w.score(point["f1"])))
    examples, sizes = _examples(source), _sizes(source)
    rows = [_row(source, label, score, examples, sizes) for label, score in found]
    columns = [Column(w("column.label"), "wide"), Column(w("column.items"), "number")]
    columns += [Column(w("column.examples"), "number")] if examples else []
    columns += [Column(w("column.f1"), "number"), Column(w("column.interval"), "plot")]
    columns += [Column(w("column.trend"), "plot")] if sizes else []
    caption = w("classes.caption", method=source.use, labels=w.labels(point.get("size")))
    few = rows[: SHOWN if len(rows) > SHOWN + 3 else None]
    yield TableBlock(caption, columns, few, w("classes.note"))
    if len(few) < len(rows):
        rest = TableBlock(w("classes.others"), columns, rows[len(few) :])
        yield Fold(w("classes.rest", count=len(rows) - len(few)), [rest])


def _sizes(source: Source) -> list[int]:
    """Return the sizes of the method in use, when they make a curve."""
    sizes = sorted({one.run.size for one in source.by_method[source.use] if one.run.size})
    return sizes if len(sizes) > 1 else []


def _row(
    source: Source, label: str, score: Mapping[str, float], examples: Mapping[str, str], sizes: Sequence[int]
) -> list[str | TableCell]:
    one = source.last[0]
    row: list[str | TableCell] = [cut(label, LABEL), str(one.support[one.labels.index(label)])]
    row += [examples[label]] if examples else []
    row += [score_cell(source.w, score), TableCell("", interval=(score["mean"], score["low"], score["high"]))]
    return [*row, TableCell("", trend=_trend(source, label, sizes))] if sizes else row


def _examples(source: Source) -> dict[str, str]:
    """Return how many training examples of each label the largest subset has: of several seeds the range."""
    size = source.last[0].run.size
    splits: list[dict[str, Any]] = [
        each["per_class"]
        for each in source.manifest.get("splits", {}).values()
        if size and each.get("size") == size and each.get("seed") in {one.run.seed for one in source.last}
    ]
    found = {}
    for label in source.last[0].labels if splits else ():
        counts = sorted({int(each.get(label, 0)) for each in splits})
        found[label] = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return found


def _trend(source: Source, label: str, sizes: Sequence[int]) -> list[float]:
    """Return the label's F1 by size, the mean over seeds: drawn without numbers, for it has no interval."""
    by_size: dict[int, list[float]] = {size: [] for size in sizes}
    for one in source.by_method[source.use]:
        if one.run.size and label in one.record.get("per_class", {}):
            by_size[one.run.size].append(one.record["per_class"][label]["f1"])
    return [fmean(scores) for scores in by_size.values() if scores]
