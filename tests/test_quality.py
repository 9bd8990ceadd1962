"""What is found in the labelled texts themselves: wrong labels, near-duplicates, and what to label next."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import build_data
import data_quality
from fewshot_sft.data.prompts import DOCUMENT_PREFIX as PREFIX
from fewshot_sft.data.readers import read_table
from fewshot_sft.preflight import methods as preflight
from fewshot_sft.quality import Absent, Labelled, duplicates, label_next, making, spreadsheets, suspicious, unlabelled
from fewshot_sft.settings import Settings

WORDS = {
    "Animals": "dog cat horse mouse sheep goat",
    "Plants": "oak tulip moss fern birch rose",
    "Stones": "granite marble flint basalt slate chalk",
}


def sentence(label: str, rng: random.Random) -> str:
    """Four words of the label's own, and four that tell nothing."""
    own, other = WORDS[label].split(), ["river", "cloud", "paper", "window", "engine", "letter", "bottle", "garden"]
    return " ".join([*rng.choices(own, k=4), *rng.choices(other, k=4), str(rng.randrange(10**6))])


def made(count: int, labels: str = "Animals Plants Stones") -> tuple[list[str], list[str]]:
    """So many texts of each label."""
    rng = random.Random(0)
    rows = [(sentence(label, rng), label) for label in labels.split() for _ in range(count)]
    return [text for text, _ in rows], [label for _, label in rows]


def row(text: str, label: str = "A", split: str = "train", number: int = 1) -> Labelled:
    return Labelled(split, number, text, label)


# --- suspicious labels


def test_the_wrong_label_is_found_and_the_right_one_named() -> None:
    texts, labels = made(20)
    labels[5], labels[30] = "Stones", "Animals"
    result = suspicious.find(texts, labels)
    assert {(one.index, one.likely) for one in result.found} == {(5, "Animals"), (30, "Plants")}
    assert all(one.p_given < 0.3 < 0.5 < one.p_likely for one in result.found)
    assert (result.checked, result.too_rare) == (60, [])


def test_nothing_is_found_where_nothing_is_wrong_also_with_two_labels() -> None:
    assert suspicious.find(*made(20, "Animals Plants")).found == []


def test_rare_labels_are_not_looked_at() -> None:
    texts, labels = made(10)
    texts, labels = [*texts, "one of its kind", *["four of a kind"] * 4], [*labels, "Single", *["Four"] * 4]
    labels[0] = "Plants"
    result = suspicious.find(texts, labels)
    assert [one.index for one in result.found] == [0]
    assert (result.checked, result.too_rare) == (30, ["Four", "Single"])


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_texts_are_said(count: int) -> None:
    with pytest.raises(Absent, match=r"^fewer than two labels have 5 texts, which the cross-validation needs of each$"):
        suspicious.find(*made(count))


def test_many_labels_of_which_most_answers_are_wrong() -> None:
    texts, _ = made(250)
    result = suspicious.find(texts, [f"label {index % 150}" for index in range(750)])
    assert result.checked == 750


# --- near-duplicates

LONG = "The committee approved the new bridge over the river on Monday, and the work is to begin in the spring. "


def test_kinds_of_pairs_in_their_order() -> None:
    rows = [
        row(LONG + "It will cost two million.", "A"),
        row("Quite another text about the weather in the mountains and the rain of last week.", "A"),
        row(LONG + "It will cost ten million.", "A", "train", 3),
        row(LONG + "It will cost six million.", "B", "train", 4),
        row(LONG + "It will cost six millions.", "B", "test", 1),
    ]
    pairs = duplicates.find(rows)
    assert [pair.kind for pair in pairs] == ["contradiction"] * 4 + ["leak", "repeat"]
    assert (pairs[4].first, pairs[4].second) == (rows[3], rows[4])
    assert all(0.8 <= pair.similarity <= 1 for pair in pairs)


def test_the_same_text_is_told_only_with_another_label() -> None:
    same = [row(LONG), row(LONG.replace(" ", "  ")), row(LONG, "A", "test")]
    assert duplicates.find(same) == []
    assert [pair.kind for pair in duplicates.find([*same, row(LONG, "B")])] == ["contradiction"] * 3


def test_texts_of_one_character_chinese_and_boilerplate() -> None:
    assert duplicates.find([row("a"), row("b"), row("?")]) == []
    chinese = "今天上午委员会批准了在河上修建新桥的计划，工程将于明年春天开工，预计耗资两百万元。"
    (pair,) = duplicates.find(
        [row(chinese), row(chinese.replace("两百", "三百")), row("完全不同的一句话，谈的是天气。")]
    )
    assert pair.similarity > 0.8
    same = LONG + " ".join(made(4)[0])
    many = [row(f"{same} {index}.", "AB"[index == 7]) for index in range(60)]
    pairs = duplicates.find(many)
    assert sum(pair.kind == "contradiction" for pair in pairs) == 7 + duplicates.PARTNERS
    assert len(pairs) == 50 * duplicates.PARTNERS + sum(range(duplicates.PARTNERS))


