"""One way to fail: a sentence for the person at the keyboard, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something that the user can mend. The message says what, where (file, row, size) and how to mend it."""


def run(main: Callable[[list[str]], int]) -> None:
    """Run an entry point's ``main(argv)`` and exit with its status.

    ``UserError`` becomes ``error: <message>`` on stderr and exit 2. A full disk or an unwritable folder is
    the user's to mend as well, so an ``OSError`` of that kind is told the same way. Ctrl-C exits 130.
    ``DEBUG=1`` shows the traceback instead.
    """
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        if os.environ.get("DEBUG") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except OSError as error:
        if os.environ.get("DEBUG") == "1" or error.errno not in _MENDABLE:
            raise
        print(f"error: {describe_os_error(error)}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


_MENDABLE = {
    errno.ENOSPC: "the disk is full; free some space (saves/ and the model caches are the largest) and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EACCES: "permission denied; check who owns it (`ls -ld`), or choose another folder",
    errno.EPERM: "operation not permitted; check who owns it (`ls -ld`), or choose another folder",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "is a folder, a file was expected",
    errno.ENOTDIR: "is a file, a folder was expected",
}


def describe_os_error(error: OSError) -> str:
    """Return ``<path>: <cause and remedy>`` for an ``OSError`` of the kinds that a user can mend."""
    where = error.filename if error.filename is not None else "output"
    return f"{where}: {_MENDABLE.get(error.errno or 0, error.strerror or str(error))}"
