"""TASK=generation: instruction data, the scores of free text, their intervals, the answer and what is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

import baseline
import build_data
import data_quality
import see_results
from fewshot_sft import runs
from fewshot_sft.answer import decision, texts
from fewshot_sft.answer.curves import Curve
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation import evaluated, free_text, predictions, questions
from fewshot_sft.evaluation.files import EvaluationFiles
from fewshot_sft.evaluation.predictions import Prediction, PredictionLog
from fewshot_sft.outcomes import summary
from fewshot_sft.results.record import parse
from fewshot_sft.settings import Settings

ANSWERS = ["a cat sat on the mat today", "no idea at all", "", "今天天气不错"]
TARGETS = ["the cat sat on the mat", "no idea at all", "something", "今天天气很好"]


def test_the_scores_are_those_of_the_libraries() -> None:
    found = free_text.items(ANSWERS, TARGETS)
    cut = [[*ANSWERS[:3], "今天天气 不错"], [*TARGETS[:3], "今天天气 很 好"]]
    assert [free_text.spaced(each[3]).split() for each in (ANSWERS, TARGETS)] == [each[3].split() for each in cut]
    assert free_text.metrics(found) == pytest.approx(
        {
            "rouge_l": (10 / 13 + 1 + 0 + 2 / 5) / 4,
            "exact_match": 1 / 4,
            "bleu": sacrebleu.corpus_bleu(cut[0], [cut[1]]).score / 100,
            "chrf": sacrebleu.corpus_chrf(ANSWERS, [TARGETS]).score / 100,
        }
    )


def test_rouge_knows_other_scripts() -> None:
    assert free_text.items(["Это кошка"], ["это собака"])["rouge_l"] == [[0.5]]


def test_a_draw_is_scored_as_the_set_that_it_is() -> None:
    found = free_text.items(ANSWERS, TARGETS)
    drawn = [1, 1, 0, 3]
    weights = np.bincount(drawn, minlength=4)[None].astype(float)
    same = free_text.items([ANSWERS[at] for at in drawn], [TARGETS[at] for at in drawn])
    for metric in free_text.METRICS:
        assert free_text.score(metric, found[metric], weights) == pytest.approx(free_text.score(metric, same[metric]))


CHAT = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}, {"from": "human", "value": "And?"}]
FORMS = {
    "alpaca": ({"instruction": "Translate.", "input": "Katze", "output": "cat"}, ("Translate.", "Katze", "cat")),
    "alpaca without input": ({"instruction": "Say hi.", "input": "", "output": "hi"}, ("", "Say hi.", "hi")),
    "sharegpt": ({"conversations": [{"from": "system", "value": "Be kind."}, *CHAT]}, ("Be kind.", "Hello", "Hi")),
    "sharegpt with a column": ({"system": "Be kind.", "conversations": CHAT}, ("Be kind.", "Hello", "Hi")),
    "sharegpt from its middle": ({"conversations": [CHAT[1], *CHAT]}, ("", "Hello", "Hi")),
    "openai": (
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]},
        ("", "Hello", "Hi"),
    ),
    "two columns": ({"text": "Hello", "label": "Hi"}, ("", "Hello", "Hi")),
}


@pytest.fixture
def built(given: Callable[..., Settings], folder: Path) -> Callable[..., Path]:
    """Return ``built(rows, **settings)``, which builds data of these rows and returns their folder."""

    def build(rows: list[dict[str, Any]], name: str = "rows.jsonl", **values: str) -> Path:
        path = folder / name
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        else:
            path.write_text("\n".join(map(json.dumps, rows)))
        usual = {"TASK": "generation", "TRAIN_FILE": str(path), "SIZES": "2", "TEST_COUNT": "1", "VALID_COUNT": "1"}
        given(**usual | values)
        build_data.main([])
        return folder / "data"

    return build


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_an_instruction_an_input_and_an_output(built, form: str, name: str) -> None:
    row, (instruction, text, output) = FORMS[form]
    rows = [json.loads(json.dumps(row).replace(text, f"{text} {number}")) for number in range(5)]
    folder = built(rows, name)
    found = [each for path in folder.glob("llm_*.json") for each in json.loads(path.read_text())]
    assert sorted(found, key=lambda each: each["input"])[0] == {
        "instruction": instruction,
        "input": f"{text} 0",
        "output": output,
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["task"], manifest["labels"]) == ("generation", [])


def test_rows_that_cannot_be_learned_from_are_left_out(built, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"instruction": "Add.", "input": f"{n} + 1", "output": str(n + 1)} for n in range(6)]
    built([*rows, rows[0], {"instruction": "Add.", "input": "9 + 1", "output": " "}, rows[1] | {"instruction": "Sum."}])
    out, err = capsys.readouterr()
    assert err == (
        "warning: train: 1 without an answer, left out (row 8)\n"
        "warning: train: 1 with the text of an earlier row, left out (row 7)\n"
    )
    assert out.splitlines()[:4] == [
        "split               rows",
        "llm_train_2            2",
        "llm_valid              1",
        "llm_test               1",
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"conversations": "Hello"}], 'row 1 (line 1): the conversation is no list of {"from": ..., "value": ...}'),
        (
            [{"conversations": [{"from": "narrator", "value": "x"}]}],
            "row 1 (line 1): a turn from 'narrator'; known are",
        ),
        ([{"instruction": 3, "output": "x"}], "row 1 (line 1): instruction is not a string but 3"),
        ([{"text": "x", "label": 3}], "row 1 (line 1): the answer is not a string but 3; is LABEL_COLUMN right?"),
    ],
)
def test_bad_rows_are_named(built, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        built([*rows, *rows])


def test_what_is_of_labels_is_refused_or_left_out(built, given, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="TARGET_F1, CONSTRAIN: of labels, which TASK=generation has none of; unset it"):
        built([FORMS["alpaca"][0]], TARGET_F1="0.9", CONSTRAIN="1")
    settings = given(TASK="generation", SIZES="2", METHODS="auto")
    assert runs.methods(settings) == ("zero-shot", "lora")
    assert data_quality.main([]) == 0
    given(TASK="generation", SIZES="2", METHODS="lora tfidf")
    assert baseline.main(["tfidf"]) == 0
    out, err = capsys.readouterr()
    assert out == "data quality: left out: TASK=generation has no labels to check\n"
    assert err == f"tfidf: left out: {runs.NO_TEXT}\n"


@pytest.fixture
def sweep(built, given, folder: Path) -> Settings:
    """A sweep whose larger adapter gives the better answers."""
    rows = [{"instruction": "Say it.", "input": f"text {n}", "output": f"it is about {n} {n + 1}"} for n in range(60)]
    values = {"TASK": "generation", "SIZES": "2 8 20", "METHODS": "lora zero-shot", "TEST_COUNT": "30"}
    built(rows, **values)
    settings = given(**values, SPLIT="test")
    data = questions.load(folder / "data", "test")
    for run in runs.evaluations(settings):
        files = EvaluationFiles(run)
        log = PredictionLog(files.predictions, run.head(predictions.KIND) | {"identity": "i" * 64})
        for index, item in enumerate(data.items):
            good = index < (run.size or 0)
            log.append(Prediction(index, item.output if good else "", item.output, 0.1, cut=not good and not index))
        log.close()
        rest = {"timings": {"seconds": 1.0}, "identity": "e" * 64}
        evaluated.write(run, data, log, files, {}, {}, rest)
    return settings


def test_the_record_and_the_scores_of_the_items(capsys: pytest.CaptureFixture[str], sweep: Settings) -> None:
    run = runs.named(sweep, "x-llm_train_20")
    found = json.loads(run.result(".json").read_text())
    assert found["counts"] == {"items": 30, "correct": 20, "empty": 10, "cut_by_max_tokens": 0}
    assert found["metrics"]["rouge_l"] == found["metrics"]["exact_match"] == pytest.approx(2 / 3)
    assert "bleu" in found["signatures"]
    items = json.loads(run.result(".item_scores.json").read_text())
    assert [each[0] for each in items["items"]["rouge_l"]] == [1.0] * 20 + [0.0] * 10
    assert not run.result(".pkl").exists()
    said = capsys.readouterr().out
    assert "size 20: ROUGE-L 0.6667, exact match 0.6667, BLEU " in said
    assert "zero-shot: warning: answers that MAX_TOKENS cut off: 1; they count as they are, raise it\n" in said
    with pytest.raises(UserError, match=r"corrupt record: metrics.exact_match is not correct / items"):
        parse(run.result(".json"), found | {"counts": found["counts"] | {"correct": 7}}, run)


def test_the_answer_and_all_that_is_shown_lead_with_rouge(sweep: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert see_results.main(["--no-plots"]) == 0
    folder = Path(sweep["OBJS_DIR"]) / "x"
    answer = json.loads((folder / "answer.json").read_text())
    assert (answer["metric"], answer["use"]) == ("rouge_l", "lora")
    assert not {"chance", "target"} & set(answer)
    last = answer["methods"]["lora"]["points"][-1]
    assert set(free_text.METRICS) < set(last)
    assert last["rouge_l"]["low"] < 2 / 3 < last["rouge_l"]["high"]
    assert "per_class" not in last
    out = capsys.readouterr().out
    assert "lora has ROUGE-L 0.667" in out
    assert "        N  ROUGE-L  exact match   BLEU   chrF  items  seconds  items/s\n" in out
    header, *rows = (folder / "results.csv").read_text().splitlines()
    assert header.startswith("name,run,method,size,seed,split,rouge_l,exact_match,bleu,chrf,exact_matches,empty,items,")
    assert len(rows) == 4
    text = (folder / "report.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.M)[:5] == [
        *("Learning curve", "What it costs", "Scores by number of examples", "Answers", "Training losses")
    ]
    assert "**chrF by number of examples.**" in text
    (labels,) = (line for line in text.splitlines() if "label" in line)
    assert labels.startswith("Not shown, for free text has no labels: labels one by one")
    assert "label" not in answer["sentence"] + json.dumps(answer["methods"]["lora"].get("refused", ""))
    assert "with 20 examples" in answer["sentence"]
    assert re.search(r"\| 0.000 \| text \d+ \| it is about \d+ \d+ \|  \|", text)


def test_all_pictures_but_confusions(sweep: Settings) -> None:
    see_results.main([])
    pictures = {path.name for path in (Path(sweep["OBJS_DIR"]) / "x").glob("*.svg")}
    assert pictures == {"learning_curve.svg", "radar.svg"}
    drawn = (Path(sweep["OBJS_DIR"]) / "x/learning_curve.svg").read_text()
    assert "ROUGE-L and chrF by number of training examples" in drawn
    assert "largest class" not in drawn


def test_labels_and_free_text_do_not_compare(sweep: Settings, given) -> None:
    path = Path(sweep["OBJS_DIR"]) / "y-zero-shot.json"
    head = runs.zero_shot(sweep.but(SWEEP_NAME="y")).head("evaluation") | {"split": "test"}
    path.write_text(json.dumps(head | evaluated.findings(["a"], ["a"], ["a", "b"], 0, 42)))
    with pytest.raises(UserError, match="some of these sweeps are of labels and some of free text"):
        see_results.main(["--run", "y"])


def test_item_scores_that_are_not_the_records_are_told(sweep: Settings) -> None:
    path = runs.named(sweep, "x-llm_train_8").result(".item_scores.json")
    path.write_text(path.read_text().replace("e" * 64, "f" * 64))
    see_results.main(["--no-plots"])
    answer = json.loads((Path(sweep["OBJS_DIR"]) / "x/answer.json").read_text())
    assert answer["absent"] == f"{path}: not the scores of the record's items; bin/eval.sh makes them again"


def test_the_summary_says_rouge(sweep: Settings) -> None:
    metrics = summary._metrics(runs.named(sweep, "x-llm_train_20"))["metrics"]
    assert summary._done({"metrics": metrics}).startswith("ROUGE-L 0.667, chrF 0.")


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """100 draws of 60 items from a population of 2000, three seeds: the 95 % interval of each metric."""
    rng = np.random.default_rng(0)
    targets = [" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(2000)]
    answers = [" ".join(w if rng.random() < 0.6 else "z" for w in target.split()) for target in targets]
    found = free_text.items(answers, targets)
    held = dict.fromkeys(("rouge_l", "bleu", "chrf"), 0)
    for _ in range(100):
        chosen = rng.choice(2000, 60)
        weights = rng.multinomial(60, np.full(60, 1 / 60), size=200).astype(float)
        for metric in held:
            low, high = np.quantile(free_text.score(metric, found[metric][chosen], weights), [0.025, 0.975])
            held[metric] += bool(low <= free_text.score(metric, found[metric]) <= high)
    assert all(85 <= count <= 100 for count in held.values()), held


def test_the_law_and_the_tests_work_in_rouge() -> None:
    rng = np.random.default_rng(1)

    def cell(share: float) -> texts.TextCell:
        targets = [f"alpha beta gamma delta {number}" for number in range(200)]
        seeds = []
        for _ in range(3):
            answers = [" ".join(word if rng.random() < share else "x" for word in target.split()) for target in targets]
            seeds.append(free_text.items(answers, targets))
        return texts.TextCell({name: np.stack([each[name] for each in seeds]) for name in free_text.METRICS})

    sizes = (64, 128, 256, 512)
    cells = {size: cell(0.9 - 4 / size**0.5) for size in sizes}
    seconds = {size: {"gpu": 1.0, "cpu": 0.0, "evaluation": 0.5} for size in sizes}
    answer = decision.decide([Curve("lora", sizes, (0, 1, 2), cells, seconds)], [], "rouge_l", target=0.6)
    expected = answer["methods"]["lora"]["expected"]["2x"]
    assert expected["low95"] < 0.9 - 4 / 1024**0.5 < expected["high95"]
    assert answer["methods"]["lora"]["target"]["reached_from"] == 256
    assert {each["test"] for each in answer["comparisons"]} == {"paired bootstrap"}
    assert all(each["corrected"] < 0.05 for each in answer["comparisons"])
