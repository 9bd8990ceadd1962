"""The morning summary: only this night counts, a failed run never looks finished, and a person can read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import baseline
import summarize
from fewshot_sft import runs
from fewshot_sft.methods import Unavailable
from fewshot_sft.outcomes import outcomes
from fewshot_sft.outcomes.outcomes import begin, finish
from fewshot_sft.runs import Run
from fewshot_sft.settings import Settings
from fewshot_sft.words import display_width, duration, one_line

PY = Path(__file__).resolve().parents[1] / "py"
NOW = 1_767_323_045.0  # 2026-01-02 03:04:05 UTC
OOM = (
    "CUDA out of memory; with MICRO_BATCH=1 CHECKPOINTING=1, or TRAIN_JOBS=1 OVERLAP=0, the same needs less; "
    "or lower CUTOFF_LEN, or set QUANTIZATION=4"
)


class Night:
    """One night's outcomes and records, and the summary of them. A run is told by its size, None is zero-shot."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, given: Callable[..., Settings]) -> None:
        self.now = NOW
        self.folder, self.objs = root / "tiny.outcomes", root / "objs"
        self.objs.mkdir()
        self.given = given
        monkeypatch.setattr(outcomes, "_now", lambda: datetime.fromtimestamp(self.now, UTC))
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setenv("FEWSHOT_OUTCOMES", str(self.folder))

    def settings(self, **more: object) -> dict[str, str]:
        given = {"SWEEP_NAME": "tiny", "MODEL_NAME": "tiny", "METHODS": "lora", "OBJS_DIR": self.objs} | more
        return {name: str(value) for name, value in given.items()}

    def run(self, size: int | None, split: str = "test", method: str = runs.LORA) -> Run:
        method = runs.ZERO_SHOT if size is None else method
        return Run("tiny", method, size, 42 if size else None, Settings(self.settings(SPLIT=split)))

    def step(self, step: str, state: str, size: int | None = None, seconds: float = 0, **more: Any) -> None:
        """A step begins, of a run with ``size`` or ``run``, and unless it is to be "running", ends so much later."""
        run = more.get("run", self.run(size).name if size else None)
        begin(self.folder, step, run, more.get("log"))
        self.now += seconds
        if state != "running":
            finish(self.folder, step, state, run, more.get("reason"))

    def done(self, size: int | None, training: str = "done", evaluation: str = "done") -> None:
        """A run that is done, with its record."""
        if size:
            self.step("training", training, size, 34)
        self.step("evaluation", evaluation, None, 14, run=self.run(size).name)
        self.record(size)

    def record(self, size: int | None, split: str = "test", method: str = runs.LORA, **changes: Any) -> Path:
        """The record of an evaluation: 3 of 4 right."""
        run = self.run(size, split, method)
        record = {
            "schema": 2,
            "kind": "evaluation",
            **run.fields,
            "split": split,
            "labels": ["a", "b"],
            "counts": {
                "items": 4,
                "correct": 3,
                "in_labels": 4,
                "not_in_labels": 0,
                "per_class": {"a": {"items": 2}, "b": {"items": 2}},
            },
            "confusion": {"matrix": [[2, 0, 0], [1, 1, 0]]},
            "metrics": {"accuracy": 0.75, "precision": 0.8333, "recall": 0.75, "f1": 0.7333},
        } | changes
        path = run.result(".json")
        path.write_text(json.dumps(record), encoding="utf-8")
        return path

    def summarize(self, sizes: str = "100 500", status: int = 0, **settings: object) -> dict[str, Any]:
        self.given(**self.settings(SIZES=sizes, **settings))
        assert summarize.main(["--status", str(status), "--started", str(int(NOW))]) == 0
        return json.loads((self.objs / "tiny/summary.json").read_text(encoding="utf-8"))

    @property
    def text(self) -> str:
        return (self.objs / "tiny/summary.txt").read_text(encoding="utf-8")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@pytest.fixture
