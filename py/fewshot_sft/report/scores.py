"""The learning curve, the methods by what they cost, and the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..answer import texts
from ..answer.sentences import metric_name, refusal
from ..catalogue import money
from ..evaluation import free_text, predictions
from ..runs import FREE_METRICS
from .blocks import TEXT, Block, Column, Figure, Fold, Listing, TableBlock, TableCell, Text, cut, score_cell
from .charts import Chart, Rule, Scale, Series, linear_scale, log_scale, unit_scale
from .source import Source

EXAMPLES = 5


def learning_curve(source: Source) -> Iterator[Block]:
    """Yield the curve of all methods: measured, and what is expected of more labels."""
    w, metric = source.w, source.metric
    if not source.methods:
        yield no_answer(source)
        return
    forecasts = any("expected" in found for found in source.methods.values())
    picture = "learning_curve.png" if "learning_curve.png" in source.results["pictures"] else ""
    yield Figure([_curve(source, metric, ahead=True)], w("curve.note") + w("curve.ahead") * forecasts, picture)
    refused = [w("curve.refused", method=name, why=refusal(each, w)) for name, each in _refused(source)]
    if refused:
        yield Listing(refused)
    if forecasts:
        yield Fold(w("expected.title"), [_expected(source)])
    for other in source.shown:
        if other != metric:
            yield Fold(w("curve.other", metric=metric_name(other, w)), [Figure([_curve(source, other, ahead=False)])])


def no_answer(source: Source) -> Text:
    """Return why there is nothing that answer.json would have told."""
    return Text(source.w("absent.answer", why=source.answer.get("absent", "")), "absent")


def _refused(source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, each in source.methods.items():
        if "refused" in each:
            yield name, each


def _curve(source: Source, metric: str, *, ahead: bool) -> Chart:
    w, answer = source.w, source.answer
    learning = {name: each for name, each in source.methods.items() if each["points"][0].get("size")}
    sizes = sorted({point["size"] for each in learning.values() for point in each["points"]})
    expected = {name: each["expected"] for name, each in learning.items() if ahead and "expected" in each}
    later = sorted({each[times]["size"] for each in expected.values() for times in ("2x", "4x")})
    ticks = sorted({*sizes, *later})
    x = log_scale(w("axis.labels"), ticks, ticks)
    series, told = [], []
    for name, each in learning.items():
        points, style = each["points"], source.style_of(name)
        line = [(point["size"], point[metric]["mean"]) for point in points]
        band = [(point["size"], point[metric]["low"], point[metric]["high"]) for point in points]
        if name in expected:
            ends = [expected[name][times] for times in ("2x", "4x")]
            on = [line[-1], *((end["size"], end["median"]) for end in ends)]
            around = [band[-1], *((end["size"], end["low95"], end["high95"]) for end in ends)]
            series.append(Series(name, style, on, around, "expected", legend=False))
        series.append(Series(name, style, line, band))
        first, last = points[0], points[-1]
        ends_told = {"first": w.score(first[metric]), "last": w.score(last[metric])}
        told.append(w("curve.desc", method=name, size=first["size"], largest=last["size"], **ends_told))
    for name in reversed([name for name in source.methods if name not in learning]):
        score = source.methods[name]["points"][-1][metric]
        across = [(end, score["mean"]) for end in (x.low, x.high)]
        band = [(end, score["low"], score["high"]) for end in (x.low, x.high)]
        series.insert(0, Series(name, source.style_of(name), across, band, "thin"))
        told.append(w("curve.desc_zero", method=name, score=w.score(score)))
    rules = []
    if ahead and "chance" in answer:
        rules.append(Rule(w("rule.chance"), y=answer["chance"], role="rule"))
    if ahead and "target" in answer:
        rules.append(Rule(w("rule.target", target=f"{answer['target']:g}"), y=answer["target"], role="target"))
    if later:
        rules.append(Rule(w("rule.measured"), x=sizes[-1]))
    values = [y for each in series for _, *ys in (*each.band, *each.points) for y in ys]
    values += [rule.y for rule in rules if rule.y is not None]
    name = metric_name(metric, w)
    return Chart(
        w("curve.chart", metric=name), w("curve.told", all="; ".join(told)), x, unit_scale(name, values), series, rules
    )


def _expected(source: Source) -> TableBlock:
    w = source.w
    titles = [
        w("column.method"),
        w("column.labels"),
        w("column.median"),
        w("column.interval80"),
        w("column.interval95"),
    ]
    with_target = "target" in source.answer
    titles += [w("column.p_target", target=f"{source.answer['target']:g}")] if with_target else []
    rows = []
    for name, found in source.methods.items():
        for times in ("2x", "4x") if "expected" in found else ():
            each = found["expected"][times]
            ranges = (w("number.range", low=f"{each[f'low{n}']:.3f}", high=f"{each[f'high{n}']:.3f}") for n in (80, 95))
            row = [name, str(each["size"]), f"{each['median']:.3f}", *ranges]
            rows.append([*row, w.percent(each["p_target"])] if with_target else row)
    return TableBlock(w("expected.caption", metric=metric_name(source.metric, w)), _columns(titles), rows)


def _columns(titles: list[str]) -> list[Column]:
    """Return columns of numbers below these titles, the first of names."""
    return [Column(title, "number" if index else "text") for index, title in enumerate(titles)]


def by_cost(source: Source) -> Sequence[Block]:
    """Return the methods by what they cost: money, or seconds where there are no prices."""
    w = source.w
    if not source.methods:
        return [no_answer(source)]
    pareto, metric = source.answer["pareto"], source.metric
    priced = any("cost" in each for each in pareto)
    best = {(each["method"], each["size"]) for each in pareto}
    series = []
    for name, found in source.methods.items():
        points = {
            point.get("size", 0): (
                point["cost"] if priced else max(0.1, point["gpu_seconds"] + point["cpu_seconds"]),
                point[metric]["mean"],
            )
            for point in found["points"]
        }
        rings = [at for size, at in points.items() if (name, size) in best]
        series.append(Series(name, source.style_of(name), list(points.values()), rings=rings))
    spent = [x for each in series for x, _ in each.points]
    x: Scale = (
        linear_scale(w("axis.cost"), spent)
        if min(spent) <= 0
        else log_scale(w("axis.cost") if priced else w("axis.seconds"), spent)
    )
    y = unit_scale(metric_name(metric, w), [y for each in series for _, y in each.points])
    chart = Chart(w("cost.chart", metric=metric_name(metric, w)), w("cost.told"), x, y, series)
    titles = [w("column.method"), w("column.labels"), metric_name(metric, w), w("column.time")]
    titles += [w("column.cost")] if priced else []
    rows = [
        [each["method"], str(each["size"]), score_cell(w, each | {"mean": each["score"]}), w.duration(each["seconds"])]
        + ([money(each["cost"])] if priced else [])
        for each in pareto
    ]
    caption = w("cost.caption_money") if priced else w("cost.caption")
    return [Figure([chart], w("cost.note")), TableBlock(caption, _columns(titles), rows)]


def table(source: Source) -> Iterator[Block]:
    """Yield the table by labels and methods; all numbers, and each run, on demand."""
    w = source.w
    if source.methods:
        yield _by_size(source)
        yield Fold(w("table.all"), [_all(source)])
    else:
        yield no_answer(source)
    yield Fold(w("table.runs"), [_runs(source)])
    if source.is_free:
        yield Text(w("absent.free_text"), "absent")


def _by_size(source: Source) -> TableBlock:
    w, metric = source.w, source.metric
    points = {
        (name, point.get("size", 0)): point[metric]
        for name, found in source.methods.items()
        for point in found["points"]
    }
    rows: list[list[str | TableCell]] = []
    for size in sorted({size for _, size in points}):
        best = max((points[name, size]["mean"] for name in source.methods if (name, size) in points), default=0)
        row: list[str | TableCell] = [str(size)]
        for name in source.methods:
            score = points.get((name, size))
            row.append(score_cell(w, score, strong=score["mean"] == best and size > 0) if score else "")
        rows.append(row)
    columns = [Column(w("column.labels"), "number"), *(Column(name, "number") for name in source.methods)]
    return TableBlock(w("table.caption", metric=metric_name(metric, w)), columns, rows, w("table.note"), stacked=True)


def _all(source: Source) -> TableBlock:
    w = source.w
    priced = any("cost" in point for found in source.methods.values() for point in found["points"])
    titles = [w("column.method"), w("column.labels"), w("column.seeds")]
    titles += [metric_name(metric, w) for metric in source.shown]
    titles += [w("column.time"), *([w("column.cost")] if priced else [])]
    rows = []
    for name, found in source.methods.items():
        for point in found["points"]:
            row: list[str | TableCell] = [name, str(point.get("size", 0)), str(point["seeds"])]
            row += [score_cell(w, point[key]) for key in source.shown]
            row.append(w.duration(point["gpu_seconds"] + point["cpu_seconds"]))
            rows.append(row + ([money(point["cost"])] if priced else []))
    return TableBlock(w("table.all_caption"), _columns(titles), rows)


def _runs(source: Source) -> TableBlock:
    w, free = source.w, source.is_free
    titles = (
        [metric_name(each, w) for each in source.shown] if free else [w("column.accuracy_items"), w("column.outside")]
    )
    rows = []
    for each in source.results["rows"]:
        row: list[str | TableCell] = [each["run"]]
        if free:
            row += [f"{each[metric]:.3f}" for metric in source.shown]
        else:
            score = {"mean": each["accuracy"], "low": each["accuracy_low"], "high": each["accuracy_high"]}
            row += [score_cell(w, score), str(each["not_in_labels"])]
        rows.append([*row, str(each["items"]), w.duration(each["seconds"]) if "seconds" in each else ""])
    columns = _columns([w("column.run"), *titles, w("column.items"), w("column.time")])
    return TableBlock(w("table.runs_caption"), columns, rows, "" if free else w("table.runs_note"))


def examples(source: Source) -> Sequence[Block]:
    """Return answers in free text of the method in use, from its worst to its best by ROUGE-L."""
    w, one = source.w, source.last[0]
    answers = predictions.read(one.run.result(".predictions.jsonl")).predictions
    each = texts.cell([one]).found[free_text.METRICS[0]][0, :, 0]
    order = np.argsort(each, kind="stable")
    chosen = dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in np.linspace(0, 1, EXAMPLES))
    rows = [
        [f"{each[at]:.3f}", *(cut(text, TEXT) for text in (source.text_of(at), answers[at].label, answers[at].pred))]
        for at in chosen
        if at in answers
    ]
    titles = (w("column.text"), w("column.target"), w("column.answer"))
    columns = [Column(FREE_METRICS["rouge_l"], "number"), *(Column(title, "long") for title in titles)]
    return [TableBlock(w("examples.caption", method=source.use, labels=w.labels(one.run.size)), columns, rows)]
