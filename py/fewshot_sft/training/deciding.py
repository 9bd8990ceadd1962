"""What is to be done for a run's adapter: nothing, only its record, a training from the start or from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError
from ..identity import changes, read_record, settings_of
from ..jsonio import is_leftover, sha256_file, sha256_json
from ..provenance import versions
from ..runs import SCHEMA, Run
from ..serving.weights import adapter_identity, model_identity
from . import checks

RECORD = "training.json"
STARTED = "training.started.json"  # what is being trained, and from which step on
PACKAGES = ("llamafactory", "torch", "transformers", "peft", "trl")
# Where things lie and how much is printed does not decide what is learned.
NOT_DECISIVE = {
    "output_dir",
    "dataset_dir",
    "tokenized_path",
    "model_name_or_path",
    "model_revision",
    "preprocessing_num_workers",
    "report_to",
    "plot_loss",
    "ddp_timeout",
    "save_total_limit",
    "include_num_input_tokens_seen",
    "logging_nan_inf_filter",
}
# Nor does how it is computed: it changes the losses by rounding (docs/performance.md, the same losses).
HOW = {"disable_gradient_checkpointing", "shared_prefix", "step_graphs", "enable_liger_kernel"}
# The loss on the validation split is only looked at, unless one of the second row acts on it.
LOOKED_AT = {"eval_dataset", "eval_strategy", "eval_steps", "per_device_eval_batch_size"}
ACTS_ON_IT = {"load_best_model_at_end", "early_stopping_steps"}
BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")  # their product decides


@dataclass(frozen=True)
class Decision:
    """What is to be done, and what that was decided by; nothing has been changed on the disk yet."""

    action: Literal["skip", "record", "train", "resume", "replace"]
    parts: dict[str, Any]  # what the adapter depends on
    identity: str
    before: str | None = None  # identity of what is there and would be moved aside
    why: str = ""  # the reason to replace it


def decide(run: Run, command: Sequence[str]) -> Decision:
    """Compare what the trainer's command asks for with what the records in the run's folder tell.

    Raises:
        UserError: the run's data file or the model's folder is missing.
    """
    folder, force = run.adapter, run.settings.force
    settings = settings_of(list(command))
    parts = decides(run, settings)
    identity = sha256_json(parts)
    record, started = read_record(folder / RECORD), read_record(folder / STARTED)

    def replace(why: str, before: str | None = identity) -> Decision:
        return Decision("replace", parts, identity, before, why)

    # A sweep that was killed while it wrote its first note has left a part of that.
    if not folder.is_dir() or all(map(is_leftover, folder.iterdir())):
        return Decision("train", parts, identity)
    before = record.get("identity") or started.get("identity")
    if force:
        return replace("--force", before)
    if any(each.get("schema") != SCHEMA for each in (record, started) if each):
        return replace("it is of an earlier version", before)
    if record.get("status") == "done" and record.get("identity") == identity:
        if is_adapter(folder, record):
            return Decision("skip", parts, identity)
        return replace("its adapter is not as it was trained")
    # A failure that the trainer reported by its own end (a crash, no memory) can go on from its last checkpoint, as one
    # that hung; one that our checks found (a wrong count, a broken loss) cannot.
    if started.get("identity") != identity or not record.get("resumable", not record):
        return replace(_why(record, started, parts), before)
    whole, reason = checks.ended(folder, started)
    if whole:
        return Decision("record", parts, identity) if reason is None else replace(f"it had failed ({reason})")
    how, how_before = ({"settings": resumable_with(each)} for each in (settings, started.get("settings") or {}))
    if how != how_before:
        return replace(f"{changes(how_before, how)}: not with its checkpoint", before)
    if checks.last_checkpoint(folder) or not checks.has_weights(folder):
        return Decision("resume", parts, identity)
    return replace("it ended in the middle of saving, without a checkpoint")


def decides(run: Run, settings: dict[str, str]) -> dict[str, Any]:
    """Return all that the run's adapter depends on.

    What the plan for the hardware chooses is not among it, but for 4 bit: a sweep on another card, or with less memory
    free, redoes nothing.

    Args:
        run: the run.
        settings: the trainer's flags.

    Raises:
        UserError: the run's data file or the model's folder is missing.
    """
    if not run.data_file.is_file():
        raise UserError(f"{run.title}: {run.data_file} is missing; make it with bin/build_data.sh")
    return {
        "data": sha256_file(run.data_file),
        "model": model_identity(settings.get("model_name_or_path", ""), settings.get("model_revision", "")),
        "settings": decisive(settings),
        "versions": versions(PACKAGES),
    }


def decisive(settings: dict[str, str]) -> dict[str, str]:
    """Return the trainer's flags that decide what is learned, in order, with the global batch size."""
    ignored = NOT_DECISIVE | HOW | _looked_at(settings)
    found = {key: value for key, value in settings.items() if key not in ignored}
    if all(found.get(key, "").isdecimal() for key in BATCH):
        first, second = (int(found.pop(key)) for key in BATCH)
        found["global_batch_size"] = str(first * second)
    if found.get("optim") == "adamw_torch_fused":  # one kernel for the same update
        found["optim"] = "adamw_torch"
    return dict(sorted(found.items()))


def resumable_with(settings: dict[str, str]) -> dict[str, str]:
    """Return the flags that a checkpoint is continued with: the trainer takes the batch size that it finds in it."""
    ignored = NOT_DECISIVE | _looked_at(settings)
    return {key: value for key, value in sorted(settings.items()) if key not in ignored}


def _looked_at(settings: dict[str, str]) -> set[str]:
    return set() if ACTS_ON_IT & settings.keys() else LOOKED_AT


def is_adapter(folder: Path, record: dict[str, Any]) -> bool:
    """Return whether the folder's adapter is the one that was trained: neither gone nor damaged since."""
    try:
        return adapter_identity(folder) == record.get("adapter")
    except (UserError, OSError):
        return False


def _why(record: dict[str, Any], started: dict[str, Any], parts: dict[str, Any]) -> str:
    before = record.get("decides") or started.get("decides")
    if before == parts:
        return f"it had failed ({record.get('reason', 'no reason noted')})"
    return changes(before, parts)
