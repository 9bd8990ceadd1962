"""Where an evaluation's results are."""

from __future__ import annotations

from pathlib import Path

from ..identity import read_record
from ..runs import SCHEMA, Run


class EvaluationFiles:
    """The files of one run's evaluation, all in one folder."""

    def __init__(self, run: Run) -> None:
        """Name them."""
        self.record = run.result(".json")  # the mark of a complete evaluation
        self.pickle = run.result(".pkl")  # for the original's notebook
        self.predictions = run.result(".predictions.jsonl")  # the answers, kept as they arrive
        self.constrained = run.result(".constrained.predictions.jsonl")  # the same of CONSTRAIN=1
        self.listed = run.result(".predictions.json")  # all answers with their items, in the order of the items
        self.items = run.result(".item_scores.json")  # of free text: what each item contributes to the scores
        self.lock = run.result(".lock").with_name(f".{run.stem}.lock")  # of the process that evaluates; stays, empty

    @property
    def results(self) -> tuple[Path, ...]:
        """What is made of all answers, the record last: who is killed while moving them finds it and moves the rest."""
        return self.pickle, self.listed, self.items, self.record


def identity_of(record: Path) -> str | None:
    """Return the identity that a record or its scores carry; None: missing, damaged or of an earlier version."""
    found = read_record(record)
    identity = found.get("identity")
    return identity if found.get("schema") == SCHEMA and isinstance(identity, str) else None