def test_blocks_are_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    rows = [row(LONG), *(row(text) for text in made(2)[0]), row(LONG + "So it is.")]
    (pair,) = duplicates.find(rows)
    assert (pair.first, pair.second) == (rows[0], rows[-1])


# --- what to label next


def test_unsure_and_unlike_texts_come_first() -> None:
    texts, labels = made(20)
    sure = [sentence("Animals", random.Random(seed)) for seed in range(1, 40)]
    unsure = ["dog oak river cloud 1", "marble fern paper window 2", "cat flint engine letter 3"]
    ranked = label_next.rank(texts, labels, [*sure, *unsure])
    assert sorted(one.index for one in ranked) == list(range(42))
    places = [[one.index for one in ranked].index(39 + each) for each in range(3)]
    assert max(places) < 12
    assert {one.likely for one in ranked if one.index < 39} == {"Animals"}


def test_copies_of_an_unsure_text_do_not_fill_the_list() -> None:
    texts, labels = made(20)
    others = [f"dog oak {word} {word} {word}" for word in ["lamp", "desk", "shoe", "ring"]]
    ranked = label_next.rank(texts, labels, [*["dog oak river cloud"] * 30, *others])
    assert len({one.index for one in ranked[:6]} & set(range(30, 34))) == 4


def test_at_most_so_many_and_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_next, "MOST", 5)
    monkeypatch.setattr(label_next, "BATCH", 4)
    texts, labels = made(6)
    assert len({one.index for one in label_next.rank(texts, labels, made(10)[0])}) == 5


def test_one_label_or_no_text_left() -> None:
    with pytest.raises(Absent, match=r"^the labelled texts have but one label$"):
        label_next.rank(["a b", "c d"], ["A", "A"], ["e f"])
    with pytest.raises(Absent, match=r"^every text of UNLABELLED_FILE is labelled already$"):
        label_next.rank(*made(2), [])


