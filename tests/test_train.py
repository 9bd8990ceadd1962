"""py/train.py: what counts as a finished training, what is resumed and what is moved aside."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from safetensors.numpy import save_file

import train
from fewshot_sft import runs
from fewshot_sft.identity import settings_of
from fewshot_sft.jsonio import read_json, write_json
from fewshot_sft.outcomes import outcomes
from fewshot_sft.settings import Settings
from fewshot_sft.training import checks, command, generation_check
from fewshot_sft.training.watching import Abort

SIZE = 10
REMEDY = "; GLM-4 and others overflow in fp16: use PRECISION=bf16, or a lower LEARNING_RATE"
RUN_TRAINER = train.run_trainer
FLAGS = ["--learning_rate", "5e-05", "--num_train_epochs", "3.0", "--cutoff_len", "64", "--output_dir", "somewhere"]


class Killed(BaseException):
    """The program is killed while its trainer runs."""


class Case:
    """A run, and a trainer that leaves in its folder what LLaMA-Factory would."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.data, self.model, self.monkeypatch = root, root / "data", root / "base", monkeypatch
        monkeypatch.setenv("FEWSHOT_SETTINGS", str(root / "settings.json"))
        monkeypatch.setattr(train, "end_on_signals", lambda: None)
        self.settings()
        self.run = runs.named(Settings.read(), "x-llm_train_10")
        self.folder, self.log = self.run.adapter, self.run.log("train")
        for folder in (self.data, self.model, self.log.parent):
            folder.mkdir()
        self.run.data_file.write_text("[]")
        (self.model / "config.json").write_text("{}")
        save_file({"w": np.ones(1, np.float32)}, str(self.model / "model.safetensors"))

    def settings(self, **more: str) -> None:
        folders = {name: str(self.root / name[:4].lower()) for name in ("DATA_DIR", "SAVES_DIR", "LOGS_DIR")}
        write_json(
            self.root / "settings.json", {"SWEEP_NAME": "x", "MODEL_NAME": "m", "SIZES": str(SIZE), **folders, **more}
        )

    def train(
        self,
        *flags: str,
        leaves: Callable[[], object] | None = None,
        status: int = 0,
        abort: Abort | None = None,
        force: bool = False,
        how: tuple[str, ...] = (),
    ) -> int:
        """Train with these flags beside the usual; the trainer ``leaves`` a good training and ends with a status."""

        def run_trainer(*_: object) -> tuple[int, Abort | None]:
            (leaves or self.leave)()
            return status, abort

        self.settings(FORCE=str(int(force)))
        self.monkeypatch.setattr(train, "run_trainer", run_trainer)
        words = ["llamafactory-cli", "train", *FLAGS, "--model_name_or_path", str(self.model), *flags]
        return train.main([self.run.name, *how, "--", *words])

    def killed(self, *flags: str, leaves: Callable[[], object] = lambda: None, force: bool = False) -> None:
        def kill() -> None:
            leaves()
            raise Killed

        with pytest.raises(Killed):
            self.train(*flags, leaves=kill, force=force)

    def plan(self, *flags: str) -> int:
        return self.train(*flags, how=("--dry-run",))

    def leave(self, *, examples: int = SIZE, losses: tuple[float, ...] = (2.0, 1.0), lora_b: float = 1.0) -> None:
        rows = {"input_ids": [list(range(5 + row)) for row in range(examples)]}
        datasets.Dataset.from_dict(rows).save_to_disk(str(self.folder / "tokenized/train"))
        logged = [{"current_steps": 5 * step, "loss": loss} for step, loss in enumerate(losses, 1)]
        lines = [json.dumps(entry) for entry in [*logged, {"current_steps": 99}]]
        (self.folder / "trainer_log.jsonl").write_text("\n".join(lines) + "\n")
        rate = {"train_runtime": 2.0, "train_samples_per_second": examples * 3 / 2.0}
        self.results(**rate)
        self.state(4, 4)
        weights = {
            "q.lora_A.weight": np.ones((2, 4), np.float32),
            "q.lora_B.weight": np.full((4, 2), lora_b, np.float32),
        }
        save_file(weights, str(self.folder / "adapter_model.safetensors"))

    def write(self, name: str, **values: object) -> None:
        (self.folder / name).write_text(json.dumps(values))

    def results(self, **values: float) -> None:
        self.write(checks.RESULTS, **values)

    def state(self, step: int, steps: int) -> None:
        self.write(checks.STATE, global_step=step, max_steps=steps)

    @property
    def record(self) -> dict:
        return read_json(self.folder / "training.json")

    @property
    def started(self) -> dict:
        return read_json(self.folder / "training.started.json")

    @property
    def checkpoints(self) -> list[str]:
        return [path.name for path in self.folder.glob("checkpoint-*")]

    def checkpoint(self, step: int, *, whole: bool = True) -> Path:
        path = self.folder / f"checkpoint-{step}"
        path.mkdir(parents=True)
        save_file({"w": np.ones(1, np.float32)}, str(path / "adapter_model.safetensors"))
        for name in ("optimizer.pt", "scheduler.pt"):
            with zipfile.ZipFile(path / name, "w") as archive:
                archive.writestr("data", "x")
        if whole:
            (path / "trainer_state.json").write_text("{}")
        return path


