"""Outcomes: what the steps of a sweep leave about themselves, who may say why one failed, and no secret in it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import infer_eval
import outcome
import preflight
import probe_server
from fewshot_sft import errors
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import write_json
from fewshot_sft.outcomes import outcomes
from fewshot_sft.outcomes.outcomes import begin, finish, note_reason, read, read_folder
from fewshot_sft.redaction import redact

PY = Path(__file__).resolve().parents[1] / "py"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that shows ``clock.now``."""
    made = SimpleNamespace(now=START)
    monkeypatch.setattr(outcomes, "_now", lambda: made.now)
    return made


@pytest.fixture
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outcome of a step that runs, named in the environment."""
    path = folder / "training-100.json"
    begin(path, "training", 100)
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(path))
    return path


def stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_step_that_ends_well(folder: Path, clock: SimpleNamespace) -> None:
    path = folder / "o" / "training-100.json"
    begin(path, "training", 100, "logs/x.log")
    assert stored(path) == {
        "schema": 1,
        "kind": "outcome",
        "step": "training",
        "size": 100,
        "state": "running",
        "log": "logs/x.log",
        "started": "2026-01-02T03:04:05.000+00:00",
    }
    clock.now += timedelta(hours=1, milliseconds=340)

    finish(path, "training", "done", 100)

    assert stored(path) == {
        "schema": 1,
        "kind": "outcome",
        "step": "training",
        "size": 100,
        "state": "done",
        "log": "logs/x.log",
        "started": "2026-01-02T03:04:05.000+00:00",
        "finished": "2026-01-02T04:04:05.340+00:00",
        "seconds": 3600.3,
    }


def test_a_clock_that_was_set_back_measures_nothing(folder: Path, clock: SimpleNamespace) -> None:
    path = folder / "data.json"
    begin(path, "data")
    clock.now -= timedelta(hours=1)

    finish(path, "data", "done")

    assert stored(path)["finished"] == "2026-01-02T02:04:05.000+00:00"
    assert "seconds" not in stored(path)


def test_looking_whether_a_step_is_done_is_not_how_long_it_takes(folder: Path) -> None:
    path = folder / "data.json"
    begin(path, "data")

    finish(path, "data", "skipped")

    assert "seconds" not in stored(path)


@pytest.mark.usefixtures("clock")
def test_the_step_knows_better_than_its_caller_why_it_failed(running: Path) -> None:
    note_reason("CUDA out of memory")
    finish(running, "training", "failed", 100, reason="it ended with status 1")
    assert read(running).reason == "CUDA out of memory"

    begin(running, "training", 100)
    finish(running, "training", "failed", 100, reason="it ended with status 1")
    assert read(running).reason == "it ended with status 1"


def test_the_last_note_counts(running: Path) -> None:
    note_reason("the first server died")
    note_reason("the second server refuses")

    assert read(running).reason == "the second server refuses"


@pytest.mark.parametrize("state", ["done", "skipped"])
def test_what_ends_well_has_no_reason(running: Path, state: str) -> None:
    note_reason("the first server died")

    finish(running, "training", state, 100, reason="none")

    assert "reason" not in stored(running)


def test_beginning_again_forgets_the_earlier_attempt(running: Path) -> None:
    note_reason("CUDA out of memory")
    finish(running, "training", "failed", 100, log="logs/old.log")

    begin(running, "training", 100)

    assert stored(running).keys() == {"schema", "kind", "step", "size", "state", "started"}


def test_a_step_can_end_whose_beginning_was_never_written(folder: Path) -> None:
    path = folder / "evaluation-0.json"

    finish(path, "evaluation", "failed", 0, reason="no")

    assert stored(path).keys() == {"schema", "kind", "step", "size", "state", "reason", "finished"}
    assert read(path).size == 0


def test_a_file_of_another_step_is_not_written(folder: Path) -> None:
    with pytest.raises(UserError, match=r"training-500\.json: the outcome of this step is a file training-100\.json"):
        begin(folder / "training-500.json", "training", 100)
    assert list(folder.iterdir()) == []


def test_a_note_changes_only_an_outcome_that_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_reason("nobody asked")
    path = folder / "data.json"
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(path))
    note_reason("it never began")
    assert not path.exists()

    finish(path, "data", "done")
    before = path.read_bytes()
    note_reason("too late")
    assert path.read_bytes() == before

    path.write_text("{", encoding="utf-8")
    note_reason("damaged")
    assert path.read_text(encoding="utf-8") == "{"


def test_a_full_disk_does_not_hide_the_error(
    running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def main(argv: list[str]) -> int:
        raise UserError("data/tiny: no such folder")

    monkeypatch.setattr(outcomes, "write_json", full)
    with pytest.raises(SystemExit) as ended:
        errors.run(main)

    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: data/tiny: no such folder\n"
    assert read(running).reason is None


# --- What is no outcome ---


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1: not valid JSON"),
        ('{"schema": 1, "kind": "outc', "line 1: not valid JSON"),
        ("[]", "not an outcome"),
        ("null", "not an outcome"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": ' + "9" * 5000 + "}", "not valid JSON"),
        (" " * 1_000_001, "too large"),
        ('{"schema": 1, "kind": "training", "step": "training", "size": 100, "state": "done"}', "not an outcome"),
        ('{"schema": 2, "kind": "outcome", "step": "training", "size": 100, "state": "done"}', "not an outcome"),
        ('{"schema": 1, "kind": "outcome", "step": "training", "size": 500, "state": "done"}', "not an outcome"),
        ('{"schema": 1, "kind": "outcome", "step": "training", "size": "100", "state": "done"}', "not an outcome"),
        ('{"schema": 1, "kind": "outcome", "step": "training", "size": 100, "state": "well"}', "not an outcome"),
        ('{"schema": 1, "kind": "outcome", "step": [], "size": 100, "state": "done"}', "not an outcome"),
    ],
)
def test_a_damaged_or_foreign_file_is_reported(folder: Path, content: str, why: str) -> None:
    (folder / "training-100.json").write_text(content, encoding="utf-8")
    finish(folder / "data.json", "data", "done")

    found, unknown = read_folder(folder)

    assert [each.step for each in found] == ["data"]
    assert list(unknown) == ["training-100.json"]
    assert unknown["training-100.json"].startswith(why)


@pytest.mark.parametrize(
    "field",
    [
        {"seconds": -1},
        {"seconds": float("inf")},
        {"seconds": True},
        {"reason": 4},
        {"started": "yesterday"},
        {"started": "2026-01-02T03:04:05"},
        {"finished": None},
        {"log": ["x"]},
    ],
)
def test_a_field_that_cannot_be_makes_it_no_outcome(folder: Path, field: dict[str, Any]) -> None:
    path = folder / "data.json"
    path.write_text(json.dumps({"schema": 1, "kind": "outcome", "step": "data", "state": "done", **field}))

    with pytest.raises(UserError, match=r"^not an outcome$"):
        read(path)


def test_a_folder_may_hold_anything(folder: Path) -> None:
    (folder / "a folder").mkdir()
    os.mkfifo(folder / "pipe.json")  # reading it would wait for ever
    (folder / "gone.json").symlink_to("nowhere")
    (folder / ".data.json.abc.part").write_text("{")  # of a program that was killed while it wrote
    (folder / "data (copy).json").write_text('{"schema": 1, "kind": "outcome", "step": "data", "state": "done"}')

    assert read_folder(folder) == (
        [],
        {"a folder": "not a file", "data (copy).json": "not an outcome", "gone.json": "not a file"}
        | {"pipe.json": "not a file"},
    )
    assert read_folder(folder / "never made") == ([], {})
    (folder / "file").write_text("")
    assert read_folder(folder / "file") == ([], {str(folder / "file"): "is a file, a folder was expected"})


# --- Secrets ---


@pytest.mark.parametrize(
    "name",
    [
        *("FEWSHOT_API_KEY", "API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN"),
        *("WANDB_API_KEY", "MY_SECRET", "DB_PASSWORD", "hf_token", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_no_secret_of_the_environment_is_written(running: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "sesame-4711")
    note_reason("HTTP 401: the key sesame-4711 is not mine")
    assert read(running).reason == "HTTP 401: the key *** is not mine"

    begin(running, "training", 100, log="logs/sesame-4711.log")
    finish(running, "training", "failed", 100, reason="sesame-4711!")
    assert "sesame" not in running.read_text(encoding="utf-8")
    assert (read(running).log, read(running).reason) == ("logs/***.log", "***!")


def test_what_is_too_short_or_no_secret_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSHOT_API_KEY", "0")
    monkeypatch.setenv("MAX_TOKENS", "1000000")
    monkeypatch.setenv("HF_TOKEN", "      ")

    assert redact("0 of 1000000      answered") == "0 of 1000000      answered"


def test_a_secret_that_begins_another_does_not_leave_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame")
    monkeypatch.setenv("API_KEY", "sesame-4711")

    assert redact("sesame-4711 sesame") == "*** ***"


def test_a_url_loses_its_password() -> None:
    text = "no connection by way of http://me:pass@word@proxy:3128/x@y (mail a@b.c)"

    assert redact(text) == "no connection by way of http://***@proxy:3128/x@y (mail a@b.c)"


def test_a_secret_named_as_a_step_does_not_damage_the_outcome(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "training")

    note_reason("training broke")

    assert (read(running).step, read(running).reason) == ("training", "*** broke")


# --- Where the reasons come from ---


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            UserError("data/tiny: no such folder; run bin/build_data.sh"),
            "data/tiny: no such folder; run bin/build_data.sh",
        ),
        (PermissionError(errno.EACCES, "x", "objs"), "objs: permission denied; check who owns it"),
        (KeyError("labels"), "KeyError: 'labels'"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
    ],
)
@pytest.mark.parametrize("debug", ["", "1"])
def test_what_ends_a_script_is_its_reason(
    running: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, debug: str
) -> None:
    def main(argv: list[str]) -> int:
        raise error

    monkeypatch.setenv("DEBUG", debug)
    with pytest.raises((SystemExit, type(error))):
        errors.run(main)

    assert (read(running).reason or "").startswith(reason)


def test_ctrl_c_is_no_reason(running: Path) -> None:
    def main(argv: list[str]) -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        errors.run(main)

    assert ended.value.code == 130
    assert read(running).reason is None


def test_an_incomplete_evaluation_notes_why(
    folder: Path, running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(infer_eval, "ask_missing", lambda *_: (1.0, "gave up: no connection"))
    args = SimpleNamespace(size=100, run="x-llm_train_100", force=False)
    files = infer_eval.EvaluationFiles.of(folder, args.run, "test")
    data = SimpleNamespace(items=[None, None])

    assert infer_eval.evaluate(args, data, {}, files) == 1

    assert read(running).reason == "incomplete, 0 of 2 items answered; gave up: no connection"
    assert "size 100: evaluation incomplete: 0 of 2 items answered, 2 not; gave up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "flags", "status"),
    [
        (probe_server.Never("HTTP 404: no"), [], 2),
        (probe_server.NotYet("no connection: nothing listens on port 1"), ["--pid", "ended"], 3),
        (probe_server.NotYet("no connection: nothing listens on port 1"), ["--wait", "0"], 4),
    ],
)
def test_a_server_that_never_answers_is_the_reason(
    folder: Path,
    running: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    flags: list[str],
    status: int,
) -> None:
    def complete(*_: object) -> str:
        raise error

    process = subprocess.Popen(["true"])
    process.wait()
    flags = [str(process.pid) if flag == "ended" else flag for flag in flags]
    write_json(folder / "llm_test.json", [{"instruction": "a", "input": "b"}])
    monkeypatch.setattr(probe_server.Server, "complete", complete)

    url = ["--base-url", "http://127.0.0.1:1/v1", "--served-model", "x", "--data", str(folder)]
    assert probe_server.main([*url, *flags]) == status

    assert read(running).reason == capsys.readouterr().out.strip()
    assert str(error) in (read(running).reason or "")


def test_a_server_that_is_not_ready_yet_is_no_reason(
    folder: Path, running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete(*_: object) -> str:
        raise probe_server.NotYet("no connection")

    write_json(folder / "llm_test.json", [{"instruction": "a", "input": "b"}])
    monkeypatch.setattr(probe_server.Server, "complete", complete)
    url = ["--base-url", "http://127.0.0.1:1/v1", "--served-model", "x", "--data", str(folder)]

    assert probe_server.main(url) == 1

    assert read(running).reason is None


def test_the_preflight_notes_all_that_is_in_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "preflight.json"
    begin(path, "preflight")
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(path))
    findings = [
        preflight.Finding("disk", "problem", "the disk is full", "free some"),
        preflight.Finding("port", "warning", "the port is taken"),
        preflight.Finding("model", "problem", "no model"),
    ]
    monkeypatch.setattr(preflight, "before_data", lambda *_: findings)
    folders = [f"--{name}-dir={folder}" for name in ("data", "saves", "logs", "objs")]
    what = ["--sweep-name=x", "--sizes=1", "--model=m", "--model-name=m", "--template=glm4"]

    assert preflight.main([*what, *folders]) == 2

    assert read(path).reason == f"{findings[0].text}; {findings[2].text}"


# --- py/outcome.py ---


def script(*arguments: str | bytes | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PY / "outcome.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


def test_the_script_begins_and_finishes(folder: Path) -> None:
    path = folder / "new" / "base-model.json"
    of_it = ("--file", path, "--step", "base model")

    assert script(*of_it, "--state", "running").returncode == 0
    assert read(path).state == "running"
    done = script(*of_it, "--state", "failed", "--reason", "因为磁盘已满", "--log", "logs/x.log")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = read(path)
    assert (found.state, found.reason, found.log) == ("failed", "因为磁盘已满", "logs/x.log")
    assert found.seconds is not None


def test_a_reason_cut_in_the_middle_of_a_letter_can_be_written(folder: Path) -> None:
    path = folder / "data.json"

    done = script("--file", path, "--step", "data", "--state", "failed", "--reason", "磁盘".encode()[:-1])

    assert (done.returncode, done.stderr) == (0, "")
    assert read(path).reason == "磁??"


@pytest.mark.parametrize("size", ["-1", "100"])
def test_only_training_and_evaluation_have_sizes(folder: Path, size: str) -> None:
    with pytest.raises(UserError, match=f"--size {size}: only training and evaluation have sizes, 0 is the least"):
        outcome.main(["--file", str(folder / "data.json"), "--step", "data", f"--size={size}", "--state", "done"])


def test_the_script_says_that_it_cannot_write(folder: Path) -> None:
    (folder / "file").write_text("")

    done = script("--file", folder / "file" / "data.json", "--step", "data", "--state", "running")

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {folder / 'file'}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["outcome", "probe_server"])
def test_a_start_is_cheap(module: str) -> None:
    # What a start costs is its imports; seconds would depend on the machine.
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PY, capture_output=True, text=True, check=True, timeout=300)

    assert {"dataclasses", "asyncio", "subprocess", "numpy", "importlib.metadata"}.isdisjoint(done.stdout.split())
