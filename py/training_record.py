"""The record of one size's training: what it would be, whether it is there already, whether it went well.

    python py/training_record.py begin --folder saves/tiny/lora/tiny-llm_train_100 --data data/tiny --size 100 \\
        --name tiny -- llamafactory-cli train --stage sft ...
    python py/training_record.py finish --folder saves/tiny/lora/tiny-llm_train_100 --exit-code 0 --log logs/x.log

``begin`` exits with 0 when there is something to train and 3 when a finished record with the same identity is there,
or when a training of that identity had ended before it could be recorded: then it writes the record;
``plan``, with the same arguments, only says what ``begin`` would do, and why; ``logging`` how often to log where the
command would log nothing. ``begin`` prepares the folder so that LLaMA-Factory, which resumes whatever checkpoint it
finds, can only find a whole one of the same identity; anything else is moved aside. ``finish`` writes
``training.json``, last and whole, and exits with 0 only when the trainer ended well, trained on exactly SIZE examples
and its loss was finite and not zero. When watch_training.py had the trainer ended, the reason is the one that it left
in ``training.aborted.json``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fewshot_sft.data import manifest
from fewshot_sft.errors import UserError
from fewshot_sft.identity import changes, read_record, settings_of, split_command
from fewshot_sft.jsonio import is_leftover, read_json, sha256_file, sha256_json, write_json
from fewshot_sft.outcomes.outcomes import note_reason
from fewshot_sft.program import run
from fewshot_sft.provenance import git_revision, now, versions
from fewshot_sft.replaced import set_aside
from fewshot_sft.serving.weights import adapter_identity, model_identity
from fewshot_sft.training import checks, step_counts
from fewshot_sft.training.log import ABORTED, STARTED

EXIT_DONE = 3
RECORD = "training.json"
TRAINING_PACKAGES = ("llamafactory", "torch", "transformers", "peft", "trl")
# Where things lie and how much is printed does not decide what is learned.
NOT_DECISIVE = {
    "output_dir",
    "dataset_dir",
    "tokenized_path",
    "model_name_or_path",
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
BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")  # their product decides


def decides(data: Path, size: int, settings: dict[str, str]) -> dict[str, Any]:
    """Return all that the adapter of this size depends on.

    What the plan for the hardware chooses is not among it, but for 4 bit: a night on another card, or with less memory
    free, redoes nothing.

    Raises:
        UserError: the size's training file or the model's folder is missing.
    """
    file = data / f"llm_train_{size}.json"
    if not file.is_file():
        raise UserError(f"size {size}: {file} is missing; make it with bin/build_data.sh")
    return {
        "data": sha256_file(file),
        "model": model_identity(settings.get("model_name_or_path", "")),
        "settings": decisive(settings),
        "versions": versions(TRAINING_PACKAGES),
    }


def decisive(settings: dict[str, str]) -> dict[str, str]:
    """Return the trainer's settings that decide what is learned, in order, with the global batch size."""
    found = {key: value for key, value in settings.items() if key not in NOT_DECISIVE | HOW}
    if all(found.get(key, "").isdecimal() for key in BATCH):
        first, second = (int(found.pop(key)) for key in BATCH)
        found["global_batch_size"] = str(first * second)
    if found.get("optim") == "adamw_torch_fused":  # one kernel for the same update
        found["optim"] = "adamw_torch"
    return dict(sorted(found.items()))


def resumable_with(settings: dict[str, str]) -> dict[str, str]:
    """Return the settings that a checkpoint is continued with: the trainer takes the batch size that it finds in it."""
    return {key: value for key, value in sorted(settings.items()) if key not in NOT_DECISIVE}


@dataclass(frozen=True)
class Decision:
    """What is to be done with a size, and what that was decided by; nothing has been changed on the disk yet."""

    action: Literal["skip", "record", "train", "resume", "replace"]
    parts: dict[str, Any]  # what the adapter depends on
    identity: str
    before: str | None = None  # identity of what is there and would be moved aside
    why: str = ""  # the reason to replace it


