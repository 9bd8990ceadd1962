"""A program of ours: its exit status, how it fails, how it ends when it is told to."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from .errors import MENDABLE, UserError, describe
from .outcomes.outcomes import note_reason

# The exit statuses of all our programs and scripts. One that a signal ends has 128 and its number: 129 HUP, 130 INT,
# 143 TERM.
DONE = 0  # now, or before
FAILED = 1
TO_MEND = 2  # something for the user to mend; nothing was done
TO_DO = 3  # of a dry run: there is something to do
AGAIN = 4  # of one evaluation: its server failed it, a new one may do better
INTERRUPTED = 128 + signal.SIGINT

OWN_SETTINGS = "FEWSHOT_OWN_SETTINGS"  # the settings file of a script whose process the program has taken over


def run(main: Callable[[list[str]], int], *, prints_results: bool = False) -> None:
    """Run an entry point's ``main(argv)`` and exit with its status.

    ``UserError`` becomes ``error: <message>`` on stderr and exit 2. A full disk or an unwritable folder is
    the user's to mend as well, so an ``OSError`` of that kind is told the same way. Ctrl-C exits 130.
    At the end the file that FEWSHOT_OWN_SETTINGS names is removed.
    ``DEBUG=1`` shows the traceback instead. Whatever it fails of is noted in the step's outcome, if it has one.

    What cannot be printed, to a full disk, a pipe that nobody reads or a closed descriptor, does not stop the work.
    With ``prints_results`` a full disk is told, and exit 2, when all else is done.
    """
    gc.set_threshold(100_000)  # what libraries make is not garbage: to look for some takes a quarter of their imports
    lost: list[OSError] = []
    own = os.environ.pop(OWN_SETTINGS, "")  # not for children, which would remove it
    sys.stdout, sys.stderr = _output(sys.stdout, lost), _output(sys.stderr, [])
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
        if lost and prints_results:
            raise UserError(
                f"all is done, but what was printed is lost: {MENDABLE.get(lost[0].errno or 0, lost[0].strerror)}"
            )
    except UserError as error:
        note_reason(describe(error))
        if os.environ.get("DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        status = TO_MEND
    except OSError as error:
        note_reason(describe(error))
        if os.environ.get("DEBUG") == "1" or error.errno not in MENDABLE:
            raise
        print(f"error: {describe(error)}", file=sys.stderr)
        status = TO_MEND
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:
        note_reason(describe(error))
        raise
    finally:
        if own:
            Path(own).unlink(missing_ok=True)
        gc.freeze()  # nor is it at the end: 0.3 to 0.5 s
    sys.exit(status)


class _Output(io.FileIO):
    """A file that takes everything; what could not be written, but for want of a reader, is added to ``lost``."""

    def __init__(self, number: int, lost: list[OSError]) -> None:
        super().__init__(number, "w", closefd=False)
        self._lost = lost

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EPIPE:
                self._lost.append(error)
            return len(data)


def _output(stream: TextIO | None, lost: list[OSError]) -> TextIO:
    """Return a stream to the same file, or to nowhere when there is none."""
    if stream is None:  # closed by the caller
        return open(os.devnull, "w", encoding="utf-8")
    try:
        number = stream.fileno()
    except io.UnsupportedOperation:  # not a file: a test listens
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, lost)),
        encoding=stream.encoding,
        errors="replace",  # letters that a terminal does not have are no reason to fail
        line_buffering=True,  # a program that runs for hours is followed in a log
    )


def end_on_signals() -> None:
    """Let HUP, INT and TERM raise SystemExit, so that what has begun is ended in order; once, for no impatient second
    Ctrl-C interrupts the cleaning up. One that is ignored (nohup) stays so.
    """
    three = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
    heard = [each for each in three if signal.getsignal(each) != signal.SIG_IGN]

    def end(number: int, _: object) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for each in heard:
        signal.signal(each, end)
