"""``py/build_data.py`` from end to end: files, manifest, what is removed, and what bad input leaves behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

import build_data
from fewshot_sft import dry_run, runs
from fewshot_sft.data import manifest, tiny_corpus
from fewshot_sft.errors import UserError
from fewshot_sft.program import run
from fewshot_sft.settings import Settings

LABELS = ["Electricity", "Physics", "Textiles; Paper"]
ROWS = [(f"text number {number}, “quoted” 中文", LABELS[min(number % 5, 2)]) for number in range(200)]
TEST_ROWS = [(f"test text {number}", LABELS[number % 3]) for number in range(30)]
VALID_ROWS = [(f"valid text {number}", LABELS[number % 3]) for number in range(20)]


@pytest.fixture
def build(folder, write_csv, given, capsys):
    """Return ``build(train=, valid=, test=, dry=, SETTING=...)``, which runs the program and returns its stdout.

    ``build.out`` is the output folder; ``build.err`` what the last run wrote on stderr, ``build.status`` its status.
    """

    def call(train=ROWS, valid=VALID_ROWS, test=TEST_ROWS, dry=False, **settings):
        files = {
            f"{split.upper()}_FILE": write_csv(f"{split}.csv", rows)
            for split, rows in (("train", train), ("valid", valid), ("test", test))
            if rows is not None
        }
        values = {"DATA_DIR": call.out, "SIZES": "10 50"} | files | settings
        given(**{name: str(value) for name, value in values.items()})
        call.status = build_data.main(["--dry-run"] * dry)
        printed = capsys.readouterr()
        call.err = printed.err
        return printed.out

    call.out = folder / "data" / "my data"
    return call


def failure(build, **settings) -> str:
    with pytest.raises(UserError) as error:
        build(**settings)
    return str(error.value)


def read_manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def snapshot(out: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and modification time of everything in a folder."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}


def test_files_have_the_originals_shape_byte_by_byte(build):
    train = [("a loom", "Textiles; Paper"), ("a fuse", "Electricity")]

    build(train=train, valid=[("a bolt", "Electricity")], test=[("a lamp", "Electricity")], SIZES="1")

    assert (build.out / "llm_test.json").read_text(encoding="utf-8") == (
        "[\n  {\n"
        '    "instruction": "You are a document classifier. When given the text, you classify the text into one of the '
        'following categories:\\n\\n\\"Electricity\\"\\n\\"Textiles; Paper\\"\\n\\"Unknown\\"\\n\\nYour output should '
        'only contain one of the categories and no explanation or any other text.",\n'
        '    "input": "Classify the document:\\na lamp",\n'
        '    "output": "Electricity"\n'
        "  }\n]\n"
    )


def test_text_stays_as_it_is(build, read_items):
    build()

    items = read_items(build.out / "llm_train_50.json")
    assert {(item["input"], item["output"]) for item in items} <= {
        (f"Classify the document:\n{text}", label) for text, label in ROWS
    }
    assert "中文" in (build.out / "llm_train_50.json").read_text(encoding="utf-8")
    assert [item["output"] for item in read_items(build.out / "llm_test.json")] == [label for _, label in TEST_ROWS]


def test_manifest_describes_the_files(build, read_items):
    build(SPLIT_SEED=7)

    found = read_manifest(build.out)
    assert found["schema"] == 2
    assert found["kind"] == "data"
    assert found["split_seed"] == 7
    assert found["sampling"] == "nested"
    assert (found["sizes"], found["seeds"]) == ([10, 50], [42])
    assert found["labels"] == LABELS
    assert list(found["splits"]) == ["llm_train_10", "llm_train_50", "llm_valid", "llm_test"]
    for split in found["splits"].values():
        content = (build.out / split["file"]).read_bytes()
        items = json.loads(content)
        assert split["sha256"] == hashlib.sha256(content).hexdigest()
        assert split["rows"] == len(items) == len(split["row_sha256"]) == sum(split["per_class"].values())
        assert {item["instruction"] for item in items} == {found["instruction"]}
    train = build.out.parents[1] / "train.csv"
    assert found["source"]["files"]["train"] == {
        "path": str(train),
        "sha256": hashlib.sha256(train.read_bytes()).hexdigest(),
    }
    how = {"format": "delimited", "delimiter": ",", "quoting": "none", "encoding": "utf-8"}
    assert found["source"]["read_as"] == {"train": how | {"quoting": "quotes"}, "valid": how, "test": how}
    assert found["versions"]["python"].startswith("3.")


def test_same_bytes_on_every_machine_and_python(build):
    build()

    # If this fails, subsets of earlier sweeps can no longer be rebuilt: change it only on purpose, and say so.
    assert (
        hashlib.sha256((build.out / "llm_train_50.json").read_bytes()).hexdigest()
        == "0e61e415aa010cfddbbe001d95aad7b66ab5e3d116b3b6bc6efc704f37c7544a"
    )
    assert read_manifest(build.out)["identity"] == "f5f4dd7d0bffdb7ee21c4d09ca92beb6be289f2cac33b81a25c8daa2e23d1956"


def test_a_second_run_rewrites_nothing(build):
    build()
    before = snapshot(build.out)

    assert build().splitlines()[-1] == f"data: up to date ({build.out})"
    assert snapshot(build.out) == before


def test_a_further_size_leaves_the_others_alone(build):
    build()
    before = snapshot(build.out)

    build(SIZES="10 20 50")

    after = snapshot(build.out)
    for name in ("llm_train_10.json", "llm_train_50.json", "llm_valid.json", "llm_test.json"):
        assert after[name] == before[name]
    old, new = json.loads(before["manifest.json"][0]), read_manifest(build.out)
    assert new["sizes"] == [10, 20, 50]
    assert new["identity"] == old["identity"]
    assert new["splits"]["llm_train_50"] == old["splits"]["llm_train_50"]


def test_a_size_no_longer_asked_for_is_left_alone_and_said(build):
    build()

    out = build(SIZES="10")

    assert "note: not of these sizes and seeds, left as they were: llm_train_50.json" in out
    assert (build.out / "llm_train_50.json").exists()
    assert "llm_train_50" not in read_manifest(build.out)["splits"]


def test_a_damaged_file_is_restored_and_the_rest_left(build):
    build()
    before = snapshot(build.out)
    (build.out / "llm_test.json").write_text("[]")
    (build.out / "manifest.json").write_text("{")

    assert build().splitlines()[-1] == f"data: wrote llm_test.json, manifest.json to {build.out}"
    after = snapshot(build.out)
    assert after["llm_test.json"][0] == before["llm_test.json"][0]
    assert after["llm_valid.json"] == before["llm_valid.json"]


@pytest.mark.parametrize("setting", [{"SPLIT_SEED": 1}, {"SAMPLING": "independent"}])
def test_what_changes_the_data_changes_the_identity(build, setting):
    build(valid=None, test=None)
    before = read_manifest(build.out)

    build(valid=None, test=None, **setting)

    after = read_manifest(build.out)
    assert after["identity"] != before["identity"]
    assert after["splits"]["llm_train_50"]["sha256"] != before["splits"]["llm_train_50"]["sha256"]


def test_dataset_info_registers_ours_and_keeps_the_rest(build):
    build.out.mkdir(parents=True)
    path = build.out / "dataset_info.json"
    path.write_text(json.dumps({"alpaca_zh": {"hf_hub_url": "x/y"}, "llm_test": {"file_name": "old.json"}}))

    build()

    found = json.loads(path.read_text())
    columns = {"system": "instruction", "prompt": "input", "response": "output"}
    assert list(found) == ["alpaca_zh", "llm_test", "llm_train_10", "llm_train_50", "llm_valid"]
    assert found["alpaca_zh"] == {"hf_hub_url": "x/y"}
    assert found["llm_train_10"] == {"file_name": "llm_train_10.json", "columns": columns}
    assert found["llm_test"] == {"file_name": "llm_test.json", "columns": columns}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"alpaca": ', "line 1: not valid JSON (Expecting value)"),
        ("[]", "expected an object of data set name -> entry; correct it or move it away"),
    ],
)
def test_an_invalid_dataset_info_stops_before_anything_is_written(build, content, expected):
    build.out.mkdir(parents=True)
    path = build.out / "dataset_info.json"
    path.write_text(content)

    assert failure(build) == f"{path}: {expected}"
    assert {name: text for name, (text, _) in snapshot(build.out).items()} == {"dataset_info.json": content.encode()}


def test_llamafactory_trains_on_the_turns_that_are_served(build):
    """Its own parser and converter make system, user and assistant turns of our files."""
    from llamafactory.data.converter import AlpacaDatasetConverter
    from llamafactory.data.parser import get_dataset_list

    build()

    (entry,) = get_dataset_list(["llm_test"], str(build.out))
    item = {"instruction": "the categories", "input": "the document", "output": "Physics"}
    turns = AlpacaDatasetConverter(entry, None)(item)
    assert (str(entry), entry.load_from) == ("llm_test.json", "file")
    assert turns["_system"] == "the categories"
    assert turns["_prompt"] == [{"role": "user", "content": "the document"}]
    assert turns["_response"] == [{"role": "assistant", "content": "Physics"}]


def test_one_file_is_split(build, read_items):
    build(valid=None, test=None, VALID_COUNT=15, TEST_COUNT=25)

    found = read_manifest(build.out)
    assert {name: split["rows"] for name, split in found["splits"].items()} == {
        "llm_train_10": 10,
        "llm_train_50": 50,
        "llm_valid": 15,
        "llm_test": 25,
    }
    assert found["splits"]["llm_test"]["per_class"] == {"Electricity": 5, "Physics": 5, "Textiles; Paper": 15}
    inputs = [{item["input"] for item in read_items(build.out / split["file"])} for split in found["splits"].values()]
    assert not inputs[1] & inputs[2]
    assert not inputs[1] & inputs[3]
    assert not inputs[2] & inputs[3]


def test_validation_is_held_out_of_training_when_only_a_test_file_is_given(build, read_items):
    build(valid=None)

    training = {f"Classify the document:\n{text}" for text, _ in ROWS}
    valid = {item["input"] for item in read_items(build.out / "llm_valid.json")}
    assert len(valid) == 20
    assert valid <= training
    assert len(read_items(build.out / "llm_test.json")) == len(TEST_ROWS)


def test_what_is_removed_is_counted_with_its_rows(build, read_items):
    train = [
        *ROWS,
        ("text  number 0,\n“quoted” 中文 ", ROWS[0][1]),  # row 201: row 1 in other white space
        ("  ", "Physics"),  # row 202
        ("", ""),  # row 203: an empty row needs no label
        ("two opinions", "Physics"),  # rows 204, 205
        ("two opinions", "Electricity"),
        ("test text 3", "Physics"),  # row 206
        ("valid text 4", "Physics"),  # row 207
    ]
    test = [*TEST_ROWS, TEST_ROWS[2], VALID_ROWS[5]]  # rows 31, 32
    valid = [*VALID_ROWS, ("", "Physics")]  # row 21

    build(train=train, valid=valid, test=test)

    def rows(*numbers):
        return {"count": len(numbers), "rows": list(numbers)}

    found = read_manifest(build.out)
    assert found["removed"] == {
        "train": {
            "empty_text": rows(202, 203),
            "also_in_test": rows(206),
            "also_in_valid": rows(207),
            "conflicting_labels": rows(204, 205),
            "duplicate": rows(201),
        },
        "valid": {"empty_text": rows(21)},
        "test": {"empty_text": rows()},
    }
    assert found["kept_repeats"] == {
        "valid": {"duplicate": rows(), "also_in_test": rows(6)},
        "test": {"duplicate": rows(31)},
    }
    assert len(read_items(build.out / "llm_test.json")) == len(test)
    assert found["warnings"] == [
        "train: 2 with an empty text, left out (rows 202, 203)",
        "train: 1 whose text is in test too, left out (row 206)",
        "train: 1 whose text is in validation too, left out (row 207)",
        "train: 2 with the same text and different labels, left out (rows 204, 205)",
        "train: 1 with the text of an earlier row, left out (row 201)",
        "valid: 1 with an empty text, left out (row 21)",
        "valid: 1 whose text is in test too, kept (row 6)",
        "test: 1 with the text of an earlier row, kept (row 31)",
    ]
    assert build.err.splitlines() == [f"warning: {warning}" for warning in found["warnings"]]


def test_removed_rows_never_reach_a_training_file(build, read_items):
    build(train=[*ROWS, ("test text 3", "Physics"), ROWS[0]], SIZES="200")

    assert sorted(item["input"] for item in read_items(build.out / "llm_train_200.json")) == sorted(
        f"Classify the document:\n{text}" for text, _ in ROWS
    )


def test_a_size_larger_than_the_data_says_where_the_rows_went(build):
    message = failure(
        build,
        TEST_COUNT=30,
        train=[*ROWS, ROWS[0], ("test", "Physics"), ("valid text 1", "Physics")],
        test=None,
        SIZES="10 172",
    )

    assert message == (
        f"{build.out.parents[1] / 'train.csv'} has 171 rows to train on (of 203 rows: 1 whose text is in validation "
        f"too, 1 with the text of an earlier row, 30 held out for test), fewer than size 172; "
        f'what fits: SIZES="42 85 171"'
    )
    assert not build.out.exists()


def test_every_training_row_is_in_test(build):
    message = failure(build, train=TEST_ROWS, SIZES="1")

    assert message.endswith("no row is left to train on (of 30 rows: 30 whose text is in test too); bring other data")


def shots(classes: int, each: int) -> list[tuple[str, str]]:
    return [(f"text {number}", f"class {number % classes:02}") for number in range(classes * each)]


@pytest.mark.parametrize(
    ("train", "sizes", "rows", "present"),
    [
        (shots(2, 25), "1 30", [35, 5, 10], [2, 2, 2]),
        (shots(9, 6), "5 30", [36, 8, 10], [9, 8, 9]),
        (shots(20, 3), "12", [33, 9, 18], [20, 9, 18]),
        (shots(30, 2), "30", [33, 9, 18], [30, 9, 18]),
        ([*shots(2, 20), ("rare 1", "rare"), ("rare 2", "rare")], "20", [30, 4, 8], [3, 2, 3]),
    ],
)
def test_few_rows_are_split_so_that_each_class_is_trained_and_tested_where_it_can_be(
    build, train, sizes, rows, present
):
    build(train=train, valid=None, test=None, SIZES=rows[0])

    splits = read_manifest(build.out)["splits"].values()
    assert [split["rows"] for split in splits] == rows
    assert [sum(map(bool, split["per_class"].values())) for split in splits] == present
    build(train=train, valid=None, test=None, SIZES=sizes)


def test_sizes_that_do_not_fit_and_those_that_would(build):
    options = {"train": shots(2, 25), "valid": None, "test": None}

    assert failure(build, **options, SIZES="100 500").endswith(
        "has 35 rows to train on (of 50 rows: 10 held out for test, 5 held out for valid), fewer than sizes 100, 500; "
        'what fits: SIZES="8 17 35"'
    )


@pytest.mark.parametrize(
    ("labels", "each", "taken"), [(2, 25, "8 17 35"), (6, 100, "105 210 420"), (2, 1000, "100 500 1000 1400")]
)
def test_default_sizes_that_do_not_fit_are_replaced_by_some_that_do(build, labels, each, taken):
    options = {"train": shots(labels, each), "valid": None, "test": None, "SIZES": "100 500 1000 2000"}

    out = build(**options)
    rows = taken.split()[-1]
    assert build.err.startswith(
        f"warning: the default SIZES (100 500 1000 2000) do not fit {rows} training rows; these are taken: "
        f'SIZES="{taken}"\n'
    )
    assert [line.split()[0] for line in out.splitlines() if line.startswith("llm_train_")] == [
        f"llm_train_{size}" for size in taken.split()
    ]
    assert runs.sizes(Settings.read()) == tuple(map(int, taken.split()))
    assert "up to date" in build(**options)


def test_one_row_a_label_needs_a_test_file(build):
    train = shots(4, 1)

    assert failure(build, train=train, valid=None, test=None, SIZES="4") == (
        f"{build.out.parents[1] / 'train.csv'} has 4 rows to train on, one a label, so that none can be held out for "
        f"the test; name a file of other rows with TEST_FILE"
    )
    build(train=train, valid=None, test=[(f"test {label}", label) for _, label in train], SIZES="4")
    assert build.err == "warning: llm_valid: no row could be spared for it; SPLIT=valid needs a VALID_FILE\n"


def test_a_test_file_without_labels(build, folder):
    path = folder / "unlabelled.csv"
    path.write_text("id,text\n1,a\n")
    mend = "leave TEST_FILE empty, and test rows are held out of TRAIN_FILE"

    assert failure(build, TEST_FILE=path) == f'{path}: has no labels (no column "label"); {mend}'
    assert failure(build, test=[("a", ""), ("b", " ")]) == f"{folder / 'test.csv'}: has no labels; {mend}"
    assert failure(build, TEST_FILE=path, TEXT_COLUMN="body").endswith("name one with TEXT_COLUMN=...")


def test_table_shows_the_numbers_of_the_manifest(build):
    lines = build().splitlines()

    assert lines[0].split() == ["split", "rows", "classes", "smallest", "largest"]
    assert [line.split() for line in lines[1:5]] == [
        ["llm_train_10", "10", "3", "2", "6"],
        ["llm_train_50", "50", "3", "10", "30"],
        ["llm_valid", "20", "3", "6", "7"],
        ["llm_test", "30", "3", "10", "10"],
    ]
    assert lines[5].startswith("data: wrote llm_train_10.json, llm_train_50.json, llm_valid.json, llm_test.json, ")


def test_classes_without_examples_are_warned_of(build, folder):
    names = folder / "labels.txt"
    names.write_text("\n".join([*LABELS, "Astronomy"]))

    out = build(LABELS_FILE=names, SIZES="2 50")

    found = read_manifest(build.out)
    assert found["labels"] == [*LABELS, "Astronomy"]
    assert found["splits"]["llm_train_50"]["per_class"]["Astronomy"] == 0
    assert found["source"]["labels_file"]["path"] == str(names)
    assert found["warnings"][0] == 'no training example of "Astronomy"'
    assert len(found["warnings"]) == 1
    assert 'llm_train_50: classes never seen: 1 of 4: "Astronomy"\n' in out
    assert "llm_train_2: classes never seen: 2 of 4: " in out
    assert manifest.never_seen(build.out, "llm_train_50") == ["Astronomy"]
    assert manifest.never_seen(build.out, "llm_train_7") is None


def test_bare_numbers_as_labels_are_warned_of(build):
    rows = [(text, LABELS.index(label)) for text, label in ROWS]

    build(train=rows, valid=None, test=None)

    assert read_manifest(build.out)["labels"] == ["0", "1", "2"]
    assert build.err == (
        "warning: the labels are bare numbers and the model sees nothing else; name them with LABELS_FILE\n"
    )


def test_instruction_template(build, folder, read_items):
    template = folder / "instruction.txt"
    template.write_text("\ufeff你是分类器。\r\n{categories}\r\n{not a placeholder}\r\n", encoding="utf-8")

    build(INSTRUCTION_FILE=template)

    assert read_items(build.out / "llm_test.json")[0]["instruction"] == (
        '你是分类器。\n"Electricity"\n"Physics"\n"Textiles; Paper"\n{not a placeholder}'
    )


@pytest.mark.parametrize(("content", "times"), [("no placeholder", 0), ("{categories} {categories}", 2)])
def test_instruction_template_without_its_placeholder(build, folder, content, times):
    template = folder / "instruction.txt"
    template.write_text(content)

    assert failure(build, INSTRUCTION_FILE=template) == (
        f"{template}: holds {{categories}} {times} times; the list of categories goes in its place, so write it "
        f"exactly once"
    )


def test_every_text_empty(build):
    assert failure(build, test=[(" ", "Physics")]).endswith("test.csv: every text is empty; is TEXT_COLUMN right?")


def test_text_that_is_no_string_or_no_unicode(build, folder):
    path = folder / "x.json"

    path.write_text('[{"text": "a", "label": "A"}, {"text": 12.5, "label": "B"}]')
    assert failure(build, TRAIN_FILE=path) == f"{path}: row 2: the text is not a string but 12.5; is TEXT_COLUMN right?"
    path.write_text('[{"text": "a", "label": "Physics"}, {"text": "cut \\ud83d", "label": "Electricity"}]')
    assert failure(build, TRAIN_FILE=path, test=None, valid=None).startswith(f"{path}: row 2: character ")
    assert not build.out.exists()


def test_files_of_someone_else_are_not_overwritten(build):
    build.out.mkdir(parents=True)
    theirs = build.out / "llm_train_10.json"
    theirs.write_text("[]")

    assert failure(build) == (
        f"{theirs}: is there already and was not made by this command (no manifest.json beside it); move it away or "
        f"choose another folder, DATA_DIR"
    )
    assert snapshot(build.out).keys() == {"llm_train_10.json"}
    assert theirs.read_text() == "[]"


def test_a_full_disk_leaves_everything_as_it_was(build, monkeypatch, capsys):
    build()
    before = snapshot(build.out)
    written = []

    def full(descriptor):
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(sys, "argv", ["build_data.py"])
    with pytest.raises(SystemExit) as exit_status:
        run(lambda _: build(SAMPLING="independent") and 0)

    assert exit_status.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {build.out}/.build.")
    assert "the disk is full; free some space" in message
    assert snapshot(build.out) == before


def test_a_folder_that_may_not_be_written_is_told_before_any_work(build, monkeypatch):
    asked = []
    monkeypatch.setattr(manifest.os, "access", lambda path, mode: asked.append((path, mode)))

    expected = f"{build.out.parents[1]}: cannot be written; check who owns it (`ls -ld`), or choose another DATA_DIR"
    assert failure(build, train=[]) == expected
    assert asked == [(build.out.parents[1], os.W_OK | os.X_OK)]


def test_out_is_a_file(build):
    build.out.parent.mkdir()
    build.out.write_text("mine")

    assert failure(build) == f"{build.out}: is a file, a folder was expected; choose another DATA_DIR"
    assert build.out.read_text() == "mine"


def test_the_generator(build, read_items):
    settings = {"train": None, "valid": None, "test": None, "DATASET": "synthetic-patents", "SIZES": "20 100"}

    build(**settings, VALID_COUNT=30, TEST_COUNT=40)

    found = read_manifest(build.out)
    assert found["labels"] == tiny_corpus.LABELS
    rows = {"train": 2000, "valid": 30, "test": 40}
    assert found["source"] == {"kind": "generator", "synthetic": True, "rows": rows}
    assert len(read_items(build.out / "llm_train_100.json")) == 100
    assert all(found["splits"]["llm_train_20"]["per_class"].values())


# --- Seeds ---


@pytest.mark.parametrize("sampling", ["nested", "independent"])
def test_each_seed_has_subsets_of_its_own_and_all_have_one_test_set(build, read_items, sampling):
    build(valid=None, test=None, SAMPLING=sampling)
    before = snapshot(build.out)

    build(valid=None, test=None, SAMPLING=sampling, SEEDS="42 1")

    after = snapshot(build.out)
    unchanged = before.keys() - {"manifest.json", "dataset_info.json"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert after.keys() - before.keys() == {"llm_train_10-seed1.json", "llm_train_50-seed1.json"}
    first, second = (read_items(build.out / f"llm_train_50{seed}.json") for seed in ("", "-seed1"))
    texts = [{item["input"] for item in items} for items in (first, second, read_items(build.out / "llm_test.json"))]
    assert len(texts[0] & texts[1]) < 40
    assert not (texts[0] | texts[1]) & texts[2]
    small = read_items(build.out / "llm_train_10-seed1.json")
    assert (small == second[:10]) == (sampling == "nested")
    old, new = json.loads(before["manifest.json"][0]), read_manifest(build.out)
    assert (new["identity"], new["seeds"]) == (old["identity"], [42, 1])
    subset = new["splits"]["llm_train_10-seed1"]
    assert (subset["file"], subset["size"], subset["seed"]) == ("llm_train_10-seed1.json", 10, 1)
    assert "llm_train_50-seed1" in json.loads(after["dataset_info.json"][0])


def test_the_names_are_of_the_seed_whatever_the_others_are(build):
    build(SEEDS="7", SPLIT_SEED=7)
    assert {path.name for path in build.out.glob("llm_train*")} == {
        "llm_train_10-seed7.json",
        "llm_train_50-seed7.json",
    }
    seven = (build.out / "llm_train_50-seed7.json").read_bytes()

    out = build(SEEDS="42", SPLIT_SEED=7)

    assert "left as they were: llm_train_10-seed7.json, llm_train_50-seed7.json\n" in out
    assert (build.out / "llm_train_50.json").read_bytes() != seven


# --- The dry run ---


def test_a_dry_run_says_and_notes_what_is_to_do(build, folder, monkeypatch):
    monkeypatch.setenv("FEWSHOT_PLANNED", str(folder / "planned"))
    names = ("llm_train_10", "llm_train_50", "llm_valid", "llm_test", "dataset_info", "manifest")

    lines = build(dry=True).splitlines()

    to_do = [f"data {name}.json: to do, not there" for name in names]
    assert (build.status, lines) == (3, [*to_do, "    python py/build_data.py"])
    assert not build.out.exists()
    assert dry_run.first_planned(str(build.out / "llm_train_50.json")) is not None
    build()
    assert build(dry=True, SEEDS="42 1").splitlines()[1:4] == [
        "data llm_train_50-seed1.json: to do, not there",
        "data dataset_info.json: to do, seeds changed",
        "data manifest.json: to do, seeds changed",
    ]
    assert (build(dry=True), build.status) == (f"data: done ({build.out})\n", 0)


def test_a_dry_run_does_not_ask_the_hub(build):
    hub = {"train": None, "valid": None, "test": None, "dry": True, "DATASET": "me/reviews", "SEEDS": "1"}
    missing = "data llm_train_10-seed1.json: to do, not there\n"

    assert build(**hub).startswith(missing)

    build(SEEDS="1")  # of something else
    assert build(**hub).startswith("data llm_train_10-seed1.json: to do, source changed\n")
    path = build.out / "manifest.json"
    source = {"kind": "hub", "dataset": "me/reviews", "text_column": "text", "label_column": "label"}
    path.write_text(json.dumps(read_manifest(build.out) | {"source": source | {"config": "abstract"}}))
    assert (build(**hub), build.status) == (f"data: done ({build.out})\n", 0)
    (build.out / "llm_test.json").write_text("[]")
    assert build(**hub).startswith("data llm_test.json: to do, not as it was built\n")


def test_a_manifest_of_an_earlier_version_is_written_anew(build):
    build()
    before = snapshot(build.out)
    path = build.out / "manifest.json"
    path.write_text(json.dumps(read_manifest(build.out) | {"schema": 1}))

    assert build(dry=True).startswith("data manifest.json: to do, it is of an earlier version\n    ")
    assert build().endswith(f"data: wrote manifest.json to {build.out}\n")
    assert snapshot(build.out)["llm_train_50.json"] == before["llm_train_50.json"]
