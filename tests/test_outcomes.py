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

import outcome
from fewshot_sft import program
from fewshot_sft.errors import UserError
from fewshot_sft.outcomes import outcomes
from fewshot_sft.outcomes.outcomes import begin, finish, note_reason, of_run, read, read_folder
from fewshot_sft.redaction import redact

PY = Path(__file__).resolve().parents[1] / "py"
RUN = "tiny-llm_train_100"
FILE = f"training-{RUN}.json"
HEAD = {"schema": 2, "kind": "outcome"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that shows ``clock.now``."""
    made = SimpleNamespace(now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    monkeypatch.setattr(outcomes, "_now", lambda: made.now)
    return made


@pytest.fixture
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outcome of a step that runs, named in the environment."""
    path = folder / FILE
    begin(path.parent, "training", RUN)
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(path))
    return path


def stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_step_that_ends_well(folder: Path, clock: SimpleNamespace) -> None:
    path = folder / "o" / FILE
    begin(path.parent, "training", RUN, "logs/x.log")
    begun = {"log": "logs/x.log", "started": "2026-01-02T03:04:05.000+00:00"}
    assert stored(path) == HEAD | begun | {"step": "training", "run": RUN, "state": "running"}
    clock.now += timedelta(hours=1, milliseconds=340)

    finish(path.parent, "training", "done", RUN)

    ended = {"finished": "2026-01-02T04:04:05.340+00:00", "seconds": 3600.3}
    assert stored(path) == HEAD | begun | {"step": "training", "run": RUN, "state": "done"} | ended


def test_no_seconds_of_a_skipped_step_and_of_a_clock_that_was_set_back(folder: Path, clock: SimpleNamespace) -> None:
    path = folder / "data.json"
    begin(path.parent, "data")
    finish(path.parent, "data", "skipped")
    assert "seconds" not in stored(path)
    clock.now -= timedelta(hours=1)
    finish(path.parent, "data", "done")
    assert stored(path)["finished"] == "2026-01-02T02:04:05.000+00:00"
    assert "seconds" not in stored(path)


def test_the_step_knows_better_than_its_caller_why_it_failed_and_its_last_note_counts(running: Path) -> None:
    note_reason("the first server died")
    note_reason("CUDA out of memory")
    finish(running.parent, "training", "failed", RUN, reason="it ended with status 1")
    assert read(running).reason == "CUDA out of memory"

    begin(running.parent, "training", RUN)  # an earlier attempt is forgotten
    assert stored(running).keys() == {"schema", "kind", "step", "run", "state", "started"}
    finish(running.parent, "training", "failed", RUN, reason="it ended with status 1")
    assert read(running).reason == "it ended with status 1"


@pytest.mark.parametrize("state", ["done", "skipped"])
def test_what_ends_well_has_no_reason(running: Path, state: str) -> None:
    note_reason("the first server died")
    finish(running.parent, "training", state, RUN, reason="none")
    assert "reason" not in stored(running)


def test_a_step_can_end_whose_beginning_was_never_written(folder: Path) -> None:
    path = folder / "data.json"
    finish(path.parent, "data", "failed", reason="no")
    assert stored(path).keys() == {"schema", "kind", "step", "state", "reason", "finished"}


def test_a_note_changes_only_an_outcome_that_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_reason("nobody asked")
    path = folder / "data.json"
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(path))
    note_reason("it never began")
    assert not path.exists()

    finish(path.parent, "data", "done")
    before = path.read_bytes()
    note_reason("too late")
    assert path.read_bytes() == before

    path.write_text("{", encoding="utf-8")
    note_reason("damaged")
    assert path.read_text(encoding="utf-8") == "{"


# --- A run's step ---


def test_the_outcome_of_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with of_run("training", RUN) as ended:  # a script that runs alone notes nothing
        ended("done")
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("FEWSHOT_OUTCOMES", str(folder))
    monkeypatch.setenv("FEWSHOT_OUTCOME", "of the step that this is a part of")

    with of_run("training", RUN, Path("logs/x.log")) as ended:
        assert read(folder / FILE).state == "running"
        note_reason("the loss is nan")
        ended("failed")
    found = read(folder / FILE)
    assert (found.run, found.state, found.reason, found.log) == (RUN, "failed", "the loss is nan", "logs/x.log")

    with pytest.raises(UserError), of_run("training", RUN):
        raise UserError("no data")
    assert (read(folder / FILE).state, read(folder / FILE).reason) == ("failed", "no data")

    with pytest.raises(SystemExit), of_run("training", RUN):
        raise SystemExit(143)
    assert read(folder / FILE).state == "running"


