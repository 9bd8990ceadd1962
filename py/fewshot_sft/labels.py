"""Which categories there are, in which order, and which one each row has."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .prompts import PLACEHOLDER, quoted
from .readers import Table, read_text
from .text import comparable

RENAME = 'give it another name with --labels-file names.json: {"<label in the data>": "<name>", ...}'


@dataclass(frozen=True)
class Categories:
    """The categories in their order, and the category that each value of a label column stands for."""

    names: list[str]
    by_value: dict[str, str]
    origin: str


def read_labels_file(path: Path) -> Categories:
    """Read the categories from a file: one a line, or (``.json``) a list, or an object of value -> name.

    In a list the categories are also numbered from 0, unless one of them is a number itself. In an object several
    values may share a name, which merges them.

    Raises:
        UserError: the file cannot be read or holds something else.
    """
    text = read_text(path)
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from None
    else:
        value = [line for line in text.split("\n") if line.strip()]
    names = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f'{path}: expected a list of names, or an object: {{"<label in the data>": "<name>", ...}}')
    names = [name.strip() for name in names]
    if isinstance(value, dict):
        by_value = {name: name for name in names} | {key.strip(): name for key, name in zip(value, names, strict=True)}
        return Categories(list(dict.fromkeys(names)), by_value, str(path))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: {quoted(twice)} is there twice; remove one")
    return Categories(names, _numbered(names), str(path))


def assign(
    tables: Mapping[str, Table], rows: Mapping[str, Sequence[int]], given: Categories | None, template: str
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the categories in order and, for each split, the category of each row in ``rows[split]``.

    The categories come from ``given`` (a labels file), else from a ``ClassLabel``'s names, else they are the labels
    of the training rows: integers by value, other labels sorted by their code points. White space around a label
    does not count.

    Raises:
        UserError: a row has no label or an unknown one, or the categories would make an ambiguous prompt (see
            :func:`check_names`).
    """
    values = {split: [_value(tables[split], index) for index in rows[split]] for split in tables}
    seen: dict[str, str] = {}
    for split, indices in rows.items():
        for index, value in zip(indices, values[split], strict=True):
            seen.setdefault(value, tables[split].at(index))
    categories = given or _declared(tables) or _found(values["train"], tables["train"].where)
    check_names(categories, seen, template)
    return categories.names, {
        split: [
            _category(categories, tables[split], index, value)
            for index, value in zip(rows[split], values[split], strict=True)
        ]
        for split in tables
    }


def check_names(categories: Categories, seen: Mapping[str, str], template: str) -> None:
    """Raise a UserError unless every category can be told from every other in the prompt and in an answer.

    Fewer than two categories, a double quote or a line break in one (the instruction quotes them, one a line), two
    that differ only in case, spacing or Unicode form, and one that the template already offers ("Unknown") are errors:
    each would make right answers look wrong, and none can be mended without knowing what the user means.

    Args:
        categories: what to check.
        seen: where each label was first seen in the data.
        template: the instruction's template.
    """
    names = categories.names
    if len(names) < 2:
        raise UserError(f"{categories.origin}: only one label, {quoted(names[0])}; a classifier needs two or more")
    offered = {_folded(text) for text in re.findall(r'"([^"\n]*)"', template.replace(PLACEHOLDER, ""))}
    folded: dict[str, str] = {}
    for name in names:
        where = seen.get(name, categories.origin)
        if '"' in name:
            raise UserError(
                f"{where}: label {name} contains a double quote, but the prompt quotes the labels; {RENAME}"
            )
        if len(name.splitlines()) > 1:
            raise UserError(f"{where}: label {name!r} contains a line break, the prompt has one label a line; {RENAME}")
        twin = folded.setdefault(_folded(name), name)
        if twin != name:
            raise UserError(
                f"labels {quoted(twin)} ({seen.get(twin, categories.origin)}) and {quoted(name)} ({where}) differ only "
                f"in case or spacing; make them one in the data, or with --labels-file names.json: "
                f"{json.dumps({twin: twin, name: twin}, ensure_ascii=False)} and the other labels"
            )
        if _folded(name) in offered:
            raise UserError(
                f"{where}: label {quoted(name)} is already a choice of its own in the instruction; {RENAME}, "
                f"or use an instruction without it (--instruction-file)"
            )


def _declared(tables: Mapping[str, Table]) -> Categories | None:
    for table in tables.values():
        if table.label_names:
            names = [name.strip() for name in table.label_names]
            return Categories(names, _numbered(names), f"the label names of {table.where}")
    return None


def _numbered(names: Sequence[str]) -> dict[str, str]:
    """Return what each name, and its number counted from 0, stands for; numbers only where no name is one."""
    by_value = {name: name for name in names}
    if not any(_is_integer(name) for name in names):
        by_value |= {str(number): name for number, name in enumerate(names)}
    return by_value


def _found(values: Sequence[str], where: str) -> Categories:
    names = sorted(set(values))
    if all(_is_integer(name) for name in names):
        names.sort(key=int)
    if len(names) > max(20, len(values) // 2):
        raise UserError(
            f"{where}: {len(names)} different labels in {len(values)} rows; is --label-column right? "
            f"(If it is, list the labels in a --labels-file)"
        )
    return Categories(names, {name: name for name in names}, where)


def _value(table: Table, index: int) -> str:
    """Return a row's label as a string without white space around it: a name, or an integer's digits."""
    value = table.labels[index]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # an integer column with gaps is one of floats in most tools
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or (isinstance(value, str) and not value.strip()) or (table.label_names and value == -1):
        raise UserError(f"{table.at(index)}: no label; give the row one or remove it")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value).strip()
    raise UserError(f"{table.at(index)}: label {value!r} is neither a string nor an integer; is --label-column right?")


def _category(categories: Categories, table: Table, index: int, value: str) -> str:
    # Of a ClassLabel the name counts before the number: a labels file lists what the user sees in the column.
    declared = table.label_names or []
    name = declared[int(value)].strip() if value.isdecimal() and int(value) < len(declared) else value
    for known in (name, value):
        if known in categories.by_value:
            return categories.by_value[known]
    alike = next((name for name in categories.names if _folded(name) == _folded(value)), None)
    hint = f"did you mean {quoted(alike)}? " if alike else ""
    listed = ", ".join(quoted(name) for name in categories.names[:10]) + (", …" if len(categories.names) > 10 else "")
    raise UserError(
        f"{table.at(index)}: unknown label {quoted(value)}; {hint}the labels of {categories.origin} are {listed}; "
        f"correct the row, or name every label in a --labels-file"
    )


def _folded(name: str) -> str:
    # What the comparison of answers merges is merged here, too: such labels could not be told apart.
    return comparable(unicodedata.normalize("NFKC", comparable(name)).casefold())


def _is_integer(name: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", name) is not None
