"""JSON on disk: the only interface between bash and Python, so a reader never sees half a file."""

from __future__ import annotations

import glob
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from .errors import UserError
from .processes import is_alive


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path`` atomically: whole and flushed to the disk, or not at all.

    The folder is made if it is missing. What was at ``path`` before stays when writing fails; what a writer that was
    killed has left is removed by the next one.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, f".{target.name}.", ".part")
    # Not tempfile, which takes 5 ms to import and makes files that only their owner may read.
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(target)
        raise


def remove_leftovers(folder: Path, prefix: str, suffix: str = "") -> None:
    """Remove files and folders ``<prefix><process id>-<anything><suffix>`` whose process is gone."""
    for path in folder.glob(f"{glob.escape(prefix)}*{glob.escape(suffix)}"):
        if _is_of_the_dead(path.name.removeprefix(prefix)):
            if path.is_dir():
                import shutil  # 5 ms, as hashlib below: bin/ starts many a program that needs neither

                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Return whether a file is what a killed :func:`write_bytes` has left: nothing that counts."""
    found = re.fullmatch(r"\..+\.(\d+-[^.]+)\.part", path.name)
    return found is not None and _is_of_the_dead(found[1])


def _is_of_the_dead(mark: str) -> bool:
    process = mark.partition("-")[0]
    return process.isdigit() and not is_alive(int(process))


def dumps(value: Any) -> str:
    """Serialize as the project's JSON: UTF-8 as it is, two spaces, no NaN (a missing number is absent)."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, atomically (see :func:`write_bytes`)."""
    write_bytes(path, dumps(value).encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing, is not UTF-8 or is no JSON; the message names file and line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from None


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    import hashlib

    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the hex SHA-256 of a value's canonical JSON (sorted keys, no spaces): a step's identity."""
    import hashlib

    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
