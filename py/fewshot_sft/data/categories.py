"""Which categories there are, in which order, and which one each row has."""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..text import comparable
from .prompts import PLACEHOLDER
from .readers import Table, read_text

RENAME = 'give it another name with LABELS_FILE=names.json: {"<label in the data>": "<name>", ...}'

# Unicode's Default_Ignorable_Code_Point but for musical notation, and the blank of Braille; control characters.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
UNSEEN = re.compile(rf"[{IGNORABLE}\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # white space is not among them
# Some scripts and emoji need these: a joiner in a word, a variation selector after a heart.
MEANT = re.compile("[\u200c\u200d\ufe00-\ufe0f]")
# What programs and people write where there is no value.
MISSING = {*("nan", "<na>", "nat", "none", "null", "nil", "n/a", "na", "#n/a", "?", "-", "--", "undefined", "missing")}
NUMBER = re.compile(r"-?[0-9]+(\.0+)?")
DETAILS = "case, spacing, invisible characters, Unicode form or HTML escapes"
SEVERAL = re.compile(r"[,;|/\t]")


def shown(label: str) -> str:
    """Return a label in quotes for a message, its characters that cannot be seen or told apart as JSON escapes."""
    other_form = not unicodedata.is_normalized("NFC", label)

    def one(character: str) -> str:
        category = unicodedata.category(character)
        hidden = character != " " and (UNSEEN.match(character) or category[0] in "CZ")
        differs = other_form and (category[0] == "M" or not unicodedata.is_normalized("NFC", character))
        return json.dumps(character)[1:-1] if hidden or differs else character

    return f'"{"".join(map(one, label))}"'


def cut(label: str, most: int = 60) -> str:
    """Return the beginning of a label, as :func:`shown`."""
    return shown(label if len(label) <= most else label[: most - 1] + "…")


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first of the labels for a message, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(cut, names[:most])) + (f" and {more} more" if more > 0 else "")


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
    if isinstance(value, dict) and all(type(number) is int for number in value.values()):
        # A model's label2id, the other way round: {"pos": 0}.
        value = {str(number): name for name, number in sorted(value.items(), key=lambda item: item[1])}
    names = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f'{path}: expected a list of names, or an object: {{"<label in the data>": "<name>", ...}}')
    names = [name.strip() for name in names]
    if isinstance(value, dict):
        by_value = {name: name for name in names} | {key.strip(): name for key, name in zip(value, names, strict=True)}
        return Categories(list(dict.fromkeys(names)), by_value, str(path))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: {shown(twice)} is there twice; remove one")
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
    categories = given or _declared(tables) or _found(values, tables["train"].where)
    check_names(categories, seen, template)
    return categories.names, {
        split: _assigned(categories, tables[split], rows[split], values[split]) for split in tables
    }


def unlabelled(table: Table, rows: Sequence[int]) -> bool:
    """Return whether none of the rows has a label, as in a competition's test data."""
    return all(_is_missing(table, table.labels[index]) for index in rows)