def night(folder: Path, monkeypatch: pytest.MonkeyPatch, given: Callable[..., Settings]) -> Night:
    return Night(folder, monkeypatch, given)


def of_run(size: int) -> dict[str, Any]:
    run = {"run": f"tiny-llm_train_{size}", "name": "tiny", "model": "tiny", "method": "lora", "size": size, "seed": 42}
    return run | {"caption": f"N = {size}"}


def test_a_night_with_everything_in_it(night: Night, capsys: pytest.CaptureFixture[str]) -> None:
    night.step("data", "done", seconds=2)
    night.done(100)
    night.step("training", "failed", 500, 187, log="logs/t500.log", reason=OOM)
    night.step("evaluation", "failed", 500, 1, reason="size 500: not evaluated, its training failed")
    night.now = NOW + 15_120

    found = night.summarize("100 500 1000", 1)

    assert night.text == capsys.readouterr().out
    assert night.lines == [
        "sweep tiny: 1 of 3 runs done, 1 failed, 1 not run (status 1, 4 h 12 min)",
        "  N = 100   done     accuracy 0.750, macro F1 0.733 (trained in 34 s, evaluated in 14 s)",
        "  N = 500   FAILED   training: CUDA out of memory; with MICRO_BATCH=1 CHECKPOINTING=1, or TRAIN_JOBS=1 "
        "OVERLAP=0, the same needs less; or lower CUTOFF… (after 3 min 07 s; log: logs/t500.log)",
        "  N = 1000  not run",
        "to go on: the same command again",
    ]
    assert found == {
        "schema": 2,
        "kind": "summary",
        "name": "tiny",
        "split": "test",
        "status": 1,
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T07:16:05+00:00",
        "seconds": 15_120,
        "counts": {"runs": 3, "done": 1, "left_out": 0, "failed": 1, "interrupted": 0, "unknown": 0, "not_run": 1},
        "runs": [
            of_run(100)
            | {
                "state": "done",
                "training": {"state": "done", "seconds": 34},
                "evaluation": {"state": "done", "seconds": 14},
                "metrics": {"accuracy": 0.75, "precision": 0.8333, "recall": 0.75, "f1": 0.7333},
                "record": str(night.objs / "tiny-llm_train_100.json"),
            },
            of_run(500)
            | {
                "state": "failed",
                "step": "training",
                "reason": OOM,
                "log": "logs/t500.log",
                "training": {"state": "failed", "seconds": 187, "reason": OOM, "log": "logs/t500.log"},
                "evaluation": {
                    "state": "failed",
                    "seconds": 1,
                    "reason": "size 500: not evaluated, its training failed",
                },
            },
            of_run(1000) | {"state": "not run"},
        ],
        "steps": [{"step": "data", "state": "done", "seconds": 2}],
    }


def test_all_done(night: Night) -> None:
    night.done(None)
    night.done(100, "skipped")
    night.done(500, "skipped", "skipped")
    night.step("results", "done")
    for name in ("learning_curve.png", "report.html", "results.csv"):
        (night.objs / "tiny").mkdir(exist_ok=True)
        (night.objs / "tiny" / name).write_text("x")

    found = night.summarize("100 500", 0, METHODS="lora zero-shot")

    assert night.lines == [
        "sweep tiny: 3 of 3 runs done (status 0, 1 min 50 s)",
        "  zero-shot  done  accuracy 0.750, macro F1 0.733 (evaluated in 14 s)",
        "  N = 100    done  accuracy 0.750, macro F1 0.733 (trained before, evaluated in 14 s)",
        "  N = 500    done  accuracy 0.750, macro F1 0.733 (trained and evaluated before)",
        f"results: {night.objs}/tiny/report.html, {night.objs}/tiny/learning_curve.png, {night.objs}/tiny/results.csv",
    ]
    assert found["runs"][2]["training"] == {"state": "skipped"}


