"""The report: every record's content in both languages, and nothing in them that is taken for markup."""

from __future__ import annotations

import json
import re
import string
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_sweep import made_extras, made_sweep

import see_results
from fewshot_sft import catalogue
from fewshot_sft.report.blocks import cut
from fewshot_sft.runs import METHODS
from fewshot_sft.settings import Settings

PROJECT = Path(__file__).parents[1]
NEWS = ("World", "Sports", "Business", "Sci/Tech")
HOSTILE = (
    "<script>alert('label')</script>",
    'a "quoted" | `label` & more *stars* [link](http://x.example) $1$',
    "تصنيف النصوص العربية",
    "word" * 2500,
)
USUAL = ("zero-shot", "lora", "tfidf", "embedding")
VOID = {"meta", "link", "br", "hr", "img"}

Made = Callable[..., Path]


@pytest.fixture
def made(given: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return ``made(labels, methods, extras=..., REPORT_LANG=...)``, which writes the report and returns its folder."""

    def write(
        labels: tuple[str, ...] = NEWS,
        methods: tuple[str, ...] = USUAL,
        texts: tuple[str, ...] = (),
        items: int = 120,
        *flags: str,
        extras: tuple[str, str] | None = None,
        **values: str,
    ) -> Path:
        values = {"SIZES": "16 64 256", "SEEDS": "0 1", "METHODS": " ".join(methods), "PROFILE": "tiny"} | values
        settings = given(**values)
        made_sweep(settings, labels, methods, texts=texts, items=items)
        if extras:
            calibration = made_extras(settings, *extras)
            monkeypatch.setattr(see_results.calibration, "make", lambda sweep: calibration)
        assert see_results.main(["--no-plots", *flags]) == 0
        return Path(settings["OBJS_DIR"]) / "x"

    return write


class Page(HTMLParser):
    """What a browser makes of the page: its elements, their attributes, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.cells: list[list[str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def markdown_rows(text: str) -> list[list[str]]:
    """Return the cells of all tables' rows."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_answer_first_then_every_part(made: Made) -> None:
    folder = made(extras=("a text", "World"))
    answer = json.loads((folder / "answer.json").read_text())
    page, text = Page(folder / "report.html"), (folder / "report.md").read_text()

    assert page.open == []
    assert len(page.tags("h1")) == 1
    assert text.startswith(f"# Use {answer['use']}\n\n**Next: ")
    for said in (page.text, text.replace("\\", "")):
        assert answer["sentence"] in said
        assert said.index(answer["sentence"]) < said.index("Learning curve")
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert titles == [
        *(
            "Learning curve",
            "What it costs",
            "Scores by number of labels",
            "Labels one by one",
            "What is taken for what",
        ),
        *("Answers outside the labels", "Answers only when sure", "The data: what to look at", "Training losses"),
        *("What was run", "Warnings", "How to repeat it"),
    ]
    anchors = [attributes["href"] for attributes in page.tags("a")]
    assert anchors == [f"#{attributes['id']}" for attributes in page.tags("section")]


def test_every_score_is_the_records_with_its_interval(made: Made) -> None:
    folder = made()
    answer = json.loads((folder / "answer.json").read_text())
    rows = [[re.sub(r"\s+", " ", cell).strip() for cell in row] for row in Page(folder / "report.html").cells]

    for method, found in answer["methods"].items():
        for point in found["points"]:
            scores = [
                f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
                for score in (point["accuracy"], point["f1"])
            ]
            size = str(point.get("size", 0))
            assert any(row[:2] == [method, size] and row[3:5] == scores for row in rows), (method, size)
            column = next(row for row in rows if row[:2] == ["labels", "zero-shot"]).index(method)
            assert next(row for row in rows if row[0] == size and len(row) == 5)[column] == scores[1]
    for label, score in answer["methods"][answer["use"]]["points"][-1]["per_class"].items():
        shown = f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
        assert any(row[0] == label and shown in row for row in rows)
    assert [row for row in markdown_rows((folder / "report.md").read_text()) if row[:2] == ["lora", "64"]]


def test_each_chart_is_told_in_words(made: Made) -> None:
    page = Page(made(extras=("a text", "World"), TARGET_F1="0.8", GPU_PRICE="2", LABEL_COST="0.1") / "report.html")

    charts = [each for each in page.tags("svg") if each.get("role") == "img"]
    assert len(charts) == 6  # curve, the other metric's, cost, reliability, share answered, losses
    ids = [attributes["id"] for tag, attributes in page.elements if tag in ("title", "desc") and "id" in attributes]
    assert [each["aria-labelledby"].split() for each in charts if each["aria-labelledby"]] == [
        list(pair) for pair in zip(ids[::2], ids[1::2], strict=True)
    ]
    assert "Macro-F1 0.8 reached?" in page.text
    assert "cost of a run, labels and GPU" in page.text


def test_what_calibration_and_the_data_tell(made: Made) -> None:
    text = (made(extras=("a strange text", "World")) / "report.md").read_text().replace("\\", "")

    assert "On the 80 % of the texts that it is surest of, embedding has accuracy 0.800 (0.750 to 0.830)." in text
    assert "| embedding | 256 | 0.040 (0.020 to 0.090) | 0.875 (0.825 to 0.905) |" in text
    assert "lora: the server has no logprobs" in text
    assert "Suspicious: 31; all in suspicious_labels.csv. Rows checked: 2000." in text
    assert "| train 3 | a strange text | ⁨World⁩ (below 1 %) | ⁨b⁩ (97 %) |" in text
    assert "| train 7 / train 9 | 0.98 | ⁨World⁩: ⁨a strange text⁩ |" in text
    assert "Label these next: UNLABELLED_FILE is not set" in text


def test_what_is_not_there_is_said(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(methods=("tfidf",), SEEDS="0")
    for name in ("data/manifest.json", "data/llm_test.json"):
        (folder.parents[1] / name).unlink()
    assert see_results.main(["--no-plots"]) == 0
    text = (folder / "report.md").read_text().replace("\\", "")

    for said in (
        "Not shown: no method has label scores",
        "Not shown: there is no data_quality.json",
        "Not shown: no training log is there.",
        "None: every answer was one of the labels.",
        "The texts are not shown: the data file is not there.",
        "The hashes of the data are not shown: there is no manifest.json.",
        "- One seed: another draw of the training texts may give other scores",
    ):
        assert said in text
    assert not re.search(r"\bnan\b|\bNone\b(?!: every)", text)


def test_the_losses_on_the_validation_split_and_what_overfits(made: Made) -> None:
    text = (made(SEEDS="0") / "report.md").read_text().replace("\\", "")
    assert "| x-llm_train_64-seed0 | 5 | 0.5000 | 0.6000 |" in text
    found = re.findall("(- )?(.*) overfits: .* was (.*) at step 5 and is (.*) in the end", text)
    assert found == [(mark, "x-llm_train_16-seed0", "0.5000", "0.6000") for mark in ("", "- ")]  # losses, warnings


def test_without_an_answer_the_report_says_why(made: Made) -> None:
    folder = made(methods=("zero-shot",))
    text = (folder / "report.md").read_text()

    assert text.startswith("# No answer yet\n")
    assert "**Next:" not in text
    assert "There is no answer: no method that learns from labels was measured" in text
    assert "| x-zero-shot |" in text.replace("\\", "")


def test_warnings_and_the_command(made: Made) -> None:
    methods = "zero-shot lora tfidf embedding k-shot"
    private = {"ON_FINISH": "curl https://ntfy.example/mine"}
    folder = made(METHODS=methods, LEARNING_RATE="3e-4", TRAIN_FILE="/a b/c.csv", MODEL="a/model", **private)
    text = (folder / "report.md").read_text()

    assert "- Rows removed from train, for the test set has the same text: 2" in text
    assert "- Absent: k-shot, runs: 6: split test is not evaluated yet; run bin/eval.sh" in text
    command = text[text.index("```bash") : text.rindex("```")]
    assert command.splitlines()[1] == f"git checkout {'0' * 40}"
    assert "LEARNING_RATE=3e-4" in command
    assert "MODEL=a/model" in command
    assert "TRAIN_FILE='/a b/c.csv'" in command
    assert "SEEDS='0 1' SIZES='16 64 256'" in command
    assert command.endswith(" bin/sweep.sh\n")
    assert "ntfy" not in text


def test_a_profiles_own_model_is_left_to_the_profile(made: Made) -> None:
    text = (made(MODEL="saves/tiny/base", MODEL_SCRIPT="bin/base_model.sh") / "report.md").read_text()

    command = text[text.index("```bash") : text.rindex("```")]
    assert "PROFILE=tiny" in command
    assert "MODEL=" not in command
    assert "MODEL_SCRIPT=" not in command


def test_hostile_labels_and_texts_are_text(made: Made) -> None:
    folder = made(HOSTILE, texts=tuple(f"{label}\nnext line" for label in HOSTILE), extras=(HOSTILE[1], HOSTILE[0]))
    page, text = Page(folder / "report.html"), (folder / "report.md").read_text()

    assert page.open == []
    assert {"script", "img", "iframe", "b"} & {tag for tag, _ in page.elements} == {"b"}  # the facts' numbers
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    shown = {cell for row in page.cells for cell in row}
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2]} <= shown
    assert str(cut(HOSTILE[3], 90)) in shown
    assert "word" * 100 not in page.text
    assert re.search(r"<td[^>]* dir=\"auto\"[^>]*>تصنيف", (folder / "report.html").read_text())
    outside_code = re.sub(r"```.*?```", "", text, flags=re.S)
    assert not re.search(r"<[a-z/!]|(?<!\\)[`$]|http:", outside_code)
    tables = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.M)]
    assert {len(markdown_rows(line)[0]) for table in tables for line in table} >= {3, 5}
    for table in tables:
        assert len({len(markdown_rows(line)[0]) for line in table}) == 1, table[0]


def test_the_page_needs_nothing_else(made: Made) -> None:
    html = (made() / "report.html").read_text()

    assert not re.search(r"<script|@import|@font-face|url\(|src=|https?:", html)


def test_a_large_sweep_is_a_small_page(made: Made) -> None:
    labels = tuple(f"intent number {index} of the bank" for index in range(77))
    methods = tuple(method for method in METHODS if method != "setfit")
    assert len(methods) == 7
    sizes = "16 32 64 128 256 512 1024 2048"
    folder = made(labels, methods, (), 308, SIZES=sizes, SEEDS="0 1 2")
    (folder / "report.html").unlink()
    results = json.loads((folder / "results.json").read_text())
    assert len(results["rows"]) == 1 + 6 * 8 * 3

    from fewshot_sft.report.writing import write
    from fewshot_sft.results.sweep import read_sweep

    settings = Settings.read()
    begun = time.process_time()
    write(read_sweep(settings, "x"), settings, json.loads((folder / "answer.json").read_text()), results, folder)

    assert time.process_time() - begun < 20  # it takes one
    assert (folder / "report.html").stat().st_size < 1e6
    page = Page(folder / "report.html")
    assert {row[0] for row in page.cells} >= set(labels)
    assert not [table for table in page.tags("table") if "matrix" in (table["class"] or "")]  # 77 x 77


def test_in_chinese(made: Made) -> None:
    folder = made(extras=("a text", "World"), REPORT_LANG="zh", TARGET_F1="0.8")
    page, text = Page(folder / "report.html"), (folder / "report.md").read_text()

    assert page.tags("html") == [{"lang": "zh-CN"}]
    assert re.match(r"# 建议使用 \w+\n\n\*\*下一步：", text)
    assert "宏平均 F1 值 0.8" in page.text
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["sentence"] not in page.text
    # Of the catalogue's English nothing is left.
    english = [each for each in catalogue.words("en").texts.values() if "{" not in each and len(each) > 12]
    assert [each for each in english if each in page.text] == []


def test_a_report_that_fails_costs_nothing_else(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fewshot_sft.report.writing.make", lambda source: 1 / 0)
    folder = made()

    why = "the report could not be written: ZeroDivisionError: division by zero"
    assert json.loads((folder / "results.json").read_text())["warnings"] == [why]
    told = capsys.readouterr()
    assert f"warning: {why}\n" in told.err
    assert told.out.endswith(": results.csv, results.json\n")
    assert not (folder / "report.html").exists()


def test_a_damaged_record_costs_only_its_part(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made()
    (folder / "data_quality.json").write_text('{"schema": 2, "kind": "data quality", "suspicious": {}}')
    assert see_results.main(["--no-plots"]) == 0

    why = "could not be made: KeyError: 'count'"
    assert f"warning: the report's part 'The data: what to look at' {why}\n" in capsys.readouterr().err
    text = (folder / "report.md").read_text()
    assert f"Not shown, for it {why}" in text
    assert "## How to repeat it" in text


def source_text() -> str:
    package = PROJECT / "py/fewshot_sft"
    files = [
        *(package / "report").rglob("*.py"),
        *(package / "answer").glob("*.py"),
        *(package / "catalogue").glob("*.py"),
        *(package / "report").rglob("*.j2"),
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_the_catalogue_is_whole_in_both_languages() -> None:
    words = [catalogue.words(language, free_text).texts for language in ("en", "zh") for free_text in (False, True)]

    assert {tuple(each) for each in words} == {tuple(words[0])}
    for key in words[0]:
        names = [{name for _, name, _, _ in string.Formatter().parse(each[key]) if name} for each in words]
        assert names == [names[0]] * 4, key


def test_no_text_of_the_catalogue_is_missing_or_unused() -> None:
    known, source = set(catalogue.words().texts), source_text()

    assert {key for key in known if f'"{key}"' not in source} == set()
    groups = "|".join(sorted({key.partition(".")[0] for key in known}))
    assert (
        set(re.findall(rf'\bw\(\s*"([^"]+)"|"((?:{groups})\.[a-z0-9_]+)"', source))
        - {pair for key in known for pair in ((key, ""), ("", key))}
        == set()
    )


@pytest.mark.parametrize(
    ("text", "letters", "shown"),
    [("a\nb\t c", 9, "a b c"), ("x" * 10, 9, "x" * 8 + "…"), ("\u202eab\x00c", 9, "ab c"), ("a b", 3, "a b")],
)
def test_texts_are_cut_to_one_line(text: str, letters: int, shown: str) -> None:
    assert cut(text, letters) == shown


def test_several_models_are_compared_curve_by_curve(given: Callable[..., Settings], tmp_path: Path) -> None:
    settings = given(SIZES="16 64 256", SEEDS="0 1", METHODS=" ".join(USUAL))
    deep = settings.but(SWEEP_NAME="y", MODEL_NAME="deep")
    for each in (settings, deep):
        made_sweep(each, NEWS, USUAL, texts=(), items=120)
    folder = Path(settings["OBJS_DIR"]) / "both"
    assert see_results.main(["--no-plots", "--run", "y", "--out", str(folder)]) == 0

    names = ["zero-shot {0}", "zero-shot deep", "lora {0}", "tfidf", "embedding", "lora deep"]
    first = settings["MODEL_NAME"]
    answer = json.loads((folder / "answer.json").read_text())
    assert sorted(answer["methods"]) == sorted(name.format(first) for name in names)
    compared = [{each["first"], each["second"]} for each in answer["comparisons"]]
    assert {f"lora {first} 256", "lora deep 256"} in compared
    page = Page(folder / "report.html")
    assert "lora deep" in page.text
    legend = (folder / "report.html").read_text().split('<ul class="legend">')[1].split("</ul>")[0]
    assert len(set(re.findall(r'class="key (s\d)"', legend))) == len(names)
    assert page.text.count("Not shown, for it") == 0