# --- the file of unlabelled texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text\n1,one\n2,\n3,"two, with\nanother line"\n'),
        ("a.jsonl", '{"text": "one"}\n{"text": null}\n{"text": "two, with\\nanother line"}\n'),
        ("a.json", json.dumps({"text": ["one", " ", "two, with\nanother line"]})),
        ("table.txt", 'id\ttext\n1\tone\n2\t\n3\t"two, with\nanother line"\n'),
    ],
)
def test_files_without_labels(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    settings = Settings({"UNLABELLED_FILE": str(folder / name)})
    assert unlabelled.read(settings) == [(1, "one"), (3, "two, with\nanother line")]


def test_parquet_one_column_and_a_text_a_line(folder: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": ["one"]}), folder / "a.parquet")
    assert read_table(folder / "a.parquet", "text", None).texts == ["one"]
    (folder / "b.csv").write_text('text\none\n"two, with\nanother line"\n')
    assert read_table(folder / "b.csv", "text", None).texts == ["one", "two, with\nanother line"]
    (folder / "a.txt").write_text("text of a kind, one\n\ntwo; three\n")
    settings = Settings({"UNLABELLED_FILE": str(folder / "a.txt")})
    assert unlabelled.read(settings) == [(1, "text of a kind, one"), (3, "two; three")]


def test_a_file_that_cannot_be_read_is_known_before_the_night(folder: Path) -> None:
    def check(name: str, **more: str) -> list[tuple[str, str]]:
        found = preflight.check_unlabelled(Settings({"UNLABELLED_FILE": str(folder / name) if name else "", **more}))
        return [(each.result, each.text.replace(f"{folder}/", "")) for each in found]

    (folder / "a.csv").write_text("body\none\n")
    assert check("") == []
    assert check("none.csv") == [
        ("problem", "unlabelled texts: none.csv: no such file; set UNLABELLED_FILE to another, or leave it empty")
    ]
    assert check("a.csv") == [
        (
            "problem",
            'unlabelled texts: a.csv: no column "text"; the columns are "body"; name one with TEXT_COLUMN=...',
        )
    ]
    assert check("a.csv", TEXT_COLUMN="body", METHODS="lora") == [
        ("warning", "unlabelled texts: UNLABELLED_FILE is not looked at without the method tfidf; add tfidf to METHODS")
    ]
    assert check("a.csv", TEXT_COLUMN="body") == [("ok", "unlabelled texts: 1 in a.csv")]


# --- the program


@pytest.fixture
def sweep(given: Callable[..., Settings], write_csv: Callable[..., Path]) -> Callable[..., Settings]:
    """The data of a sweep: a wrong label, a near-duplicate, a text that begins like a formula; and unlabelled texts."""
    rng = random.Random(1)
    rows = [(sentence(label, rng), label) for label in WORDS for _ in range(24)]
    rows[3] = (rows[3][0], "Stones")
    rows[30] = ("=1+1 " + rows[30][0], "Stones")
    rows += [(LONG + "One more.", "Plants"), (LONG + "Two more.", "Plants")]
    texts = [(rows[0][0], ""), (rows[71][0], ""), *((sentence("Plants", rng), "") for _ in range(4))]

    def write(**values: str) -> Settings:
        settings = given(
            TRAIN_FILE=str(write_csv("rows.csv", rows)),
            UNLABELLED_FILE=str(write_csv("more.csv", texts)),
            SIZES="20 40",
            **values,
        )
        assert build_data.main([]) == 0
        return settings

    return write


def record_of(settings: Settings) -> dict[str, Any]:
    return json.loads((settings.objs_dir / "x/data_quality.json").read_text())


def lines_of(path: str) -> list[dict[str, str]]:
    assert Path(path).read_bytes().startswith(b"\xef\xbb\xbf")
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_record_and_lists(sweep: Callable[..., Settings], capsys: pytest.CaptureFixture[str]) -> None:
    settings = sweep()
    assert data_quality.main([]) == 0
    found = record_of(settings)
    assert (found["kind"], found["name"], found["rows"], found["absent"]) == ("data quality", "x", 61, {})
    for part, rows in (("suspicious", "rows"), ("near_duplicates", "pairs"), ("label_next", "rows")):
        listed = lines_of(found[part]["file"])
        assert len(listed) == found[part]["count"] >= len(found[part][rows])
    for one in found["suspicious"]["rows"]:
        data = json.loads(Path(found["files"][one["split"]]).read_text())
        assert (data[one["row"] - 1]["input"], data[one["row"] - 1]["output"]) == (
            PREFIX + one["text"],
            one["given"],
        )
    # A text that is labelled is left out also where no subset has it.
    assert found["label_next"]["unlabelled"] == 4
    assert {one["row"] for one in found["label_next"]["rows"]} == {3, 4, 5, 6}
    assert "no random sample" in found["label_next"]["warning"]
    said = capsys.readouterr().out
    assert f"data quality: suspicious labels: {found['suspicious']['count']} ({settings.objs_dir}/x/" in said
    assert "next.csv); chosen texts are no random sample" in said


def test_skipped_until_something_changes(
    sweep: Callable[..., Settings], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sweep()
    path = settings.objs_dir / "x/data_quality.json"
    capsys.readouterr()

    def dry() -> tuple[int, str]:
        status = data_quality.main(["--dry-run"])
        return status, capsys.readouterr().out.strip()

    assert dry() == (3, "data quality: to do")
    assert not path.parent.exists()
    data_quality.main([])
    capsys.readouterr()
    assert dry() == (0, f"data quality: done ({path})")
    data_quality.main([])
    assert capsys.readouterr().out == f"data quality: already checked ({path})\n"
    settings.unlabelled_file.write_text("text\nanother one\n")
    assert dry() == (3, "data quality: to do, unlabelled changed")
    data_quality.main([])
    assert f"{path}: made anew; the old one is {path.parent}/replaced/data_quality.json-" in capsys.readouterr().err
    gone = path.parent / "label_next.csv"
    gone.unlink()
    assert dry() == (3, f"data quality: to do, {gone} is gone")
    settings.but(FORCE="1").write()
    assert dry() == (3, "data quality: to do, --force")


def test_a_part_that_fails_leaves_the_others_and_is_tried_again(
    sweep: Callable[..., Settings], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sweep()

    def fail(*_: object) -> None:
        raise ValueError("what nobody thought of")

    monkeypatch.setattr(duplicates, "find", fail)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    settings.unlabelled_file.unlink()
    assert data_quality.main([]) == 0
    found = record_of(settings)
    assert not {"suspicious", "near_duplicates", "label_next", "checked", "identity"} & set(found)
    assert found["absent"]["suspicious"].startswith("a package is missing (")
    assert "what nobody thought of" in found["absent"]["near_duplicates"]
    assert found["absent"]["label_next"].endswith("more.csv: no such file")
    assert capsys.readouterr().err.count("left out: ") == 3
    assert data_quality.main(["--dry-run"]) == 3
    assert capsys.readouterr().out == "data quality: to do, a part of it had failed\n"


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    content = spreadsheets.to_csv(("text", "p"), [("=1+1", -0.5), ("-2", 1), ("@x", 1), ("a=1", 1), ('今天,"', 1)])
    assert content.decode("utf-8-sig") == 'text,p\n\'=1+1,-0.5\n\'-2,1\n\'@x,1\na=1,1\n"今天,""",1\n'


def test_data_that_are_not_there(given: Callable[..., Settings]) -> None:
    given(SIZES="20")
    status = subprocess.run([sys.executable, data_quality.__file__], capture_output=True, text=True, check=False)
    assert status.returncode == 2
    assert status.stderr.endswith("llm_train_20.json is missing; make it with bin/build_data.sh\n")


def test_making_reads_each_text_once(sweep: Callable[..., Settings]) -> None:
    each = making.look(sweep())
    rows = making.labelled(each)
    assert [sum(one.split == split for one in rows) for split in ("train", "valid", "test")] == [40, 7, 14]