@pytest.mark.parametrize("state", ["done", "skipped", "no GPU"])
def test_the_plans_estimate_stands_beside_what_it_took(night: Night, folder: Path, state: str) -> None:
    night.given(**night.settings())
    plan = Settings.read().logs_dir / "tiny.plan.json"
    plan.parent.mkdir(exist_ok=True)
    plan.write_text(json.dumps({"seconds": 51.7}))
    night.done(100, "skipped" if state == "skipped" else "done")
    night.done(500)
    found = night.summarize(DEVICE="cpu" if state == "no GPU" else "gpu")
    assert found.get("plan") == ({"estimated_seconds": 52, "seconds": 96.0} if state == "done" else None)


def test_an_earlier_nights_records_are_not_this_ones(night: Night) -> None:
    for size in (None, 100, 500):
        night.record(size)
    (night.objs / "tiny").mkdir()
    (night.objs / "tiny/results.csv").write_text("of yesterday")
    night.step("training", "done", 100, 34)
    night.step("results", "failed", reason="no")

    found = night.summarize("100 500", 2, METHODS="lora zero-shot")

    assert found["counts"] | {"runs": 0} == {"runs": 0, "not_run": 3} | dict.fromkeys(
        ("done", "left_out", "failed", "interrupted", "unknown"), 0
    )
    assert [each["run"] for each in found["runs"]] == ["tiny-zero-shot", "tiny-llm_train_100", "tiny-llm_train_500"]
    assert found["runs"][1] == of_run(100) | {
        "state": "not run",
        "reason": "trained, not evaluated",
        "training": {"state": "done", "seconds": 34},
    }
    assert "results" not in found
    assert "metrics" not in night.text + json.dumps(found)
    assert "results.csv" not in night.text


def test_a_training_that_failed_is_not_made_good_by_an_old_evaluation(night: Night) -> None:
    night.step("training", "failed", 100, reason="size 100: data/llm_train_100.json is missing")
    night.step("evaluation", "skipped", 100)
    night.record(100)

    found = night.summarize("100", 1)

    assert found["runs"][0]["state"] == "failed"
    assert "metrics" not in found["runs"][0]
    assert night.lines[1] == "  N = 100  FAILED  training: data/llm_train_100.json is missing (after 0 s)"


@pytest.mark.parametrize(("status", "signal"), [(130, "INT"), (143, "TERM"), (129, "HUP")])
def test_a_night_that_was_interrupted(night: Night, status: int, signal: str) -> None:
    night.done(100)
    night.step("training", "running", 500, 720, log="logs/t500.log")

    found = night.summarize("100 500 1000", status)

    assert found["ended_by"] == signal
    assert found["counts"]["interrupted"] == 1
    assert night.lines == [
        f"sweep tiny: 1 of 3 runs done, 1 interrupted, 1 not run (ended by {signal}, 12 min 48 s)",
        "  N = 100   done         accuracy 0.750, macro F1 0.733 (trained in 34 s, evaluated in 14 s)",
        "  N = 500   interrupted  training (after 12 min 00 s; log: logs/t500.log)",
        "  N = 1000  not run",
        "to go on: the same command again",
    ]


def test_what_a_step_says_while_it_is_ended_is_no_reason(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.step("evaluation", "running", 100)
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(night.folder / "evaluation-tiny-llm_train_100.json"))
    outcomes.note_reason("incomplete, 3 of 9 items answered; the server is gone")

    assert "reason" not in night.summarize("100", 143)["runs"][0]
    # A script that ended without finishing its outcome: then it is the only one that knows.
    assert night.summarize("100", 2)["runs"][0]["reason"].startswith("incomplete, 3 of 9")
    assert "interrupted  evaluation: incomplete, 3 of 9 items answered; the server is gone" in night.text