@pytest.fixture
def case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(folder, monkeypatch)


@contextmanager
def noted(case: Case, state: str) -> Iterator[list[str | None]]:
    """What is trained within has this outcome; yields a list that gets its reason."""
    reason: list[str | None] = []
    case.monkeypatch.setenv("FEWSHOT_OUTCOMES", str(case.root / "outcomes"))
    case.monkeypatch.setenv("FEWSHOT_OUTCOME", "")
    yield reason
    found = outcomes.read(case.root / "outcomes/training-x-llm_train_10.json")
    assert (found.run, found.state, found.log) == (case.run.name, state, str(case.log))
    reason.append(found.reason)


def test_a_good_training_is_done_and_then_skipped(case, capsys):
    with noted(case, "done"):
        assert case.train() == 0
    record = case.record
    assert (record["schema"], record["status"], record["examples"], record["size"]) == (2, "done", SIZE, SIZE)
    assert record["tokens"] == {"max": 14, "mean": 9.5, "truncated": 0, "cutoff": 64}
    assert record["loss"] == {"first": 2.0, "last": 1.0, "mean": 1.5}
    assert not (case.folder / "tokenized").exists()
    assert "never_seen" not in record
    capsys.readouterr()
    with noted(case, "skipped"):
        assert case.train(leaves=lambda: pytest.fail("it is trained again")) == 0
    assert capsys.readouterr().out == f"size 10: already trained ({case.folder})\n"


def test_the_first_answers_are_told_and_recorded_and_those_of_an_earlier_trainer_are_not(case, capsys):
    check = [{"input": "a text", "answer": "right", "target": "right"}]
    case.killed(leaves=lambda: case.write("first_answers.json", check=check))
    assert case.train() == 0
    assert "check" not in case.record
    assert case.train(leaves=lambda: (case.leave(), case.write("first_answers.json", check=check)), force=True) == 0
    assert case.record["check"] == check
    assert not (case.folder / "first_answers.json").exists()
    assert capsys.readouterr().err.endswith(' size 10: "a text": the answer is "right", the target "right"\n')


def test_a_generation_check_that_fails_is_one_line_and_no_failure(case, capsys, tmp_path):
    check = generation_check.GenerationCheck()
    check.on_train_end(SimpleNamespace(output_dir=str(tmp_path)), None, None)
    check.ask()
    file = case.data / "manifest.json"
    assert capsys.readouterr().err.endswith(f" no generation check: {file}: no such file\n")
    assert not (tmp_path / "first_answers.json").exists()


def test_the_classes_without_example_are_noted(case):
    splits = {f"llm_train_{SIZE}": {"per_class": {"a": 10, "b": 0, "c": 0}}}
    (case.data / "manifest.json").write_text(json.dumps({"splits": splits}))
    assert case.train() == 0
    assert case.record["never_seen"] == ["b", "c"]


