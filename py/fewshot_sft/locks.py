"""A lock that ends with its holder, however that ends."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import claims
from .errors import UserError
from .log import say


@contextmanager
def hold(path: Path, what: str, patience: float) -> Iterator[int]:
    """Hold a file locked; the file and its folder are made.

    Yields its descriptor. A child that keeps it holds the lock as well: what a killed program leaves to the kernel to
    end is waited for. In a job of Slurm a claim (:mod:`claims`) comes before it, for other nodes.

    Args:
        path: the file.
        what: what messages call what is locked.
        patience: seconds to wait for another holder: of one that was killed parts may still end.

    Raises:
        UserError: another process still holds it.
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with claims.hold(path, what, patience) as claimed, path.open("ab") as file:
        if not _is_locked(file.fileno(), claimed):
            say(f"{what}: another process is at it ({path} is locked); waiting up to {patience:g} s")
            deadline = time.monotonic() + patience
            while not _is_locked(file.fileno(), claimed):
                if time.monotonic() >= deadline:
                    raise UserError(
                        f"{what}: another process is still at it ({path} is locked); "
                        "wait for that one, or end it, and run the same command again"
                    )
                time.sleep(0.1)
        yield file.fileno()


def _is_locked(descriptor: int, claimed: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # A shared file system without such locks: the claim is enough.
        if not claimed or error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
    return True
