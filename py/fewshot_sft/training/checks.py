"""What LLaMA-Factory leaves in a run's folder: examples, results, checkpoints, and whether they can be believed."""

from __future__ import annotations

import json
import math
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..jsonio import read_json, write_bytes
from ..log import tail
from ..serving.weights import adapter_tensors
from . import trainer_state
from .trainer_log import TRAINER_LOG, broken_loss, losses, mean_loss

TOKENIZED = "tokenized"
STATE = "trainer_state.json"
RESULTS = "all_results.json"
INCOMPLETE = "the trainer's output is incomplete"
# With one of these in its folder, and no checkpoint, LLaMA-Factory refuses to begin (its CHECKPOINT_NAMES).
WEIGHTS = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)


def failure_of_process(exit_code: int, log: Path) -> str | None:
    """Return why the trainer's process failed, in one line, or None when it ended with status 0.

    Only words are taken from the log, never a number that a result depends on.
    """
    if exit_code == 0:
        return None
    text = tail(log)
    if "OutOfMemoryError" in text or "CUDA out of memory" in text:
        return (
            "CUDA out of memory; with MICRO_BATCH=1 CHECKPOINTING=1, or TRAIN_JOBS=1 OVERLAP=0, the same needs less; "
            "or lower CUTOFF_LEN, or set QUANTIZATION=4"
        )
    if "No space left on device" in text:
        return "the disk is full; free some space and run again"
    if exit_code > 128:
        return f"the trainer was ended by signal {exit_code - 128}" + (
            " (killed: often the machine ran out of memory)" if exit_code == 137 else ""
        )
    errors = [line.strip() for line in text.splitlines() if re.match(r"\s*[\w.]*(Error|Exception)\b.*:", line)]
    return f"the trainer ended with status {exit_code}" + (f": {errors[-1][:300]}" if errors else "")


def check(folder: Path, size: int, settings: dict[str, str]) -> tuple[dict[str, Any], str | None]:
    """Check a training that ended with status 0.

    Returns:
        what was found (``examples``, ``tokens``, ``loss``), and the reason why it has failed or None.
    """
    findings: dict[str, Any] = {}
    try:
        lengths = _token_lengths(folder / TOKENIZED / "train")
        findings["examples"] = len(lengths)
        if len(lengths) != size:
            return (
                findings,
                f"the trainer had {len(lengths)} examples, not {size} (dropped rows, packing or max_samples)",
            )
        cutoff = int(settings["cutoff_len"])
        findings["tokens"] = {
            "max": max(lengths),
            "mean": round(sum(lengths) / len(lengths), 1),
            "truncated": sum(length >= cutoff for length in lengths),
            "cutoff": cutoff,
        }
        results = read_json(folder / RESULTS)
        state = read_json(folder / STATE)
        logged = losses(folder)
        evaluated = trainer_state.points(folder / STATE, state.get("log_history") or [], "eval_loss")
        adapter = adapter_tensors(folder)
    except (UserError, KeyError, ValueError) as error:
        return findings, f"{INCOMPLETE}: {error}"
    if (reason := _count_differs(results, state, size, settings)) is not None:
        return findings, reason
    if (reason := broken_loss(logged)) is not None:
        return findings, reason
    findings["loss"] = {"first": logged[0][1], "last": logged[-1][1], "mean": mean_loss(logged)}
    findings["steps"] = state["global_step"]
    findings |= _evaluations(evaluated, results.get("eval_loss"), state["global_step"], logged)
    return findings, _broken_adapter(folder, adapter)


def _evaluations(
    evaluated: trainer_state.Points, last: float | None, steps: int, logged: trainer_state.Points
) -> dict[str, Any]:
    """Return the losses on the validation split (EVAL_STEPS), and what they tell; nothing where there are none.

    Args:
        evaluated: those in trainer_state.json.
        last: LLaMA-Factory evaluates once more at the end, when trainer_state.json is written already.
        steps: of the whole training.
        logged: the training losses.
    """
    if last is not None and math.isfinite(last):
        evaluated = sorted((dict(evaluated) | {steps: last}).items())
    history = trainer_state.History(logged, evaluated)
    if history.best is None:
        return {}
    listed = [{"step": step, "loss": loss} for step, loss in evaluated]
    return {"eval_loss": listed, "best_step": history.best[0], "overfits": history.overfits}


def ended(folder: Path, started: dict[str, Any]) -> tuple[bool, str | None]:
    """Return whether the training of this note had ended, and why it has failed or None.

    The trainer writes, in this order: its log, the adapter, all_results.json, trainer_state.json, a picture. With all
    of them whole, and the examples to be counted, nothing is left to be trained, however the process ended.
    """
    if not (folder / STATE).is_file():
        return False, None
    _, reason = check(folder, started["size"], started["settings"])
    return (False, None) if reason is not None and reason.startswith(INCOMPLETE) else (True, reason)


