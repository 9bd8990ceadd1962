"""A claim: who works on something, on whichever node of a cluster; a lock of the kernel may end at the node's edge.

A file beside the lock, which a job of Slurm makes by link(2): atomic on every file system that nodes share. It names
the job, which start of it, the node and the process. One whose job Slurm does not know any more is stale, as is one of
an earlier start of the same task. It is replaced; what may still run of its holder, on a node that Slurm has lost, sees
that within :data:`INTERVAL` and ends, for which the new holder waits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from .errors import UserError
from .log import say
from .processes import is_alive

TASK = "FEWSHOT_TASK"  # the job as squeue names it, 12_3 in an array
TASK_PID = "FEWSHOT_TASK_PID"  # the job's script
SUFFIX = ".claim"
INTERVAL = 3.0  # seconds between two looks whether a claim is still ours


class Claim(NamedTuple):
    """Who holds it."""

    job: str
    start: int  # how often Slurm had started the job before
    node: str
    pid: int

    @classmethod
    def ours(cls) -> Claim | None:
        """Return this process's, None outside of Slurm's jobs."""
        if not (job := os.environ.get(TASK)):
            return None
        get = os.environ.get
        return cls(job, int(get("SLURM_RESTART_COUNT", "0")), get("SLURMD_NODENAME", os.uname().nodename), os.getpid())

    @classmethod
    def read(cls, path: Path) -> Claim | None:
        """Return what a file tells, None when it is gone.

        Raises:
            UserError: it is no claim.
        """
        try:
            job, start, node, pid = path.read_text(encoding="utf-8").split()
            return cls(job, int(start), node, int(pid))
        except ValueError:
            raise UserError(f"{path}: no claim of a job; remove it, and run the same command again") from None
        except OSError:
            return None

    def write(self, path: Path, *, replace: bool) -> bool:
        """Make the file; return whether it is ours. With ``replace`` another's gives way.

        Raises:
            OSError: it cannot be written.
        """
        own = path.with_name(f"{path.name}.{self.node}-{self.pid}")
        own.write_text(f"{self.job} {self.start} {self.node} {self.pid}\n", encoding="utf-8")
        try:
            if replace:
                os.replace(own, path)
            else:
                os.link(own, path)
        except FileExistsError:
            return False
        finally:
            own.unlink(missing_ok=True)
        return True

    def is_dead(self, ours: Claim | None) -> bool:
        """Return whether the kernel says so: it was a process of this node."""
        node = ours.node if ours else os.uname().nodename
        return self.node == node and not is_alive(self.pid)

    def is_stale(self, ours: Claim | None) -> bool:
        """Return whether Slurm says that nothing of the holder should run any more."""
        if ours is not None and self.job == ours.job:
            return self.start < ours.start
        return state_of(self.job) in ("", "PENDING")  # PENDING: it was put back into the queue


def state_of(job: str) -> str | None:
    """Return a job's state, "" of one that Slurm does not know, None when it does not answer."""
    try:
        return squeue("%T", job)
    except UserError:
        return None


def squeue(form: str, jobs: str) -> str:
    """Return what squeue tells of jobs (numbers with commas between), a line each; nothing of those it does not know.

    Raises:
        UserError: it does not answer.
    """
    import subprocess  # 15 ms that most programs do without

    command = ["squeue", "--noheader", "--array", f"--format={form}", "--jobs", jobs]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"squeue does not answer: {error}") from None
    if found.returncode and "Invalid job id" not in found.stderr:
        raise UserError(f"squeue does not answer: {found.stderr.strip()}")
    return found.stdout.strip()


@contextlib.contextmanager
def hold(lock: Path, what: str, patience: float) -> Iterator[bool]:
    """Hold the claim beside a lock; yields whether there is one, which is so in jobs of Slurm alone.

    Others only respect a claim that is there.

    Args:
        lock: the lock's path.
        what: what messages call what is claimed.
        patience: seconds to wait for another holder, and for the end of what may still run of a stale one.

    Raises:
        UserError: another job still holds it.
        OSError: the file cannot be made.
    """
    path, ours = lock.with_name(lock.name + SUFFIX), Claim.ours()
    _take(path, ours, what, patience)
    if ours is None:
        yield False
        return
    ended = threading.Event()
    threading.Thread(target=_watch, args=(path, ours, ended), daemon=True).start()
    try:
        yield True
    finally:
        ended.set()
        if Claim.read(path) == ours:
            path.unlink(missing_ok=True)


def _take(path: Path, ours: Claim | None, what: str, patience: float) -> None:
    deadline, told = monotonic() + patience, None
    while (holder := _holder(path, ours)) is not None:
        by = f"job {holder.job} on {holder.node}"
        if holder.is_dead(ours):
            wait = 0.0
        elif holder.is_stale(ours):
            wait = patience
            say(f"{what}: {by} has left its claim; taking it over in {wait:g} s")
        else:
            if monotonic() >= deadline:
                raise UserError(
                    f"{what}: {by} is still at it ({path}); wait for it, or cancel it (scancel {holder.job}), "
                    "and run the same command again"
                )
            if holder != told:
                say(f"{what}: {by} is at it ({path}); waiting up to {patience:g} s")
            told = holder
            sleep(1)
            continue
        if ours is None:
            path.unlink(missing_ok=True)
            continue
        ours.write(path, replace=True)
        sleep(wait)
        if Claim.read(path) == ours:
            return


def _holder(path: Path, ours: Claim | None) -> Claim | None:
    """Return who else holds it; None when the claim is ours now, or there is none and we make none."""
    if ours is None:
        return Claim.read(path)
    while not ours.write(path, replace=False):
        if (holder := Claim.read(path)) is not None:
            return holder
    return None


def _watch(path: Path, ours: Claim, ended: threading.Event) -> None:
    """End this task when its claim has become another's: Slurm has started it anew elsewhere."""
    while not ended.wait(INTERVAL):
        try:
            path.stat()
        except FileNotFoundError:
            pass
        except OSError:  # the file system does not answer
            continue
        if Claim.read(path) != ours and not ended.is_set():
            say(f"{path}: the claim is another's now; this task ends")
            if pid := os.environ.get(TASK_PID):
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGHUP)  # not TERM, on which it would ask Slurm to start it again
            os.kill(os.getpid(), signal.SIGTERM)
            return
