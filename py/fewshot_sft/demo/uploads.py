"""The texts of an uploaded file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..data.readers import data_suffix, read_table, read_text
from ..errors import UserError
from ..settings import Settings

MOST = 200  # texts of a file: a CPU answers some per second
LONGEST = 20_000  # characters of a text: with ten times as many a CPU is busy for many minutes
SUFFIXES = ("csv", "tsv", "txt", "json", "jsonl", "parquet")


def uploaded(name: str, content: bytes, settings: Settings) -> tuple[list[str], list[str | None]]:
    """Return the texts of a file, and the labels, None where it has none; a .txt has a text a line.

    Raises:
        UserError: it cannot be read, or holds more than :data:`MOST`, or one longer than :data:`LONGEST`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        try:
            texts, labels = _read(path, settings)
        except UserError as error:
            raise UserError(str(error).replace(str(path), name)) from None
    written = [str(each).strip() if each is not None else "" for each in texts]
    kept = [(text, label) for text, label in zip(written, labels, strict=True) if text]
    if not kept:
        raise UserError(f"{name}: no texts in the file")
    if len(kept) > MOST:
        raise UserError(f"{name}: {len(kept)} texts; give {MOST} at most, or use docs/langchain.md for whole files")
    if (longest := max(len(text) for text, _ in kept)) > LONGEST:
        raise UserError(f"{name}: a text of {longest:,} characters; give {LONGEST:,} at most")
    return [text for text, _ in kept], [label for _, label in kept]


def _read(path: Path, settings: Settings) -> tuple[Sequence[object], list[str | None]]:
    if data_suffix(path) == ".txt":
        lines = read_text(path).splitlines()
        return lines, [None] * len(lines)
    how = settings["ENCODING"], settings["DELIMITER"]
    text, label = settings["TEXT_COLUMN"], settings["LABEL_COLUMN"]
    try:
        table = read_table(path, text, label, *how)
        return table.texts, [(str(each).strip() or None) if each is not None else None for each in table.labels]
    except UserError:  # without labels it serves as well
        table = read_table(path, text, None, *how)
        return table.texts, [None] * len(table.texts)