# --- What is no outcome ---


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1: not valid JSON"),
        ('{"schema": 2, "kind": "outc', "line 1: not valid JSON"),
        ("[]", "not an outcome"),
        ("null", "not an outcome"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": ' + "9" * 5000 + "}", "not valid JSON"),
        *(
            (json.dumps(HEAD | {"step": "training", "run": RUN, "state": "done"} | wrong), "not an outcome")
            for wrong in (
                *({"kind": "training"}, {"schema": 1}, {"run": "other"}, {"run": 100}, {"state": "well"}),
                *({"step": []}, {"step": "data"}, {"seconds": -1}, {"seconds": float("inf")}, {"seconds": True}),
                *({"reason": 4}, {"started": "yesterday"}, {"started": "2026-01-02T03:04:05"}, {"finished": None}),
                {"log": ["x"]},
            )
        ),
    ],
)
def test_a_damaged_or_foreign_file_is_reported(folder: Path, content: str, why: str) -> None:
    (folder / FILE).write_text(content, encoding="utf-8")
    finish(folder, "data", "done")

    found, unknown = read_folder(folder)

    assert [each.step for each in found] == ["data"]
    assert list(unknown) == [FILE]
    assert unknown[FILE].startswith(why)


def test_a_folder_may_hold_anything(folder: Path) -> None:
    (folder / "a folder").mkdir()
    os.mkfifo(folder / "pipe.json")  # reading it would wait for ever
    (folder / "gone.json").symlink_to("nowhere")
    (folder / ".data.json.abc.part").write_text("{")  # of a program that was killed while it wrote
    (folder / "data (copy).json").write_text(json.dumps(HEAD | {"step": "data", "state": "done"}))

    unknown = dict.fromkeys(("a folder", "gone.json", "pipe.json"), "not a file")
    assert read_folder(folder) == ([], unknown | {"data (copy).json": "not an outcome"})
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

    begin(running.parent, "training", RUN, log="logs/sesame-4711.log")
    finish(running.parent, "training", "failed", RUN, reason="sesame-4711!")
    assert "sesame" not in running.read_text(encoding="utf-8")
    assert (read(running).log, read(running).reason) == ("logs/***.log", "***!")


def test_what_is_redacted_and_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("API_KEY", "0"), ("MAX_TOKENS", "1000000"), ("A_TOKEN", "      ")):
        monkeypatch.setenv(name, value)
    assert redact("0 of 1000000      answered") == "0 of 1000000      answered"

    # A secret that begins another does not leave its end.
    monkeypatch.setenv("HF_TOKEN", "sesame")
    monkeypatch.setenv("WANDB_API_KEY", "sesame-4711")
    assert redact("sesame-4711 sesame") == "*** ***"

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
        (UserError("data/tiny: no such folder"), "data/tiny: no such folder"),
        (PermissionError(errno.EACCES, "x", "objs"), "objs: permission denied; check who owns it"),
        (KeyError("labels"), "KeyError: 'labels'"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
        (KeyboardInterrupt(), None),
    ],
)
@pytest.mark.parametrize("debug", ["", "1"])
def test_what_ends_a_program_is_its_reason(
    running: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, reason: str | None, debug: str
) -> None:
    def main(argv: list[str]) -> int:
        raise error

    monkeypatch.setenv("DEBUG", debug)
    with pytest.raises((SystemExit, type(error))):
        program.run(main)

    noted = read(running).reason
    assert noted is None if reason is None else (noted or "").startswith(reason)


def test_a_full_disk_does_not_hide_the_error(
    running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def main(argv: list[str]) -> int:
        raise UserError("data/tiny: no such folder")

    monkeypatch.setattr(outcomes, "write_json", full)
    with pytest.raises(SystemExit) as ended:
        program.run(main)

    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: data/tiny: no such folder\n"
    assert read(running).reason is None


# --- py/outcome.py ---


def test_the_script_begins_notes_and_finishes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "new" / "base-model.json"
    monkeypatch.setenv("FEWSHOT_OUTCOMES", str(path.parent))
    monkeypatch.setenv("FEWSHOT_OUTCOME", str(path))

    assert outcome.main(["--step", "base model", "--state", "running"]) == 0
    assert read(path).state == "running"
    # A reason that was cut in the middle of a letter.
    command = [sys.executable, PY / "outcome.py", "--note", "磁盘".encode()[:-1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert outcome.main(["--step", "base model", "--state", "failed"]) == 0

    assert (read(path).state, read(path).reason) == ("failed", "磁??")
    assert read(path).seconds is not None


def test_the_script_says_that_it_cannot_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("FEWSHOT_OUTCOMES", str(folder / "file"))
    command = [sys.executable, PY / "outcome.py", "--step", "data", "--state", "running"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {folder / 'file'}")
    assert "Traceback" not in done.stderr


def test_a_start_is_cheap() -> None:
    # What a start costs is its imports; seconds would depend on the machine.
    code = "import sys, outcome; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PY, capture_output=True, text=True, check=True, timeout=300)

    assert {"dataclasses", "asyncio", "subprocess", "numpy", "importlib.metadata"}.isdisjoint(done.stdout.split())
