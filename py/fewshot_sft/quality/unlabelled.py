"""The texts of UNLABELLED_FILE."""

from __future__ import annotations

import re
from pathlib import Path

from ..data import cleaning
from ..data.decoding import decode, read_bytes
from ..data.readers import Table, data_suffix, read_table
from ..settings import Settings


def read(settings: Settings) -> list[tuple[int, str]]:
    """Return row (from 1) and text of each that has one.

    The file is read like the data's, but for the labels. A .txt file without the column TEXT_COLUMN has a text a line.

    Raises:
        UserError: the file is missing, malformed or without such a column, or has no text.
    """
    table = _table(settings.unlabelled_file, settings)
    full, _ = cleaning.rows_with_text(table)
    # Half of a surrogate pair, from a broken JSON escape, cannot be written.
    return [(index + 1, table.texts[index].encode("utf-8", "replace").decode()) for index in full]


def _table(path: Path, settings: Settings) -> Table:
    if data_suffix(path) == ".txt":
        lines = decode(path, read_bytes(path), settings.encoding)[0].split("\n")
        if settings.text_column not in re.split(r"\s*[\t,;|]\s*", lines[0]):
            return Table(str(path), lines, lines)
    return read_table(path, settings.text_column, None, settings.encoding, settings.delimiter)