def has_weights(folder: Path) -> bool:
    """Return whether a trainer has begun to write its final weights, which a new one would not overwrite."""
    return any((folder / name).is_file() for name in WEIGHTS)


def _token_lengths(folder: Path) -> list[int]:
    """Return the length in tokens of each example that the trainer trained on (its own tokenized data set).

    Read with pyarrow: the package `datasets`, which wrote it, takes a second to import, for every size.
    """
    import pyarrow

    try:
        files = [folder / each["filename"] for each in read_json(folder / "state.json")["_data_files"]]
        found = []
        for file in files:
            with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as table:
                found += [length for batch in table for length in batch.column("input_ids").value_lengths().to_pylist()]
        return found
    except (UserError, OSError, pyarrow.ArrowException, KeyError, TypeError) as error:
        raise UserError(f"{folder}: the trainer's tokenized examples are not there ({error})") from None


def _count_differs(results: dict[str, Any], state: dict[str, Any], size: int, settings: dict[str, str]) -> str | None:
    """Compare with the trainer's own account: examples = rate x time / epochs, both rounded when it wrote them."""
    if state.get("global_step") != state.get("max_steps"):
        return f"the trainer stopped at step {state.get('global_step')} of {state.get('max_steps')}"
    rate, seconds = results.get("train_samples_per_second"), results.get("train_runtime")
    if "max_steps" in settings or not rate or not seconds:
        return None
    counted = rate * seconds / float(settings["num_train_epochs"])
    tolerance = 0.5 + size * 0.0006 / rate + size * 0.0006 / seconds
    if abs(counted - size) > tolerance:
        return f"the trainer counted {counted:.1f} examples an epoch, not {size}"
    return None


def _broken_adapter(folder: Path, tensors: dict[str, Any]) -> str | None:
    """Return why the adapter's weights cannot be right: not finite, or as untouched as at the start; or None."""
    import numpy as np

    path = folder / "adapter_model.safetensors"
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        return f"{path}: weights that are not finite"
    if not any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name):
        return f"{path}: lora_B is zero everywhere, the adapter changes nothing"
    return None


def remove_tokenized(folder: Path) -> None:
    """Remove the tokenized examples: counted, they are of no more use, and a later training must not find them."""
    shutil.rmtree(folder / TOKENIZED, ignore_errors=True)


def prepare_resume(folder: Path) -> int:
    """Leave in ``folder`` only what LLaMA-Factory may go on from; return the step of the last whole checkpoint, or 0.

    A checkpoint that was being written when the trainer died is removed, with what was logged and saved after the last
    whole one: no later look may take it for what the next trainer wrote. So are tokenized examples, which LLaMA-Factory
    would take in place of the data that it is told to use.
    """
    remove_tokenized(folder)
    for name in (STATE, RESULTS, "train_results.json", *WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    whole = _whole_checkpoints(folder)
    for path in folder.glob("checkpoint-*"):
        if path not in whole:
            shutil.rmtree(path)
    last = max(whole.values(), default=0)
    log = folder / TRAINER_LOG
    if log.is_file():
        write_bytes(log, b"".join(line + b"\n" for line in log.read_bytes().splitlines() if _step_of(line) <= last))
    return last


def last_checkpoint(folder: Path) -> int:
    """Return the step of the last whole checkpoint in ``folder``, or 0 when there is none."""
    return max(_whole_checkpoints(folder).values(), default=0)


def _whole_checkpoints(folder: Path) -> dict[Path, int]:
    steps = {path: path.name.removeprefix("checkpoint-") for path in folder.glob("checkpoint-*")}
    return {path: int(step) for path, step in steps.items() if step.isdigit() and _is_whole(path)}


def _step_of(line: bytes) -> float:
    try:
        return json.loads(line)["current_steps"]
    except (ValueError, KeyError, TypeError):
        return math.inf  # a torn line


def _is_whole(checkpoint: Path) -> bool:
    """Return whether all of a checkpoint is there, and something is left to train after it.

    The trainer writes ``trainer_state.json`` last. From a checkpoint of its last step it would train nothing, and
    report a loss of 0.
    """
    from safetensors import SafetensorError, safe_open

    try:
        state = read_json(checkpoint / "trainer_state.json")
        if "max_steps" in state and state.get("global_step", 0) >= state["max_steps"]:
            return False
        with safe_open(str(checkpoint / "adapter_model.safetensors"), framework="np"):
            pass
    except (UserError, SafetensorError, OSError):
        return False
    return all(zipfile.is_zipfile(path) for path in (checkpoint / "optimizer.pt", checkpoint / "scheduler.pt"))
