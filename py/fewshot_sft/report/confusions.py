"""What is taken for what, with examples; and the answers that are no label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..evaluation import predictions, scoring
from ..results.record import Result
from .blocks import LABEL, TEXT, Block, Column, Fold, TableBlock, TableCell, Text, cut
from .source import Source

MATRIX = 20  # labels up to which the whole matrix is shown
PAIRS, EXAMPLES = 10, 2  # the worst pairs; texts of each
EXPLAINED = 5  # pairs with texts
SAMPLES = 5  # answers outside the labels


def confusion(source: Source) -> Iterator[Block]:
    """Yield the confusions of the method in use at its largest size, its seeds together."""
    w, one = source.w, source.last[0]
    counts = np.sum([each.confusion for each in source.last], axis=0)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    pairs = [divmod(int(at), counts.shape[1]) for at in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]]
    pairs = [pair for pair in pairs if wrong[pair]]
    about = {"method": source.use, "labels": w.labels(one.run.size), "answers": int(counts.sum())}
    yield Text(w("confusion.about", **about, seeds=len(source.last)))
    if len(one.labels) <= MATRIX:
        yield _matrix(source, counts)
    if not pairs:
        yield Text(w("confusion.none"))
        return
    names = [*(cut(label, LABEL) for label in one.labels), w("confusion.outside")]
    rows = [[names[i], names[j], w("number.of", count=int(counts[i, j]), all=int(counts[i].sum()))] for i, j in pairs]
    columns = [
        Column(w("column.true"), "wide"),
        Column(w("column.answered"), "wide"),
        Column(w("column.count"), "number"),
    ]
    yield TableBlock(w("confusion.pairs"), columns, rows)
    if examples := list(_examples(source, pairs[:EXPLAINED])):
        wide = [
            Column(w("column.text"), "long"),
            Column(w("column.true"), "wide"),
            Column(w("column.answered"), "wide"),
        ]
        yield TableBlock(w("confusion.examples", seed="–" if one.run.seed is None else one.run.seed), wide, examples)
    else:
        yield Text(w("confusion.no_texts"), "absent")


def _matrix(source: Source, counts: np.ndarray) -> TableBlock:
    w, one = source.w, source.last[0]
    width = len(one.labels) + bool(counts[:, -1].any())
    columns = [Column(w("column.true"), "wide"), *(Column(str(i + 1), "count") for i in range(len(one.labels)))]
    if width > len(one.labels):
        columns.append(Column(w("column.outside"), "count"))
    rows: list[list[str | TableCell]] = []
    for i, label in enumerate(one.labels):
        whole = max(int(counts[i].sum()), 1)
        cells = [TableCell(str(int(n)), shade=float(n) / whole, strong=i == j) for j, n in enumerate(counts[i, :width])]
        rows.append([cut(f"{i + 1} {label}", LABEL), *cells])
    return TableBlock(w("confusion.caption"), columns, rows, w("confusion.note"))


def _examples(source: Source, pairs: Sequence[tuple[int, int]]) -> Iterator[list[str]]:
    """Yield text, true label and answer for the first items of each pair, from the run of the first seed."""
    one = source.last[0]
    found = predictions.read(one.run.result(".predictions.jsonl")).predictions
    asked = [found[index] for index in sorted(found)] if source.items else []
    truth = scoring.numbers([each.label for each in asked], one.labels)
    given = scoring.numbers([each.pred for each in asked], one.labels)
    for i, j in pairs:
        outside = scoring.OUTSIDE if j == len(one.labels) else j
        of_pair = [each for each, a, b in zip(asked, truth, given, strict=True) if (a, b) == (i, outside)]
        for each in of_pair[:EXAMPLES]:
            yield [cut(source.text_of(each.index), TEXT), cut(each.label, LABEL), cut(each.pred, LABEL)]


def outside(source: Source) -> Iterator[Block]:
    """Yield how many answers are no label, and what they are instead."""
    w = source.w
    found = {method: own for method, own in source.by_method.items() if any(one.not_in_labels for one in own)}
    if not found:
        yield Text(w("outside.none"))
        return
    rows = [row for method, own in found.items() for row in _outside_rows(method, own)]
    titles = [w("column.method"), w("column.labels"), w("column.outside_seeds"), w("column.items")]
    columns = [Column(title, "number" if index else "text") for index, title in enumerate(titles)]
    yield TableBlock(w("outside.caption"), columns, rows, w("outside.note"))
    if samples := [row for method, own in found.items() for row in _samples(method, own)]:
        columns = [Column(w("column.method")), Column(w("column.labels"), "number")]
        columns += [Column(w("column.answer"), "wide"), Column(w("column.count"), "number")]
        yield Fold(w("outside.samples"), [TableBlock(w("outside.samples_caption"), columns, samples)])


def _outside_rows(method: str, own: Sequence[Result]) -> Iterator[list[str]]:
    by_size: dict[int, list[Result]] = {}
    for one in own:
        by_size.setdefault(one.run.size or 0, []).append(one)
    for size, each in sorted(by_size.items()):
        yield [method, str(size), ", ".join(str(one.not_in_labels) for one in each), str(each[0].items)]


def _samples(method: str, own: Sequence[Result]) -> Iterator[list[str]]:
    """Yield the most frequent answers outside of the largest size that has any."""
    last = max((one for one in own if one.not_in_labels), key=lambda one: one.run.size or 0)
    samples: Sequence[Mapping[str, object]] = last.record.get("not_in_labels", {}).get("samples", [])
    for each in samples[:SAMPLES]:
        yield [method, str(last.run.size or 0), cut(each["answer"], TEXT), str(each["count"])]
