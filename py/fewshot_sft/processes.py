"""Other processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def is_alive(pid: int) -> bool:
    """Return whether the process runs; one that has ended and was not waited for (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # ended just now, or a system without /proc
        return not Path("/proc/self/stat").exists()
    return state not in ("Z", "X")


def be_a_worker() -> None:
    """Leave Ctrl-C to the process that started this one; on Linux the kernel ends this one with it, even on SIGKILL."""
    import ctypes  # 3 ms that the others need not pay

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if prctl := getattr(ctypes.CDLL(None), "prctl", None):
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def usable_cpus() -> int:
    """Return how many CPUs this process may use, by affinity and by a container's limit; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, int(quota) // int(period))
    except (OSError, ValueError):  # no such limit here
        pass
    return max(1, count)
