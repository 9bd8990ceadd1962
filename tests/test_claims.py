"""Claims: who works on something across the nodes of a cluster; squeue is a stub."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from fewshot_sft import claims, locks
from fewshot_sft.claims import Claim
from fewshot_sft.errors import UserError

OTHER = Claim("7_1", 0, "n2", 1)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Claim:
    """Make this process one of task 7_0, started twice before, on n1."""
    for name, value in {claims.TASK: "7_0", "SLURM_RESTART_COUNT": "2", "SLURMD_NODENAME": "n1"}.items():
        monkeypatch.setenv(name, value)
    found = Claim.ours()
    assert found == ("7_0", 2, "n1", os.getpid())
    return found


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleep not at all; return how long it would have been."""
    found: list[float] = []
    monkeypatch.setattr(claims, "sleep", found.append)
    return found


def squeue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, status: int = 0) -> None:
    """Let squeue answer for the job 7_1; any other question ends the test."""
    program = tmp_path / "bin/squeue"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/bash\n[[ ${{@: -1}} == 7_1 ]] || exit 3\necho '{said}' >&$(({status} + 1))\nexit {status}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_outside_of_jobs_there_is_none(tmp_path: Path):
    with claims.hold(tmp_path / "lock", "size 4", 0) as claimed:
        assert (claimed, os.listdir(tmp_path)) == (False, [])


def test_a_job_has_one_as_long_as_it_holds_the_lock(tmp_path: Path, job: Claim):
    with locks.hold(tmp_path / "lock", "size 4", 0):
        assert (tmp_path / "lock.claim").read_text() == f"7_0 2 n1 {os.getpid()}\n"
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.parametrize(("state", "status"), [("RUNNING", 0), ("COMPLETING", 0), ("Unable to contact slurmctld", 1)])
def test_what_may_still_run_is_left_alone(
    tmp_path: Path, job: Claim, monkeypatch: pytest.MonkeyPatch, state: str, status: int
):
    OTHER.write(tmp_path / "lock.claim", replace=False)
    squeue(monkeypatch, tmp_path, state, status)
    with pytest.raises(UserError) as error, claims.hold(tmp_path / "lock", "size 4", 0):
        pass
    assert str(error.value) == (
        f"size 4: job 7_1 on n2 is still at it ({tmp_path}/lock.claim); wait for it, or cancel it (scancel 7_1), "
        "and run the same command again"
    )
    assert Claim.read(tmp_path / "lock.claim") == OTHER


@pytest.mark.parametrize(
    ("state", "status"), [("", 0), ("PENDING", 0), ("slurm_load_jobs error: Invalid job id specified", 1)]
)
def test_one_of_a_job_that_has_ended_is_taken_over_when_what_may_be_left_of_it_has_ended(
    tmp_path: Path, job: Claim, monkeypatch: pytest.MonkeyPatch, slept: list[float], state: str, status: int
):
    OTHER.write(tmp_path / "lock.claim", replace=False)
    squeue(monkeypatch, tmp_path, state, status)
    with claims.hold(tmp_path / "lock", "size 4", 35):
        assert (Claim.read(tmp_path / "lock.claim"), slept) == (job, [35])


@pytest.mark.parametrize(
    ("holder", "wait"),
    [
        (Claim("7_0", 1, "n2", 1), 35),  # an earlier start of this task, elsewhere
        (Claim("7_0", 1, "n1", 1), 35),  # here, and it runs
        (Claim("5", 0, "n1", 2**22 + 1), 0),  # a process of this node that is gone
    ],
)
def test_squeue_is_not_asked_where_it_is_known(
    tmp_path: Path, job: Claim, monkeypatch: pytest.MonkeyPatch, slept: list[float], holder: Claim, wait: float
):
    monkeypatch.setattr(claims, "state_of", lambda _: pytest.fail("it was asked"))
    holder.write(tmp_path / "lock.claim", replace=False)
    with claims.hold(tmp_path / "lock", "size 4", 35):
        assert (Claim.read(tmp_path / "lock.claim"), slept) == (job, [wait])


def test_of_two_that_take_over_one_has_it(
    tmp_path: Path, job: Claim, monkeypatch: pytest.MonkeyPatch, slept: list[float]
):
    path = tmp_path / "lock.claim"
    Claim("7_0", 1, "n2", 1).write(path, replace=False)
    squeue(monkeypatch, tmp_path, "RUNNING")
    monkeypatch.setattr(claims, "sleep", lambda _: OTHER.write(path, replace=True))
    with pytest.raises(UserError, match="job 7_1 on n2 is still at it"), claims.hold(tmp_path / "lock", "size 4", 0):
        pass


def test_a_sweep_on_this_machine_respects_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    OTHER.write(tmp_path / "lock.claim", replace=False)
    squeue(monkeypatch, tmp_path, "RUNNING")
    with pytest.raises(UserError, match="job 7_1 on n2 is still at it"), claims.hold(tmp_path / "lock", "size 4", 0):
        pass


def test_no_claim_is_said_and_not_removed(tmp_path: Path, job: Claim):
    (tmp_path / "lock.claim").write_text("rubbish")
    with pytest.raises(UserError, match=r"lock\.claim: no claim of a job; remove it"):
        claims._take(tmp_path / "lock.claim", job, "size 4", 0)


@pytest.mark.parametrize("by", [OTHER, None])
def test_who_has_lost_it_ends_with_its_script_and_leaves_what_is_another_s(
    tmp_path: Path, job: Claim, monkeypatch: pytest.MonkeyPatch, by: Claim | None
):
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(claims, "INTERVAL", 0)
    monkeypatch.setattr(claims.os, "kill", lambda pid, number: ended.append((pid, number)))
    monkeypatch.setenv(claims.TASK_PID, "99")
    if by:
        by.write(tmp_path / "lock.claim", replace=True)
    claims._watch(tmp_path / "lock.claim", job, threading.Event())
    assert ended == [(99, signal.SIGHUP), (os.getpid(), signal.SIGTERM)]
    assert Claim.read(tmp_path / "lock.claim") == by


def test_two_processes_of_a_node_have_one_after_the_other(tmp_path: Path, job: Claim):
    # The other is a live process of the same job and start.
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        job._replace(pid=sleeper.pid).write(tmp_path / "lock.claim", replace=False)
        with pytest.raises(UserError, match="is still at it"), claims.hold(tmp_path / "lock", "size 4", 0):
            pass
        sleeper.kill()
    with claims.hold(tmp_path / "lock", "size 4", 0):
        assert Claim.read(tmp_path / "lock.claim") == job


def test_without_locks_on_the_file_system_a_claim_is_enough_and_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with pytest.raises(OSError, match="No locks available"), locks.hold(tmp_path / "lock", "size 4", 0):
        pass
    monkeypatch.setenv(claims.TASK, "7")
    with locks.hold(tmp_path / "lock", "size 4", 0):
        assert Claim.read(tmp_path / "lock.claim") == Claim.ours()