@pytest.mark.parametrize(
    ("leaves", "reason"),
    [
        (
            lambda case: case.leave(examples=9),
            "the trainer had 9 examples, not 10 (dropped rows, packing or max_samples)",
        ),
        (lambda case: case.leave(losses=(2.0, math.nan)), f"the loss is nan at step 10{REMEDY}"),
        (
            lambda case: case.leave(losses=(2.0, 0.0)),
            f"the loss is exactly 0 at step 10, the mark of an overflow{REMEDY}",
        ),
        (lambda case: case.leave(losses=(math.inf,)), f"the loss is inf at step 5{REMEDY}"),
        (lambda case: case.leave(lora_b=0.0), ": lora_B is zero everywhere, the adapter changes nothing"),
        (lambda case: (case.leave(), case.state(3, 4)), "the trainer stopped at step 3 of 4"),
        (
            lambda case: (
                case.leave(),
                case.results(train_runtime=2.0, train_samples_per_second=18.0),
            ),
            "the trainer counted 12.0 examples an epoch, not 10",
        ),
        (lambda case: None, "/tokenized/train: the trainer's tokenized examples are not there ("),
    ],
)
def test_a_training_that_cannot_be_right_has_failed_and_is_not_resumed(case, capsys, leaves, reason):
    with noted(case, "failed") as noted_reason:
        assert case.train(leaves=lambda: (case.checkpoint(2), leaves(case))) == 1
    record = case.record
    assert (record["status"], record["resumable"]) == ("failed", False)
    assert reason in record["reason"]
    assert noted_reason == [record["reason"]]
    assert f"size 10: training failed: {record['reason']} (log: {case.log})\n" in capsys.readouterr().err
    assert case.train(leaves=lambda: (case.leave(), case.checkpoints or case.state(4, 4))) == 0
    assert case.checkpoints == []
    assert f"it had failed ({record['reason']})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried", "CUDA out of memory; with MICRO_BATCH=1"),
        (1, "OSError: [Errno 28] No space left on device", "the disk is full; free some space and run again"),
        (137, "", "the trainer was ended by signal 9 (killed: often the machine ran out of memory)"),
        (143, "", "the trainer was ended by signal 15"),
        (1, "Traceback\nValueError: no x", "the trainer ended with status 1: ValueError: no x"),
        (3, "nothing that helps", "the trainer ended with status 3"),
    ],
)
def test_why_a_trainer_crashed(tmp_path, code, log, reason):
    (tmp_path / "log").write_text(log)
    assert checks.failure_of_process(code, tmp_path / "log").startswith(reason)


def test_a_crashed_training_goes_on_from_its_last_whole_checkpoint(case, capsys):
    lines = [json.dumps({"current_steps": step, "loss": 1.0}) for step in (50, 100, 150)]

    def crash() -> None:
        case.checkpoint(100)
        case.checkpoint(200, whole=False)
        (case.folder / "tokenized").mkdir()
        (case.folder / "trainer_log.jsonl").write_text("\n".join([*lines, '{"current_steps": 2']))

    def look() -> None:
        assert case.checkpoints == ["checkpoint-100"]
        assert (case.folder / "trainer_log.jsonl").read_text().splitlines() == lines[:2]
        assert not (case.folder / "tokenized").exists()
        assert not (case.folder / "training.json").exists()

    assert case.train(leaves=crash, status=1) == 1
    assert case.plan() == 3
    assert "training of size 10: to do, resume at step 100\n    llamafactory-cli train --" in capsys.readouterr().out
    case.log.write_text("CUDA out of memory")
    assert case.train(leaves=look, status=1) == 1
    assert capsys.readouterr().out == "size 10: resuming at step 100\n"
    # The last attempt's; the first one's log is kept.
    assert case.record["reason"] == "the trainer ended with status 1"
    assert case.log.with_name(f"{case.log.name}.1").read_text() == "CUDA out of memory"


@pytest.mark.parametrize("code", [143, 137, 1])
def test_a_training_that_was_ended_for_its_loss_has_that_reason_and_is_not_resumed(case, capsys, code):
    abort = Abort("the loss is nan at step 5", resumable=False)
    assert case.train(leaves=lambda: case.checkpoint(2), status=code, abort=abort) == 1
    assert (case.record["reason"], case.record["resumable"]) == abort
    assert f"size 10: training failed: {abort.reason} (log: {case.log})\n" in capsys.readouterr().err
    case.killed()
    assert f"it had failed ({abort.reason})" in capsys.readouterr().err
    assert case.checkpoints == []


