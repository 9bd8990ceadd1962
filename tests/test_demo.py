"""The page of bin/demo.sh without a browser: files, methods that learn again, its server, what it says."""

from __future__ import annotations

import json
import os
import string
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import demo
from fewshot_sft import runs
from fewshot_sft.demo import labelling, model_server, session, uploads
from fewshot_sft.demo.model_server import ModelServer
from fewshot_sft.errors import UserError
from fewshot_sft.evaluation.questions import EvaluationSet, Item
from fewshot_sft.jsonio import sha256_file, write_json
from fewshot_sft.methods import Task, embedding, encoders, tfidf
from fewshot_sft.serving.client import Unanswered
from fewshot_sft.settings import Settings

pytest.importorskip("streamlit", reason="streamlit is not installed (bin/setup.sh demo)")
import streamlit
from streamlit.testing.v1 import AppTest

DEMO = Path(model_server.__file__).parent
LABELS = ("Animals", "Plants")
ROWS = [(f"a text about {label.lower()} number {n}", label) for n in range(8) for label in LABELS]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", "text,label\none, Animals \ntwo,\n", (["one", "two"], ["Animals", None])),
        ("a.csv", 'text\n"one\nand more"\n', (["one\nand more"], [None])),
        ("a.txt", "one\n\n 二, und drei \r\n", (["one", "二, und drei"], [None, None])),
        ("a.jsonl", '{"text": "one", "label": 1}', (["one"], ["1"])),
    ],
)
def test_the_texts_of_a_file(name, content, found):
    assert uploads.uploaded(name, content.encode(), Settings({})) == found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "words\none\n", 'a.csv: no column "text"; the columns are "words"; name one with TEXT_COLUMN=...'),
        ("../a.json", '[{"text": " "}]', "../a.json: no texts in the file"),
        ("a.txt", "x\n" * 201, "a.txt: 201 texts; give 200 at most, or use docs/langchain.md for whole files"),
        ("a.txt", "", "a.txt: the file is empty"),
        ("a.txt", "x\n" + "y" * 20_001, "a.txt: a text of 20,001 characters; give 20,000 at most"),
    ],
)
def test_a_file_that_is_no_use(name, content, message):
    with pytest.raises(UserError) as error:
        uploads.uploaded(name, content.encode(), Settings({}))
    assert str(error.value) == message


class Encoder:
    """Vectors that tell animals from plants."""

    tokenizer = None

    def encode(self, some: list[str], **_: Any) -> np.ndarray:
        return np.array([[text.count("a"), text.count("p"), len(text)] for text in some], dtype=float)


@pytest.mark.parametrize("method", [tfidf, embedding])
def test_what_has_learnt_answers_as_in_the_sweep(method, monkeypatch):
    monkeypatch.setattr(encoders, "load", lambda *_: Encoder())
    task = Task([text for text, _ in ROWS], [label for _, label in ROWS], ["about animals", "x"], LABELS, 0)

    (expected,) = method.answer([task], Settings({}))
    learnt = method.learn(task, Settings({}))
    found = [learnt(task.asked), learnt(task.asked[:1])]

    assert found[0].answers == expected.answers
    assert np.allclose(found[0].probabilities, expected.probabilities)
    assert np.allclose(found[1].probabilities, expected.probabilities[:1])


def test_all_words_are_there_in_both_languages():
    english, chinese = (json.loads((DEMO / f"words/{each}.json").read_text()) for each in ("en", "zh"))

    assert list(english) == list(chinese)
    for key, text in english.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(each) if name} for each in (text, chinese[key])]
        assert fields[0] == fields[1], key
    source = (DEMO / "page.py").read_text()
    assert [key for key in english if key not in source and not key.startswith(("tab.", "column."))] == []


SERVE = """#!/bin/bash
# As bin/serve.sh; the run x-llm_train_4 does not get ready, x-llm_train_8 cannot.
trap 'echo "$1 ended" >>"$NOTES"; exit 143' TERM
echo "$@ started $$" >>"$NOTES"
case $1 in
*_4) read <>"$FIFO" ;;
*_8) echo 'error: size 8: not evaluated' >&2; exit 2 ;;
esac
printf 'url:    http://127.0.0.1:9/v1\\nkey:    secret\\nmodels: %s\\nCtrl-C ends it.\\n' "$*"
read <>"$FIFO"
"""


@pytest.fixture
def server(given, folder, monkeypatch):
    """A server of the page whose bin/serve.sh is SERVE; and the runs 2, 4, 8, 16."""
    (folder / "bin").mkdir()
    (folder / "bin/serve.sh").write_text(SERVE)
    os.mkfifo(folder / "fifo")
    monkeypatch.setattr(model_server, "PROJECT", folder)
    monkeypatch.setenv("NOTES", str(folder / "notes"))
    monkeypatch.setenv("FIFO", str(folder / "fifo"))
    settings = given(SIZES="2 4 8 16", STOP_TIMEOUT="1")
    (folder / "logs").mkdir()
    made = ModelServer(settings)
    yield made, {run.size: run for run in runs.trainings(settings)}, folder / "notes"
    made.close()


