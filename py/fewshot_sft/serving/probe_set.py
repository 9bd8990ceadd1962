"""The probe set: a few free answers that tell a served adapter from the base model below it.

The first items of the test split are asked as the user's text alone, without the instruction: an adapter changes such
a free answer far more readily than a short label, which a base model may well get right too. The adapter's answers
are compared with the base model's, character for character, up to the first that differs; when all are equal, nothing
tells that the adapter is there.

Can that be said of an adapter that *is* applied? Yes, of one that hardly changes anything: a few updates at a small
learning rate (the smallest sizes, or a warm-up that is longer than the training), or updates below the resolution of
bf16 where the server merges the adapter into the weights, as LLaMA-Factory does with the backend huggingface. The most
probable token must then be the same at all of up to 8 x 16 places. The evaluation of
such an adapter would show little but the base model's own figures; more EPOCHS or a higher LEARNING_RATE mend that. A
base model that says the same to everything (nothing, say, when it was hardly trained) tells nothing, and that is said.

And the other way round: one answer that differs is taken as proof. The questions are asked one at a time, so that no
batch changes the order of a sum, but a server that computes otherwise once it may have adapters (vLLM has other
kernels then) can differ from the base model's without applying one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json, sha256_json
from ..runs import SCHEMA, Run
from ..settings import Settings
from .served_model import what_serves

ITEMS = 8
# Few: beside another run that is being asked, each token waits its turn.
MAX_TOKENS = 16
KIND = "probe answers"


def file_of(run: Run) -> Path:
    """Return where a run's answers are kept; they do not depend on the split."""
    return Path(run.settings["OBJS_DIR"]) / f"{run.name}.probe.json"


def items(settings: Settings) -> list[dict[str, str]]:
    """Return the first items of the test split, all there are when those are fewer.

    Raises:
        UserError: there is none, or one of them is none.
    """
    path = Path(settings["DATA_DIR"]) / "llm_test.json"
    rows = read_json(path)
    first = rows[:ITEMS] if isinstance(rows, list) else []
    if not first or not all(isinstance(row, dict) and {"instruction", "input"} <= row.keys() for row in first):
        raise UserError(f"{path}: no items in it; build the data again with bin/build_data.sh")
    return first


def identity(settings: Settings) -> str:
    """Return what the base model's answers depend on; an adapter's have the same, to be compared with them.

    Raises:
        UserError: there is no such model, or no data.
    """
    questions = [item["input"] for item in items(settings)]
    asked = {"questions": questions, "max_tokens": MAX_TOKENS, "temperature": 0}
    return sha256_json(asked | what_serves(settings))


def answers_of(base: Run) -> list[str]:
    """Return the base model's answers, which were kept.

    Raises:
        UserError: they are missing, damaged, of an adapter or of another identity; the message names the file.
    """
    path = file_of(base)
    record = read_json(path)
    answers = record.get("answers") if isinstance(record, dict) and record.get("kind") == KIND else None
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise UserError(f"{path}: no answers to a probe set in it")
    if "differs" in record:
        raise UserError(f"{path}: answers of an adapter, not of the base model")
    if record.get("schema") != SCHEMA:
        raise UserError(f"{path}: it is of an earlier version")
    if record.get("identity") != identity(base.settings) or len(answers) != len(items(base.settings)):
        raise UserError(f"{path}: answers of another model, template, backend, version or data")
    return answers


def record_of(run: Run, answers: list[str], seconds: float) -> dict[str, Any]:
    """Return the answers as a record."""
    found = {"identity": identity(run.settings), "answers": answers, "seconds": round(seconds, 2)}
    return run.head(KIND) | found