def test_a_training_that_was_ended_for_its_silence_is_resumed(case, capsys):
    abort = Abort("the trainer has been silent for 9 s", resumable=True)
    assert case.train(leaves=lambda: case.checkpoint(2), status=137, abort=abort) == 1
    assert (case.record["reason"], case.record["resumable"]) == abort
    capsys.readouterr()
    case.killed()
    assert capsys.readouterr().out == "size 10: resuming at step 2\n"


@pytest.mark.parametrize(("losses", "status"), [((2.0, 1.0), 0), ((2.0, 0.0), 1)])
def test_a_trainer_that_ended_well_before_it_could_be_ended_is_judged_by_what_it_left(case, losses, status):
    abort = Abort("the trainer has been silent for 9 s", resumable=True)
    assert case.train(leaves=lambda: case.leave(losses=losses), abort=abort) == status
    assert "silent" not in case.record.get("reason", "")


class Trainer:
    """In place of the child: it runs until the watch has it ended, which ``ending`` sees."""

    def __init__(self, ending: Callable[[], None]) -> None:
        self._ending = ending

    def __call__(self, *_: object, **__: object) -> Trainer:
        return self

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending()

    def wait(self, _: float) -> None:
        """It has not ended."""

    def status(self) -> int:
        return 143


@pytest.mark.parametrize(("resumable", "left"), [(True, ["checkpoint-2"]), (False, [])])
def test_the_watchs_word_counts_when_we_are_killed_while_the_trainer_is_ended(case, capsys, resumable, left):
    def killed() -> None:
        raise Killed

    case.killed(leaves=lambda: case.checkpoint(2))
    case.monkeypatch.setattr(train, "Child", Trainer(killed))
    case.monkeypatch.setattr(train.Watch, "look", lambda _: Abort("it is broken", resumable))
    with pytest.raises(Killed):
        RUN_TRAINER(case.run, [], case.started, 0)
    case.killed()
    assert case.checkpoints == left
    assert ("it had failed (it is broken)" in capsys.readouterr().err) != resumable


def test_the_reason_is_told_even_when_it_cannot_be_written(case, capsys):
    case.killed()
    capsys.readouterr()
    case.monkeypatch.setattr(train, "Child", Trainer(lambda: None))
    case.monkeypatch.setattr(train.Watch, "look", lambda _: Abort("it is broken", False))
    full = OSError(28, "No space left", "training.json")
    case.monkeypatch.setattr(train.recording, "write_json", lambda *_: (_ for _ in ()).throw(full))
    assert RUN_TRAINER(case.run, [], case.started, 0) == (143, Abort("it is broken", False))
    assert capsys.readouterr().err == "training.json: not written (No space left)\n"


def test_a_watch_that_fails_does_not_end_the_training(case, capsys):
    case.killed()
    capsys.readouterr()
    latch = case.root / "latch"
    os.mkfifo(latch)

    def look(_: object) -> None:
        latch.write_text("go\n")  # the trainer ends well, some time after this
        raise KeyError("x")

    case.monkeypatch.setattr(train, "INTERVAL", 0.01)
    case.monkeypatch.setattr(train.Watch, "look", look)
    trainer = ["sh", "-c", f"read line <{shlex.quote(str(latch))}; echo $line"]
    assert RUN_TRAINER(case.run, trainer, case.started, os.open(case.root, os.O_RDONLY)) == (0, None)
    assert capsys.readouterr().err == (
        "warning: size 10: the watch over its loss cannot go on (KeyError('x')); the training goes on without\n"
    )
    assert case.log.read_text().endswith("\ngo\n")


def test_a_checkpoint_of_the_last_step_is_not_resumed(case, capsys):
    # The trainer would train nothing from there on, and report a loss of 0.
    def leave() -> None:
        case.checkpoint(2)
        last = case.checkpoint(4)
        (last / "trainer_state.json").write_text(json.dumps({"global_step": 4, "max_steps": 4}))

    case.killed(leaves=leave)
    case.killed()
    assert capsys.readouterr().out == "size 10: resuming at step 2\n"
    assert case.checkpoints == ["checkpoint-2"]


