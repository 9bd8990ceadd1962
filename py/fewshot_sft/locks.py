"""Locks between processes: a lock file is held by one of them, until it ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError
from .log import say


@contextmanager
def hold(path: Path, what: str, patience: float) -> Iterator[None]:
    """Hold a lock; another process that has it is waited for, ``patience`` s: a killed one's parts may be ending.

    Raises:
        UserError: it still has it.
    """
    deadline = time.monotonic() + patience
    said = False
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        while not _is_ours(stream.fileno()):
            if not said:
                said = True
                say(f"{what}: another process is at it ({path} is locked); waiting up to {patience:g} s")
            if time.monotonic() >= deadline:
                raise UserError(
                    f"{what}: another process is still at it ({path} is locked); wait for that one, or end it, and "
                    "run the same command again"
                )
            time.sleep(0.1)
        yield


def _is_ours(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
