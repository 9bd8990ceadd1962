"""How far a single answer and the data can be trusted: calibration, suspicious labels, near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .blocks import TEXT, Block, Column, Figure, Listing, TableBlock, TableCell, Text, cut, isolated, score_cell
from .charts import Chart, Rule, Scale, Series, unit_scale
from .source import Source

SURE = 0.8  # share of the texts that is said in words
IN_TABLE = (0.5, 0.8, 1.0)


def calibration(source: Source) -> Iterator[Block]:
    """Yield whether probabilities are what they say, and how right the surest answers are."""
    w, record = source.w, source.beside("calibration")
    runs = list(_largest(record["runs"] if record else []))
    if not runs:
        yield Text(w("calibration.absent"), "absent")
    own = next((each for each in runs if each["series"] == source.use), None)
    sure = next((each for each in own["answered"] if abs(each["share"] - SURE) < 1e-6), None) if own else None
    if sure:
        score = w.score(sure | {"mean": sure["accuracy"]})
        yield Text(w("calibration.sure", method=source.use, share=f"{100 * SURE:.0f}", score=score))
    if runs:
        yield Figure([_reliability(source, runs), _answered(source, runs)], w("calibration.note"))
        yield _calibration_table(source, runs)
    if reasons := dict.fromkeys((each["method"], each["reason"]) for each in record.get("absent", [])):
        yield Listing([w("absent.of", what=method, why=cut(why)) for method, why in reasons])


def _largest(runs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield one run of each method: of the largest size, the first seed."""
    for series in dict.fromkeys(each["series"] for each in runs):
        yield max((each for each in runs if each["series"] == series), key=lambda each: each.get("size", 0))


def _reliability(source: Source, runs: Sequence[Mapping[str, Any]]) -> Chart:
    w = source.w
    series = []
    for each in runs:
        points = [(bin_["confidence"], bin_["accuracy"]) for bin_ in each["bins"] if bin_.get("items")]
        series.append(Series(each["series"], source.style_of(each["series"]), points))
    x, y = unit_scale(w("axis.confidence")), unit_scale(w("metric.accuracy"))
    told = w("calibration.reliability_told")
    rules = [Rule(w("rule.calibrated"), role="diagonal")]
    return Chart(w("calibration.reliability"), told, x, y, series, rules, width=420, height=340, right=28)


def _answered(source: Source, runs: Sequence[Mapping[str, Any]]) -> Chart:
    w, series = source.w, []
    for each in runs:
        points = [(one["share"], one["accuracy"]) for one in each["answered"]]
        band = [(one["share"], one["low"], one["high"]) for one in each["answered"]]
        series.append(Series(each["series"], source.style_of(each["series"]), points, band))
    ticks = [(tick / 5, f"{20 * tick} %") for tick in range(6)]
    y = unit_scale(w("metric.accuracy"), [value for each in series for _, *ends in each.band for value in ends])
    x = Scale(w("axis.share"), 0, 1, ticks)
    return Chart(
        w("calibration.answered"), w("calibration.answered_told"), x, y, series, width=420, height=340, right=28
    )


def _calibration_table(source: Source, runs: Sequence[Mapping[str, Any]]) -> TableBlock:
    w = source.w
    titles = [w("column.method"), w("column.labels"), w("column.ece")]
    titles += [w("column.at_share", share=f"{100 * share:.0f}") for share in IN_TABLE]
    rows = []
    for each in runs:
        row: list[str | TableCell] = [
            each["series"],
            str(each.get("size", 0)),
            score_cell(w, each["ece"] | {"mean": each["ece"]["value"]}),
        ]
        for share in IN_TABLE:
            found = next((one for one in each["answered"] if abs(one["share"] - share) < 1e-6), None)
            row.append(score_cell(w, found | {"mean": found["accuracy"]}) if found else "")
        rows.append(row)
    columns = [Column(title, "number" if index else "text") for index, title in enumerate(titles)]
    return TableBlock(w("calibration.caption"), columns, rows)


def data(source: Source) -> Iterator[Block]:
    """Yield what is suspicious in the data, and what to label next."""
    w, record = source.w, source.beside("data_quality")
    if not record:
        yield Text(w("data.absent"), "absent")
        return
    parts: dict[str, tuple[str, Callable[[Source, Mapping[str, Any]], Iterator[Block]]]] = {
        "suspicious": (w("suspicious.title"), _suspicious),
        "near_duplicates": (w("duplicates.title"), _duplicates),
        "label_next": (w("label_next.title"), _label_next),
    }
    for name, (_, show) in parts.items():
        if name in record:
            yield from show(source, record[name])
    for name, why in record.get("absent", {}).items():
        title = parts[name][0] if name in parts else name
        yield Text(w("absent.of", what=title, why=cut(why)), "absent")


def _where(row: Mapping[str, Any]) -> str:
    return f"{row['split']} {row['row']}" if "split" in row else str(row["row"])


def _suspicious(source: Source, found: Mapping[str, Any]) -> Iterator[Block]:
    w = source.w
    checked = source.beside("data_quality").get("checked")
    about = w("suspicious.about", count=found["count"], file=found["file"])
    yield Text(about + (w("suspicious.checked", checked=checked) if checked is not None else ""))
    for each in found.get("measured", []):
        shares = {
            key: w("number.percent", value=f"{100 * each[key]:.0f}")
            for key in ("wrong_labels", "precision", "precision_of_ten")
        }
        yield Text(w("suspicious.measured", data=each["data"], **shares))
    if not found["rows"]:
        return
    rows = [
        [
            _where(row),
            cut(row["text"], TEXT),
            w("suspicious.label", label=isolated(row["given"]), p=w.percent(row["p_given"])),
            w("suspicious.label", label=isolated(row["likely"]), p=w.percent(row["p_likely"])),
        ]
        for row in found["rows"]
    ]
    columns = [Column(w("column.row")), Column(w("column.text"), "long"), Column(w("column.given"), "wide")]
    yield TableBlock(w("suspicious.caption"), [*columns, Column(w("column.likely"), "wide")], rows)


def _duplicates(source: Source, found: Mapping[str, Any]) -> Iterator[Block]:
    w = source.w
    yield Text(w("duplicates.about", count=found["count"], file=found["file"]))
    if not found["pairs"]:
        return
    rows = []
    for pair in found["pairs"]:
        row = [f"{_where(pair['first'])} / {_where(pair['second'])}", f"{pair['similarity']:.2f}"]
        for each in (pair["first"], pair["second"]):
            row.append(w("duplicates.text", label=isolated(each["label"]), text=isolated(each["text"], TEXT // 2)))
        rows.append(row)
    columns = [Column(w("column.rows_of_pair")), Column(w("column.similarity"), "number")]
    columns += [Column(w("column.first"), "long"), Column(w("column.second"), "long")]
    yield TableBlock(w("duplicates.caption"), columns, rows)


def _label_next(source: Source, found: Mapping[str, Any]) -> Iterator[Block]:
    w = source.w
    yield Text(w("label_next.about", count=found["count"], file=found["file"]))
    yield Text(w("label_next.bends"), "note")
    if not found["rows"]:
        return
    rows = []
    for row in found["rows"]:
        likely = w("suspicious.label", label=isolated(row["likely"]), p=w.percent(row["p_likely"]))
        rows.append([str(row["row"]), cut(row["text"], TEXT), likely])
    columns = [Column(w("column.row")), Column(w("column.text"), "long"), Column(w("column.likely"), "wide")]
    yield TableBlock(w("label_next.caption"), columns, rows)
