"""The generation check: an adapter's answers to the first items, told and recorded before hours of the others.

They are the evaluation's own, so they cost nothing, and are what is evaluated: the real prompt, template and server.
"""

from __future__ import annotations

import json

from ..identity import read_record
from ..jsonio import write_json
from ..log import say
from ..runs import Run
from .predictions import PredictionLog
from .questions import Item

COUNT = 3
LETTERS = 60  # of a text in the log


def tell(run: Run, items: list[Item], log: PredictionLog) -> bool:
    """Say the first answers and add them to training.json, when all of them are there; return whether they are.

    Args:
        run: one that was trained.
        items: all of them.
        log: their answers so far.
    """
    first = items[:COUNT]
    if not all(index in log.predictions for index in range(len(first))):
        return False
    check = [
        {"input": item.input, "answer": log.predictions[index].pred, "target": item.output}
        for index, item in enumerate(first)
    ]
    path = run.adapter / "training.json"
    record = read_record(path)
    if not record or record.get("check") == check:  # gone meanwhile, or told before
        return True
    write_json(path, record | {"check": check})
    for each in check:
        text, answer, target = map(_short, each.values())
        say(f"{run.title}: {text}: the answer is {answer}, the target {target}")
    answers, targets = ({each[key] for each in check} for key in ("answer", "target"))
    if answers == {""}:
        say(f"{run.title}: warning: the first {len(check)} answers are empty")
    elif len(answers) == 1 < len(targets):
        say(f"{run.title}: warning: the first {len(check)} answers are all the same, the targets are not")
    return True


def _short(text: str) -> str:
    """Return a text on one line, in quotes, its middle left out where it is long: what varies is often at the end."""
    text = " ".join(text.split())
    if len(text) > LETTERS:
        text = f"{text[: LETTERS // 2]} … {text[-LETTERS // 2 :]}"
    return json.dumps(text, ensure_ascii=False)
