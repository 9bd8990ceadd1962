"""The watch of a training: what ends it, what does not, and what it leaves for the record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import watch_training
from fewshot_sft.errors import UserError
from fewshot_sft.training.log import REMEDY, Follower

PY = Path(__file__).resolve().parents[1] / "py"
SCRIPT = PY / "watch_training.py"


class Training:
    """The files that a trainer writes, in a folder with a space in its path."""

    def __init__(self, root: Path) -> None:
        self.folder, self.log = root / "lora/x-llm_train_10", root / "x.train.log"
        self.losses = self.folder / "trainer_log.jsonl"

    def write(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.losses.open("a") as stream:
            stream.write(text)

    def logged(self, step: int, loss: object) -> None:
        self.write(json.dumps({"current_steps": step, "total_steps": 99, "loss": loss, "lr": 1e-4}) + "\n")

    def said(self, text: str) -> None:
        with self.log.open("a") as stream:
            stream.write(text)

    def start(self, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(SCRIPT), "--folder", str(self.folder), "--log", str(self.log)]
        return subprocess.Popen(
            [*command, "--interval", "0.01", *more], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    @property
    def aborted(self) -> dict:
        return json.loads((self.folder / "training.aborted.json").read_text())


@pytest.fixture
def training(folder) -> Training:
    return Training(folder)


class NothingMore(Exception):
    """The scenario is over, and the watch was still watching."""


@pytest.fixture
def watch(training, monkeypatch) -> Callable[..., watch_training.Abort | None]:
    """Return ``watch(*steps, stall=None)``: between two looks, each 1 s after the one before, a step happens."""

    def watch(*steps: Callable[[], object] | float, stall: float | None = None) -> watch_training.Abort | None:
        left: Iterator[Callable[[], object] | float] = iter(steps)
        clock = 0.0

        def sleep(seconds: float) -> None:
            nonlocal clock
            clock += seconds
            step = next(left, None)
            if step is None:
                raise NothingMore
            if callable(step):
                step()
            else:
                clock += step

        monkeypatch.setattr(watch_training.time, "sleep", sleep)
        monkeypatch.setattr(watch_training.time, "monotonic", lambda: clock)
        try:
            abort = watch_training.watch(training.folder, training.log, 1, stall)
        except NothingMore:
            return None
        assert next(left, None) is None, "it ended before the scenario did"
        return abort

    return watch


def nothing() -> None:
    """A second in which nothing is written."""


# --- The process ---


@pytest.mark.parametrize(
    ("loss", "reason", "noted"),
    [
        ("NaN", "the loss is nan at step 10; ", {}),
        ("Infinity", "the loss is inf at step 10; ", {}),
        ("-Infinity", "the loss is -inf at step 10; ", {}),
        ("0.0", "the loss is exactly 0 at step 10, the mark of an overflow; ", {"loss": 0.0}),
        ("0", "the loss is exactly 0 at step 10, the mark of an overflow; ", {"loss": 0.0}),
    ],
)
def test_a_broken_loss_ends_it_with_the_reason(training, loss, reason, noted):
    training.logged(5, 2.5)
    process = training.start()
    training.write('{"current_steps": 10, "lr": 0.0001, "loss": ' + loss + "}\n")

    out, err = process.communicate(timeout=300)

    assert (process.returncode, out, err) == (3, "", f"{reason}{REMEDY}\n")
    found = training.aborted
    assert found.pop("aborted").endswith("+00:00")
    assert found == {
        "schema": 1,
        "kind": "training aborted",
        "run": "x-llm_train_10",
        "reason": reason + REMEDY,
        "resumable": False,
        "step": 10,
        **noted,
    }


def test_a_silent_trainer_ends_it(training):
    training.said("loading\n")
    training.folder.mkdir(parents=True)
    os.mkfifo(training.losses)  # a latch: opening it blocks until the watch looks
    process = training.start("--stall", "0.5")
    latch = os.open(training.losses, os.O_WRONLY)
    training.losses.unlink()
    os.close(latch)
    training.logged(5, 2.5)  # a first step after the watch's first look

    out, err = process.communicate(timeout=300)

    assert (process.returncode, out, err) == (3, "", "the trainer has been silent for 0.5 s\n")
    assert (training.aborted["resumable"], training.aborted["step"]) == (True, 5)
    assert "loss" not in training.aborted


def test_it_watches_until_it_is_ended_and_leaves_nothing_then(training):
    training.folder.mkdir(parents=True)
    os.mkfifo(training.losses)  # a latch: opening it blocks until the watch looks
    process = training.start("--stall", "1000")
    for _ in range(3):
        os.close(os.open(training.losses, os.O_WRONLY))

    process.terminate()

    assert process.wait(30) == -15
    assert process.communicate() == ("", "")
    assert os.listdir(training.folder) == ["trainer_log.jsonl"]


def test_the_reason_is_told_even_when_it_cannot_be_written(training, capsys, monkeypatch):
    training.logged(5, 0)
    monkeypatch.setattr(watch_training, "write_json", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))

    status = watch_training.main(["--folder", str(training.folder), "--log", str(training.log)])

    assert status == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{training.folder}/training.aborted.json: not written (No space left)"
    assert lines[1].startswith("the loss is exactly 0 at step 5")


def test_a_fault_of_the_watch_does_not_pass_for_one_of_the_training(training, monkeypatch):
    monkeypatch.setattr(watch_training, "watch", lambda *_: {}["missing"])

    with pytest.raises(UserError, match=r"^the watch of .* cannot go on: KeyError\('missing'\)$"):
        watch_training.main(["--folder", str(training.folder), "--log", str(training.log)])


@pytest.mark.parametrize("flags", [("--interval", "0"), ("--stall", "-1"), ("--stall", "nan"), ("--interval", "inf")])
def test_seconds_that_are_none_are_refused(training, flags):
    with pytest.raises(UserError, match=f"^{flags[0]} {flags[1]}: a number of seconds above 0 is needed$"):
        watch_training.main(["--folder", str(training.folder), "--log", str(training.log), *flags])


def test_it_starts_fast():
    # What its start costs is its imports; seconds would depend on the machine.
    code = "import sys, watch_training; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PY, capture_output=True, text=True, check=True, timeout=300)

    assert "fewshot_sft.training.log" in done.stdout.split()
    heavy = {"numpy", "torch", "datasets", "safetensors", "subprocess", "asyncio", "importlib.metadata", "zipfile"}
    assert heavy.isdisjoint(done.stdout.split())


# --- What it makes of the trainer's log ---


def test_losses_that_are_well_do_not_end_it(training, watch):
    assert (
        watch(
            nothing,  # no folder yet
            lambda: training.logged(5, 2.5),
            lambda: training.write('{"current_steps": 10, "eval_loss": 0.0}\n'),
            lambda: training.write('{"current_steps": 10}\n'),
            lambda: training.logged(15, 1e-12),
            lambda: training.write("not JSON\n[1]\n{}\n\n" + '{"loss": NaN}\n'),
        )
        is None
    )


def test_a_half_written_line_waits_for_its_end(training, watch):
    halves = '{"current_steps": 5, "loss": 0', '.25}\n{"current_steps": 10, "loss": 0', ".0}\n"

    abort = watch(*(lambda half=half: training.write(half) for half in halves))

    assert (abort.step, abort.loss) == (10, 0.0)


def test_each_line_is_read_once(training):
    follower = Follower(training.losses)
    for step in range(100):
        training.logged(step, 2.5)
    assert [step for step, _ in follower.new()] == list(range(100))
    assert list(follower.new()) == []
    training.logged(100, 2.4)
    assert list(follower.new()) == [(100, 2.4)]


def test_the_lines_of_before_a_resume_are_judged_too(training, watch):
    training.logged(5, 2.5)
    training.logged(10, float("nan"))

    abort = watch()

    assert (abort.step, abort.loss, abort.resumable) == (10, None, False)


def test_the_first_broken_step_is_named(training, watch):
    def two() -> None:
        training.logged(5, 0)
        training.logged(10, float("nan"))

    assert watch(two).step == 5


@pytest.mark.parametrize("how", ["replaced", "cut"])
def test_a_log_that_begins_anew_is_read_from_its_beginning(training, watch, how):
    def begin_anew() -> None:
        if how == "replaced":  # by a longer file
            fresh = training.folder / "fresh"
            fresh.write_text('{"current_steps": 1, "loss": 0.0}\n' + '{"current_steps": 2, "loss": 1.0}\n' * 9)
            os.replace(fresh, training.losses)
        else:
            training.losses.write_text('{"current_steps": 1, "loss": 0.0}\n')

    assert watch(lambda: training.logged(5, 2.5), lambda: training.logged(10, 2.5), begin_anew).step == 1


# --- Silence ---


def test_silence_counts_from_the_last_change_of_either_file(training, watch):
    abort = watch(
        lambda: training.logged(5, 2.5),
        nothing,
        nothing,
        lambda: training.said("2%\r"),
        nothing,
        nothing,
        lambda: training.logged(10, 2.4),
        nothing,
        nothing,
        nothing,
        stall=3,
    )

    assert abort == watch_training.Abort("the trainer has been silent for 3 s", True, 10)


def test_a_file_that_vanishes_is_a_change(training, watch):
    training.said("loading\n")
    steps = (lambda: training.logged(5, 2.5), nothing, training.log.unlink, nothing, training.losses.unlink, nothing)
    assert watch(*steps, stall=2) is None


def test_without_stall_silence_is_no_matter(training, watch):
    assert watch(lambda: training.logged(5, 2.5), *[nothing] * 50) is None


def test_loading_a_model_is_no_silence(training, watch):
    training.said("loading\n")
    assert watch(*[nothing] * 50, stall=20) is None


def test_silence_before_the_first_step_is_borne_four_times_as_long(training, watch):
    training.said("loading\n")
    silent = "the trainer has been silent for 12 s, before its first step"
    assert watch(*[nothing] * 12, stall=3) == watch_training.Abort(silent, True, 0)


def test_a_resumed_training_may_load_its_model_in_silence(training, watch):
    training.logged(5, 2.5)
    (training.folder / "training.started.json").write_text('{"resumed_at": 5}')
    assert watch(*[nothing] * 10, stall=3) is None
    assert watch(*[nothing] * 10, lambda: training.logged(10, 2.5), *[nothing] * 3, stall=3).step == 10


def test_a_suspended_machine_is_no_silence(training, watch):
    # 1000 s pass between two looks, in which the trainer was suspended too.
    assert watch(lambda: training.logged(5, 2.5), 1000.0, lambda: training.logged(10, 2.5), 1000.0, stall=3) is None