@pytest.mark.parametrize("damage", ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_a_truncated_checkpoint_is_not_resumed(case, capsys, damage):
    case.killed()
    path = case.checkpoint(100) / damage
    path.write_bytes(path.read_bytes()[:1])
    assert case.plan() == 3
    assert "to do, interrupted before its first checkpoint\n" in capsys.readouterr().out
    case.killed()
    assert case.checkpoints == []
    assert capsys.readouterr().out == "size 10: starting again, there is no checkpoint yet\n"


@pytest.mark.parametrize("code", [None, 137, 1])  # killed with all that would have looked at it, or alone
def test_a_training_that_ended_before_it_was_recorded_is_recorded_and_not_done_again(case, capsys, code):
    def leave() -> None:
        case.checkpoint(4)
        case.leave()

    if code is None:
        case.killed(leaves=leave)
    else:
        assert case.train(leaves=leave, status=code) == 1
        assert case.record["status"] == "failed"
    capsys.readouterr()
    assert case.plan() == 3
    said = "training of size 10: to do, its training has ended and is only to be recorded\n"
    assert capsys.readouterr().out == said
    assert case.train(leaves=lambda: pytest.fail("it is trained again")) == 0
    said = ["its training had ended before it could be recorded", "trained on 10 examples, loss 1.5000"]
    assert capsys.readouterr().out.splitlines() == [f"size 10: {line}" for line in said]
    record = case.record
    assert (record["status"], record["examples"], record["seconds"] < 60) == ("done", SIZE, True)
    assert "reason" not in record
    assert not (case.folder.parent / "replaced").exists()
    assert case.plan() == 0
    assert capsys.readouterr().out == f"training of size 10: done ({case.folder})\n"


RESULTS = ("trainer_log.jsonl", "adapter_model.safetensors", "all_results.json", "trainer_state.json")


@pytest.mark.parametrize("name", [*RESULTS, "tokenized/train/state.json"])
@pytest.mark.parametrize("content", [None, b"{"])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_what_is_not_resumed_is_out_of_the_way_before_the_trainer_starts(case, capsys, name, content, checkpoint):
    """LLaMA-Factory begins in no folder with weights and without a checkpoint."""
    case.killed(leaves=case.leave)
    if checkpoint:
        case.checkpoint(2)
    (case.folder / name).unlink() if content is None else (case.folder / name).write_bytes(content)
    resumes = checkpoint or (name == "adapter_model.safetensors" and content is None)
    kept = case.folder.parent / "replaced" / f"{case.folder.name}-{case.started['identity'][:8]}"
    capsys.readouterr()
    assert case.plan() == 3
    planned = capsys.readouterr().out

    def look() -> None:
        left = {path.name for path in case.folder.iterdir()}
        assert left <= {"training.started.json", "trainer_log.jsonl", "checkpoint-2"}
        case.leave()

    assert case.train(leaves=look) == 0
    told = capsys.readouterr()
    if resumes:
        how = "resuming at step 2" if checkpoint else "starting again, there is no checkpoint yet"
        assert told.out.startswith(f"size 10: {how}\n")
        assert not kept.exists()
    else:
        why = "it ended in the middle of saving, without a checkpoint"
        assert told.err.startswith(f"{case.folder}: {why}; the old one is {kept}\n")
        assert planned.startswith(f"training of size 10: to do, {why}\n")
        assert (kept / "training.started.json").is_file()


def test_what_an_earlier_attempt_left_is_not_taken_for_the_end_of_a_later_one(case, capsys):
    def leave() -> None:
        case.leave()
        case.checkpoint(2)
        (case.folder / "tokenized/train/state.json").unlink()

    case.killed(leaves=leave)
    # It resumes at 2; its trainer dies after it has tokenized the examples.
    examples = datasets.Dataset.from_dict({"input_ids": [[1]] * SIZE})
    case.killed(leaves=lambda: examples.save_to_disk(str(case.folder / "tokenized/train")))
    capsys.readouterr()
    case.killed()
    assert capsys.readouterr().out == "size 10: resuming at step 2\n"


def version_1(case: Case) -> None:
    for path in (case.folder / "training.json", case.folder / "training.started.json"):
        if path.exists():
            write_json(path, read_json(path) | {"schema": 1})


CHANGES = [
    (lambda case: ("--learning_rate", "1e-4"), "settings changed (learning_rate: 5e-05 -> 1e-4)"),
    (lambda case: case.run.data_file.write_text("[1]"), "data changed"),
    (lambda case: (case.model / "config.json").write_text('{"a": 1}'), "model changed"),
    (lambda case: {"force": True}, "--force"),
    (version_1, "it is of an earlier version"),
]


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_what_decides_the_result_has_changed_and_the_old_adapter_is_kept(case, capsys, recorded, change, why):
    if recorded:
        case.train()
    else:
        case.killed(leaves=case.leave)
    kept = case.folder.parent / "replaced" / f"{case.folder.name}-{case.started['identity'][:8]}"
    capsys.readouterr()
    changed = change(case)
    case.killed(*(changed if isinstance(changed, tuple) else ()), force=isinstance(changed, dict))
    assert f"{case.folder}: {why}; the old one is {kept}\n" in capsys.readouterr().err
    assert (kept / "training.json").is_file() == recorded
    assert not (case.folder / "adapter_model.safetensors").exists()


SPLIT = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "4", "--optim", "adamw_torch")
WHOLE = ("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1", "--optim", "adamw_torch_fused")
FAST = ("--disable_gradient_checkpointing", "True", "--shared_prefix", "True", "--enable_liger_kernel", "True")