def decide(args: argparse.Namespace) -> Decision:
    """Compare what is asked for with what the folder's records tell.

    Raises:
        UserError: the size's training file or the model's folder is missing.
    """
    folder: Path = args.folder
    settings = settings_of(args.command)
    parts = decides(args.data, args.size, settings)
    identity = sha256_json(parts)
    record, started = read_record(folder / RECORD), read_record(folder / STARTED)
    if not args.force and record.get("status") == "done" and record.get("identity") == identity:
        if is_adapter(folder, record):
            return Decision("skip", parts, identity)
        return Decision("replace", parts, identity, identity, "its adapter is not as it was trained")
    # A sweep that was killed while it wrote its first note has left a part of that.
    if not folder.is_dir() or all(map(is_leftover, folder.iterdir())):
        return Decision("train", parts, identity)
    # A failure that the trainer reported by its own end (a crash, no memory) can go on from its last checkpoint;
    # one that our checks found (a wrong count, a broken loss) cannot. The watcher's word counts where `finish` did not
    # come to write the record.
    ended = record or read_record(folder / ABORTED)
    resumable = started.get("identity") == identity and ended.get("resumable", not record)
    if resumable and not args.force:
        whole, reason = checks.ended(folder, started)
        if whole and reason is None:
            return Decision("record", parts, identity)
        if whole:
            return Decision("replace", parts, identity, identity, f"it had failed ({reason})")
    how = {"settings": resumable_with(settings)}
    how_before = {"settings": resumable_with(started.get("settings") or {})}
    if resumable and not args.force and how == how_before:
        if checks.last_checkpoint(folder) or not checks.has_weights(folder):
            return Decision("resume", parts, identity)
        return Decision("replace", parts, identity, identity, "it ended in the middle of saving, without a checkpoint")
    if args.force:
        why = "--force"
    elif resumable:
        why = f"{changes(how_before, how)}: not with its checkpoint"
    else:
        why = _why(ended, started, parts)
    return Decision("replace", parts, identity, record.get("identity") or started.get("identity"), why)


def is_adapter(folder: Path, record: dict[str, Any]) -> bool:
    """Return whether the folder's adapter is the one that was trained: neither gone nor damaged since."""
    try:
        return adapter_identity(folder) == record.get("adapter")
    except (UserError, OSError):
        return False


def logging(args: argparse.Namespace) -> int:
    """Print 1, every step, where a training has fewer steps than there are between two entries of its log."""
    if step_counts.logs_nothing(args.size, settings_of(args.command)):
        print(1)
    return 0


def plan(args: argparse.Namespace) -> int:
    """Print the size's line of the plan; return 3 when there is nothing to train. Changes nothing."""
    decision = decide(args)
    what = f"training {args.size}"
    if decision.action == "skip":
        print(f"{what}: done ({args.folder})")
        return EXIT_DONE
    if decision.action == "record":  # no trainer is needed
        print(f"{what}: to do, its training has ended and is only to be recorded")
        return EXIT_DONE
    if decision.action == "resume":
        step = checks.last_checkpoint(args.folder)
        why = f", resume at step {step}" if step else ", interrupted before its first checkpoint"
    else:
        why = f", {decision.why}" if decision.why else ""
    print(f"{what}: to do{why}")
    return 0


