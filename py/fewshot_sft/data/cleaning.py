"""Drop what must not be trained on: empty texts, repeated texts, and texts that also are in validation or test."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import UserError
from ..jsonio import sha256_json
from .readers import Table


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text: its row in the source (from 1), and the SHA-256 of text and label.

    Of instruction data (TASK=generation) all have the label "", and an instruction and an answer instead.
    """

    row: int
    text: str
    label: str
    sha256: str
    instruction: str = ""
    answer: str = ""


def rows_with_text(table: Table) -> tuple[list[int], list[int]]:
    """Return the 0-based indices of rows that have a text, and of those whose text is missing or white space.

    Raises:
        UserError: a text is something else than a string.
    """
    full: list[int] = []
    empty: list[int] = []
    for index, text in enumerate(table.texts):
        missing = text is None or (isinstance(text, float) and math.isnan(text))
        if not missing and not isinstance(text, str):
            raise UserError(f"{table.at(index)}: the text is not a string but {text!r:.40}; is TEXT_COLUMN right?")
        (empty if missing or not text.strip() else full).append(index)
    if not full:
        raise UserError(f"{table.where}: every text is empty; is TEXT_COLUMN right?")
    return full, empty


def examples(table: Table, rows: Sequence[int], labels: Sequence[str]) -> list[Example]:
    """Return the examples of ``rows`` (0-based indices), ``labels`` being the category of each.

    Raises:
        UserError: a text cannot be written as UTF-8 (half of a surrogate pair, from a broken JSON escape).
    """
    made = []
    for index, label in zip(rows, labels, strict=True):
        text = table.texts[index]
        try:
            digest = sha256_json({"text": text, "label": label})
        except UnicodeEncodeError as error:
            raise UserError(
                f"{table.at(index)}: character {error.start} of the row is half of a surrogate pair and cannot be "
                f"written as UTF-8; correct the escape \\u{ord(error.object[error.start]):04x} in the source"
            ) from None
        made.append(Example(index + 1, text, label, digest))
    return made


def instructed(table: Table, rows: Sequence[int]) -> tuple[list[Example], list[int]]:
    """Return the examples of instruction data, and the rows (from 1) without an answer, which are left out.

    Raises:
        UserError: a text cannot be written as UTF-8, an answer is something else than a string.
    """
    made, empty = [], []
    for index in rows:
        answer = table.labels[index]
        if answer is not None and not isinstance(answer, str):
            raise UserError(f"{table.at(index)}: the answer is not a string but {answer!r:.40}; is LABEL_COLUMN right?")
        if answer is None or not answer.strip():
            empty.append(index + 1)
            continue
        instruction = table.instructions[index] if table.instructions else ""
        # Their hash is that of all three.
        (plain,) = examples(table, [index], [f"{instruction}\0{answer}"])
        made.append(replace(plain, label="", instruction=instruction, answer=answer))
    return made, empty


def clean_training(
    training: Iterable[Example], held_out: Mapping[str, Iterable[Example]]
) -> tuple[list[Example], dict[str, list[int]]]:
    """Return the training examples worth training on, and the rows removed, by reason.

    Two texts are the same when they differ in white space only. Removed are: texts that also are in a held-out split
    (``also_in_test``, ``also_in_valid``), every copy of a text that has different labels (``conflicting_labels``:
    which one is right cannot be known), and all but the first copy of a text (``duplicate``).
    """
    removed: dict[str, list[int]] = {}
    left = list(training)
    for split, others in held_out.items():
        known = {_key(example) for example in others}
        removed[f"also_in_{split}"] = [example.row for example in left if _key(example) in known]
        left = [example for example in left if _key(example) not in known]
    labels = defaultdict(set)
    for example in left:
        labels[_key(example)].add(example.label)
    removed["conflicting_labels"] = [example.row for example in left if len(labels[_key(example)]) > 1]
    left = [example for example in left if len(labels[_key(example)]) == 1]
    removed["duplicate"] = repeats(left)
    again = set(removed["duplicate"])
    return [example for example in left if example.row not in again], removed


def repeats(split: Iterable[Example]) -> list[int]:
    """Return the rows whose text an earlier row of the same split has."""
    seen, rows = set(), []
    for example in split:
        if _key(example) in seen:
            rows.append(example.row)
        seen.add(_key(example))
    return rows


def shared(split: Iterable[Example], other: Iterable[Example]) -> list[int]:
    """Return the rows of ``split`` whose text is in ``other`` as well."""
    known = {_key(example) for example in other}
    return [example.row for example in split if _key(example) in known]


def repeats_in_evaluation(found: Mapping[str, Sequence[Example]]) -> dict[str, dict[str, list[int]]]:
    """Return the rows of validation and test whose text is there already, or in test as well, by reason."""
    repeated = {split: {"duplicate": repeats(found[split])} for split in ("valid", "test") if split in found}
    if "valid" in found and "test" in found:
        repeated["valid"]["also_in_test"] = shared(found["valid"], found["test"])
    return repeated


def _key(example: Example) -> str:
    return " ".join([*example.instruction.split(), *example.text.split()])
