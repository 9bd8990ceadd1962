"""What was run: the training losses, the settings and versions, the warnings, and how to repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..redaction import redact
from ..results.record import Result
from ..settings import table
from .blocks import TEXT, Block, Code, Column, Data, Figure, Fold, Listing, TableBlock, Text, cut
from .charts import Chart, Series, linear_scale, log_scale
from .source import Source

POINTS = 80  # of a loss's line
# They say what to do beside the sweep, or follow from others: no part of what was run.
NOT_SHOWN = ("ON_FINISH", "API_PORT", "FORCE", "SKIP_PREFLIGHT", "MODEL_SCRIPT", "METHODS", "SWEEP_NAME")
SIGNIFICANT = 0.05


def losses(source: Source) -> Sequence[Block]:
    """Return the training losses as the trainer logged them."""
    w = source.w
    logged: list[tuple[Result, list[tuple[int, float]]]] = []
    for one in source.trained:
        try:
            if points := one.losses:
                logged.append((one, points))
        except UserError:
            continue  # among the warnings already
    if not logged:
        return [Text(w("losses.absent"), "absent")]
    sizes = sorted({one.run.size or 0 for one, _ in logged})
    series, named = [], set()
    for one, points in logged:
        size = one.run.size or 0
        kept = points[:: max(1, len(points) // POINTS)]
        kept += [points[-1]] * (kept[-1] != points[-1])
        label = w("losses.size", size=size)
        series.append(Series(label, sizes.index(size), kept, role="thin", legend=size not in named))
        named.add(size)
    steps = [step for each in series for step, _ in each.points]
    values = [value for each in series for _, value in each.points]
    chart = Chart(
        w("losses.chart"),
        w("losses.told", runs=len(logged), first=f"{max(values):.2f}", last=f"{min(values):.2f}"),
        log_scale(w("axis.steps"), steps),
        log_scale(w("axis.loss"), values)
        if max(values) > 50 * min(values) > 0
        else linear_scale(w("axis.loss"), values),
        series,
        height=300,
    )
    picture = "training_loss.png" if "training_loss.png" in source.results["pictures"] else ""
    return [Figure([chart], w("losses.note"), picture), *_validation(source)]


def _validation(source: Source) -> Iterator[Block]:
    """Yield the losses on the validation split (EVAL_STEPS), and which trainings overfit."""
    w = source.w
    rows = []
    for one in source.trained:
        if told := _losses_on_validation(one):
            rows.append([*told.values()])
            yield from (Text(each) for each in _overfits(source, one))
    if rows:
        titles = [w("losses.best_step"), w("losses.best"), w("losses.last")]
        columns = [Column(w("column.run")), *(Column(title, "number") for title in titles)]
        yield TableBlock(w("losses.validation"), columns, rows)


def _losses_on_validation(one: Result) -> dict[str, str]:
    record = one.training or {}
    if "eval_loss" not in record:
        return {}
    least, last = min(each["loss"] for each in record["eval_loss"]), record["eval_loss"][-1]["loss"]
    return {"run": one.run.name, "step": str(record["best_step"]), "best": f"{least:.4f}", "last": f"{last:.4f}"}


def _overfits(source: Source, one: Result) -> Iterator[str]:
    if (one.training or {}).get("overfits"):
        yield source.w("losses.overfits", **_losses_on_validation(one))


def what_was_run(source: Source) -> Iterator[Block]:
    """Yield the machine, the versions, the settings that are not the defaults, the data."""
    w = source.w
    facts = [[name, Data(value)] for name, value in _facts(source) if value]
    yield TableBlock(w("ran.caption"), [Column(w("column.what")), Column(w("column.value"), "long")], facts)
    changed = [[name, cut(redact(value)), cut(table()[name].default or "–")] for name, value in _changed(source)]
    columns = [Column(w("column.setting")), Column(w("column.value"), "wide"), Column(w("column.default"), "wide")]
    yield Fold(w("ran.settings", count=len(changed)), [TableBlock(w("ran.settings_caption"), columns, changed)])
    files = [
        [name, str(each["rows"]), each["sha256"][:16]]
        for name, each in sorted(source.manifest.get("splits", {}).items())
    ]
    if files:
        columns = [Column(w("column.file")), Column(w("column.rows"), "number"), Column("SHA-256")]
        yield Fold(w("ran.data", count=len(files)), [TableBlock(w("ran.data_caption"), columns, files)])
    else:
        yield Text(w("ran.no_manifest"), "absent")


def _facts(source: Source) -> Iterator[tuple[str, str]]:
    w, settings = source.w, source.settings
    records = [one.record for one in source.sweep.evaluations]

    def noted(key: str) -> str:
        return ", ".join(dict.fromkeys(cut(record[key]) for record in records if key in record))

    yield w("ran.model"), ", ".join(filter(None, (noted("base_model"), noted("base_model_revision"))))
    yield w("ran.served"), ", ".join(each for each in (noted("server"), noted("backend"), noted("template")) if each)
    gpus = source.log("plan").get("facts", {}).get("gpus", [])
    named = [f"{gpu['name']}, {gpu['memory_bytes'] / 2**30:.0f} GiB" for gpu in gpus]
    yield w("ran.hardware"), "; ".join(named) or settings["DEVICE"].upper()
    yield w("ran.seeds"), w("ran.seeds_are", seeds=settings["SEEDS"], split=settings["SPLIT_SEED"])
    read = source.manifest.get("source", {})
    files = ", ".join(cut(each.get("path", "")) for each in read.get("files", {}).values())
    yield w("ran.source"), files or cut(settings["DATASET"])
    yield w("ran.time"), " – ".join(dict.fromkeys((*source.times[:1], *source.times[-1:])))
    yield w("ran.revision"), noted("git_revision")
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    yield w("ran.versions"), ", ".join(f"{name} {' / '.join(each)}" for name, each in sorted(versions.items()))


def _changed(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the settings that are not as the table has them, and what they are."""
    folders = {f"{name}_DIR": name.lower() for name in ("SAVES", "LOGS", "OBJS")}
    folders |= {"DATA_DIR": f"data/{source.sweep.name}"}
    for name, row in table().items():
        value = source.settings[name]
        if value != row.default and name not in NOT_SHOWN and value != folders.get(name):
            yield name, value


