"""The pickle that the original's ``see_result.ipynb`` opens as it is. Written here, never read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from types import SimpleNamespace

from ..jsonio import write_bytes
from . import scoring


def write(
    path: str | os.PathLike[str],
    name: str,
    answers: Sequence[str],
    truth: Sequence[str],
    classes: Sequence[str],
    metrics: dict[str, float],
) -> None:
    """Write the original's ``EvalData`` atomically, as a ``SimpleNamespace``: no class of ours is needed to open it.

    The notebook compares character for character, so an answer that is a label is written as that label.
    ``metrics`` is to be the original's own scoring, so that the notebook's figures compare with published ones.
    """
    strangers = scoring.strangers(answers, classes)
    found = zip(answers, scoring.numbers(answers, classes), strict=True)
    data = SimpleNamespace(
        name=name,
        in_cnt=len(answers) - len(strangers),
        not_in_cnt=len(strangers),
        preds=[answer if number == scoring.OUTSIDE else classes[number] for answer, number in found],
        labels=list(truth),
        not_in_texts=strangers,
        eval=dict(metrics),
    )
    write_bytes(path, pickle.dumps(data, protocol=4))
