"""What counts as a finished training, what is resumed and what is moved aside."""

from __future__ import annotations

import json
import math
import os
import subprocess
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from safetensors.numpy import save_file

import training_record
from fewshot_sft.errors import UserError

SIZE = 10
REMEDY = "; GLM-4 and others overflow in fp16: use PRECISION=bf16, or a lower LEARNING_RATE"
COMMAND = [
    "llamafactory-cli", "train", "--learning_rate", "5e-05", "--num_train_epochs", "3.0", "--cutoff_len", "64",
    "--output_dir", "somewhere", "--model_name_or_path",
]  # fmt: skip


class Run:
    """A run's folder, and a trainer that leaves in it what LLaMA-Factory would."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.data, self.model = root, root / "lora/x-llm_train_10", root / "data", root / "base"
        self.log = root / "x.log"
        self.log.write_text("some output\n")
        self.data.mkdir()
        (self.data / f"llm_train_{SIZE}.json").write_text("[]")
        self.model.mkdir()
        (self.model / "config.json").write_text("{}")
        save_file({"w": np.ones(1, np.float32)}, str(self.model / "model.safetensors"))

    def begin(self, *changes: str, force: bool = False) -> int:
        flags = ["--force"] if force else []
        where = ["--folder", str(self.folder), "--data", str(self.data), "--size", str(SIZE), "--name", "x"]
        return training_record.main(["begin", *where, *flags, "--", *COMMAND, str(self.model), *changes])

    def train(self, *, examples: int = SIZE, losses: tuple[float, ...] = (2.0, 1.0), lora_b: float = 1.0) -> None:
        rows = {"input_ids": [list(range(5 + row)) for row in range(examples)]}
        datasets.Dataset.from_dict(rows).save_to_disk(str(self.folder / "tokenized/train"))
        logged = [{"current_steps": 5 * step, "loss": loss} for step, loss in enumerate(losses, 1)]
        lines = [json.dumps(entry) for entry in [*logged, {"current_steps": 99}]]
        (self.folder / "trainer_log.jsonl").write_text("\n".join(lines) + "\n")
        rate = {"train_runtime": 2.0, "train_samples_per_second": examples * 3 / 2.0}
        (self.folder / "all_results.json").write_text(json.dumps({"train_loss": sum(losses) / len(losses), **rate}))
        (self.folder / "trainer_state.json").write_text(json.dumps({"global_step": 4, "max_steps": 4}))
        weights = {
            "q.lora_A.weight": np.ones((2, 4), np.float32),
            "q.lora_B.weight": np.full((4, 2), lora_b, np.float32),
        }
        save_file(weights, str(self.folder / "adapter_model.safetensors"))

    def finish(self, exit_code: int = 0) -> int:
        where = ["--folder", str(self.folder), "--log", str(self.log), "--seconds", "7"]
        return training_record.main(["finish", *where, "--exit-code", str(exit_code)])

    @property
    def record(self) -> dict:
        return json.loads((self.folder / "training.json").read_text())

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
def run(folder: Path) -> Run:
    return Run(folder)


def test_a_good_training_is_done_and_then_skipped(run, capsys):
    assert run.begin() == 0
    run.train()
    assert run.finish() == 0
    record = run.record
    assert (record["status"], record["examples"], record["seconds"]) == ("done", SIZE, 7)
    assert record["tokens"] == {"max": 14, "mean": 9.5, "truncated": 0, "cutoff": 64}
    assert record["loss"] == {"first": 2.0, "last": 1.0, "mean": 1.5}
    assert not (run.folder / "tokenized").exists()
    capsys.readouterr()
    assert run.begin() == training_record.EXIT_DONE
    assert capsys.readouterr().out == f"size 10: already trained ({run.folder})\n"


@pytest.mark.parametrize(
    ("trained", "reason"),
    [
        ({"examples": 9}, "the trainer had 9 examples, not 10 (dropped rows, packing or max_samples)"),
        ({"losses": (2.0, math.nan)}, f"the loss is nan at step 10{REMEDY}"),
        ({"losses": (2.0, 0.0)}, f"the loss is exactly 0 at step 10, the mark of an overflow{REMEDY}"),
        ({"losses": (math.inf,)}, f"the loss is inf at step 5{REMEDY}"),
    ],
)  # fmt: skip
def test_a_training_that_cannot_be_right_has_failed_and_is_not_resumed(run, capsys, trained, reason):
    run.begin()
    run.checkpoint(2)
    run.train(**trained)
    capsys.readouterr()
    assert run.finish() == 1
    assert (run.record["status"], run.record["reason"], run.record["resumable"]) == ("failed", reason, False)
    assert capsys.readouterr().err == f"size 10: training failed: {reason} (log: {run.log})\n"
    assert run.begin() == 0
    assert not list(run.folder.glob("checkpoint-*"))
    assert f"it had failed ({reason})" in capsys.readouterr().err


def test_the_classes_without_example_are_noted(run):
    run.begin()
    run.train()
    assert run.finish() == 0
    assert "never_seen" not in run.record
    splits = {f"llm_train_{SIZE}": {"per_class": {"a": 10, "b": 0, "c": 0}}}
    (run.data / "manifest.json").write_text(json.dumps({"splits": splits}))

    assert run.begin(force=True) == 0
    run.train()
    assert run.finish() == 0
    assert run.record["never_seen"] == ["b", "c"]


def test_an_adapter_that_changes_nothing_has_failed(run):
    run.begin()
    run.train(lora_b=0.0)
    assert run.finish() == 1
    assert run.record["reason"].endswith(
        "adapter_model.safetensors: lora_B is zero everywhere, the adapter changes nothing"
    )


def test_an_early_end_of_the_trainer_is_no_success(run):
    run.begin()
    run.train()
    (run.folder / "trainer_state.json").write_text(json.dumps({"global_step": 3, "max_steps": 4}))
    assert run.finish() == 1
    assert run.record["reason"] == "the trainer stopped at step 3 of 4"


def test_another_count_in_the_trainers_own_account_is_no_success(run):
    run.begin()
    run.train()
    (run.folder / "all_results.json").write_text(
        json.dumps({"train_loss": 1.5, "train_runtime": 2.0, "train_samples_per_second": 18.0})
    )
    assert run.finish() == 1
    assert run.record["reason"] == "the trainer counted 12.0 examples an epoch, not 10"


def test_a_training_that_left_nothing_has_failed(run):
    run.begin()
    assert run.finish() == 1
    assert run.record["reason"].startswith("the trainer's output is incomplete: ")


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried", "CUDA out of memory; with MICRO_BATCH=1"),
        (1, "OSError: [Errno 28] No space left on device", "the disk is full; free some space and run again"),
        (137, "", "the trainer was ended by signal 9 (killed: often the machine ran out of memory)"),
        (143, "", "the trainer was ended by signal 15"),
        (
            1,
            "Traceback\nValueError: Undefined dataset x",
            "the trainer ended with status 1: ValueError: Undefined dataset x",
        ),
        (3, "nothing that helps", "the trainer ended with status 3"),
    ],
)
def test_a_crash_is_told_apart_and_goes_on_from_its_last_whole_checkpoint(run, capsys, code, log, reason):
    run.begin()
    run.log.write_text(log)
    run.checkpoint(100)
    run.checkpoint(200, whole=False)
    (run.folder / "tokenized").mkdir()
    lines = [json.dumps({"current_steps": step, "loss": 1.0}) for step in (50, 100, 150)]
    (run.folder / "trainer_log.jsonl").write_text("\n".join([*lines, '{"current_steps": 2']))
    assert run.finish(code) == 1
    assert run.record["reason"].startswith(reason)
    capsys.readouterr()
    assert run.begin() == 0
    assert capsys.readouterr().out == "size 10: resuming at step 100\n"
    assert [path.name for path in run.folder.glob("checkpoint-*")] == ["checkpoint-100"]
    assert (run.folder / "trainer_log.jsonl").read_text().splitlines() == lines[:2]
    assert not (run.folder / "tokenized").exists()
    assert not (run.folder / "training.json").exists()


def aborted(run: Run, reason: str, *, resumable: bool) -> Path:
    """What watch_training.py leaves when the trainer is to be ended."""
    path = run.folder / "training.aborted.json"
    path.write_text(json.dumps({"schema": 1, "reason": reason, "resumable": resumable, "step": 5}))
    return path


@pytest.mark.parametrize("code", [143, 137, 1])
def test_a_training_that_was_ended_for_its_loss_has_that_reason_and_is_not_resumed(run, capsys, code):
    run.begin()
    run.checkpoint(2)
    run.log.write_text("torch.OutOfMemoryError: CUDA out of memory. Tried")
    path = aborted(run, "the loss is nan at step 5", resumable=False)
    capsys.readouterr()
    assert run.finish(code) == 1
    assert (run.record["reason"], run.record["resumable"]) == ("the loss is nan at step 5", False)
    assert capsys.readouterr().err == f"size 10: training failed: the loss is nan at step 5 (log: {run.log})\n"
    assert path.is_file()
    assert run.begin() == 0
    assert "it had failed (the loss is nan at step 5)" in capsys.readouterr().err
    assert not list(run.folder.glob("checkpoint-*"))
    assert not path.exists()


def test_the_mean_loss_of_a_resumed_training_counts_the_steps_before(run, capsys):
    run.begin()
    run.checkpoint(12)
    assert run.finish(137) == 1
    run.begin()
    run.train(losses=(4.0, 3.0, 2.0, 1.0))
    # transformers divides what steps 13 to 20 add up to by 20. Steps 11 and 12 are in no sum: 18 are left.
    results = json.loads((run.folder / "all_results.json").read_text())
    (run.folder / "all_results.json").write_text(json.dumps(results | {"train_loss": (3 * 2.0 + 5 * 1.0) / 20}))
    (run.folder / "trainer_state.json").write_text(json.dumps({"global_step": 20, "max_steps": 20}))
    capsys.readouterr()
    assert run.finish() == 0
    assert run.record["loss"] == {"first": 4.0, "last": 1.0, "mean": pytest.approx((5 * 4.0 + 5 * 3.0 + 11.0) / 18)}
    assert capsys.readouterr().out == "size 10: trained on 10 examples, loss 2.5556\n"


def test_a_checkpoint_of_the_last_step_is_not_resumed(run, capsys):
    # The trainer would train nothing from there on, and report a loss of 0.
    run.begin()
    run.checkpoint(2)
    last = run.checkpoint(4)
    (last / "trainer_state.json").write_text(json.dumps({"global_step": 4, "max_steps": 4}))
    assert run.finish(137) == 1
    capsys.readouterr()
    assert run.begin() == 0
    assert capsys.readouterr().out == "size 10: resuming at step 2\n"
    assert not last.exists()


def test_a_training_that_was_ended_for_its_silence_is_resumed(run, capsys):
    run.begin()
    run.checkpoint(2)
    path = aborted(run, "the trainer has been silent for 9 s", resumable=True)
    assert run.finish(137) == 1
    assert (run.record["reason"], run.record["resumable"]) == ("the trainer has been silent for 9 s", True)
    capsys.readouterr()
    assert run.begin() == 0
    assert capsys.readouterr().out == "size 10: resuming at step 2\n"
    assert not path.exists()
    assert run.finish(143) == 1
    assert run.record["reason"] == "the trainer was ended by signal 15"


@pytest.mark.parametrize(("resumable", "left"), [(True, ["checkpoint-2"]), (False, [])])
def test_the_watchers_word_counts_when_the_record_was_not_written_any_more(run, capsys, resumable, left):
    run.begin()
    run.checkpoint(2)
    aborted(run, "it is broken", resumable=resumable)
    assert run.begin() == 0
    assert [path.name for path in run.folder.glob("checkpoint-*")] == left
    assert ("it had failed (it is broken)" in capsys.readouterr().err) != resumable


def test_a_trainer_that_ended_well_before_it_could_be_ended_is_judged_by_what_it_left(run):
    run.begin()
    run.train()
    path = aborted(run, "the trainer has been silent for 9 s", resumable=True)
    assert run.finish() == 0
    assert run.record["status"] == "done"
    assert not path.exists()
    run.begin(force=True)
    run.train(losses=(2.0, 0.0))
    path = aborted(run, "the trainer has been silent for 9 s", resumable=True)
    assert run.finish() == 1
    assert run.record["reason"].startswith("the loss is exactly 0 at step 10")
    assert path.is_file()


def test_a_damaged_word_of_the_watcher_does_not_hide_how_the_trainer_ended(run):
    run.begin()
    aborted(run, "", resumable=True).write_text('{"reason": "the lo')
    assert run.finish(143) == 1
    assert (run.record["reason"], run.record["resumable"]) == ("the trainer was ended by signal 15", True)


@pytest.mark.parametrize("damage", ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_a_truncated_checkpoint_is_not_resumed(run, capsys, damage):
    run.begin()
    path = run.checkpoint(100) / damage
    path.write_bytes(path.read_bytes()[:1])
    run.begin()
    assert not (run.folder / "checkpoint-100").exists()
    assert capsys.readouterr().out == "size 10: starting again, there is no checkpoint yet\n"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: run.begin("--learning_rate", "1e-4"), "settings changed (learning_rate: 5e-05 -> 1e-4)"),
        (lambda run: ((run.data / "llm_train_10.json").write_text("[1]"), run.begin()), "data changed"),
        (lambda run: ((run.model / "config.json").write_text('{"a": 1}'), run.begin()), "model changed"),
        (lambda run: run.begin(force=True), "--force"),
    ],
)
def test_what_decides_the_result_has_changed_and_the_old_adapter_is_kept(run, capsys, change, why):
    run.begin()
    run.train()
    run.finish()
    identity = run.record["identity"]
    capsys.readouterr()
    change(run)
    kept = run.folder.parent / "replaced" / f"{run.folder.name}-{identity[:8]}"
    assert capsys.readouterr().err == f"{run.folder}: {why}; the old one is {kept}\n"
    assert (kept / "training.json").is_file()
    assert not (run.folder / "adapter_model.safetensors").exists()


def test_where_things_lie_does_not_decide(run):
    run.begin()
    run.train()
    run.finish()
    assert run.begin("--output_dir", "elsewhere", "--preprocessing_num_workers", "3") == training_record.EXIT_DONE


SPLIT = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "4", "--optim", "adamw_torch")
WHOLE = ("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1", "--optim", "adamw_torch_fused")
FAST = ("--disable_gradient_checkpointing", "True", "--shared_prefix", "True", "--enable_liger_kernel", "True")


def test_how_it_is_computed_does_not_decide(run):
    run.begin(*SPLIT)
    run.train()
    run.finish()
    assert run.record["decides"]["settings"]["global_batch_size"] == "8"
    assert run.record["settings"]["per_device_train_batch_size"] == "2"
    assert run.begin(*WHOLE, *FAST) == training_record.EXIT_DONE


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (WHOLE[:2], "global_batch_size: 8 -> 32"),
        (("--quantization_bit", "4"), "quantization_bit: none -> 4"),
        (("--optim", "adafactor"), "optim: adamw_torch -> adafactor"),
        (("--gradient_accumulation_steps", "auto"), "global_batch_size: 8 -> none"),
    ],
)
def test_the_global_batch_4_bit_and_the_optimizer_decide(run, capsys, change, what):
    run.begin(*SPLIT)
    run.train()
    run.finish()
    assert run.begin(*SPLIT, *change) == 0
    assert what in capsys.readouterr().err


def test_a_checkpoint_goes_on_only_as_it_was_computed(run, capsys):
    run.begin(*SPLIT)
    run.checkpoint(100)
    assert run.begin(*SPLIT) == 0
    assert capsys.readouterr().out == "size 10: resuming at step 100\n"
    assert run.begin(*WHOLE) == 0
    assert not (run.folder / "checkpoint-100").exists()
    why = (
        "settings changed (gradient_accumulation_steps: 4 -> 1, optim: adamw_torch -> adamw_torch_fused, "
        "per_device_train_batch_size: 2 -> 8): not with its checkpoint; the old one is "
    )
    assert why in capsys.readouterr().err


def test_a_folder_without_a_record_is_moved_aside_not_resumed(run, capsys):
    run.checkpoint(100)
    assert run.begin() == 0
    assert not (run.folder / "checkpoint-100").exists()
    assert "it has no record of what made it" in capsys.readouterr().err


def test_a_note_that_was_never_finished_is_nothing_to_keep(run, capsys):
    ended = subprocess.Popen(["true"])
    ended.wait()
    run.folder.mkdir(parents=True)
    left = run.folder / f".training.started.json.{ended.pid}-abc_12.part"
    left.write_text('{"schema"')
    assert run.begin() == 0
    assert not left.exists()
    assert capsys.readouterr().err == ""
    assert not (run.folder.parent / "replaced").exists()


def test_a_file_that_someone_is_writing_is_not_overlooked(run, capsys):
    run.folder.mkdir(parents=True)
    (run.folder / f".training.started.json.{os.getpid()}-abc_12.part").write_text("{")
    assert run.begin() == 0
    assert "it has no record of what made it" in capsys.readouterr().err


def test_missing_data_and_a_missing_model_are_named(run):
    (run.data / "llm_train_10.json").unlink()
    with pytest.raises(UserError, match=r"^size 10: .*llm_train_10\.json is missing; make it with bin/build_data\.sh$"):
        run.begin()
    (run.data / "llm_train_10.json").write_text("[]")
    (run.model / "model.safetensors").unlink()
    with pytest.raises(UserError, match="base: not the folder of a model"):
        run.begin()
