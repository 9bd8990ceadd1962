"""Gathers a sweep: its evaluation records, the runs that have none and why, and what does not compare."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json
from ..outcomes import outcomes
from ..runs import GENERATING, GENERATION, METHODS, NO_TEXT, ON_CPU, ON_GPU, SCHEMA, WITHOUT_MODEL, Run, every
from ..settings import Settings
from .record import Result, parse


@dataclass(frozen=True)
class Sweep:
    """The evaluations of one sweep on one split, the base model first, then by size and seed."""

    name: str
    evaluations: tuple[Result, ...]
    absent: tuple[tuple[Run, str], ...] = ()  # what the settings ask for and has no record, and why
    earlier: tuple[Path, ...] = ()  # records of an earlier version


def read_sweep(settings: Settings, name: str) -> Sweep:
    """Read all records of a sweep in OBJS_DIR, on the split of the settings.

    They are found by what they tell, and may be of runs that the settings no longer ask for. Which runs are absent is
    known of the settings' own sweep only.

    Raises:
        UserError: there is no record of it, or one is corrupt.
    """
    wanted = every(settings) if name == settings.sweep_name else []
    expected = {run.result(".json"): run for run in wanted}
    found, earlier = [], []
    for path, record in _records(settings, expected):
        if record["name"] != name or record.get("split") != settings.split:
            continue
        if record.get("schema") != SCHEMA:
            earlier.append(path)
            continue
        run = _run_of(record, settings)
        if run.result(".json") == path:
            found.append(_with_training(parse(path, record, run)))
        elif path in expected:
            parse(path, record, expected[path])  # it tells what does not fit; any other is a copy under another name
    if not found:
        raise UserError(_no_records(settings, name, earlier))
    found.sort(key=lambda one: (METHODS.index(one.run.method), one.run.size or 0, one.run.seed or 0))
    there = {one.run.name for one in found}
    absent = tuple((run, _why_absent(run)) for run in wanted if run.name not in there)
    return Sweep(name, tuple(found), absent, tuple(earlier))


def together(sweeps: Sequence[Sweep], name: str) -> Sweep:
    """Return several sweeps as one of this name, each curve named after its model, or where that is the same after its
    sweep.

    What needs no language model is the same for all, and is the first one's that has it.
    """
    models = [next((one.run.model for one in sweep.evaluations if one.run.model), None) for sweep in sweeps]
    found: list[Result] = []
    for sweep, model in zip(sweeps, models, strict=True):
        own = model if model and models.count(model) == 1 else sweep.name
        there = {one.run.method for one in found if not one.of_model}
        for one in sweep.evaluations:
            if one.run.method in WITHOUT_MODEL:
                found += [one] * (one.run.method not in there)
            else:
                found.append(replace(one, of_model=own))
    absent = tuple(each for sweep in sweeps for each in sweep.absent)
    return Sweep(name, tuple(found), absent)


def _records(settings: Settings, expected: Mapping[Path, Run]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the evaluation records in OBJS_DIR, of any sweep; damaged ones count only where they are expected."""
    for path in sorted(Path(settings["OBJS_DIR"]).glob("*.json")):
        if path.name.endswith((".predictions.json", ".item_scores.json")):  # long, and no records
            continue
        try:
            record = read_json(path)
            if path in expected and not isinstance(record, dict):
                parse(path, record, expected[path])
        except UserError:
            if path in expected:
                raise
            continue
        if isinstance(record, dict) and record.get("kind") == "evaluation" and "name" in record:
            yield path, record


def _run_of(record: Mapping[str, Any], settings: Settings) -> Run:
    model, method, size, seed = (record.get(key) for key in ("model", "method", "size", "seed"))
    return Run(model, str(method), size, seed, settings.but(SWEEP_NAME=str(record["name"]), MODEL_NAME=str(model)))


def _no_records(settings: Settings, name: str, earlier: Sequence[Path]) -> str:
    known: dict[str, set[str]] = {}
    for _, record in _records(settings, {}):
        if record.get("schema") == SCHEMA:
            known.setdefault(str(record["name"]), set()).add(str(record.get("split")))
    message = f"{settings['OBJS_DIR']}: no evaluation record of {name!r}, split {settings.split}"
    if earlier:
        message += f", but {_not_used(earlier)}"
    elif name in known:
        message += f", but of its split {' and '.join(sorted(known[name]))} (SPLIT)"
    elif known:
        message += f"; there are records of {', '.join(sorted(known))}"
    return message + "; bin/sweep.sh makes them, or bin/eval.sh when the runs are trained already"


