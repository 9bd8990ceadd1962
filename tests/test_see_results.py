"""py/see_results.py: numbers as in the records, pictures without overlapping text, errors that say what to do."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import see_results
from fewshot_sft import runs
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation.evaluated import findings
from fewshot_sft.outcomes import outcomes
from fewshot_sft.results.interval import largest_class, wilson
from fewshot_sft.results.plots import confusion, curve, fonts, losses, placing, radar, style
from fewshot_sft.results.sweep import read_sweep
from fewshot_sft.results.table import to_text
from fewshot_sft.runs import Run
from fewshot_sft.settings import Settings
from fewshot_sft.words import display_width

PATENTS = (
    *("Human Necessities", "Performing Operations; Transporting", "Chemistry; Metallurgy", "Textiles; Paper"),
    *("Fixed Constructions", "Mechanical Engineering; Lightning; Heating; Weapons; Blasting", "Physics"),
    *("Electricity", "General tagging of new or cross-sectional technology"),
)
NEWS = ("World", "Sports", "Business", "Sci/Tech")
EIGHT = (None, 50, 100, 200, 400, 800, 1600, 3200)
METRICS = ("accuracy", "precision", "recall", "f1")
METHODS = runs.METHODS[1:]  # zero-shot has no sizes


def run_of(name: str, size: int | None, seed: int = 42, method: str = runs.LORA, **settings: object) -> Run:
    given = {"SWEEP_NAME": name, "MODEL_NAME": "tiny"} | {key: str(value) for key, value in settings.items()}
    method = runs.ZERO_SHOT if size is None else method
    return Run("tiny", method, size, seed if size else None, Settings(given))


def make_record(
    name: str,
    size: int | None,
    classes: Sequence[str],
    right: float,
    outside: float = 0.0,
    items: int = 30,
    seed: int = 42,
    method: str = runs.LORA,
) -> dict[str, Any]:
    """A record as the evaluator writes it: ``items`` of each class, of which a share is right and one outside."""
    truth, answers = [], []
    for k, label in enumerate(classes):
        correct = round(items * right) - k % 3 * (0 < right < 1)
        beyond = round((items - correct) * outside)
        truth += [label] * items
        answers += [label] * correct + ["none"] * beyond
        answers += [classes[(k + 1) % len(classes)]] * (items - correct - beyond)
    found = findings(answers, truth, classes, 0, 42)
    found["original_scoring"]["metrics"] = {key: value * 0.99 for key, value in found["metrics"].items()}
    run = run_of(name, size, seed, method)
    return {
        "schema": 2,
        "kind": "evaluation",
        **{key: value for key, value in run.fields.items() if value is not None},
        "split": "test",
        **({"adapter": str(run.adapter)} if run.is_trained else {}),
        "base_model": "saves/tiny/base",
        "template": "glm4",
        "backend": "huggingface",
        **found,
        "timings": {"seconds": 8.731, "items_per_second": len(truth) / 8.731},
        "settings": {"data_sha256": "a" * 64},
        "git_revision": "0" * 40,
        "identity": f"{size or 0:064x}",
    }


class Sweeps:
    """Folders ``objs`` and ``saves`` with records in them."""

    def __init__(self, root: Path, given: Callable[..., Settings]) -> None:
        self.objs, self.saves = root / "objs", root / "saves"
        self.objs.mkdir()
        self._given = given

    def use(self, name: str, **settings: object) -> Settings:
        values = {"SWEEP_NAME": name, "MODEL_NAME": "tiny", "SIZES": "50", "METHODS": "lora"} | settings
        return self._given(**{name: str(value) for name, value in values.items()})

    def write(self, record: dict[str, Any], suffix: str = "") -> Path:
        path = self.objs / f"{record['run']}{suffix}.json"
        path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
        return path

    def add(
        self,
        name: str,
        sizes: Sequence[int | None] = (50, 200),
        classes: Sequence[str] = NEWS,
        log: bool = False,
        seed: int = 42,
    ) -> None:
        for size in sizes:
            right = size / (size + 80 + seed % 32) if size else 0.05
            self.write(make_record(name, size, classes, right, 0.6 if (size or 0) < 100 else 0.0, seed=seed))
            if size and log:
                steps = range(5, 3 * size // 8 + 5, 5)
                entries = [{"current_steps": step, "loss": 0.2 + 2 / (1 + step / 30)} for step in steps]
                folder = self.train(name, size, status="done", examples=size)
                lines = [*entries, {"current_steps": steps[-1]}]
                (folder / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def add_methods(self, name: str, methods: Sequence[str], sizes: Sequence[int], seeds: Sequence[int]) -> None:
        for index, method in enumerate(methods):
            for size, seed in itertools.product(sizes, seeds):
                right = size / (size + 60 + 20 * index + seed)
                self.write(make_record(name, size, NEWS, right, seed=seed, method=method))

    def train(self, name: str, size: int, **training: Any) -> Path:
        folder = run_of(name, size, SAVES_DIR=self.saves).adapter
        folder.mkdir(parents=True, exist_ok=True)
        if training:
            (folder / "training.json").write_text(json.dumps(training))
        return folder

    def show(self, name: str, *flags: str, plots: bool = False, **settings: object) -> Path:
        self.use(name, **settings)
        assert see_results.main([*flags, *([] if plots else ["--no-plots"])]) == 0
        return self.objs / name

    def rows(self, name: str, **settings: object) -> list[dict[str, Any]]:
        return json.loads((self.show(name, **settings) / "results.json").read_text(encoding="utf-8"))["rows"]

    def failure(self, name: str, *flags: str, **settings: object) -> str:
        self.use(name, **settings)
        with pytest.raises(UserError) as error:
            see_results.main([*flags])
        return str(error.value)

    def read(self, *names: str) -> list[Any]:
        settings = self.use(names[0])
        return [read_sweep(settings, name) for name in names]


def made_answer(methods: Sequence[str], sizes: Sequence[int], seeds: int = 3, use: str = "lora") -> dict[str, Any]:
    """An answer as far as table and pictures read it."""

    def point(index: int, size: int) -> dict[str, Any]:
        mean = size / (size + 60 + 20 * index)
        score = {"mean": mean, "low": mean - 0.05, "high": min(mean + 0.04, 1)}
        return {"size": size, "seeds": seeds, "accuracy": score, "f1": score}

    last = sizes[-1]
    expected = {
        f"{times}x": {"size": times * last, "median": 0.9, "low80": 0.8, "high80": 0.95, "low95": 0.7, "high95": 1}
        for times in (2, 4)
    }
    found = {
        method: {"points": [point(index, size) for size in sizes], "expected": expected}
        for index, method in enumerate(methods)
    }
    return {"metric": "f1", "use": use, "methods": found}


@pytest.fixture
def sweeps(folder: Path, given: Callable[..., Settings]) -> Sweeps:
    return Sweeps(folder, given)


def test_the_csv_has_the_records_numbers_to_the_last_digit(sweeps: Sweeps) -> None:
    records = [make_record("tiny", size, PATENTS, right, 0.3) for size, right in ((None, 0.1), (50, 0.45), (1000, 0.7))]
    for record in records:
        sweeps.write(record)
    sweeps.train("tiny", 50, examples=50, seconds=24.25, tokens={"truncated": 3}, loss={"last": 0.125}, status="done")

    with (sweeps.show("tiny") / "results.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))

    assert [row["run"] for row in rows] == ["tiny-zero-shot", "tiny-llm_train_50", "tiny-llm_train_1000"]
    assert [row["not_in_labels"] for row in rows] == ["75", "45", "27"]
    which = [("zero-shot", "", ""), ("lora", "50", "42"), ("lora", "1000", "42")]
    assert [(row["method"], row["size"], row["seed"]) for row in rows] == which
    for row, record in zip(rows, records, strict=True):
        assert {key: float(row[key]) for key in METRICS} == record["metrics"]
        assert {key: float(row[f"original_{key}"]) for key in METRICS} == record["original_scoring"]["metrics"]
        for key in ("items", "correct", "in_labels", "not_in_labels"):
            assert int(row[key]) == record["counts"][key]
        assert float(row["outside_rate"]) == record["not_in_labels"]["rate"]
        assert {key: float(row[key]) for key in ("seconds", "items_per_second")} == record["timings"]
        assert [row[key] for key in ("model", "base_model", "identity")] == [
            "tiny",
            "saves/tiny/base",
            record["identity"],
        ]
    assert rows[1]["accuracy_low"] == repr(wilson(records[1]["counts"]["correct"], 270)[0])
    trained = ("train_examples", "train_seconds", "train_truncated", "train_loss_last")
    assert [rows[1][key] for key in trained] == ["50", "24.25", "3", "0.125"]
    assert [rows[0][key] for key in trained] == ["", "", "", ""]


def test_the_json_has_the_rows_and_no_key_for_what_was_not_measured(sweeps: Sweeps) -> None:
    record = make_record("tiny", 50, NEWS, 0.5)
    del record["timings"], record["original_scoring"]
    sweeps.write(record)

    found = json.loads((sweeps.show("tiny") / "results.json").read_text(encoding="utf-8"))

    row = found["rows"][0]
    assert {key: row[key] for key in METRICS} == record["metrics"]
    assert row["items"] == 120
    assert row["largest_class_accuracy"] == 0.25
    assert not {"seconds", "items_per_second", "original_accuracy", "original_f1", "train_seconds"} & set(row)
    assert (found["absent"], found["warnings"], found["pictures"]) == ([], [], [])


def test_classes_that_were_never_seen_in_training(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("tiny", (None, 20, 50))
    sweeps.train("tiny", 20, status="done", never_seen=NEWS[2:])
    sweeps.train("tiny", 50, status="done", never_seen=[])

    with (sweeps.show("tiny") / "results.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["train_never_seen"] for row in csv.DictReader(stream)] == ["", "2", "0"]
    told = capsys.readouterr().out
    assert "\nclasses never seen: size 20: 2 of 4\n\n" in told
    assert told.count("never seen") == 1


def test_the_terminal_table(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_record("tiny", None, NEWS, 0.0, outside=1.0)
    sweeps.write(base)
    full = make_record("tiny", 200, NEWS, 1.0)
    del full["timings"]
    sweeps.write(full)

    sweeps.show("tiny")

    lines = capsys.readouterr().out.splitlines()
    assert lines[2:7] == [
        "tiny: split test",
        "",
        "        N  accuracy  95% interval  precision  recall     F1  outside  original's acc.  original's F1"
        "  items  seconds  items/s",
        "zero-shot     0.000   0.000-0.031      0.000   0.000  0.000   100.0%            0.000          0.000"
        "    120      8.7     13.7",
        "      200     1.000   0.969-1.000      1.000   1.000  1.000     0.0%            0.990          0.990"
        "    120        -        -",
    ]


def constrained_record(size: int) -> dict[str, Any]:
    scores = {"accuracy": 0.75, "precision": 0.7, "recall": 0.65, "f1": 0.6125}
    return make_record("news", size, NEWS, 0.5) | {"server": "vllm", "constrained": {"metrics": scores}}


def test_a_second_score_only_where_there_is_one(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("news", (50,))
    out = sweeps.show("news")
    assert "constr" not in capsys.readouterr().out
    header = (out / "results.csv").read_text().splitlines()[0]

    sweeps.write(constrained_record(200))
    rows = sweeps.rows("news")

    lines = capsys.readouterr().out.splitlines()
    assert "original's F1  constr. acc.  constr. F1  items" in lines[4]
    at = lines[4].index("constr. acc.") + len("constr. acc.")
    assert [line[:at].rpartition("  ")[2] for line in lines[5:7]] == ["-", "0.750"]
    assert any(line.startswith("constr. acc., constr. F1: ") for line in lines)
    assert (out / "results.csv").read_text().splitlines()[0] == header
    assert [row.get("constrained_f1") for row in rows] == [None, 0.6125]
    assert [row.get("server") for row in rows] == [None, "vllm"]


@pytest.mark.parametrize("damage", [{}, {"metrics": {"accuracy": 2}}, "yes"])
def test_a_damaged_second_score_is_said(sweeps: Sweeps, damage: object) -> None:
    sweeps.write(constrained_record(200) | {"constrained": damage})
    assert "corrupt record: " in sweeps.failure("news")


def test_columns_are_aligned_with_chinese_names(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("专利分类-实验")
    sweeps.add("news")
    sweeps.show("专利分类-实验", "--run", "news")
    lines = capsys.readouterr().out.splitlines()[4:9]
    assert [line.split()[0] for line in lines] == ["sweep", "专利分类-实验", "专利分类-实验", "news", "news"]
    assert len({display_width(line) for line in lines}) == 1
    assert (sweeps.objs / "专利分类-实验+news" / "results.csv").is_file()


def test_no_escape_codes_unless_on_a_terminal(
    sweeps: Sweeps, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.add("tiny")
    sweeps.show("tiny")
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    sweeps.show("tiny")
    assert capsys.readouterr().out.count("\x1b[1m") == 1
    monkeypatch.setenv("NO_COLOR", "1")
    sweeps.show("tiny")
    assert "\x1b" not in capsys.readouterr().out


def test_splits_do_not_mix(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.write(make_record("tiny", 50, NEWS, 0.5))
    sweeps.write(make_record("tiny", 50, NEWS, 0.9) | {"split": "valid"}, ".valid")
    sweeps.write(make_record("tiny", 100, NEWS, 0.9) | {"split": "valid"}, ".valid")
    for split, count in (("test", 1), ("valid", 2)):
        assert [row["split"] for row in sweeps.rows("tiny", SPLIT=split)] == [split] * count
    assert "tiny: split valid" in capsys.readouterr().out


def test_only_whole_records_of_this_sweep_are_read(sweeps: Sweeps) -> None:
    sweeps.add("tiny", (50,))
    sweeps.add("tiny-ag_news", (100,))
    copy = sweeps.write(make_record("tiny", 100, NEWS, 0.5))
    copy.rename(sweeps.objs / "kept.json")
    (sweeps.objs / "tiny-llm_train_50.pkl").write_bytes(b"not to be opened")
    (sweeps.objs / "tiny-llm_train_200.json").write_text('{"kind": "evalu')  # nobody asks for this size
    (sweeps.objs / "a list.json").write_text("[]")
    (sweeps.objs / "replaced").mkdir()
    assert [row["run"] for row in sweeps.rows("tiny")] == ["tiny-llm_train_50"]


def test_several_seeds(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("tiny", (None, 50, 200))
    sweeps.add("tiny", (50, 200), seed=1, log=True)

    out = sweeps.show("tiny", SEEDS="42 1 2", SIZES="50 200", plots=True)

    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in printed[4:10]] == [
        ["N", "seed"],
        ["zero-shot", "-"],
        ["50", "1"],
        ["50", "42"],
        ["200", "1"],
        ["200", "42"],
    ]
    assert "absent: size 200, seed 2: not trained; run bin/train.sh" in printed
    absent = json.loads((out / "results.json").read_text())["absent"]
    assert [(each["run"], each["size"], each["seed"]) for each in absent] == [
        ("tiny-llm_train_50-seed2", 50, 2),
        ("tiny-llm_train_200-seed2", 200, 2),
    ]
    shown = {path.name for path in out.glob("confusion*.svg")}
    assert shown == {f"confusion_tiny-{run}.svg" for run in ("zero-shot", "llm_train_50", "llm_train_200")}
    found = sweeps.read("tiny")
    with style.drawing(["tiny"]):
        figure = curve.draw(found)
        (disc,) = radar.draw(found).axes
    assert overlaps(figure) == []
    dots = {}
    for one in found[0].evaluations[1:]:
        dots.setdefault(one.run.size, []).append(one.metrics["accuracy"])
    drawn = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    means = [pytest.approx(sum(values) / 2) for values in dots.values()]
    assert all(values in drawn for values in (*dots.values(), means))
    assert [line.get_ydata()[0] for line in disc.get_lines()][1:] == means
    assert not [bar for bar in figure.axes[0].collections if bar.get_segments()]  # of several seeds no Wilson


def test_the_curve_has_a_line_for_each_method_and_what_is_expected(sweeps: Sweeps) -> None:
    sweeps.add("tiny", (None,))
    sweeps.add_methods("tiny", METHODS, EIGHT[1:], (0, 1, 2))
    answer = made_answer(METHODS, EIGHT[1:])

    with style.drawing(["tiny"]):
        figure = curve.draw(sweeps.read("tiny"), answer)

    assert overlaps(figure) == []
    accuracy, f1 = figure.axes
    for axes in (accuracy, f1):
        for method, found in answer["methods"].items():
            look = style.method_style(method)
            (line,) = (
                line for line in axes.get_lines() if line.get_marker() == look["marker"] and line.get_xdata().size > 3
            )
            assert (line.get_color(), line.get_linestyle()) == (look["color"], "-")
            assert list(line.get_ydata()) == [point["f1"]["mean"] for point in found["points"]]
        ends = {(round(low[1], 9), round(high[1], 9)) for bars in axes.collections for low, high in segments(bars)}
        assert ends == {
            (round(point["f1"]["low"], 9), round(point["f1"]["high"], 9))
            for found in answer["methods"].values()
            for point in found["points"]
        }
        values = {f"{point['f1']['mean']:.3f}" for point in answer["methods"]["lora"]["points"]}
        assert set() < {text.get_text() for text in axes.texts} <= values
    assert (list(accuracy.get_xticks()), list(f1.get_xticks())) == ([*EIGHT[1:]], [*EIGHT[1:], 6400, 12800])
    assert len([line for line in f1.get_lines() if list(line.get_ydata()[1:]) == [0.9, 0.9]]) == len(METHODS)
    assert not [line for line in accuracy.get_lines() if list(line.get_ydata()[1:]) == [0.9, 0.9]]


def segments(bars: Any) -> list[Any]:
    return [path for path in bars.get_segments() if len(path) == 2] if hasattr(bars, "get_segments") else []


def test_several_methods_in_several_sweeps(sweeps: Sweeps) -> None:
    for name in ("one", "two"):
        sweeps.add(name, (None,))
        sweeps.add_methods(name, METHODS[:4], (50, 100, 200), (42,))
    with style.drawing(["one"]):
        for figure in (curve.draw(sweeps.read("one", "two")), radar.draw(sweeps.read("one", "two"))):
            assert overlaps(figure) == []


def test_methods_are_told_apart_without_colour() -> None:
    assert len({style.method_style(method)["marker"] for method in runs.METHODS}) == len(runs.METHODS)


def test_of_other_methods_only_the_largest_size_is_drawn(sweeps: Sweeps) -> None:
    sweeps.add_methods("tiny", ("lora", "tfidf"), (50, 100), (1, 2))
    found = sweeps.read("tiny")

    looked = [one.run.name for one in see_results.looked_into(found[0])]
    assert looked == ["tiny-llm_train_50-seed1", "tiny-llm_train_100-seed1", "tiny-tfidf_100-seed1"]
    with style.drawing(["tiny"]):
        figure = radar.draw(found)
    assert len(figure.axes[0].get_lines()) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["lora, N = 100", "tfidf, N = 100"]


def test_the_table_by_method_with_means_over_seeds(sweeps: Sweeps) -> None:
    sweeps.add("tiny", (None,))
    sweeps.add_methods("tiny", ("lora", "tfidf"), (50,), (0, 1))

    lines = to_text(sweeps.read("tiny"), made_answer(("lora", "tfidf"), (50,), 2)).splitlines()

    assert lines[2:7] == [
        "method   N  seeds  mean accuracy  95% interval  mean F1  95% interval",
        "lora    50      2          0.455   0.405-0.495    0.455   0.405-0.495",
        "",
        "tfidf   50      2          0.385   0.335-0.425    0.385   0.335-0.425",
        "",
    ]
    assert [line.split()[:3] for line in lines[7:15]] == [
        ["method", "N", "seed"],
        ["zero-shot", "-", "-"],
        [],
        ["lora", "50", "0"],
        ["lora", "50", "1"],
        [],
        ["tfidf", "50", "0"],
        ["tfidf", "50", "1"],
    ]
    one_seed = to_text(sweeps.read("tiny"), made_answer(("lora", "tfidf"), (50,), 1))
    assert "mean" not in one_seed


def test_a_method_that_was_left_out(
    sweeps: Sweeps, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps.add("tiny", (50, 200))
    monkeypatch.setenv("FEWSHOT_OUTCOMES", str(sweeps.objs.parent / "outcomes"))
    monkeypatch.setenv("FEWSHOT_OUTCOME", "")  # so that it is put back
    for size in (50, 200):
        with outcomes.of_run("evaluation", run_of("tiny", size, method="setfit").name) as ended:
            outcomes.note_reason("no encoder")
            ended("left out")

    out = sweeps.show("tiny", METHODS="lora tfidf setfit", SIZES="50 200")

    printed = capsys.readouterr().out
    assert "\nabsent: setfit, 2 runs: left out: no encoder\n" in printed
    assert "\nabsent: tfidf, 2 runs: split test is not evaluated yet; run bin/baselines.sh\n" in printed
    absent = json.loads((out / "results.json").read_text())["absent"]
    assert [each["reason"] for each in absent][2:] == ["left out: no encoder"] * 2


def test_records_of_an_earlier_version_are_named_and_not_used(
    sweeps: Sweeps, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"schema": 1, "kind": "evaluation", "name": "tiny", "split": "test"}
    for size in (0, 50):
        sweeps.write(old | {"run": f"tiny-llm_train_{size}", "size": size})
    sweeps.write(old | {"run": "other-llm_train_50", "name": "other"})
    told = "tiny-llm_train_0.json, tiny-llm_train_50.json of an earlier version, not used"

    assert f"no evaluation record of 'tiny', split test, but {told}; bin/sweep.sh" in sweeps.failure("tiny")

    sweeps.write(make_record("tiny", 100, NEWS, 0.5))
    assert [row["size"] for row in sweeps.rows("tiny")] == [100]
    assert capsys.readouterr().err == f"warning: tiny: {told}; move them away\n"


def test_wilson_and_the_largest_class_agree_with_the_libraries() -> None:
    from scipy.stats import binomtest
    from sklearn.metrics import f1_score

    for correct, items in ((0, 20), (1, 20), (240, 300), (20, 20)):
        expected = binomtest(correct, items).proportion_ci(method="wilson")
        assert wilson(correct, items) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (wilson(0, 20)[0], wilson(20, 20)[1]) == (0.0, 1.0)
    truth = [0] * 5 + [1] * 12 + [2] * 3
    accuracy, f1 = largest_class([5, 12, 3])
    assert accuracy == 12 / 20
    assert f1 == pytest.approx(f1_score(truth, [1] * 20, average="macro"), abs=1e-12)


def test_absent_runs_are_listed_with_the_reason(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("tiny", (50,), log=True)
    failed = sweeps.train("tiny", 100, status="failed", reason="the loss is nan\nat step 5")
    unfinished = sweeps.train("tiny", 200)
    sweeps.train("tiny", 400, status="done")

    out = sweeps.show("tiny", METHODS="lora zero-shot", SIZES="50 100 200 400 900")

    reasons = {
        "zero-shot": "split test is not evaluated yet; run bin/eval.sh",
        "size 100": f"training failed: the loss is nan at step 5 ({failed / 'training.json'})",
        "size 200": f"training did not finish ({unfinished}); run bin/train.sh again",
        "size 400": "trained, but split test is not evaluated yet; run bin/eval.sh",
        "size 900": "not trained; run bin/train.sh",
    }
    absent = json.loads((out / "results.json").read_text())["absent"]
    assert [each["reason"] for each in absent] == list(reasons.values())
    assert absent[0].keys() == {"run", "name", "model", "method", "reason"}
    printed = capsys.readouterr().out
    for title, why in reasons.items():
        assert f"\nabsent: {title}: {why}\n" in printed


def test_different_test_data_are_warned_of(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("tiny", (50, 100))
    sweeps.show("tiny")
    assert capsys.readouterr().err == ""
    sweeps.write(make_record("tiny", 200, NEWS, 0.5, items=10))
    other = make_record("tiny", 400, NEWS, 0.5)
    other["settings"]["data_sha256"] = "b" * 64
    sweeps.write(other)

    sweeps.show("tiny")

    assert capsys.readouterr().err == (
        "warning: tiny: the runs were evaluated on different data, so their numbers do not compare "
        "(tiny-llm_train_50, tiny-llm_train_100: 120 items, 4 labels, aaaaaaaa; "
        "tiny-llm_train_200: 40 items, 4 labels, aaaaaaaa; tiny-llm_train_400: 120 items, 4 labels, "
        "bbbbbbbb); bin/eval.sh evaluates again what is of other data\n"
    )


def test_sweeps_of_different_data_are_warned_of(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("one")
    sweeps.add("two")
    sweeps.add("patents", classes=PATENTS)
    sweeps.show("one", "--run", "two")
    assert capsys.readouterr().err == ""
    sweeps.show("one", "--run", "patents")
    assert capsys.readouterr().err == (
        "warning: the sweeps were evaluated on different data, so their numbers do not compare "
        "(one: 120 items, 4 labels, aaaaaaaa; patents: 270 items, 9 labels, aaaaaaaa)\n"
    )


def test_doubtful_records_are_warned_of(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("tiny", (50, 100))
    sweeps.write(make_record("tiny", 200, NEWS, 0.6) | {"backend": "vllm", "base_model": "other"})
    sweeps.train("tiny", 100, status="failed", reason="the loss is nan")
    sweeps.train("tiny", 200, status="done", examples=150)
    sweeps.show("tiny")
    assert capsys.readouterr().err.splitlines() == [
        "warning: tiny: the runs were evaluated with different base models: other, saves/tiny/base",
        "warning: tiny: the runs were evaluated with different backends: huggingface, vllm",
        "warning: tiny-llm_train_100: the record is older than the adapter, whose training failed: the loss is nan",
        "warning: tiny-llm_train_200: trained on 150 examples, not on 200",
    ]


def test_no_records(sweeps: Sweeps) -> None:
    advice = "; bin/sweep.sh makes them, or bin/eval.sh when the runs are trained already"
    none = f"{sweeps.objs}: no evaluation record of"
    assert sweeps.failure("tiny") == f"{none} 'tiny', split test{advice}"
    sweeps.add("news")
    sweeps.add("tiny-ag_news")
    assert sweeps.failure("tiny") == f"{none} 'tiny', split test; there are records of news, tiny-ag_news{advice}"
    but = ", but of its split test (SPLIT)"
    assert sweeps.failure("news", SPLIT="valid") == f"{none} 'news', split valid{but}{advice}"
    assert not (sweeps.objs / "news").exists()


def change(record: dict[str, Any], path: str, value: Any) -> None:
    """Set ``record[a][b]`` for the path ``a.b``; None removes it."""
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in way:
        record = record[key]
    if value is None:
        del record[last]
    else:
        record[last] = value


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("metrics.f1", None, "'f1' is missing"),
        ("counts", None, "'counts' is missing"),
        ("counts.per_class.World", None, "'World' is missing"),
        ("size", 500, "size is 500, 50 was expected"),
        ("seed", None, "'seed' is missing"),
        ("metrics.f1", 1.5, "f1 is 1.5, a number from 0 to 1 was expected"),
        ("metrics.f1", float("nan"), "f1 is nan, a number from 0 to 1 was expected"),
        ("metrics.f1", "0.5", "f1 is '0.5', a number from 0 to 1 was expected"),
        ("counts.items", 1.0, "items is 1.0, a count was expected"),
        ("counts.in_labels", 7, "in_labels and not_in_labels do not add up to items"),
        ("counts.per_class.World.items", 7, "the items of the labels do not add up to items"),
        ("confusion.matrix.0", [1, 2], "the confusion matrix has not one row a label and one column more"),
        (
            "confusion.matrix.0",
            [0, 0, 0, 0, 0],
            "the rows of the confusion matrix do not add up to the items of the labels",
        ),
        ("counts.correct", 59, "the diagonal of the confusion matrix does not add up to correct"),
        ("metrics.accuracy", 0.123, "metrics.accuracy is not correct / items"),
    ],
)
def test_a_corrupt_record_is_named(sweeps: Sweeps, path: str, value: Any, complaint: str) -> None:
    sweeps.add("tiny", (200,))
    record = make_record("tiny", 50, NEWS, 0.5)
    change(record, path, value)
    file = sweeps.write(record)
    remedy = "move it away and evaluate that run again with bin/eval.sh"
    assert sweeps.failure("tiny", "--no-plots") == f"{file}: corrupt record: {complaint}; {remedy}"
    assert not (sweeps.objs / "tiny").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: not valid JSON (Expecting value)"),
        ('{\n"a": 1,\n', "line 3: not valid JSON (Expecting property name enclosed in double quotes)"),
        ("[]", "corrupt record: not a JSON object; move it away and evaluate that run again with bin/eval.sh"),
    ],
)
def test_a_record_that_is_no_record(sweeps: Sweeps, text: str, complaint: str) -> None:
    file = sweeps.objs / "tiny-llm_train_50.json"
    file.write_text(text)
    assert sweeps.failure("tiny") == f"{file}: {complaint}"


def test_output_that_cannot_be_a_folder(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.add("tiny")
    file = tmp_path / "file"
    file.write_text("kept")
    assert sweeps.failure("tiny", "--out", str(file)) == f"{file}: is a file, a folder was expected; move it away"
    assert file.read_text() == "kept"
    with pytest.raises(UserError) as error:
        see_results.folder_name(["x" * 150, "y" * 150])
    assert str(error.value) == "the names of 2 sweeps are too long for one folder's name; give one with --out"


def run_script(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, see_results.__file__, *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
        check=False,
    )


def test_the_table_alone_does_not_wait_for_matplotlib(sweeps: Sweeps) -> None:
    sweeps.add("tiny")
    sweeps.use("tiny")
    done = run_script("--no-plots", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "fewshot_sft.results.sweep" in done.stderr  # the imports are listed
    assert "matplotlib" not in done.stderr


def png_size(path: Path) -> tuple[int, int, int]:
    """Return width and height in pixels, and dots per inch."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    where = content.index(b"pHYs") + 4
    per_metre = int.from_bytes(content[where : where + 4])
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24]), round(per_metre * 0.0254)


