"""Where an evaluation's results are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..identity import read_record
from ..runs import SCHEMA, Run


@dataclass(frozen=True)
class EvaluationFiles:
    """The files of one evaluation, all in one folder."""

    record: Path  # the mark of a complete evaluation
    pickle: Path  # for the original's notebook
    predictions: Path  # the answers, kept as they arrive
    constrained: Path  # the same of CONSTRAIN=1
    listed: Path  # all answers with their items, in the order of the items
    items: Path  # of free text: what each item contributes to the scores
    lock: Path  # held by the process that evaluates; stays, empty

    @classmethod
    def of(cls, run: Run) -> EvaluationFiles:
        """Return the files of a run's evaluation."""
        return cls(
            record=run.result(".json"),
            pickle=run.result(".pkl"),
            predictions=run.result(".predictions.jsonl"),
            constrained=run.result(".constrained.predictions.jsonl"),
            listed=run.result(".predictions.json"),
            items=run.result(".item_scores.json"),
            lock=run.result(".lock").with_name(f".{run.stem}.lock"),
        )

    @property
    def results(self) -> tuple[Path, ...]:
        """What is made of all answers, the record last: who is killed while moving them finds it and moves the rest."""
        return self.pickle, self.listed, self.items, self.record


def identity_of(record: Path) -> str | None:
    """Return the identity that a record carries; None when it is missing, damaged or of an earlier version."""
    found = read_record(record)
    identity = found.get("identity")
    return identity if found.get("schema") == SCHEMA and isinstance(identity, str) else None
