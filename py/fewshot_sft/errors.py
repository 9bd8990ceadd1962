"""One way to fail: a sentence for the person at the keyboard, never a traceback."""

from __future__ import annotations

import errno


class UserError(Exception):
    """Something that the user can mend. The message says what, where (file, row, size) and how to mend it."""


MENDABLE = {
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
    return f"{where}: {MENDABLE.get(error.errno or 0, error.strerror or str(error))}"


def describe(error: Exception) -> str:
    """Return in one line why something failed: what the user can mend in our words, else the error's class and text."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in MENDABLE:
        return describe_os_error(error)
    return f"{type(error).__name__}: {error}"