def warnings(source: Source) -> Sequence[Block]:
    """Return what a reader has to know before trusting the numbers."""
    w = source.w
    found = list(dict.fromkeys(_warnings(source)))
    return [Listing(found) if found else Text(w("warnings.none"))]


def _warnings(source: Source) -> Iterator[str]:
    w = source.w
    last = {name: found["points"][-1] for name, found in source.methods.items()}
    if any(point["seeds"] == 1 and point.get("size") for point in last.values()):
        yield w("warnings.one_seed")
    if alike := _alike(source, last):
        yield w("warnings.alike", method=source.use, others=w("list.comma").join(alike))
    for name, found in source.methods.items():
        if "left_out" in found:
            yield w("warnings.left_out", method=name, runs=w("list.comma").join(found["left_out"]))
    groups = Counter((each["method"], each["reason"]) for each in source.results["absent"])
    for (method, why), count in groups.items():
        yield w("warnings.absent", method=method, count=count, why=cut(redact(why)))
    for one in source.sweep.evaluations:
        yield from _of_training(source, one)
    yield from (cut(redact(text), 2 * TEXT) for text in _said(source))
    yield from _of_data(source)


def _alike(source: Source, last: Mapping[str, Any]) -> list[str]:
    """Return the methods that are not significantly apart from the one in use, each at its largest size."""
    if source.use not in last:
        return []
    size = last[source.use].get("size")
    mine = f"{source.use} {size}" if size else source.use
    names = {f"{name} {point['size']}" if point.get("size") else name: name for name, point in last.items()}
    found: dict[str, None] = {}
    for each in source.answer["comparisons"]:
        pair = {each["first"], each["second"]}
        if mine in pair and each["corrected"] >= SIGNIFICANT:
            found |= {names[other]: None for other in pair - {mine} if other in names and names[other] != source.use}
    return list(found)


def _of_training(source: Source, one: Result) -> Iterator[str]:
    yield from _overfits(source, one)
    w, training = source.w, one.training or {}
    truncated = training.get("tokens", {}).get("truncated")
    if truncated:
        given = {"run": one.run.name, "count": truncated, "all": training.get("examples", one.run.size)}
        yield w("warnings.truncated", **given, cutoff=training["tokens"].get("cutoff", source.settings["CUTOFF_LEN"]))
    if unseen := training.get("never_seen"):
        yield w("warnings.never_seen", run=one.run.name, count=len(unseen), all=len(one.labels))


def _said(source: Source) -> Iterator[str]:
    """Yield the warnings of programs, in their words."""
    yield from source.results["warnings"]
    yield from source.manifest.get("warnings", [])
    yield from source.log("plan").get("warnings", [])
    yield from (each["message"] for each in source.log("preflight").get("checks", []) if each["result"] == "warning")


def _of_data(source: Source) -> Iterator[str]:
    w = source.w
    texts = {
        "also_in_test": w("removed.leak"),
        "also_in_valid": w("removed.leak_valid"),
        "conflicting_labels": w("removed.conflict"),
        "duplicate": w("removed.duplicate"),
        "empty_text": w("removed.empty"),
        "empty_answer": w("removed.empty_answer"),
    }
    for split, reasons in source.manifest.get("removed", {}).items():
        for reason, each in reasons.items():
            if each["count"]:
                what = texts.get(reason, reason.replace("_", " "))
                yield w("warnings.removed", count=each["count"], split=split, what=what)


def repeat(source: Source) -> Iterator[Block]:
    """Yield the command that runs this sweep again."""
    w = source.w
    given = {"SWEEP_NAME": source.sweep.name, "METHODS": source.settings["METHODS"]} | dict(_changed(source))
    if source.settings["MODEL_SCRIPT"]:  # the profile's own model, which it makes only where none is named
        given.pop("MODEL", None)
    words = [f"{name}={shlex.quote(redact(value))}" for name, value in sorted(given.items())]
    revisions = sorted({each for one in source.sweep.evaluations if (each := one.record.get("git_revision"))})
    checkout = f"git checkout {revisions[0]}\n" if len(revisions) == 1 else ""
    yield Text(w("repeat.text"))
    yield Code(checkout + _wrapped([*words, "bin/sweep.sh"]))
    if len(revisions) > 1:
        yield Text(w("repeat.revisions"), "note")


def _wrapped(words: list[str]) -> str:
    """Return a command in lines of about 100 letters."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < 100:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}")
    return " \\\n".join(lines)