def svg_texts(path: Path) -> set[str]:
    """Parse an SVG and return its texts."""
    found = ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    return {"".join(element.itertext()).strip() for element in found}


def test_all_pictures_of_a_sweep(sweeps: Sweeps, capsys: pytest.CaptureFixture[str]) -> None:
    sweeps.add("tiny", (None, 50, 200), log=True)

    out = sweeps.show("tiny", plots=True)

    pictures = [f"confusion_tiny-{run}" for run in ("zero-shot", "llm_train_50", "llm_train_200")]
    stems = ["learning_curve", "radar", *pictures, "training_loss"]
    names = [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert json.loads((out / "results.json").read_text())["pictures"] == names
    others = {"answer.json", "calibration.json", "results.csv", "results.json", "report.html", "report.md"}
    assert {path.name for path in out.iterdir()} == {*names, *others}
    for stem in stems:
        drawing = ET.parse(out / f"{stem}.svg").getroot()
        assert (drawing.get("role"), drawing.get("aria-labelledby")) == ("img", "title description")
        told = {each.get("id"): each.text for each in drawing[:2]}
        assert set(told) == {"title", "description"}
        assert all(told.values())
        width, height, dots = png_size(out / f"{stem}.png")
        assert (width >= 800, height >= 400, dots) == (True, True, style.DPI)
    assert style.DPI >= 150
    texts = svg_texts(out / "learning_curve.svg")
    expected = {"tiny: learning curve, split test (120 items)", "accuracy", "macro-F1", "50", "200"}
    assert expected <= texts
    rows = {row.get("size"): row for row in json.loads((out / "results.json").read_text())["rows"]}
    assert {f"{rows[50]['accuracy']:.3f}", f"{rows[200]['f1']:.3f}"} <= texts
    assert f"zero-shot (accuracy {rows[None]['accuracy']:.3f}, F1 {rows[None]['f1']:.3f})" in texts
    assert "always the largest class (accuracy 0.250, F1 0.100)" in texts
    assert {"zero-shot", "N = 50", "N = 200", "accuracy"} <= svg_texts(out / "radar.svg")
    assert {"N = 50", "N = 200", "training loss, as logged, not smoothed"} <= svg_texts(out / "training_loss.svg")
    assert "(outside the" in svg_texts(out / "confusion_tiny-zero-shot.svg")
    texts = svg_texts(out / "confusion_tiny-llm_train_200.svg")
    assert "(outside the" not in texts
    assert {"World (30)", "Sci/Tech (30)", str(rows[200]["correct"] // 4)} <= texts
    assert capsys.readouterr().err == ""


def test_the_same_records_give_the_same_bytes(sweeps: Sweeps, tmp_path: Path) -> None:
    sweeps.add("tiny", (50,), log=True)
    sweeps.show("tiny", "--out", str(tmp_path / "a"), plots=True)
    again = run_script("--out", str(tmp_path / "b"), PYTHONHASHSEED="7", TZ="Asia/Tokyo")
    assert (again.returncode, again.stderr) == (0, "")
    files = sorted(path.name for path in (tmp_path / "a").iterdir() if path.name != "answer.json")  # it has the time
    assert len(files) == 13
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_several_sweeps_in_one_picture(sweeps: Sweeps, tmp_path: Path) -> None:
    names = ("_tiny", "price in $ & <more> $")  # a legend leaves out what begins with "_", and "$" begins a formula
    sweeps.add(names[0], (None,))
    sweeps.add(names[1], (50,), log=True)
    sweeps.show(names[0], "--run", names[1], "--out", str(tmp_path / "out"), plots=True)
    texts = svg_texts(tmp_path / "out" / "learning_curve.svg")
    assert names[1] in texts
    assert [text for text in texts if text.startswith(f"{names[0]}: zero-shot (accuracy 0.0")] != []
    assert names[1] in svg_texts(tmp_path / "out" / "training_loss.svg")
    confusions = {path.name for path in (tmp_path / "out").glob("confusion*.svg")}
    assert confusions == {f"confusion_{names[0]}-zero-shot.svg", f"confusion_{names[1]}-llm_train_50.svg"}


def test_a_torn_trainer_log_costs_its_loss_only(sweeps: Sweeps) -> None:
    sweeps.add("tiny", (50, 200), log=True)
    torn = sweeps.saves / "tiny" / "lora" / "tiny-llm_train_50" / "trainer_log.jsonl"
    torn.write_text('{"current_steps": 5, "loss": 2.5}\n{"current_st')
    warnings: list[str] = []
    logged = see_results.read_all_losses(sweeps.read("tiny"), warnings)
    assert {name: [run.size for run in of] for name, of in logged.items()} == {"tiny": [200]}
    assert warnings == [
        f"{torn}: line 2: not an entry of LLaMA-Factory's training log; its loss is left out of the picture"
    ]


def test_losses_that_are_not_finite_are_passed_over(sweeps: Sweeps) -> None:
    sweeps.add("tiny", (50,), log=True)
    log = sweeps.saves / "tiny" / "lora" / "tiny-llm_train_50" / "trainer_log.jsonl"
    log.write_text('{"current_steps": 5, "loss": 2.5}\n{"current_steps": 10, "loss": NaN}\n{"current_steps": 10}\n')
    assert sweeps.read("tiny")[0].evaluations[0].losses == [(5, 2.5)]


def test_letters_that_no_font_has_are_told_once(
    sweeps: Sweeps,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(fonts, "_other_fonts", lambda: iter(()))
    sweeps.add("tiny", (50,), ("物理", "电学"))
    sweeps.show("tiny", plots=True)
    assert capsys.readouterr().err == (
        "warning: no installed font can write '学物理电': the PNG pictures show boxes instead (the SVG ones are right "
        "wherever they are opened with such a font); for Chinese, Japanese and Korean install one, on Debian and "
        "Ubuntu: apt-get install fonts-noto-cjk\n"
    )
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []
    assert "物理 (30)" in svg_texts(sweeps.objs / "tiny" / "confusion_tiny-llm_train_50.svg")


def test_a_font_that_has_the_letters_is_found() -> None:
    # Matplotlib's own fonts suffice to try it: DejaVu Sans lacks this symbol (apl functional symbol), STIX has it.
    families, complaint = fonts.families_for(["plain", "\u2312"])
    assert (families[0], len(families), complaint) == (fonts.FONT, 2, None)
    assert fonts.families_for(["plain, äöü, Привет"]) == ([fonts.FONT], None)


def drawn_texts(figure: Figure) -> Iterator[Text]:
    """Yield the texts that are really drawn: not empty, not hidden, no tick labels outside of their axis."""
    ticks = {}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                inside = low - 1e-9 <= tick.get_loc() <= high + 1e-9
                ticks |= {id(label): inside and label.get_visible() for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        hidden = text.axes is not None and not text.axes.get_visible()
        if text.get_visible() and text.get_text().strip() and ticks.get(id(text), True) and not hidden:
            yield text


def overlaps(figure: Figure) -> list[str]:
    """Return what is wrong with a figure's texts: pairs that cover each other, and those beyond the edge."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn_texts(figure)]
    assert len(boxes) >= 8
    page = figure.bbox
    beyond = [
        f"{text!r} beyond the edge"
        for text, box in boxes
        if box.x0 < page.x0 or box.y0 < page.y0 or box.x1 > page.x1 or box.y1 > page.y1
    ]
    pairs = itertools.combinations(boxes, 2)
    return beyond + [f"{a!r} over {b!r}" for (a, one), (b, other) in pairs if one.overlaps(other)]


def figures_of(found: Sequence[Any]) -> Iterator[tuple[str, Figure]]:
    yield "curve", curve.draw(found)
    yield "radar", radar.draw(found)
    for one in (found[0].evaluations[0], found[-1].evaluations[-1]):
        yield "confusion", confusion.draw(one)
    logged = {sweep.name: {one.run: one.losses for one in sweep.evaluations if one.run.size} for sweep in found}
    yield "losses", losses.draw(logged)


LONG = "a-model-with-a-name-that-is-much-too-long-for-any-picture-7b-instruct-20261121-on-news"


@pytest.mark.parametrize(
    ("names", "sizes", "classes"),
    [
        (("tiny",), (400,), PATENTS),
        (("tiny",), (100, 500, 1000, 2000), PATENTS),
        (("tiny",), EIGHT, PATENTS),
        (("tiny",), (10, 90, 100, 110, 120, 130, 1000, 1010), NEWS),
        (("tiny",), (1000,), tuple(f"label number {k} of a data set with many labels" for k in range(24))),
        (("tiny", LONG), (None, 50, 100, 200), NEWS),
        (("tiny", LONG, "third"), EIGHT, NEWS),
    ],
    ids=["1-run", "4-runs", "8-runs", "close-sizes", "24-labels", "2-sweeps", "3-sweeps-of-8"],
)
def test_no_text_covers_another(
    sweeps: Sweeps, names: Sequence[str], sizes: Sequence[int], classes: Sequence[str]
) -> None:
    for name in names:
        sweeps.add(name, sizes, classes, log=True)
    with style.drawing([*names, *classes]):
        for picture, figure in figures_of(sweeps.read(*names)):
            assert overlaps(figure) == [], picture


def be_killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_picture_whose_process_is_killed(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.add("tiny", (100,))
    monkeypatch.setattr(radar, "draw", be_killed)
    assert re.match(r"a picture's process was killed, .*; bin/results.sh draws them again$", sweeps.failure("tiny"))
    assert not (sweeps.objs / "tiny/results.json").exists()


def test_the_overlap_check_sees_overlaps(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps.add("tiny", (10, 90, 100, 110, 120, 130, 1000, 1010))
    monkeypatch.setattr(placing.Bbox, "overlaps", lambda *_: False)
    with style.drawing(["tiny"]):
        figure = curve.draw(sweeps.read("tiny"))
        monkeypatch.undo()
        assert any(" over " in wrong for wrong in overlaps(figure))


@pytest.mark.parametrize("sizes", [(400,), (50, 100, 200, 400), EIGHT])
def test_every_value_is_written_beside_its_point(sweeps: Sweeps, sizes: Sequence[int]) -> None:
    sweeps.add("tiny", sizes)
    (sweep,) = sweeps.read("tiny")
    with style.drawing(["tiny"]):
        figure = curve.draw([sweep])
    renderer = figure.canvas.get_renderer()
    for axes, key in zip(figure.axes, ("accuracy", "f1"), strict=True):
        tuned = [one for one in sweep.evaluations if one.run.size]
        assert sorted(text.get_text() for text in axes.texts) == sorted(f"{one.metrics[key]:.3f}" for one in tuned)
        points = axes.transData.transform([(one.run.size, one.metrics[key]) for one in tuned])
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert not any(box.contains(*point) for point in points)
            middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
            nearest = min(range(len(tuned)), key=lambda k: math.dist(points[k], middle))
            assert f"{tuned[nearest].metrics[key]:.3f}" == text.get_text()


def test_the_axes_are_honest(sweeps: Sweeps) -> None:
    sweeps.add("tiny", EIGHT)
    found = sweeps.read("tiny")
    with style.drawing(["tiny"]):
        accuracy, f1 = curve.draw(found).axes
        (disc,) = radar.draw(found).axes
    for axes in (accuracy, f1):
        assert axes.get_ylim() == (-0.03, 1.03)
        assert axes.get_xscale() == "log"
        assert list(axes.get_xticks()) == list(EIGHT[1:])
        assert list(axes.get_xticks(minor=True)) == []
    assert disc.get_ylim() == (0, 1)
    values = [[round(float(value), 9) for value in line.get_ydata()] for line in disc.get_lines()]
    expected = [[round(one.metrics[key], 9) for key in (*METRICS, "accuracy")] for one in found[0].evaluations]
    assert values == expected


def test_the_error_bars_are_wilsons_and_the_base_model_is_a_dashed_line(sweeps: Sweeps) -> None:
    sweeps.add("tiny", (None, 200))
    base, tuned = sweeps.read("tiny")[0].evaluations
    with style.drawing(["tiny"]):
        accuracy, _ = curve.draw(sweeps.read("tiny")).axes
    bars = [path for bar in accuracy.collections for path in bar.get_segments() if len(path)]
    assert [tuple(round(float(y), 9) for _, y in bar) for bar in bars] == [
        tuple(round(end, 9) for end in wilson(tuned.correct, tuned.items))
    ]
    across = [line for line in accuracy.get_lines() if line.is_dashed() and len(set(line.get_ydata())) == 1]
    assert {round(float(line.get_ydata()[0]), 9) for line in across} == {
        round(base.metrics["accuracy"], 9),
        largest_class(base.support)[0],
    }


def test_sizes_are_told_apart_without_colour() -> None:
    with style.drawing([]):
        styles = style.size_styles(EIGHT).values()
    assert len({(look["marker"], str(look["linestyle"])) for look in styles}) == 8
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b, _ in (look["color"] for look in styles)]
    assert light == sorted(light, reverse=True)


@pytest.mark.parametrize("printed", ["closed", "full", "unread"])
def test_the_files_are_written_whatever_becomes_of_the_table(sweeps: Sweeps, printed: str) -> None:
    sweeps.add("tiny")
    out = {"closed": "exec >&-", "full": "exec >/dev/full", "unread": "exec > >(:); wait $!"}[printed]
    command = ["bash", "-c", f'{out}; exec "$@"', "_", sys.executable, see_results.__file__]
    sweeps.use("tiny")
    command.append("--no-plots")
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    lost = "error: all is done, but what was printed is lost: the disk is full; free some space "
    assert done.returncode == (2 if printed == "full" else 0), done.stderr
    assert done.stderr.startswith(lost) if printed == "full" else done.stderr == ""
    assert (sweeps.objs / "tiny/results.json").is_file()


def test_pictures_without_processes_that_share_memory(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_semaphores(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    sweeps.add("tiny")
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", no_semaphores)
    sweeps.show("tiny", plots=True)
    assert (sweeps.objs / "tiny/learning_curve.png").is_file()
