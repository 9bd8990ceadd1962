"""The watch over a training: what ends it and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fewshot_sft.training import watching
from fewshot_sft.training.trainer_log import REMEDY
from fewshot_sft.training.watching import Abort, Watch


class Training:
    """The files that a trainer writes, and the watch, whose clock goes on by an interval before each look."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.log, self.clock = root / "lora/x-llm_train_10", root / "x.train.log", 0.0
        self.losses = self.folder / "trainer_log.jsonl"
        monkeypatch.setattr(watching, "INTERVAL", 1)
        monkeypatch.setattr(watching.time, "monotonic", lambda: self.clock)

    def write(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.losses.open("a") as stream:
            stream.write(text)

    def logged(self, step: int, loss: object) -> None:
        self.write(json.dumps({"current_steps": step, "total_steps": 99, "loss": loss, "lr": 1e-4}) + "\n")

    def said(self, text: str) -> None:
        with self.log.open("a") as stream:
            stream.write(text)

    def watch(self, *steps: Callable[[], object], stall: int = 0, resumed_at: int = 0, late: float = 0) -> Abort | None:
        """Look once, and again after each step, a second later and ``late``; return why the last look ends it."""
        watch = Watch(self.folder, self.log, stall, resumed_at)
        found = watch.look()
        for step in steps:
            assert found is None, "it ended before the scenario did"
            step()
            self.clock += 1 + late
            found = watch.look()
        return found


@pytest.fixture
def training(folder, monkeypatch) -> Training:
    return Training(folder, monkeypatch)


def nothing() -> None:
    """A second in which nothing is written."""


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        ("NaN", "the loss is nan at step 10; "),
        ("Infinity", "the loss is inf at step 10; "),
        ("-Infinity", "the loss is -inf at step 10; "),
        ("0.0", "the loss is exactly 0 at step 10, the mark of an overflow; "),
        ("0", "the loss is exactly 0 at step 10, the mark of an overflow; "),
    ],
)
def test_a_broken_loss_ends_it_with_the_reason(training, loss, reason):
    training.logged(5, 2.5)
    abort = training.watch(lambda: training.write('{"current_steps": 10, "lr": 0.0001, "loss": ' + loss + "}\n"))
    assert abort == Abort(reason + REMEDY, resumable=False)


def test_losses_that_are_well_do_not_end_it(training):
    assert (
        training.watch(
            nothing,  # no folder yet
            lambda: training.logged(5, 2.5),
            lambda: training.write('{"current_steps": 10, "eval_loss": 0.0}\n'),
            lambda: training.write('{"current_steps": 10}\n'),
            lambda: training.logged(15, 1e-12),
            lambda: training.write("not JSON\n[1]\n{}\n\n" + '{"loss": NaN}\n'),
        )
        is None
    )


def test_a_half_written_line_waits_for_its_end(training):
    halves = '{"current_steps": 5, "loss": 0', '.25}\n{"current_steps": 10, "loss": 0', ".0}\n"
    abort = training.watch(*(lambda half=half: training.write(half) for half in halves))
    assert abort.reason.startswith("the loss is exactly 0 at step 10")


def test_the_first_broken_step_is_named_also_one_of_before_a_resume(training):
    training.logged(5, 0)
    training.logged(10, float("nan"))
    assert training.watch(resumed_at=10).reason.startswith("the loss is exactly 0 at step 5")


def test_silence_counts_from_the_last_change_of_either_file(training):
    abort = training.watch(
        lambda: training.logged(5, 2.5),
        *[nothing] * 2,
        lambda: training.said("2%\r"),
        *[nothing] * 2,
        lambda: training.logged(10, 2.4),
        *[nothing] * 3,
        stall=3,
    )
    assert abort == Abort("the trainer has been silent for 3 s", resumable=True)


def test_a_file_that_vanishes_is_a_change(training):
    training.said("loading\n")
    steps = (lambda: training.logged(5, 2.5), nothing, training.log.unlink, nothing, training.losses.unlink, nothing)
    assert training.watch(*steps, stall=2) is None


def test_without_stall_silence_is_no_matter(training):
    assert training.watch(lambda: training.logged(5, 2.5), *[nothing] * 50) is None


def test_silence_before_the_first_step_is_borne_four_times_as_long(training):
    training.said("loading\n")
    assert training.watch(*[nothing] * 11, stall=3) is None
    silent = "the trainer has been silent for 12 s, before its first step"
    assert training.watch(*[nothing] * 12, stall=3) == Abort(silent, resumable=True)


def test_a_resumed_training_may_load_its_model_in_silence(training):
    training.logged(5, 2.5)
    assert training.watch(*[nothing] * 10, stall=3, resumed_at=5) is None
    abort = training.watch(*[nothing] * 10, lambda: training.logged(10, 2.5), *[nothing] * 3, stall=3, resumed_at=5)
    assert abort.reason == "the trainer has been silent for 3 s"


def test_a_suspended_machine_is_no_silence(training):
    # 1000 s pass between two looks, in which the trainer was suspended too.
    assert training.watch(lambda: training.logged(5, 2.5), nothing, stall=3, late=1000) is None
