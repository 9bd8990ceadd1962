"""One way to fail: a sentence for the person at the keyboard, never a traceback."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something that the user can mend. The message says what, where (file, row, size) and how to mend it."""


def run(main: Callable[[list[str]], int], *, prints_results: bool = False) -> None:
    """Run an entry point's ``main(argv)`` and exit with its status.

    ``UserError`` becomes ``error: <message>`` on stderr and exit 2. A full disk or an unwritable folder is
    the user's to mend as well, so an ``OSError`` of that kind is told the same way. Ctrl-C exits 130.
    ``DEBUG=1`` shows the traceback instead. Whatever it fails of is noted in the step's outcome, if it has one.

    What cannot be printed, to a full disk, a pipe that nobody reads or a closed descriptor, does not stop the work.
    With ``prints_results`` a full disk is told, and exit 2, when all else is done.
    """
    lost: list[OSError] = []
    sys.stdout, sys.stderr = _output(sys.stdout, lost), _output(sys.stderr, [])
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
        if lost and prints_results:
            raise UserError(
                f"all is done, but what was printed is lost: {_MENDABLE.get(lost[0].errno or 0, lost[0].strerror)}"
            )
    except UserError as error:
        _note(str(error))
        if os.environ.get("DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except OSError as error:
        mendable = error.errno in _MENDABLE
        _note(describe_os_error(error) if mendable else _name_of(error))
        if os.environ.get("DEBUG") == "1" or not mendable:
            raise
        print(f"error: {describe_os_error(error)}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        _note(_name_of(error))
        raise
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
        line_buffering=bool(stream.line_buffering),
    )


def _note(reason: str) -> None:
    from .outcomes.outcomes import note_reason  # which imports this module

    note_reason(reason)


def _name_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


_MENDABLE = {
    errno.ENOSPC: "the disk is full; free some space (saves/ and the model caches are the largest) and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EACCES: "permission denied; check who owns it (`ls -ld`), or choose another folder",
    errno.EPERM: "operation not permitted; check who owns it (`ls -ld`), or choose another folder",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.ENOENT: "no such file or folder",
    errno.EEXIST: "is in the way; move it away and run again",
    errno.EISDIR: "is a folder, a file was expected",
    errno.ENOTDIR: "is a file, a folder was expected",
}


def describe_os_error(error: OSError) -> str:
    """Return ``<path>: <cause and remedy>`` for an ``OSError`` of the kinds that a user can mend."""
    where = error.filename if error.filename is not None else "output"
    return f"{where}: {_MENDABLE.get(error.errno or 0, error.strerror or str(error))}"