def notes(path: Path) -> list[str]:
    return [
        line.rpartition(" started")[0] + " started" if "started" in line else line
        for line in path.read_text().split("\n")[:-1]
    ]


def test_one_server_at_a_time_which_serves_as_long_as_it_is_wanted(server):
    made, of, noted = server
    for size in (2, 2, 16):
        with made.serving(of[size], []) as address:
            assert address == ("http://127.0.0.1:9/v1", "secret")
        assert made.serves(of[size], [])
    made.close()

    assert notes(noted) == [
        "x-llm_train_2 started",
        "x-llm_train_2 ended",
        "x-llm_train_16 started",
        "x-llm_train_16 ended",
    ]
    assert "secret" not in made.log.read_text()


def test_why_a_server_does_not_start_and_the_next_one_does(server):
    made, of, _ = server
    with pytest.raises(UserError, match=r"^size 8: not evaluated$"), made.serving(of[8], []):
        pass
    assert not made.serves(of[8], [])
    with made.serving(of[2], []):
        pass


def test_one_that_is_not_ready_is_ended_with_the_page(server):
    made, of, noted = server
    failed: list[UserError] = []

    def ask() -> None:
        try:
            with made.serving(of[4], []):
                pass
        except UserError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not noted.exists() or not noted.read_text():
        thread.join(0.02)
    made.close()
    thread.join()

    assert [str(each) for each in failed] == [f"the server did not start; see {made.log}"]
    assert notes(noted) == ["x-llm_train_4 started", "x-llm_train_4 ended"]


def test_all_adapters_with_vllm(server, given):
    _, _, noted = server
    settings = given(SIZES="2 16", SERVER="vllm")
    several = runs.trainings(settings)
    made = ModelServer(settings)
    for run in several:
        with made.serving(run, [*several, *runs.trainings(settings.but(SWEEP_NAME="y"))]):
            pass
    made.close()
    assert notes(noted)[0] == "x-llm_train_2 x-llm_train_16 started"
    assert notes(noted)[1:] == ["x-llm_train_2 ended"]


def test_a_model_of_several_is_served_with_the_settings_of_its_sweep(server, folder):
    made, of, _ = server
    (folder / "bin/serve.sh").write_text(
        SERVE.replace("secret", "%s").replace('"$*"', '"${FEWSHOT_SETTINGS##*/}" "$*"')
    )
    its = of[2].settings.but(SWEEP_NAME="x-one")
    for run, file in ((of[2], "settings.json"), (runs.trainings(its)[0], its.kept.name)):
        with made.serving(run, []) as (_, key):
            assert key == file


@pytest.fixture
def page(folder, monkeypatch):
    """The page of a made sweep with tfidf and one adapter, whose server does not start."""
    values = {f"{name.upper()}_DIR": str(folder / name) for name in ("data", "saves", "logs", "objs")}
    settings = Settings(
        values | {"SWEEP_NAME": "x", "MODEL_NAME": "base", "SIZES": "16", "SEEDS": "42 7", "METHODS": "lora tfidf"}
    )
    run = runs.trainings(settings)[0]
    rows = [{"instruction": "Choose.", "input": f"Classify:\n{text}", "output": label} for text, label in ROWS]
    for path in (run.data_file, settings.data_dir / "llm_test.json"):
        write_json(path, rows)
    splits = {"llm_test": {"sha256": sha256_file(path)}}
    write_json(
        settings.data_dir / "manifest.json",
        {"labels": LABELS, "document_prefix": "Classify:\n", "splits": splits, "sizes": [16]},
    )
    write_json(run.adapter / "training.json", {"status": "done"})
    streamlit.cache_data.clear()
    streamlit.cache_resource.clear()

    def ask_served(*_: Any) -> None:
        raise UserError("there is <b>no</b> server")

    monkeypatch.setattr(labelling, "ask_served", ask_served)
    session.begin(settings)
    yield AppTest.from_file(str(DEMO / "page.py"), default_timeout=60).run()
    session.shared().server.close()


def test_a_run_that_fails_is_told_and_the_others_answer(page):
    page.text_area(key="text.en").input(" plants number 3\n").run()
    page.button[0].click().run()

    assert [each.value for each in page.error] == ["lora, N = 16, seed 42: there is \\<b\\>no\\</b\\> server"]
    assert page.multiselect(key="runs.en").value == ["x-llm_train_16", "x-tfidf_16"]
    said = [each.value for each in page.markdown]
    assert "**Plants**" in said
    assert any(each.startswith("probability 0.") and each.endswith(" ms") for each in said)
    (row,) = page.session_state.history
    assert {key: row[key] for key in ("run", "text", "true", "label")} == {
        "run": "x-tfidf_16",
        "text": "plants number 3",
        "true": "",
        "label": "Plants",
    }
    assert not page.exception


