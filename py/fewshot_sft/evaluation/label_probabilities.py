"""``objs/<run>.scores.json``: the probability of each label for each item, of the evaluation with the same identity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..jsonio import read_json, write_json
from ..runs import Run

if TYPE_CHECKING:
    import numpy as np

DIGITS = 5


def write(
    run: Run, identity: str, labels: Sequence[str], probabilities: Sequence[Sequence[float]] | np.ndarray,
    outside: Sequence[float] | None = None,
) -> None:  # fmt: skip
    """Write the file.

    Args:
        run: whose.
        identity: of its evaluation record.
        labels: in the order of the columns.
        probabilities: items x labels, rows add up to 1.
        outside: of each item, the probability that the model says none of the labels.
    """
    found = {
        "identity": identity,
        "labels": list(labels),
        "probabilities": [[round(float(p), DIGITS) for p in row] for row in probabilities],
        **({"outside": [round(float(p), DIGITS) for p in outside]} if outside is not None else {}),
    }
    write_json(run.result(".scores.json"), run.head("scores") | found)


def write_masses(run: Run, identity: str, labels: Sequence[str], masses: Sequence[Sequence[float] | None]) -> None:
    """Write the file of a language model; where an item has none, why there are no scores.

    Args:
        run, identity, labels: as :func:`write` has them.
        masses: items x labels, each the probability that the model says that label; rows add up to less than 1.
    """
    whole = [row for row in masses if row is not None and len(row) == len(labels) and sum(row) > 0]
    if len(whole) < len(masses):
        count = len(masses) - len(whole)
        return write_absent(run, identity, f"{count} of {len(masses)} answers came without label scores")
    normalized = [[mass / sum(row) for mass in row] for row in whole]
    write(run, identity, labels, normalized, [max(0.0, 1 - sum(row)) for row in whole])


def write_absent(run: Run, identity: str, reason: str) -> None:
    """Write why a run has no scores."""
    write_json(run.result(".scores.json"), run.head("scores") | {"identity": identity, "absent": reason})


def read(path: Path, identity: object, labels: Sequence[str], items: int) -> np.ndarray:
    """Return the probabilities, (items, labels); rows add up to 1.

    Raises:
        UserError: the file is missing, damaged, of another evaluation, or says why there are none.
    """
    import numpy as np

    found = read_json(path)
    if not isinstance(found, dict) or found.get("kind") != "scores":
        raise UserError(f"{path}: no label scores in it; move it away and run bin/sweep.sh again")
    if not isinstance(identity, str) or found.get("identity") != identity:
        raise UserError(f"{path}: of another evaluation than the record beside it; run bin/sweep.sh again")
    if "absent" in found:
        raise UserError(str(found["absent"]))
    try:
        probabilities = np.array(found["probabilities"], float)
        if list(found["labels"]) != list(labels) or probabilities.shape != (items, len(labels)):
            raise ValueError("not the labels and items of the record")
        if not (np.all(probabilities >= 0) and np.allclose(probabilities.sum(1), 1, atol=0.01)):
            raise ValueError("its rows do not add up to 1")
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UserError(f"{path}: damaged ({why}); move it away and run bin/sweep.sh again") from None
    return probabilities
