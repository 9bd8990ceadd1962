"""Where an evaluation's results are, who may write them, and what happens to those of another evaluation."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .jsonio import read_json


@dataclass(frozen=True)
class EvaluationFiles:
    """The files of one evaluation, all in one folder."""

    record: Path  # the mark of a complete evaluation
    pickle: Path  # for the seed's notebook
    predictions: Path  # the answers, kept as they arrive
    lock: Path  # held by the process that evaluates; stays, empty

    @classmethod
    def of(cls, folder: Path, run: str, split: str) -> EvaluationFiles:
        """Return the files of a run's evaluation on a split; those of the test split have the run's bare name."""
        stem = run if split == "test" else f"{run}.{split}"
        record, pickle, predictions = (folder / f"{stem}.{end}" for end in ("json", "pkl", "predictions.jsonl"))
        return cls(record, pickle, predictions, folder / f".{stem}.lock")


@contextmanager
def only_one(path: Path, name: str) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends.

    Raises:
        UserError: another process holds it.
    """
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{name} is being evaluated by another process ({path} is locked); wait for it") from None
        yield


def identity_of(record: Path) -> str | None:
    """Return the identity that a record carries, None when there is no record or a damaged one."""
    try:
        found = read_json(record)
    except UserError:  # missing, or damaged
        return None
    return found.get("identity") if isinstance(found, dict) else None


def set_aside(paths: list[Path], identity: object, why: str) -> None:
    """Move those files that exist to ``replaced/`` beside them, under names with the identity's beginning; say so."""
    for path in paths:
        if not path.exists():
            continue
        mark = identity[:8] if isinstance(identity, str) else "damaged"
        target = path.parent / "replaced" / f"{path.name}-{mark}"
        target.parent.mkdir(exist_ok=True)
        count = 1
        while target.exists():
            count += 1
            target = target.with_name(f"{path.name}-{mark}-{count}")
        os.replace(path, target)
        print(f"{path}: {why}; the old one is {target}", file=sys.stderr)