def test_the_history_for_a_spreadsheet_has_no_formulas(page, monkeypatch):
    files = []
    monkeypatch.setattr(streamlit, "download_button", lambda *args, **_: files.append(args[1].decode("utf-8-sig")))
    page.multiselect(key="runs.en").set_value(["x-tfidf_16"])
    page.text_area(key="text.en").input("=1+1, plants").run()
    page.button[0].click().run()

    assert """,x-tfidf_16,"'=1+1, plants",,Plants,""" in files[-1]


def test_the_runs_of_several_models_side_by_side(page, monkeypatch):
    settings = session.shared().settings
    for model, methods in (("one", "lora tfidf"), ("two", "lora")):
        its = settings.but(SWEEP_NAME=f"x-{model}", MODEL_NAME=model, METHODS=methods, SEEDS="42")
        its.write(its.kept)
        write_json(runs.trainings(its)[0].adapter / "training.json", {"status": "done"})
    asked = []

    def ask_served(run, *_: Any) -> list[labelling.Said]:
        asked.append(run.name)
        return [labelling.Said("Plants", "Plants", None, 0.1)]

    monkeypatch.setattr(labelling, "ask_served", ask_served)
    session.begin(settings.but(MODELS="one two three"))
    page = AppTest.from_file(str(DEMO / "page.py"), default_timeout=60).run()
    found = page.multiselect(key="runs.en")
    assert found.options == [
        *("one: zero-shot (base model)", "one: lora, N = 16", "tfidf, N = 16"),
        *("two: zero-shot (base model)", "two: lora, N = 16"),
    ]
    found.set_value(["x-two-llm_train_16", "x-one-tfidf_16", "x-one-llm_train_16", "x-two-zero-shot"])
    page.text_area(key="text.en").input("plants number 3").run()
    page.button[0].click().run()

    assert asked == ["x-one-llm_train_16", "x-two-llm_train_16", "x-two-zero-shot"]
    shown = ["two: lora, N = 16", "tfidf, N = 16", "one: lora, N = 16", "two: zero-shot (base model)"]
    assert [each.value for each in page.caption if each.value in shown] == shown
    assert not page.exception


def test_several_models_of_which_none_has_begun(given, folder):
    message = rf"^{folder}/logs/x-one.settings.json: no such file; run bin/sweep.sh with the same MODELS first$"
    with pytest.raises(UserError, match=message):
        session.begin(given(MODELS="one two"))


def test_free_text_has_no_labels_to_compare(given):
    given(TASK="generation")
    with pytest.raises(
        UserError, match=r"^TASK=generation: the page compares labels; talk to a run with bin/chat\.sh$"
    ):
        demo.main([])


def test_what_is_missing_is_said_in_the_chosen_language(page):
    page.button[0].click().run()
    assert [each.value for each in page.warning] == ["Give a text first."]
    page.text_area(key="text.en").input("x").run()
    page.session_state.language = "zh"
    page.run()
    assert page.multiselect(key="runs.zh").value == ["x-llm_train_16", "x-tfidf_16"]
    assert page.text_area(key="text.zh").value == "x"
    page.multiselect(key="runs.zh").set_value([]).run()
    page.button[0].click().run()
    assert [each.value for each in page.warning] == ["请至少选择一个运行。"]
    assert page.title[0].value == "属于哪个标签？"
    assert not page.exception


def test_an_answer_outside_the_labels(page, monkeypatch):
    outside = labelling.Said(None, "I *think* so", None, 0.25)
    monkeypatch.setattr(labelling, "ask_served", lambda *_: [outside])
    page.text_area(key="text.en").input("x").run()
    page.multiselect(key="runs.en").set_value(["x-llm_train_16"]).run()
    page.button[0].click().run()

    assert [each.value for each in page.markdown] == ["**outside the labels**", "250 ms"]
    assert "it said: I \\*think\\* so" in [each.value for each in page.caption]


def test_a_text_that_is_too_long(page):
    page.text_area(key="text.en").input("x" * 20_001).run()
    assert [each.value for each in page.error] == ["The text has 20,001 characters; give 20,000 at most."]


def test_a_server_that_does_not_answer_is_ended_and_the_next_question_starts_another(server, folder, monkeypatch):
    made, of, noted = server

    async def ask(*_: Any) -> None:
        raise Unanswered("no answer after 120 s")

    monkeypatch.setattr(labelling.ChatClient, "ask", ask)
    data = EvaluationSet(folder, [Item("Choose.", "x", "Plants")], list(LABELS), "")
    for _ in range(2):
        with pytest.raises(UserError) as error:
            labelling.ask_served(of[2], made, [], data, ["x"], lambda share: None)
        assert (
            str(error.value)
            == f"no answer after 120 s; its server starts anew when it is asked again (log: {made.log})"
        )
    assert notes(noted) == ["x-llm_train_2 started", "x-llm_train_2 ended"] * 2