def _not_used(earlier: Sequence[Path]) -> str:
    return f"{', '.join(path.name for path in earlier)} of an earlier version, not used"


def _with_training(one: Result) -> Result:
    """Find the adapter's folder; a record from another machine names one that may be elsewhere here."""
    noted = one.record.get("adapter")
    if not isinstance(noted, str) or not one.run.is_trained:
        return one
    folder = next((path for path in (one.run.adapter, Path(noted)) if path.is_dir()), None)
    if folder is None:
        return one
    try:
        training = read_json(folder / "training.json")
    except UserError:  # no training was recorded here: its columns stay empty
        training = None
    return replace(one, adapter=folder, training=training if isinstance(training, dict) else None)


def _why_absent(run: Run) -> str:
    split = run.settings.split
    if run.settings.task == GENERATION and run.method not in GENERATING:
        return f"left out: {NO_TEXT}"
    if run.method in (*ON_CPU, *ON_GPU):
        return _left_out(run) or f"split {split} is not evaluated yet; run bin/baselines.sh"
    if not run.is_trained:
        return _left_out(run) or f"split {split} is not evaluated yet; run bin/eval.sh"
    if not run.adapter.is_dir():
        return "not trained; run bin/train.sh"
    path = run.adapter / "training.json"
    if not path.exists():
        return f"training did not finish ({run.adapter}); run bin/train.sh again"
    try:
        training = read_json(path)
    except UserError as error:
        return str(error)
    if not isinstance(training, dict) or training.get("status") != "done":
        reason = training.get("reason") if isinstance(training, dict) else None
        return f"training failed: {' '.join(str(reason or 'no reason given').split())} ({path})"
    return f"trained, but split {split} is not evaluated yet; run bin/eval.sh"


def _left_out(run: Run) -> str | None:
    """Return why the sweep that runs now, or the last one, has left a run out, when it has."""
    last = Path(run.settings["LOGS_DIR"]) / f"{run.settings['SWEEP_NAME']}.outcomes"
    folder = Path(os.environ.get(outcomes.FOLDER) or last)
    try:
        found = outcomes.read(folder / outcomes.file_name("evaluation", run.name))
    except UserError:
        return None
    return f"left out: {found.reason}" if found.state == "left out" else None


def warnings_of(sweeps: Sequence[Sweep]) -> list[str]:
    """Return what a reader of the table has to know: numbers that do not compare, records older than the training."""
    found = [warning for sweep in sweeps for warning in (*_differences(sweep), *_training_doubts(sweep))]
    found += [f"{sweep.name}: {_not_used(sweep.earlier)}; move them away" for sweep in sweeps if sweep.earlier]
    if len({sweep.evaluations[-1].test_data for sweep in sweeps}) > 1:
        told = "; ".join(f"{sweep.name}: {_data_text(sweep.evaluations[-1])}" for sweep in sweeps)
        found.append(f"the sweeps were evaluated on different data, so their numbers do not compare ({told})")
    return found


def _differences(sweep: Sweep) -> Iterator[str]:
    sets: dict[object, list[Result]] = {}
    for one in sweep.evaluations:
        sets.setdefault(one.test_data, []).append(one)
    if len(sets) > 1:
        told = "; ".join(
            f"{', '.join(one.run.name for one in group)}: {_data_text(group[0])}" for group in sets.values()
        )
        yield (
            f"{sweep.name}: the runs were evaluated on different data, so their numbers do not compare ({told}); "
            "bin/eval.sh evaluates again what is of other data"
        )
    for key in ("base_model", "template", "backend"):
        values = sorted({str(one.record[key]) for one in sweep.evaluations if key in one.record})
        if len(values) > 1:
            yield f"{sweep.name}: the runs were evaluated with different {key.replace('_', ' ')}s: {', '.join(values)}"


def _training_doubts(sweep: Sweep) -> Iterator[str]:
    for one in sweep.evaluations:
        training, run = one.training or {}, one.run
        if training.get("status") == "failed":
            reason = training.get("reason", "no reason given")
            yield f"{run.name}: the record is older than the adapter, whose training failed: {reason}"
        elif training.get("examples", run.size) != run.size:
            yield f"{run.name}: trained on {training['examples']} examples, not on {run.size}"


def _data_text(one: Result) -> str:
    text = f"{one.items} items, {len(one.labels)} labels"
    noted = one.data_hash
    return f"{text}, {str(noted)[:8]}" if noted else text