def test_where_things_lie_and_how_it_is_computed_does_not_decide(case):
    case.train(*SPLIT)
    assert case.record["decides"]["settings"]["global_batch_size"] == "8"
    assert case.record["settings"]["per_device_train_batch_size"] == "2"
    assert case.plan(*WHOLE, *FAST, "--output_dir", "elsewhere", "--preprocessing_num_workers", "3") == 0


EVALUATED = ("--eval_dataset", "llm_valid", "--eval_strategy", "steps", "--eval_steps", "5")


def test_a_loss_that_is_only_looked_at_does_not_decide(case):
    case.train()
    assert case.plan(*EVALUATED, "--per_device_eval_batch_size", "2") == 0
    assert case.plan(*EVALUATED, "--load_best_model_at_end", "True") == 3


@pytest.mark.parametrize(("last", "overfits"), [(0.94, False), (0.95, True)])
def test_the_losses_on_the_validation_split_and_whether_the_training_overfits(case, capsys, last, overfits):
    def leave() -> None:
        case.leave(losses=(2.0, 1.5, 1.0))
        logged = [{"step": 5, "eval_loss": 1.1}, {"step": 10, "loss": 1.5}, {"step": 10, "eval_loss": 0.9}]
        case.write(checks.STATE, global_step=18, max_steps=18, log_history=logged)
        case.write(checks.RESULTS, **read_json(case.folder / checks.RESULTS), eval_loss=last)

    assert case.train(*EVALUATED, leaves=leave) == 0
    found = case.record
    assert found["eval_loss"] == [{"step": 5, "loss": 1.1}, {"step": 10, "loss": 0.9}, {"step": 18, "loss": last}]
    assert (found["best_step"], found["overfits"]) == (10, overfits)
    said = (
        "\nsize 10: warning: it overfits: the loss on the validation split was 0.9000 at step 10 and is 0.9500 in the "
        "end, while the training loss fell; fewer EPOCHS may do better\n"
    )
    assert (said in capsys.readouterr().err) == overfits


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (WHOLE[:2], "global_batch_size: 8 -> 32"),
        (("--quantization_bit", "4"), "quantization_bit: none -> 4"),
        (("--optim", "adafactor"), "optim: adamw_torch -> adafactor"),
        (("--gradient_accumulation_steps", "auto"), "global_batch_size: 8 -> none"),
    ],
)
def test_the_global_batch_4_bit_and_the_optimizer_decide(case, capsys, change, what):
    case.train(*SPLIT)
    assert case.plan(*SPLIT, *change) == 3
    assert what in capsys.readouterr().out


