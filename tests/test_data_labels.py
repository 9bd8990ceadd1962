"""Categories: their order, where they come from, and those that would make an ambiguous prompt."""

from __future__ import annotations

import json

import pytest

from fewshot_sft.data import categories
from fewshot_sft.data.prompts import INSTRUCTION_TEMPLATE
from fewshot_sft.data.readers import Table
from fewshot_sft.errors import UserError


def table(values, where="train.csv", names=None) -> Table:
    return Table(where, [f"text {number}" for number in range(len(values))], list(values), label_names=names)


def assign(values, given=None, test=None, names=None, template=INSTRUCTION_TEMPLATE):
    tables = {"train": table(values, names=names)}
    if test is not None:
        tables["test"] = table(test, "test.csv", names)
    rows = {split: range(len(one.labels)) for split, one in tables.items()}
    return categories.assign(tables, rows, given, template)


def message(*args, **options) -> str:
    with pytest.raises(UserError) as error:
        assign(*args, **options)
    return str(error.value)


def labels_file(folder, content, name="labels.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return categories.read_labels_file(path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "B2", "a"], ["B2", "a", "b"]),
        ([10, 2, 1, 2], ["1", "2", "10"]),
        (["10", "2", "-1"], ["-1", "2", "10"]),
        (["10", "2", "x"], ["10", "2", "x"]),
        ([1.0, 0.0, 1.0], ["0", "1"]),
        ([True, False], ["false", "true"]),
        ([" Sports ", "World\n", "Sports"], ["Sports", "World"]),
        (["电学", "物理"], ["物理", "电学"]),
    ],
)
def test_order_of_found_labels(values, expected):
    names, assigned = assign(values)

    assert names == expected
    assert set(assigned["train"]) == set(expected)


def test_class_label_keeps_its_order_and_unused_names():
    names, assigned = assign([2, 0, 2], names=["Zoology", "Art", "Music"], test=[1])

    assert names == ["Zoology", "Art", "Music"]
    assert assigned == {"train": ["Music", "Zoology", "Music"], "test": ["Art"]}


def test_class_label_with_names_that_are_numbers():
    _, assigned = assign([0, 3], names=["1", "2", "3", "4"])

    assert assigned["train"] == ["1", "4"]


def test_class_label_minus_one_is_no_label():
    assert message([0, -1], names=["a", "b"]) == "train.csv: row 2: no label; give the row one or remove it"


# Of the last two nothing can be seen.
@pytest.mark.parametrize("missing", [None, "", "  ", float("nan"), "\u200b", "\ufeff \u00ad"])
def test_missing_label(missing):
    assert message(["a", "b", missing]) == "train.csv: row 3: no label; give the row one or remove it"


def test_unknown_label_of_the_test_split():
    assert message(["a", "b"], test=["a", "c"]) == (
        'test.csv: row 2: unknown label "c"; the labels of train.csv are "a", "b"; correct the row, or name every '
        "label in LABELS_FILE"
    )


def test_unknown_label_that_differs_in_case(folder):
    given = labels_file(folder, "World\nSports\n", "labels.txt")

    assert message(["World", "sports"], given).startswith(
        f'train.csv: row 2: unknown label "sports"; did you mean "Sports"? the labels of {folder}/labels.txt are'
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [("l.txt", "\ufeffWorld\r\n\r\n Sports \r\nTech"), ("l.json", ["World", "Sports", "Tech"])],
)
def test_labels_file_list_sets_the_order_and_numbers_from_zero(folder, name, content):
    given = labels_file(folder, content, name)

    assert assign(["Sports", "World"], given) == (["World", "Sports", "Tech"], {"train": ["Sports", "World"]})
    assert assign([1, "0", 2], given)[1] == {"train": ["Sports", "World", "Tech"]}
    assert message([1, 3], given).startswith('train.csv: row 2: unknown label "3"; the labels of')


def test_labels_file_of_numbers_is_not_numbered_again(folder):
    given = labels_file(folder, ["5", "1", "0"])

    assert assign([5, 1, 0], given) == (["5", "1", "0"], {"train": ["5", "1", "0"]})
    assert message([2, 5], given).startswith('train.csv: row 1: unknown label "2"')


def test_labels_file_object_renames_and_merges(folder):
    given = labels_file(folder, {"1": "World", "2": "Sports", "sport": "Sports", '5" pipe': "Pipe"})

    names, assigned = assign([1, "sport", 2, '5" pipe', "World"], given)

    assert names == ["World", "Sports", "Pipe"]
    assert assigned["train"] == ["World", "Sports", "Sports", "Pipe", "World"]