@pytest.mark.parametrize("step", ["data", "base model", "preflight", "results", "training"])
def test_a_step_that_fails_as_a_whole(night: Night, step: str) -> None:
    night.step(step, "failed", None, 3, reason="the disk is full", log="logs/x.log")

    found = night.summarize("100", 2)

    assert found["stopped_at"] == step
    assert found["steps"] == [
        {"step": step, "state": "failed", "seconds": 3, "reason": "the disk is full", "log": "logs/x.log"}
    ]
    width = max(len(step), 7)
    assert night.lines == [
        "sweep tiny: 0 of 1 runs done, 1 not run (status 2, 3 s)",
        f"  {step:<{width}}  FAILED   the disk is full (after 3 s; log: logs/x.log)",
        f"  {'N = 100':<{width}}  not run",
        "to go on: the same command again",
    ]


def test_a_step_is_not_told_beside_its_runs(night: Night) -> None:
    night.step("training", "failed", reason="training failed: size 100")
    night.step("training", "failed", 100, reason="CUDA out of memory")

    assert "stopped_at" not in night.summarize("100", 1)
    assert len(night.lines) == 3


def test_a_folder_that_is_not_there(night: Night) -> None:
    assert [each["state"] for each in night.summarize("100", 2)["runs"]] == ["not run"]
    assert night.lines[0] == "sweep tiny: 0 of 1 runs done, 1 not run (status 2, 0 s)"


def test_seeds(night: Night) -> None:
    night.done(100)
    night.step("training", "failed", reason="size 100, seed 1: the loss is nan", run="tiny-llm_train_100-seed1")

    found = night.summarize("100", 1, SEEDS="42 1")

    assert [(each["run"], each["seed"]) for each in found["runs"]] == [
        ("tiny-llm_train_100", 42),
        ("tiny-llm_train_100-seed1", 1),
    ]
    assert night.lines[1:3] == [
        "  N = 100          done    accuracy 0.750, macro F1 0.733 (trained in 34 s, evaluated in 14 s)",
        "  N = 100, seed 1  FAILED  training: the loss is nan (after 0 s)",
    ]


def test_other_methods_share_a_line(night: Night) -> None:
    night.done(100)
    for size, f1 in ((100, 0.31), (500, 0.7333)):
        name = night.run(size, method="tfidf").name
        night.step("evaluation", "done", run=name)
        night.record(size, method="tfidf", metrics={"accuracy": 0.75, "precision": 0.1, "recall": 0.1, "f1": f1})
        night.step("evaluation", "left out", run=night.run(size, method="setfit").name, reason="no encoder")
    night.step("evaluation", "done", run=night.run(100, method="encoder").name)
    night.record(100, method="encoder")
    night.step("evaluation", "failed", run=night.run(500, method="encoder").name, reason="the disk is full")

    found = night.summarize(METHODS="lora tfidf encoder setfit llm-embedding")

    assert night.lines[0].startswith("sweep tiny: 4 of 10 runs done, 2 left out, 1 failed, 3 not run (")
    assert night.lines[1:] == [
        "  N = 100           done      accuracy 0.750, macro F1 0.733 (trained in 34 s, evaluated in 14 s)",
        "  N = 500           not run",
        "  tfidf             done      2 of 2 runs, macro F1 0.310 to 0.733",
        "  llm-embedding     not run   2 of 2 runs",
        "  encoder, N = 100  done      accuracy 0.750, macro F1 0.733 (evaluated in 0 s)",
        "  encoder, N = 500  FAILED    evaluation: the disk is full (after 0 s)",
        "  setfit            left out  2 of 2 runs: no encoder",
        "to go on: the same command again",
    ]
    assert found["runs"][-1]["reason"] == "no encoder"