def doubts(
    tables: Mapping[str, Table],
    rows: Mapping[str, Sequence[int]],
    given: Categories | None,
    assigned: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return what looks as if the labels were not meant so, a line each."""
    if given:
        return _numbered_from_one(given, {_value(tables[split], index) for split in tables for index in rows[split]})
    if _declared(tables):
        return []
    counts = Counter(label for split in assigned.values() for label in split)

    def told(labels: Iterable[str], what: str) -> list[str]:
        found = sorted(labels)
        number = sum(counts[label] for label in found)
        return [f"{listed(found)} ({number} row{'s' * (number > 1)}): {what}"] if found else []

    return [
        *told(
            (label for label in counts if label.casefold() in MISSING),
            "a label like any other here; if it stands for a missing one, remove those rows",
        ),
        *told(
            _combined(list(counts)),
            "several labels in one cell? Each combination is a class of its own here; a row should have one label",
        ),
        *told(
            (label for label in counts if UNSEEN.search(MEANT.sub("", label))),
            "with a character that cannot be seen; if it is not meant, remove it from the data",
        ),
    ]


def _combined(names: Sequence[str]) -> list[str]:
    """Return the labels whose parts are all labels themselves, or parts of other labels that have several."""
    parts = {name: {part.strip(" \"'[](){}") for part in SEVERAL.split(name)} - {""} for name in names}
    holders = Counter(part for found in parts.values() for part in found)
    return [name for name in names if len(parts[name]) > 1 and all(holders[part] > 1 for part in parts[name])]


def _numbered_from_one(given: Categories, values: set[str]) -> list[str]:
    """Return a warning when the list of a labels file is counted from 0 and the labels in the data hardly are."""
    numbers = sorted(int(value) for value in values if _is_integer(value) and value not in given.names)
    if not numbers or numbers[0] == 0 or given.names.index(given.by_value[str(numbers[0])]) != numbers[0]:
        return []
    first = json.dumps({str(number): name for number, name in enumerate(given.names[:2], 1)}, ensure_ascii=False)
    return [
        f"no label is 0, but a list of names is counted from 0: {numbers[0]} is taken for "
        f"{cut(given.names[numbers[0]])}; if yours are counted from 1, make {given.origin} a JSON object: "
        f"{first[:-1]}, ...}}"
    ]


def check_names(categories: Categories, seen: Mapping[str, str], template: str) -> None:
    """Raise a UserError unless every category can be told from every other in the prompt and in an answer.

    Fewer than two categories, a double quote or a line break in one (the instruction quotes them, one a line), two
    that are the same number or differ only in ``DETAILS``, and one that the template already offers ("Unknown") are
    errors: each would make right answers look wrong, and none can be mended
    without knowing what the user means.

    Args:
        categories: what to check.
        seen: where each label was first seen in the data.
        template: the instruction's template.
    """
    names = categories.names
    if len(names) < 2:
        raise UserError(f"{categories.origin}: only one label, {cut(names[0])}; a classifier needs two or more")
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
                f"labels {shown(twin)} ({seen.get(twin, categories.origin)}) and {shown(name)} ({where}) "
                f"{'are the same number' if NUMBER.fullmatch(name) else 'differ only in ' + DETAILS}; "
                f"make them one in the data, or with LABELS_FILE=names.json: "
                f"{{{shown(twin)}: {shown(twin)}, {shown(name)}: {shown(twin)}}} and the other labels"
            )
        if _folded(name) in offered:
            raise UserError(
                f"{where}: label {shown(name)} is already a choice of its own in the instruction; {RENAME}, "
                f"or use an instruction without it (INSTRUCTION_FILE)"
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


def _found(values: Mapping[str, Sequence[str]], where: str) -> Categories:
    names = sorted(set(values["train"]))
    if all(_is_integer(name) for name in names):
        names.sort(key=int)
    # A test file with the same labels shows that they are labels, even where each has one training row.
    if len(names) > max(20, sum(map(len, values.values())) // 2):
        one_shot = len(names) == len(values["train"]) and "test" not in values
        mend = "no label has a row to hold out: give a TEST_FILE" if one_shot else "list the labels in LABELS_FILE"
        raise UserError(
            f"{where}: {len(names)} different labels in {len(values['train'])} rows; is LABEL_COLUMN right? "
            f"(If it is, {mend})"
        )
    return Categories(names, {name: name for name in names}, where)


def _value(table: Table, index: int) -> str:
    """Return a row's label as a string without white space around it: a name, or an integer's digits."""
    value = table.labels[index]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # an integer column with gaps is one of floats in most tools
    if _is_missing(table, value):
        raise UserError(f"{table.at(index)}: no label; give the row one or remove it")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value).strip()
    raise UserError(f"{table.at(index)}: label {value!r} is neither a string nor an integer; is LABEL_COLUMN right?")


def _is_missing(table: Table, value: object) -> bool:
    if isinstance(value, str):
        return not UNSEEN.sub("", value).strip()
    return value is None or (isinstance(value, float) and math.isnan(value)) or bool(table.label_names and value == -1)


def _assigned(categories: Categories, table: Table, rows: Sequence[int], values: Sequence[str]) -> list[str]:
    """Return the category of each row.

    Raises:
        UserError: some have none; the message has the first and how many there are.
    """
    found = {value: _category(categories, table, value) for value in dict.fromkeys(values)}
    known = {value: category for value, category in found.items() if category is not None}
    unknown = [value for value in found if value not in known]
    if not unknown:
        return [known[value] for value in values]
    value = unknown[0]
    others = f" (one of {len(unknown)} that are unknown: {listed(unknown)})" if len(unknown) > 1 else ""
    which = "the rows" if others else "the row"
    alike = next((each for each in categories.by_value if _same(each, value)), None)
    hint = f"did you mean {cut(alike)}? " if alike else ""
    raise UserError(
        f"{table.at(rows[values.index(value)])}: unknown label {cut(value)}{others}; {hint}the labels of "
        f"{categories.origin} are {listed(categories.names)}; correct {which}, or name every label in LABELS_FILE"
    )


def _category(categories: Categories, table: Table, value: str) -> str | None:
    # Of a ClassLabel the name counts before the number: a labels file lists what the user sees in the column.
    declared = table.label_names or []
    name = declared[int(value)].strip() if value.isdecimal() and int(value) < len(declared) else value
    return categories.by_value.get(name, categories.by_value.get(value))


def _folded(name: str) -> str:
    """Return what two labels have in common that a person, or the model, can hardly tell apart."""
    # What the comparison of answers merges is merged here, too: such labels could not be told apart.
    text = comparable(UNSEEN.sub("", unicodedata.normalize("NFKC", html.unescape(comparable(name)))).casefold())
    return text.partition(".")[0] if NUMBER.fullmatch(text) else text


def _same(one: str, other: str) -> bool:
    """Return whether two labels may be meant to be the same; 1 and true are written for each other, too."""
    bits = {"true": "1", "false": "0"}
    return len({bits.get(_folded(each), _folded(each)) for each in (one, other)}) == 1


def _is_integer(name: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", name) is not None
