"""Train one run: decide, start the trainer, watch it, check what it left, record it.

    python py/train.py tiny-llm_train_100 -- llamafactory-cli train --stage sft ...

bin/train.sh starts it. A run that was trained before with the same data, model, settings and versions is skipped; one
that was interrupted goes on from its last checkpoint. LLaMA-Factory resumes whatever checkpoint it finds, so it finds
none but a whole one of the same identity: anything else is moved aside.

Exit status: 0 it is trained, now or before; 1 the training has failed; 2 something for the user to mend; with --dry-run
3, there is something to do.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from fewshot_sft import dry_run, locks, runs
from fewshot_sft.children import Child
from fewshot_sft.evaluation import first_answers
from fewshot_sft.identity import read_record, split_command
from fewshot_sft.log import say, show_tail, start_log
from fewshot_sft.outcomes.outcomes import note_reason, of_run
from fewshot_sft.program import DONE, FAILED, TO_DO, end_on_signals
from fewshot_sft.program import run as run_main
from fewshot_sft.replaced import set_aside
from fewshot_sft.runs import Run
from fewshot_sft.settings import Settings
from fewshot_sft.training import checks, recording, trainer_state
from fewshot_sft.training.command import complete
from fewshot_sft.training.deciding import STARTED, decide
from fewshot_sft.training.watching import INTERVAL, Abort, Watch

ENDED = 128 + 15  # the status of a trainer that we have ended


def main(argv: list[str]) -> int:
    """Train the run."""
    argv, command = split_command(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="its name; behind -- the trainer's command")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    args = parser.parse_args(argv)
    settings = Settings.read()
    run = runs.named(settings, args.run)
    assert run.size is not None
    command = complete(command, run.size, max(runs.sizes(settings)) if settings.match_steps else None)
    if args.dry_run:
        return plan(run, command)
    end_on_signals()
    with of_run("training", run.name, run.log("train")) as ended:
        lock = run.adapter.with_name(f".{run.name}.lock")
        with locks.hold(lock, run.title, run.settings.stop_timeout + 30) as held:
            state = train(run, command, held)
        ended(state)
    return FAILED if state == "failed" else DONE


def plan(run: Run, command: list[str]) -> int:
    """Print the run's lines of the dry run."""
    what = f"training of {run.title}"
    waits_for = dry_run.first_planned(str(run.data_file), "base model")
    if waits_for:
        why = f" ({waits_for if waits_for == 'base model' else 'data'})"
    else:
        decision = decide(run, command)
        if decision.action == "skip":
            print(f"{what}: done ({run.adapter})")
            return DONE
        if decision.action == "record":  # no trainer is needed
            print(f"{what}: to do, its training has ended and is only to be recorded")
            return TO_DO
        why = f", {decision.why}" if decision.why else ""
        if decision.action == "resume":
            step = checks.last_checkpoint(run.adapter)
            why = f", resume at step {step}" if step else ", interrupted before its first checkpoint"
    print(f"{what}: to do{why}")
    dry_run.show(command)
    dry_run.note(run.name)
    return TO_DO


def train(run: Run, command: list[str], lock: int) -> str:
    """Do what is to be done; return how it ended: done, skipped or failed.

    Args:
        run: the run.
        command: the trainer's.
        lock: the descriptor of the run's lock, which the trainer keeps.
    """
    folder = run.adapter
    decision = decide(run, command)
    resumed_at = 0
    if decision.action == "skip":
        print(f"{run.title}: already trained ({folder})")
        checks.remove_tokenized(folder)  # where the last one was killed before
        return "skipped"
    if decision.action == "record":
        print(f"{run.title}: its training had ended before it could be recorded")
        written = [(folder / name).stat().st_mtime for name in (STARTED, checks.STATE)]
        seconds = max(0, round(written[1] - written[0]))
        return tell(run, recording.finish(run, read_record(folder / STARTED), 0, seconds))
    if decision.action == "replace":
        set_aside([folder], decision.before, decision.why)
    elif decision.action == "resume":
        resumed_at = checks.prepare_resume(folder)
        how = f"resuming at step {resumed_at}" if resumed_at else "starting again, there is no checkpoint yet"
        print(f"{run.title}: {how}")
    started = recording.begin(run, decision, command, resumed_at)
    log, begun = run.log("train"), time.monotonic()
    start_log(log, command)
    say(f"{run.title}: training (log: {log})")
    status, abort = run_trainer(run, command, started, lock)
    state = tell(run, recording.finish(run, started, status, round(time.monotonic() - begun), abort))
    if status:
        show_tail(log)
    return state


def run_trainer(run: Run, command: list[str], started: dict[str, Any], lock: int) -> tuple[int, Abort | None]:
    """Run the trainer to its end, or until its loss is broken or it is silent; return its status, and why it was ended.

    Nothing of it is left then.
    """
    log, settings = run.log("train"), run.settings
    watch: Watch | None = Watch(run.adapter, log, settings.train_stall, started["resumed_at"])
    abort = None
    what = f"the training of {run.title}"
    with Child(what, command, patience=settings.stop_timeout, log=log, keep=[lock]) as trainer:
        while abort is None and trainer.wait(INTERVAL) is None:
            try:
                abort = watch.look() if watch else None
            except Exception as error:  # no reason to end a training that may be well
                print(
                    f"warning: {run.title}: the watch over its loss cannot go on ({error!r}); the training goes on "
                    "without",
                    file=sys.stderr,
                )
                watch = None
        if abort is not None:
            note(run, started, abort)
    status = trainer.status()
    return ENDED if status is None else status, abort


def note(run: Run, started: dict[str, Any], abort: Abort) -> None:
    """Record why the trainer is ended before it is, which may take its time, in which we may be killed."""
    try:
        recording.finish(run, started, ENDED, 0, abort)
    except OSError as error:  # a full disk, say: the training is to be ended all the same
        print(f"{error.filename}: not written ({error.strerror or error})", file=sys.stderr)


def tell(run: Run, record: dict[str, Any]) -> str:
    """Say what became of the training, and clear up behind it; return its status, done or failed."""
    if record["status"] == "failed":
        reason = record["reason"]
        note_reason(reason)
        print(f"{run.title}: training failed: {reason} (log: {record['log']})", file=sys.stderr)
        return "failed"
    checks.remove_tokenized(run.adapter)
    tokens = record["tokens"]
    if tokens["truncated"]:
        print(
            f"{run.title}: warning: {tokens['truncated']} of {run.size} examples were cut at {tokens['cutoff']} "
            "tokens; raise CUTOFF_LEN to keep them whole",
            file=sys.stderr,
        )
    if record.get("overfits"):
        print(f"{run.title}: warning: {trainer_state.overfitting(record)}", file=sys.stderr)
    print(f"{run.title}: trained on {record['examples']} examples, loss {record['loss']['mean']:.4f}")
    if check := record.get("check"):
        first_answers.tell(run, check)
    return "done"


if __name__ == "__main__":
    run_main(main)