def test_labels_file_renames_a_class_label_by_name_or_number(folder):
    names = ["POL", "SPO"]

    assert assign([1, 0], labels_file(folder, {"SPO": "Sports", "POL": "Politics"}), names=names)[1] == {
        "train": ["Sports", "Politics"]
    }
    assert assign([1, 0], labels_file(folder, {"1": "Sports", "0": "Politics"}), names=names)[1] == {
        "train": ["Sports", "Politics"]
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('["a", 1]', 'expected a list of names, or an object: {"<label in the data>": "<name>", ...}'),
        ("[]", 'expected a list of names, or an object: {"<label in the data>": "<name>", ...}'),
        ('"a"', 'expected a list of names, or an object: {"<label in the data>": "<name>", ...}'),
        ('["a", " a"]', '"a" is there twice; remove one'),
        ('[\n"a"', "line 2: not valid JSON (Expecting ',' delimiter)"),
        ("", "the file is empty"),
    ],
)
def test_bad_labels_file(folder, content, expected):
    with pytest.raises(UserError) as error:
        labels_file(folder, content)
    assert str(error.value) == f"{folder / 'labels.json'}: {expected}"


RENAME = 'give it another name with LABELS_FILE=names.json: {"<label in the data>": "<name>", ...}'


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("a", 'only one label, "a"; a classifier needs two or more'),
        ('5" pipe', f'row 2: label 5" pipe contains a double quote, but the prompt quotes the labels; {RENAME}'),
        ("b\nc", f"row 2: label 'b\\nc' contains a line break, the prompt has one label a line; {RENAME}"),
        *(
            (value, f"row 2: label {value!r} is neither a string nor an integer; is LABEL_COLUMN right?")
            for value in (["a"], {"a": 1}, 0.5)
        ),
    ],
)
def test_a_label_that_cannot_be_used(second, expected):
    assert message(["a", second]) == f"train.csv: {expected}"


@pytest.mark.parametrize("twin", ["sports", "Ｓｐｏｒｔｓ"])
def test_labels_that_differ_only_in_case_or_form(twin):
    first, second = sorted(["Sports", twin])
    rows = {"Sports": 1, twin: 3}

    assert message(["Sports", "World", twin]) == (
        f'labels "{first}" (train.csv: row {rows[first]}) and "{second}" (train.csv: row {rows[second]}) differ only '
        f"in {categories.DETAILS}; make them one in the data, or with LABELS_FILE=names.json: "
        f'{{"{first}": "{first}", "{second}": "{first}"}} and the other labels'
    )


@pytest.mark.parametrize(
    ("label", "twin", "printed"),
    [
        ("Sci / Tech", "Sci /  Tech", '"Sci /  Tech"'),
        ("pos", "\ufeffpos", r'"\ufeffpos"'),
        ("Physics", "Phy\u200bsics", r'"Phy\u200bsics"'),
        ("a b", "a\u00adb", r'"a\u00adb"'),
        ("❤", "❤\ufe0f", r'"❤\ufe0f"'),
        ("x", "x\x07", r'"x\u0007"'),
        ("x", "x\u3164", r'"x\u3164"'),
        ("x", "x\U000e0020", r'"x\udb40\udc20"'),
        ("New York", "New\u00a0York", r'"New\u00a0York"'),
        ("Thể", "The\u0302\u0309", r'"The\u0302\u0309"'),
        ("\u00c5", "\u212b", r'"\u212b"'),
        ("R&D", "R&amp;D", '"R&amp;D"'),
    ],
)
def test_labels_that_can_hardly_be_told_apart(label, twin, printed):
    label = label.replace("a b", "ab")
    told = message([label, twin, "other"])

    assert f"differ only in {categories.DETAILS}" in told
    assert f'"{label}"' in told
    assert told.count(printed) >= 2  # where it is, and in the JSON
    mend = json.loads(told[told.index("names.json: ") + 12 : told.index(" and the other")])
    assert set(mend) == {label, twin}
    assert "did you mean" in message([label, "other"], test=[twin])


def test_one_number_written_in_two_ways():
    assert 'labels "1" (train.csv: row 3) and "1.0" (train.csv: row 1) are the same number; ' in message(
        ["1.0", "0", "1"]
    )


