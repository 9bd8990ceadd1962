"""What the jobs of a sweep on a cluster are to do, for bin/lib/slurm.bash.

    python py/slurm_tasks.py settle           which settings count: lines for bash, below
    python py/slurm_tasks.py plan             what is to be submitted: lines for bash, below
    python py/slurm_tasks.py note ID PART [FILE]   note a job that was submitted, with its file of tasks
    python py/slurm_tasks.py ids              the jobs that were submitted and are in the queue, a line each
    python py/slurm_tasks.py progress         how far they are, in a line; exit status 3 while there are some
    python py/slurm_tasks.py unfinished       the runs of this submission that have not ended well, a line each
    python py/slurm_tasks.py release          remove what jobs that were killed have left claimed

Input of ``plan``: with zero bytes between, for each training its run, the number of words of the trainer's command, and
the words.

Output of ``settle``: ``kept`` when logs/<sweep>.settings.json is of the same settings, else ``new``. Where that file
has a hardware plan, these settings with that plan are written beside the file of the settings, as FILE.planned: by them
``plan`` tells what is done. Output of ``plan``, with tabs between: ``active ID PART`` for a job in the
queue, ``task PART SCRIPTS RUNS`` for a task to submit, ``missing N`` runs.
Exit status: 0, 2 something for the user to mend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fewshot_sft import runs
from fewshot_sft.cluster import jobs
from fewshot_sft.errors import UserError
from fewshot_sft.identity import read_record
from fewshot_sft.outcomes import outcomes
from fewshot_sft.program import DONE, TO_DO, run
from fewshot_sft.settings import VARIABLE, Settings, table

# What may differ between two submissions: it decides no result.
FREE = ("ON_FINISH", "REPORT_LANG", *(name for name in table() if name.startswith("SLURM_")))
PLANNED = "KV_CACHE_BYTES"  # there once the hardware plan is made


def main(argv: list[str]) -> int:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("settle", "plan", "note", "ids", "unfinished", "progress", "release"))
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--dry-run", action="store_true", help="write no outcome")
    args = parser.parse_args(argv)
    settings = Settings.read()
    if args.what == "note":
        note(settings, *args.rest)
        return DONE
    if args.what == "unfinished":
        print(*jobs.unfinished(settings), sep="\n", end="")
        return DONE
    submitted = jobs.read(settings)
    queue = jobs.queue(submitted)
    active = {job: found for job in submitted if (found := job.active(queue))}
    if args.what == "settle":
        settle(settings, bool(active))
    elif args.what == "plan":
        plan(settings, active, commands(sys.stdin.read()), args.dry_run)
    elif args.what == "ids":
        print(*(job.id for job in active), sep="\n", end="\n" if active else "")
    elif args.what == "release":
        for path in jobs.release(settings, {job.id for job in submitted} - {job.id for job in active}):
            print(f"released {path}")
    else:
        states = [queue[name] for found in active.values() for name in found]
        every = runs.every(settings)
        waiting = states.count("PENDING")
        print(
            f"{len(every) - len(jobs.unfinished(settings))} of {len(every)} runs done; "
            f"{len(states) - waiting} tasks run, {waiting} wait"
        )
        return TO_DO if states else DONE
    return DONE


def settle(settings: Settings, active: bool) -> None:
    """Compare the settings with the earlier submission's, and take its hardware plan to tell what is done.

    Raises:
        UserError: they differ, and its jobs are in the queue.
    """
    if settings.force:
        raise UserError(
            "FORCE=1 with --slurm: a task that Slurm starts again would begin anew; give the sweep another SWEEP_NAME"
        )
    kept = read_record(settings.logs_dir / f"{settings.sweep_name}.settings.json")
    names = [name for name in table() if name not in FREE]
    # "auto" was decided since.
    other = [name for name in names if settings[name] not in ("auto", kept.get(name, ""))]
    if kept.get(PLANNED):
        wanted = {name: value for name, value in settings.record().items() if value != "auto" and name in table()}
        # The plan's commit is of its model and revision.
        stale = {"MODEL_COMMIT": ""} if {"MODEL", "MODEL_REVISION"} & set(other) else {}
        Settings(kept | wanted | stale).write(os.environ[VARIABLE] + ".planned")
    if kept and not other:
        print("kept")
        return
    if active:
        told = ", ".join(f"{name}: {kept.get(name, 'none')} -> {settings[name]}" for name in other)
        raise UserError(
            f"jobs of this sweep are in the queue, submitted with other settings ({told}); wait for them "
            "(bin/sweep.sh --slurm --wait, with theirs), or cancel them (bin/sweep.sh --slurm --cancel)"
        )
    print("new")


def plan(
    settings: Settings,
    active: dict[jobs.Job, dict[str, tuple[str, ...]]],
    trainers: dict[str, Sequence[str]],
    dry: bool,
) -> None:
    """Print what is in the queue, and the tasks that make what is missing."""
    from fewshot_sft.cluster import grouping, missing  # half a second of imports

    under_way = {name for found in active.values() for names in found.values() for name in names}
    if settings.record().get(PLANNED):
        absent = missing.find(settings, trainers)
        if not dry:
            note_done(settings, absent)
    else:
        absent = runs.every(settings)
    for job in active:
        print("active", job.id, job.part, sep="\t")
    left = [each for each in absent if each.name not in under_way]
    for part, scripts, group in grouping.group(left, settings.device):
        print("task", part, ",".join(scripts), " ".join(each.name for each in group), sep="\t")
    print("missing", len(absent), sep="\t")


def note_done(settings: Settings, absent: Sequence[runs.Run]) -> None:
    """Note as an outcome that a run was done before, for the summary, unless it is known how."""
    folder = settings.logs_dir / f"{settings.sweep_name}.outcomes"
    names = {each.name for each in absent}
    for each in runs.every(settings):
        path = folder / outcomes.file_name("evaluation", each.name)
        if folder.is_dir() and each.name not in names and not path.exists():
            outcomes.finish(folder, "evaluation", "skipped", each.name)


def note(settings: Settings, job: str, part: str, file: str | None = None) -> None:
    """Add a job to the record."""
    lines = Path(file).read_text(encoding="utf-8").splitlines() if file else []
    tasks = tuple(tuple(line.partition("\t")[2].split()) for line in lines)
    jobs.write(settings, [*jobs.read(settings), jobs.Job(job, part, tasks)])


def commands(text: str) -> dict[str, Sequence[str]]:
    """Return the trainer's commands by run."""
    words = text.split("\0")[:-1]
    found: dict[str, Sequence[str]] = {}
    while words:
        count = int(words[1])
        command = words[2 : 2 + count]
        found[words[0]] = command[command.index("--") + 1 :]
        del words[: 2 + count]
    return found


if __name__ == "__main__":
    run(main)