def begin(args: argparse.Namespace) -> int:
    """Decide whether to train; prepare the folder; leave the note of what is being trained."""
    folder: Path = args.folder
    decision = decide(args)
    what = f"size {args.size}"
    resumed_at = 0
    if decision.action == "skip":
        print(f"{what}: already trained ({folder})")
        checks.remove_tokenized(folder)  # where `finish` did not come to it
        return EXIT_DONE
    if decision.action == "record":
        print(f"{what}: its training had ended before it could be recorded")
        written = [(folder / name).stat().st_mtime for name in (STARTED, checks.STATE)]
        args.exit_code, args.seconds = 0, max(0, round(written[1] - written[0]))
        return EXIT_DONE if finish(args) == 0 else 1
    if decision.action == "replace":
        set_aside([folder], decision.before, decision.why)
    elif decision.action == "resume":
        step = checks.prepare_resume(folder)
        resumed_at = step
        print(f"{what}: {f'resuming at step {step}' if step else 'starting again, there is no checkpoint yet'}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECORD, ABORTED):
        (folder / name).unlink(missing_ok=True)
    note = {
        "schema": 1,
        "kind": "training started",
        "run": folder.name,
        "name": args.name,
        "size": args.size,
        "identity": decision.identity,
        "decides": decision.parts,
        "settings": settings_of(args.command),
        "resumed_at": resumed_at,
        "started": now(),
    }
    if (never_seen := manifest.never_seen(args.data, args.size)) is not None:
        note["never_seen"] = never_seen
    write_json(folder / STARTED, note)
    return 0


def _why(ended: dict[str, Any], started: dict[str, Any], parts: dict[str, Any]) -> str:
    before = ended.get("decides") or started.get("decides")
    if before == parts:
        return f"it had failed ({ended.get('reason', 'no reason noted')})"
    return changes(before, parts)


def finish(args: argparse.Namespace) -> int:
    """Check what the trainer left and write the record; return 0 when the size is done, 1 when it has failed."""
    folder: Path = args.folder
    started = read_json(folder / STARTED)
    size = started["size"]
    record = {key: value for key, value in started.items() if key != "kind"} | {"kind": "training"}
    reason = checks.failure_of_process(args.exit_code, args.log)
    resumable = True
    # A trainer that ended well before it could be ended is judged by what it left, like any other.
    if reason is not None and (aborted := read_record(folder / ABORTED)):
        reason, resumable = aborted.get("reason", reason), aborted.get("resumable", True)
    if reason is None:
        findings, reason = checks.check(folder, size, started["settings"], started.get("resumed_at", 0))
        record |= findings
        resumable = False
    record["status"] = "done" if reason is None else "failed"
    if reason is not None:
        record |= {"reason": reason, "resumable": resumable}
    else:
        record["adapter"] = adapter_identity(folder)
    record |= {
        "seconds": args.seconds,
        "finished": now(),
        "log": str(args.log) if args.log else None,
        "versions": versions(),
        "git_revision": git_revision(),
    }
    write_json(folder / RECORD, {key: value for key, value in record.items() if value is not None})
    if reason is not None:
        note_reason(reason)
        print(f"size {size}: training failed: {reason} (log: {args.log})", file=sys.stderr)
        return 1
    checks.remove_tokenized(folder)
    (folder / ABORTED).unlink(missing_ok=True)
    tokens = record["tokens"]
    if tokens["truncated"]:
        print(
            f"size {size}: warning: {tokens['truncated']} of {size} examples were cut at {tokens['cutoff']} tokens; "
            "raise CUTOFF_LEN to keep them whole",
            file=sys.stderr,
        )
    print(f"size {size}: trained on {record['examples']} examples, loss {record['loss']['mean']:.4f}")
    return 0


def main(argv: list[str]) -> int:
    """Run ``logging``, ``plan``, ``begin`` or ``finish``."""
    argv, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    entries = steps.add_parser("logging", help="print the logging_steps to take instead of the command's, if any")
    entries.add_argument("--size", type=int, required=True)
    look = steps.add_parser("plan", help="say what `begin` would do, and change nothing")
    first = steps.add_parser("begin", help="decide whether to train and prepare the folder")
    for step in (look, first):
        step.add_argument("--data", type=Path, required=True, help="folder of llm_train_<N>.json")
        step.add_argument("--size", type=int, required=True)
        step.add_argument("--name", required=True, help="name of the sweep")
        step.add_argument("--force", action="store_true", help="train again; what is there is moved aside")
        step.add_argument("--log", type=Path, help="log of the trainer, for the record")
    last = steps.add_parser("finish", help="check the training and write its record")
    last.add_argument("--exit-code", type=int, required=True)
    last.add_argument("--seconds", type=int, help="wall time of the trainer")
    last.add_argument("--log", type=Path, required=True)
    for step in (look, first, last):
        step.add_argument("--folder", type=Path, required=True, help="output_dir of the trainer")
    args = parser.parse_args(argv)
    args.command = command
    return {"logging": logging, "plan": plan, "begin": begin, "finish": finish}[args.step](args)


if __name__ == "__main__":
    run(main)
