"""The jobs of a sweep: logs/<sweep>.slurm/jobs.json, what was submitted; squeue tells what is left of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import runs
from ..claims import SUFFIX, Claim, squeue
from ..errors import UserError
from ..identity import read_record
from ..jsonio import write_json
from ..outcomes.outcomes import file_name
from ..outcomes.outcomes import read as read_outcome
from ..settings import Settings

SCHEMA = 1


class Job(NamedTuple):
    """One job that was submitted; of an array the runs of each task."""

    id: str
    part: str  # prepare, models, methods, results
    tasks: tuple[tuple[str, ...], ...] = ()

    def active(self, queue: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Return what the queue knows of it: the runs, by the name that squeue gives the job or its task."""
        if not self.tasks:
            return {self.id: ()} if self.id in queue else {}
        named = ((f"{self.id}_{index}", names) for index, names in enumerate(self.tasks))
        return {name: names for name, names in named if name in queue}


def folder(settings: Settings) -> Path:
    """Return where the scripts, logs and records of a sweep's jobs are."""
    return settings.logs_dir / f"{settings.sweep_name}.slurm"


def read(settings: Settings) -> list[Job]:
    """Return the jobs that were submitted; none when the record is missing."""
    found = read_record(folder(settings) / "jobs.json").get("jobs", [])
    return [Job(each["id"], each["part"], tuple(map(tuple, each.get("tasks", ())))) for each in found]


def write(settings: Settings, jobs: Iterable[Job]) -> None:
    """Write the record."""
    listed = [{"id": each.id, "part": each.part, **({"tasks": each.tasks} if each.tasks else {})} for each in jobs]
    record: dict[str, Any] = {"schema": SCHEMA, "kind": "slurm jobs", "name": settings.sweep_name, "jobs": listed}
    write_json(folder(settings) / "jobs.json", record)


def queue(submitted: Iterable[Job]) -> dict[str, str]:
    """Return the state of each of these jobs or their tasks that is in the queue, by its name.

    Raises:
        UserError: squeue does not answer.
    """
    ids = ",".join(job.id for job in submitted)
    return dict(line.split(maxsplit=1) for line in squeue("%i %T", ids).splitlines()) if ids else {}


def unfinished(settings: Settings) -> list[str]:
    """Return the runs that have neither ended well nor are left out, by the outcomes of this sweep."""
    outcomes = settings.logs_dir / f"{settings.sweep_name}.outcomes"

    def is_well(name: str) -> bool:
        try:
            return read_outcome(outcomes / file_name("evaluation", name)).state in ("done", "skipped", "left out")
        except UserError:
            return False

    return [run.name for run in runs.every(settings) if not is_well(run.name)]


def release(settings: Settings, ids: Iterable[str]) -> list[Path]:
    """Remove the claims of jobs that have ended without a chance to; return them.

    Args:
        settings: of the sweep.
        ids: of the jobs, none of which may be in the queue.
    """
    ended, removed = set(ids), []
    for path in (*settings.objs_dir.glob(f".*{SUFFIX}"), *settings.saves_dir.rglob(f".*{SUFFIX}")):
        try:
            claim = Claim.read(path)
        except UserError:
            continue
        if claim is not None and claim.job.partition("_")[0] in ended:
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed
