"""``k-shot``: the examples of the training subset that the base model is shown before each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from ..errors import UserError
from ..jsonio import read_json
from ..planning import facts
from ..planning.context import context
from ..preflight import lengths, templates
from ..runs import Run
from .questions import Item

PLAIN = templates.Slots(prefix=[], system=[templates.CONTENT], user=[templates.CONTENT], assistant=[templates.CONTENT])


def choose(run: Run, items: Sequence[Item]) -> tuple[tuple[str, str], ...]:
    """Return the (text, label) pairs that fit the context beside the longest question and its answer.

    One of each label in turn, in the order of the subset, which its seed has drawn; what is too long is passed over.

    Args:
        run: whose subset.
        items: all questions: each is asked with the same examples.

    Raises:
        UserError: not one fits, the subset is missing, or tokens cannot be counted.
    """
    settings = run.settings
    if not run.data_file.is_file():
        raise UserError(f"{run.title}: {run.data_file} is missing; make it with bin/build_data.sh")
    folder = facts.model_folder(settings)
    tokenizer = folder / "tokenizer.json" if folder else None
    if folder is None or tokenizer is None or not tokenizer.is_file():
        raise UserError(
            f"{run.title}: {settings.model} has no tokenizer.json here to count the examples that fit; fetch the model "
            "first, or take k-shot out of METHODS"
        )
    source = templates.source()
    slots = (templates.registered(source) if source else {}).get(settings.template, PLAIN)
    rows = _in_turn(read_json(run.data_file))
    questions = [{"instruction": item.instruction, "input": item.input, "output": ""} for item in items]
    turns = [{**row, "instruction": ""} for row in rows]
    asked = max(lengths.token_lengths(questions, tokenizer, slots)[0])
    costs = lengths.token_lengths(turns, tokenizer, replace(slots, prefix=[], system=[]))[0]
    most = context(settings, folder)
    room = left = most - asked - settings.max_tokens - lengths.MARGIN
    chosen = []
    for row, cost in zip(rows, costs, strict=True):
        if cost <= left:
            chosen.append((row["input"], row["output"]))
            left -= cost
    if not chosen:
        raise UserError(
            f"{run.title}: not one example fits: of the context's {most} tokens the longest question with its "
            f"instruction, MAX_TOKENS={settings.max_tokens} and a margin of {lengths.MARGIN} leave {max(room, 0)}, and "
            f"the shortest example has {min(costs)}; take k-shot out of METHODS, or a model with a longer context"
        )
    return tuple(chosen)


def _in_turn(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    by_label: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_label.setdefault(row["output"], []).append(row)
    return [row for row in chain.from_iterable(zip_longest(*by_label.values())) if row is not None]