def test_a_method_that_cannot_run_here_is_left_out(
    night: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("there is no encoder; name one with ENCODER")

    monkeypatch.setattr(baseline.without_server, "model_of", unavailable)
    monkeypatch.setenv("FEWSHOT_OUTCOME", "")  # so that it is put back
    night.given(**night.settings(SIZES="100 500", METHODS="setfit"))

    assert baseline.main(["setfit"]) == 0

    assert capsys.readouterr().err == "setfit: left out: there is no encoder; name one with ENCODER\n"
    night.summarize(METHODS="setfit")
    assert night.lines[0].startswith("sweep tiny: 0 of 2 runs done, 2 left out (status 0")
    assert night.lines[1:] == ["  setfit  left out  2 of 2 runs: there is no encoder; name one with ENCODER"]


def test_what_is_left_out_is_nothing_to_go_on_with(night: Night) -> None:
    night.done(100)
    night.step("evaluation", "left out", run=night.run(100, method="setfit").name, reason="no encoder")

    night.summarize("100", METHODS="lora setfit")

    assert night.lines[-1] == "  setfit, N = 100  left out  no encoder"


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ('{"sentence": "tfidf has 0.8."}', "tfidf has 0.8."),
        ('{"absent": "no method that learns from labels was measured"}', "no answer: no method that learns "),
        ("{", "  N = 100  done"),
        (None, "  N = 100  done"),
    ],
)
def test_the_answer_comes_first_when_it_is_of_this_night(night: Night, record: str | None, line: str) -> None:
    night.done(100)
    if record:
        (night.objs / "tiny").mkdir()
        (night.objs / "tiny/answer.json").write_text(record)

    assert "answer" not in night.summarize("100")
    night.step("results", "done")
    found = night.summarize("100")

    assert night.lines[1].startswith(line)
    assert found.get("answer", line).startswith(line)


