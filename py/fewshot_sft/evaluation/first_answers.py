"""The generation check: an adapter's answers to the first items, told and recorded before hours of the others.

TRAINER=fast asks its model at the end of the training (training/generation_check.py). `llamafactory-cli train` leaves
none to ask; there they are the evaluation's own first answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..identity import read_record
from ..jsonio import write_json
from ..log import say
from ..runs import Run
from .predictions import PredictionLog
from .questions import Item

COUNT = 3
FILE = "first_answers.json"  # in the run's folder, from the trainer to py/train.py
LETTERS = 60  # of a text in the log

Check = list[dict[str, str]]


def listed(items: Sequence[Item], answers: Sequence[str]) -> Check:
    """Return them as training.json has them."""
    return [
        {"input": item.input, "answer": answer, "target": item.output}
        for item, answer in zip(items, answers, strict=True)
    ]


def of_evaluation(run: Run, items: list[Item], log: PredictionLog) -> bool:
    """Say the first answers and add them to training.json, when all of them are there; return whether that is done.

    Args:
        run: one that was trained.
        items: all of them.
        log: their answers so far.
    """
    first = items[:COUNT]
    if not all(index in log.predictions for index in range(len(first))):
        return False
    path = run.adapter / "training.json"
    record = read_record(path)
    if record and "check" not in record:  # gone meanwhile, or told before
        check = listed(first, [log.predictions[index].pred for index in range(len(first))])
        write_json(path, record | {"check": check})
        tell(run, check)
    return True


def tell(run: Run, check: Check) -> None:
    """Say each answer in a line, and what is strange about all of them."""
    for each in check:
        text, answer, target = map(_short, each.values())
        say(f"{run.title}: {text}: the answer is {answer}, the target {target}")
    answers, targets = ({each[key] for each in check} for key in ("answer", "target"))
    if answers == {""}:
        say(f"{run.title}: warning: the first {len(check)} answers are empty")
    elif len(answers) == 1 < len(targets):
        say(f"{run.title}: warning: the first {len(check)} answers are all the same, the targets are not")


def _short(text: str) -> str:
    """Return a text on one line, in quotes, its middle left out where it is long: what varies is often at the end."""
    text = " ".join(text.split())
    if len(text) > LETTERS:
        text = f"{text[: LETTERS // 2]} … {text[-LETTERS // 2 :]}"
    return json.dumps(text, ensure_ascii=False)
