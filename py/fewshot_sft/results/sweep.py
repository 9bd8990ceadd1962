"""Gathers a sweep: its evaluation records, the sizes that have none and why, and what does not compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from ..jsonio import read_json
from ..provenance import PROJECT
from .record import Run, parse


@dataclass(frozen=True)
class Sweep:
    """The runs of one NAME, smallest size first, and the sizes that were begun but have no record."""

    name: str
    runs: tuple[Run, ...]
    absent: tuple[tuple[int, str], ...]  # (size, why)


def read_sweep(objs: Path, name: str, split: str, saves: Path, sizes: Iterable[int] = ()) -> Sweep:
    """Read all records of one sweep and split.

    ``saves`` is the folder of the models or of one model's adapters (``saves/<MODEL_NAME>/lora``); ``sizes`` are those
    that were asked for: one without a record counts as absent, and so does one whose training was begun.

    Raises:
        UserError: there is no record of it, or one is corrupt.
    """
    suffix = "" if split == "test" else f".{split}"
    found = _numbered(objs, re.escape(name) + r"-llm_train_(0|[1-9]\d*)" + re.escape(suffix) + r"\.json")
    if not found:
        raise UserError(_no_records(objs, name, split))
    folders = [saves, *sorted(saves.glob("*/lora"))]
    runs = [_with_training(parse(path, read_json(path), name, size, split), folders) for size, path in found]
    begun: dict[int, Path] = {}
    for folder in dict.fromkeys([*(run.adapter.parent for run in runs if run.adapter), *folders]):
        for size, path in _numbered(folder, re.escape(name) + r"-llm_train_([1-9]\d*)"):
            begun.setdefault(size, path)
    missing = {*begun, *sizes} - {run.size for run in runs}
    return Sweep(name, tuple(runs), tuple((size, _why_absent(begun.get(size), split)) for size in sorted(missing)))


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """Return (size, path) of what in ``folder`` is named as ``pattern`` says, smallest size first."""
    if not folder.is_dir():
        return []
    matches = ((re.fullmatch(pattern, path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def _no_records(objs: Path, name: str, split: str) -> str:
    files = sorted(path.name for path in objs.iterdir()) if objs.is_dir() else []
    known: dict[str, set[str]] = {}
    for file in files:
        if match := re.fullmatch(r"(.+)-llm_train_\d+(?:\.(valid))?\.json", file):
            known.setdefault(match[1], set()).add(match[2] or "test")
    message = f"{objs}: no evaluation record of {name!r}, split {split}"
    if name in known:
        message += f", but of its split {' and '.join(sorted(known[name]))} (--split)"
    elif known:
        message += f"; there are records of {', '.join(sorted(known))}"
    return message + "; bin/sweep.sh makes them, or bin/eval.sh when the sizes are trained already"


def _with_training(run: Run, folders: Sequence[Path]) -> Run:
    """Find the run's adapter folder; a record from another machine names one that may be elsewhere here."""
    noted = run.record.get("adapter")
    if not isinstance(noted, str):
        return run
    candidates = [*(path / run.run for path in folders), Path(noted), PROJECT / noted]
    folder = next((path for path in candidates if path.is_dir()), None)
    if folder is None:
        return run
    try:
        training = read_json(folder / "training.json")
    except UserError:  # no training was recorded here: its columns stay empty
        training = None
    return replace(run, adapter=folder, training=training if isinstance(training, dict) else None)


def _why_absent(folder: Path | None, split: str) -> str:
    if folder is None:
        return "not trained; run bin/train.sh"
    path = folder / "training.json"
    if not path.exists():
        return f"training did not finish ({folder}); run bin/train.sh again"
    try:
        training = read_json(path)
    except UserError as error:
        return str(error)
    if not isinstance(training, dict) or training.get("status") != "done":
        reason = training.get("reason") if isinstance(training, dict) else None
        return f"training failed: {' '.join(str(reason or 'no reason given').split())} ({path})"
    return f"trained, but split {split} is not evaluated yet; run bin/eval.sh"


def warnings_of(sweeps: Sequence[Sweep]) -> list[str]:
    """Return what a reader of the table has to know: numbers that do not compare, records older than the training."""
    found = [warning for sweep in sweeps for warning in (*_differences(sweep), *_training_doubts(sweep))]
    if len({sweep.runs[-1].test_data for sweep in sweeps}) > 1:
        told = "; ".join(f"{sweep.name}: {_data_text(sweep.runs[-1])}" for sweep in sweeps)
        found.append(f"the sweeps were evaluated on different data, so their numbers do not compare ({told})")
    return found


def _differences(sweep: Sweep) -> Iterator[str]:
    sets: dict[object, list[Run]] = {}
    for run in sweep.runs:
        sets.setdefault(run.test_data, []).append(run)
    if len(sets) > 1:
        told = "; ".join(
            f"N={', '.join(str(run.size) for run in runs)}: {_data_text(runs[0])}" for runs in sets.values()
        )
        yield (
            f"{sweep.name}: the sizes were evaluated on different data, so their numbers do not compare ({told}); "
            "bin/eval.sh evaluates again what is of other data"
        )
    for key in ("model", "template", "backend"):
        values = sorted({str(run.record[key]) for run in sweep.runs if key in run.record})
        if len(values) > 1:
            yield f"{sweep.name}: the sizes were evaluated with different {key}s: {', '.join(values)}"


def _training_doubts(sweep: Sweep) -> Iterator[str]:
    for run in sweep.runs:
        training = run.training or {}
        if training.get("status") == "failed":
            reason = training.get("reason", "no reason given")
            yield f"{run.run}: the record is older than the adapter, whose training failed: {reason}"
        elif training.get("examples", run.size) != run.size:
            yield f"{run.run}: trained on {training['examples']} examples, not on {run.size}"


def _data_text(run: Run) -> str:
    text = f"{run.items} items, {len(run.labels)} labels"
    noted = run.data_hash
    return f"{text}, {str(noted)[:8]}" if noted else text