@pytest.mark.parametrize(
    ("there", "asked"), [("0.0", "0"), ("1", "1.0"), ("False", "false"), ("0", "False"), ("1", "true")]
)
def test_what_an_unknown_label_may_stand_for(there, asked):
    assert f'unknown label "{asked}"; did you mean "{there}"? the labels of' in message([there, "2"], test=[asked])


def test_a_message_has_the_first_labels_and_counts_the_rest():
    told = message([f"label {number:02} {'x' * 90}" for number in range(20)], test=["a", "b", "b"])

    assert 'unknown label "a" (one of 2 that are unknown: "a", "b"); ' in told
    assert f'"label 00 {"x" * 50}…", ' in told
    assert " and 15 more; correct the rows, or name every label" in told
    assert len(told) < 600


def doubts(values, given=None, names=None) -> list[str]:
    tables, rows = {"train": table(values, names=names)}, {"train": range(len(values))}
    return categories.doubts(tables, rows, given, categories.assign(tables, rows, given, INSTRUCTION_TEMPLATE)[1])


MISSING = "a label like any other here; if it stands for a missing one, remove those rows"
SEVERAL = "several labels in one cell? Each combination is a class of its own here; a row should have one label"
UNSEEN = "with a character that cannot be seen; if it is not meant, remove it from the data"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["pos", "neg"], []),
        (["pos", "nan", "NULL", "nan"], [f'"NULL", "nan" (3 rows): {MISSING}']),
        *[
            (["pos", "neg", value], [f'"{value}" (1 row): {MISSING}'])
            for value in ("None", "N/A", "#N/A", "null", "?", "-")
        ],
        (["a", "b", "a,b", "b,a"], [f'"a,b", "b,a" (2 rows): {SEVERAL}']),
        (["a;b", "b;c", "c;a"], [f'"a;b", "b;c", "c;a" (3 rows): {SEVERAL}']),
        (["a", "b", "a | b"], [f'"a | b" (1 row): {SEVERAL}']),
        (["['a']", "['b']", "['a', 'b']"], [f"\"['a', 'b']\" (1 row): {SEVERAL}"]),
        (["Food, drinks", "Food, other", "Sci/Tech", "Textiles; Paper"], []),
        (["pos\u200b", "neg"], [f'"pos\\u200b" (1 row): {UNSEEN}']),
        (["❤\ufe0f", "نمی\u200cخواهم"], []),
    ],
)
def test_labels_that_may_not_be_meant_so(values, expected):
    assert doubts(values) == expected


def test_what_names_its_labels_is_not_doubted():
    assert doubts([0, 1], names=["none", "some"]) == []


def test_a_list_of_names_is_counted_from_zero(folder):
    given = labels_file(folder, ["World", "Sports", "Business", "Sci/Tech"])

    assert doubts(["0", "3"], given) == doubts(["World", "Sports"], given) == []
    assert doubts(["1", "2", "3"], given) == [
        f'no label is 0, but a list of names is counted from 0: 1 is taken for "Sports"; if yours are counted from 1, '
        f'make {folder}/labels.json a JSON object: {{"1": "World", "2": "Sports", ...}}'
    ]
    assert doubts(["1", "2"], labels_file(folder, {"1": "World", "2": "Sports"})) == []


def test_label2id_of_a_model(folder):
    names, assigned = assign(["1", "neg", "0"], labels_file(folder, {"neg": 1, "pos": 0}))

    assert names == ["pos", "neg"]
    assert assigned["train"] == ["neg", "neg", "pos"]


def test_labels_that_differ_in_inner_spacing():
    for twin in ("Sci /  Tech !", "Sci / Tech!"):
        assert categories.DETAILS in message(["Sci / Tech !", twin])


def test_label_that_the_instruction_offers_already():
    assert message(["a", "unknown"]) == (
        f'train.csv: row 2: label "unknown" is already a choice of its own in the instruction; {RENAME}, or use an '
        f"instruction without it (INSTRUCTION_FILE)"
    )
    assert assign(["a", "unknown"], template="One of:\n{categories}")[0] == ["a", "unknown"]


def test_a_column_of_identifiers_is_not_a_label_column():
    values = [f"id-{number}" for number in range(30)]

    assert message(values) == (
        "train.csv: 30 different labels in 30 rows; is LABEL_COLUMN right? "
        "(If it is, no label has a row to hold out: give a TEST_FILE)"
    )
    assert message([*values, values[0]]).endswith("(If it is, list the labels in LABELS_FILE)")
    assert len(assign(values, test=values)[0]) == 30