def test_a_checkpoint_goes_on_only_as_it_was_computed(case, capsys):
    case.killed(*SPLIT, leaves=lambda: case.checkpoint(100))
    case.killed(*SPLIT)
    assert case.checkpoints == ["checkpoint-100"]
    case.killed(*WHOLE)
    assert case.checkpoints == []
    why = (
        "settings changed (gradient_accumulation_steps: 4 -> 1, optim: adamw_torch -> adamw_torch_fused, "
        "per_device_train_batch_size: 2 -> 8): not with its checkpoint; the old one is "
    )
    assert why in capsys.readouterr().err


def test_a_folder_without_a_record_is_moved_aside_not_resumed(case, capsys):
    case.checkpoint(100)
    case.killed()
    assert case.checkpoints == []
    assert "it has no record of what made it" in capsys.readouterr().err


@pytest.mark.parametrize("alive", [True, False])
def test_a_note_that_was_never_finished_is_nothing_to_keep_unless_someone_writes_it(case, capsys, alive):
    ended = subprocess.Popen(["true"])
    ended.wait()
    case.folder.mkdir(parents=True)
    left = case.folder / f".training.started.json.{os.getpid() if alive else ended.pid}-abc_12.part"
    left.write_text('{"schema"')
    case.killed()
    assert not left.exists()
    assert (case.folder.parent / "replaced").exists() == alive
    assert ("it has no record of what made it" in capsys.readouterr().err) == alive


@pytest.mark.parametrize(("planned", "waits_for"), [("data", "data"), ("base model", "base model"), (None, None)])
def test_a_dry_run_notes_what_it_would_train_and_what_that_waits_for(case, capsys, planned, waits_for):
    file = case.root / "planned"
    case.monkeypatch.setenv("FEWSHOT_PLANNED", str(file))
    if planned:
        file.write_text(json.dumps(str(case.run.data_file) if planned == "data" else planned) + "\n")
        case.run.data_file.unlink()
    assert case.plan("--train_on_prompt=a b") == 3
    first, command_line = capsys.readouterr().out.splitlines()
    assert first == "training of size 10: to do" + f" ({waits_for})" * bool(planned)
    assert command_line.endswith(" --train_on_prompt 'a b'")
    assert json.loads(file.read_text().splitlines()[-1]) == case.run.name
    assert not case.folder.parent.exists()


@pytest.mark.parametrize(
    ("size", "change", "every"),
    [
        (8, [], 1),  # 3 steps, where an entry comes after each 5
        (13, ["--num_train_epochs", "2.5"], 5),  # 2 steps an epoch, 5 in all
        (13, ["--num_train_epochs=2.0"], 1),
        (8, ["--max_steps", "5"], 5),
        (100, ["--max_steps", "4"], 1),
        (8, ["--logging_steps", "0.5"], 0.5),  # a share of all steps
        (8, ["--num_train_epochs", "many"], 5),  # the trainer will say it
    ],
)
def test_a_training_of_few_steps_logs_each_of_them_and_only_that(size, change, every):
    usual = "--num_train_epochs 3.0 --per_device_train_batch_size 2 --gradient_accumulation_steps 4 --logging_steps 5"
    words = command.complete(["llamafactory-cli", *usual.split(), *change], size)
    assert float(settings_of(words)["logging_steps"]) == every


@pytest.mark.parametrize(
    ("size", "change", "steps"),
    [
        (8, [], "39"),  # 13 an epoch of 100 examples
        (100, [], None),  # it has them
        (97, [], None),
        (8, ["--max_steps", "5"], "5"),  # the user's own, for all
        (8, ["--num_train_epochs", "1.5"], "20"),
    ],
)
def test_matched_steps_are_those_of_the_largest_size(size, change, steps):
    usual = "--num_train_epochs 3.0 --per_device_train_batch_size 2 --gradient_accumulation_steps 4 --logging_steps 5"
    words = command.complete(["llamafactory-cli", *usual.split(), *change], size, 100)
    assert settings_of(words).get("max_steps") == steps


def test_an_outcome_that_cannot_be_noted_ends_no_training(case, capsys):
    case.monkeypatch.setenv("FEWSHOT_OUTCOMES", str(case.run.data_file))  # a file
    case.monkeypatch.setenv("FEWSHOT_OUTCOME", "")
    assert case.train() == 0
    assert capsys.readouterr().err.count("what became of it could not be noted in ") == 2
