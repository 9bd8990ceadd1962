"""A child process in a process group of its own: it ends with this process, however that ends, and as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_AFTER_KILL = 10.0  # seconds; what survives KILL for longer is stuck in the kernel or a driver


class Child:
    """A running command. Use it as a context manager: at its end the command has ended."""

    def __init__(
        self,
        what: str,
        command: Sequence[str],
        *,
        patience: float,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        keep: Sequence[int] = (),
        stdout: int | None = None,
    ) -> None:
        """Start the command.

        Args:
            what: what messages call it.
            command: the words.
            patience: seconds between TERM and KILL when it is ended.
            log: where its output is appended; None: to ours.
            environment: variables beside ours.
            keep: descriptors of ours that it keeps open, such as a lock's.
            stdout: a descriptor of ours for its results; its messages go where ``log`` says.

        Raises:
            OSError: the log cannot be written.
        """
        self.what, self.log = what, log
        self._patience = patience
        with contextlib.ExitStack() as stack:
            output = None if log is None else stack.enter_context(log.open("ab"))
            self._process = subprocess.Popen(
                # The kernel sends TERM when this process dies without a chance to clean up.
                ["setpriv", "--pdeathsig", "TERM", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                pass_fds=keep,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The command's process, and the number of its group."""
        return self._process.pid

    def status(self) -> int | None:
        """Return its exit status as a shell has it (128 + N after a signal), None while it runs."""
        return self._shell(self._process.poll())

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end, for so long at most; return what :meth:`status` does."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.status()

    def stop(self) -> bool:
        """End it and all that it has started, with TERM, after its patience with KILL; return whether nothing is left.

        What the group has left behind when its leader has ended is ended too.
        """
        _signal(self.pid, signal.SIGTERM)
        if self._has_ended_within(self._patience):
            return True
        print(f"warning: {self.what} did not end within {self._patience:g} s of TERM; killing it", file=sys.stderr)
        _signal(self.pid, signal.SIGKILL)
        if self._has_ended_within(PATIENCE_AFTER_KILL):
            return True
        left = " ".join(map(str, members(self.pid)))
        print(f"warning: {self.what} cannot be ended: process {left} is stuck", file=sys.stderr)
        return False

    def _has_ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            self._process.poll()
            if not members(self.pid):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)

    @staticmethod
    def _shell(code: int | None) -> int | None:
        return 128 - code if code is not None and code < 0 else code


def members(group: int) -> list[int]:
    """Return the live (not zombie) processes of a process group."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):  # it has just ended
            # The name in parentheses may hold anything; state, parent and group follow it.
            state, _, of = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                found.append(int(pid))
    return found


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