def test_a_clock_that_was_set_back_measures_nothing(night: Night) -> None:
    night.step("training", "done", 100, -3600)
    night.step("evaluation", "done", 100)
    night.record(100)
    night.step("training", "running", 500, -3600)

    found = night.summarize("100 500", 143)

    assert night.lines[:3] == [
        "sweep tiny: 1 of 2 runs done, 1 interrupted (ended by TERM)",
        "  N = 100  done         accuracy 0.750, macro F1 0.733 (trained, evaluated in 0 s)",
        "  N = 500  interrupted  training",
    ]
    assert "seconds" not in found
    assert found["runs"][1]["training"] == {"state": "interrupted"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("{", "line 1: not valid JSON"),
        ("{}", "corrupt record: 'schema' is missing; move it away and evaluate that run again with bin/eval.sh"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_record_that_does_not_bear_out_its_outcome(night: Night, content: str | None, said: str) -> None:
    night.done(100)
    path = night.objs / "tiny-llm_train_100.json"
    path.unlink()
    if content is not None:
        path.write_text(content)

    run = night.summarize("100", 0)["runs"][0]

    assert (run["state"], run["step"]) == ("failed", "evaluation")
    assert run["reason"].startswith(f"it ended well, but its record does not tell: {path}: {said}")
    assert "metrics" not in run
    assert night.lines[0].startswith("sweep tiny: 0 of 1 runs done, 1 failed (status 0")
    assert night.lines[-1] == "to go on: the same command again"


def test_the_record_is_that_of_the_split(night: Night) -> None:
    night.done(100)
    night.record(100, "valid", metrics={"accuracy": 0.75, "precision": 0.1, "recall": 0.1, "f1": 0.125})

    run = night.summarize("100", 0, SPLIT="valid")["runs"][0]

    assert (run["metrics"]["f1"], run["record"]) == (0.125, str(night.objs / "tiny-llm_train_100.valid.json"))


def test_a_damaged_outcome_is_neither_done_nor_not_run(night: Night) -> None:
    night.done(100)
    (night.folder / "evaluation-tiny-llm_train_100.json").write_text('{"schema": 1, "ki')
    (night.folder / "notes.txt").write_text("mine")

    found = night.summarize("100", 0)

    assert {state for state, count in found["counts"].items() if count} == {"runs", "unknown"}
    path = night.folder / "evaluation-tiny-llm_train_100.json"
    assert found["runs"][0]["reason"].startswith(f"{path}: line 1: not valid JSON")
    assert "metrics" not in found["runs"][0]
    assert [each["file"] for each in found["unknown_files"]] == ["evaluation-tiny-llm_train_100.json", "notes.txt"]
    assert night.lines[1].startswith("  N = 100  unknown  ")


def test_a_long_reason_is_whole_in_the_json(night: Night) -> None:
    reason = "\x1b[31mRuntimeError\x1b[0m: \r\n" + "磁盘已满 " * 200
    night.step("training", "failed", 100, reason=reason)

    assert night.summarize("100", 1)["runs"][0]["reason"] == reason

    line = night.lines[1]
    assert line.startswith("  N = 100  FAILED  training: [31mRuntimeError [0m: 磁盘已满 磁盘已满 ")
    assert line.endswith("… (after 0 s)")
    assert 118 <= display_width(line.removeprefix("  N = 100  FAILED  training: ").removesuffix(" (after 0 s)")) <= 120
    assert len(night.lines) == 3


def test_no_secret_is_in_it(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    # Noted by a program that did not have the variable.
    night.step("training", "failed", 100, reason="HTTP 401 for sesame-4711", log="logs/sesame-4711.log")
    monkeypatch.setenv("HF_TOKEN", "sesame-4711")

    found = night.summarize("100", 1)

    assert "sesame" not in night.text + json.dumps(found)
    assert found["runs"][0]["reason"] == "HTTP 401 for ***"


def test_many_sizes_take_a_line_each_and_four_more(night: Night) -> None:
    sizes = range(1, 40)
    night.step("results", "failed", reason="no")
    for size in sizes:
        night.done(size)

    night.summarize(" ".join(map(str, sizes)), 2)

    assert len(night.lines) <= len(sizes) + 4
    assert {line.index("done    accuracy") for line in night.lines if line.startswith("  N = ")} == {11}


# --- The script ---


def script(night: Night, **how: Any) -> subprocess.CompletedProcess[bytes]:
    night.given(**night.settings(SIZES="100"))
    command = [sys.executable, PY / "summarize.py", "--status", "1", "--started", str(int(time.time()))]
    return subprocess.run(command, **({"capture_output": True, "timeout": 60} | how))


def test_a_terminal_that_is_gone_does_not_cost_the_files(night: Night) -> None:
    night.step("training", "failed", 100, reason="磁盘已满")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        done = script(night, capture_output=False, stdout=closed, stderr=subprocess.PIPE)

    assert (done.returncode, done.stderr) == (0, b"")
    assert "磁盘已满" in night.text


def test_a_terminal_without_the_letters_gets_the_rest(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.step("training", "failed", 100, reason="磁盘已满!")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")

    done = script(night)

    assert done.returncode == 0
    assert b"training: ????! (" in done.stdout


def test_what_cannot_be_written_is_printed_and_the_old_one_goes(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.done(100)
    night.summarize("100")
    old = night.objs / "tiny/summary.json"
    assert old.exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "objs")

    monkeypatch.setattr(summarize, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        night.summarize("100")

    assert not old.exists()
    assert not (night.objs / "tiny/summary.txt").exists()


def test_a_file_in_place_of_the_folder(night: Night) -> None:
    (night.objs / "tiny").write_text("")

    done = script(night)

    assert done.returncode == 2
    assert done.stdout.startswith(b"sweep tiny: 0 of 1 runs done")
    assert done.stderr.decode() == f"error: {night.objs / 'tiny'}: is in the way; move it away and run again\n"


def test_it_starts_fast() -> None:
    # What its start costs is its imports; seconds would depend on the machine.
    code = "import sys, summarize; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PY, capture_output=True, text=True, check=True, timeout=300)

    assert {"asyncio", "subprocess", "numpy", "importlib.metadata", "csv", "http.client"}.isdisjoint(
        done.stdout.split()
    )


# --- Words ---


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "1 min 00 s"), (187, "3 min 07 s"), (15_120, "4 h 12 min")]
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "columns", "line"),
    [
        ("a\tb\n c\x07", 9, "a b c"),
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("磁盘已满", 6, "磁盘…"),
        ("ab cd", 4, "ab…"),
    ],
)
def test_one_line(text: str, columns: int, line: str) -> None:
    assert one_line(text, columns) == line
    assert display_width(one_line(text, columns)) <= columns
