"""Where an evaluation's results are, and who may write them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..jsonio import read_json


@dataclass(frozen=True)
class EvaluationFiles:
    """The files of one evaluation, all in one folder."""

    record: Path  # the mark of a complete evaluation
    pickle: Path  # for the original's notebook
    predictions: Path  # the answers, kept as they arrive
    constrained: Path  # the same of --constrain
    lock: Path  # held by the process that evaluates; stays, empty

    @classmethod
    def of(cls, folder: Path, run: str, split: str) -> EvaluationFiles:
        """Return the files of a run's evaluation on a split; those of the test split have the run's bare name."""
        stem = run if split == "test" else f"{run}.{split}"
        return cls(
            record=folder / f"{stem}.json",
            pickle=folder / f"{stem}.pkl",
            predictions=folder / f"{stem}.predictions.jsonl",
            constrained=folder / f"{stem}.constrained.predictions.jsonl",
            lock=folder / f".{stem}.lock",
        )


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
