"""The predictions of one evaluation, kept as they arrive: an interrupted evaluation goes on where it was.

The file is JSON lines: a header that tells what decides the answers, then
``{"index": 3, "pred": "Physics", "label": "Electricity", "seconds": 0.031}`` for each answered item, in the order
of arrival; ``"cut": true`` is added where max_tokens ended the answer, and ``"scores"``, the probability of each label,
where the server tells it.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..jsonio import write_bytes
from ..runs import SCHEMA

KIND = "predictions"
DIGITS = 7  # of a label's probability, significant ones: all of a text's may be small


@dataclass(frozen=True)
class Prediction:
    """The answer to item ``index`` (from 0, in the order of the data file), its true label, the call's seconds."""

    index: int
    pred: str
    label: str
    seconds: float
    cut: bool = False
    scores: tuple[float, ...] | None = None

    def line(self) -> bytes:
        """Return the prediction as its line in the file."""
        fields: dict[str, Any] = {"index": self.index, "pred": self.pred, "label": self.label}
        fields["seconds"] = round(self.seconds, 4)
        if self.cut:
            fields["cut"] = True
        if self.scores is not None:
            fields["scores"] = [float(f"{each:.{DIGITS}g}") for each in self.scores]
        return _line(fields)


@dataclass(frozen=True)
class Stored:
    """What a predictions file holds; ``damaged`` lines (torn by a crash, or of an item already there) are left out."""

    header: dict[str, Any] | None  # None when there is no file, or none whose first line is a header
    predictions: dict[int, Prediction]
    damaged: int = 0

    def is_of(self, identity: str) -> bool:
        """Return whether the answers were given to these very questions by this very model."""
        found = self.header or {}
        return found.get("schema") == SCHEMA and found.get("identity") == identity


def read(path: str | os.PathLike[str]) -> Stored:
    """Read a predictions file, whatever a crash left of it.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return Stored(None, {})
    first, *lines = content.split(b"\n")
    header = _parse(first)
    if header is None or header.get("kind") != KIND:
        return Stored(None, {}, damaged=content.count(b"\n"))
    # A line ends with a newline: what follows the last one was torn, even if it happens to be whole JSON.
    torn = lines.pop() if lines else b""
    found: dict[int, Prediction] = {}
    for line in lines:
        prediction = _prediction(_parse(line))
        if prediction is not None:
            found.setdefault(prediction.index, prediction)
    return Stored(header, found, damaged=len(lines) - len(found) + bool(torn))


class PredictionLog:
    """Append to a predictions file. The caller holds a lock: there must be one writer."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        """Open the file, making it with ``header`` if it is missing and rewriting it without its damaged lines."""
        self.path = path
        stored = read(path)
        self.damaged = stored.damaged
        self.predictions = stored.predictions
        if stored.header is None or stored.damaged:
            lines = [_line(header), *(found.line() for found in self.predictions.values())]
            write_bytes(path, b"".join(lines))
        self._stream = path.open("ab", buffering=0)

    def append(self, prediction: Prediction) -> None:
        """Add one line; it is in the file, whole, when this returns.

        Raises:
            OSError: the disk is full. What was written of the line is dropped by the next :func:`read`.
        """
        line = prediction.line()
        try:
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise
        self.predictions[prediction.index] = prediction

    def close(self) -> None:
        """Bring everything to the disk and close the file."""
        os.fsync(self._stream.fileno())
        self._stream.close()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:  # no JSON, or no UTF-8
        return None
    return value if isinstance(value, dict) else None


def _prediction(value: dict[str, Any] | None) -> Prediction | None:
    match value:
        case {"index": int(index), "pred": str(pred), "label": str(label), "seconds": int() | float() as seconds}:
            rest = value or {}
            return Prediction(index, pred, label, seconds, rest.get("cut") is True, _scores(rest.get("scores")))
    return None


def _scores(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not all(isinstance(each, (int, float)) and 0 <= each <= 1 for each in value):
        return None
    return tuple(value)
