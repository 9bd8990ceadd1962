"""Read the text and label columns of one file: CSV, TSV, JSON, JSON Lines or Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError


class NoColumn(UserError):
    """A column is missing. ``column`` is its name, ``there`` those that the source has."""

    def __init__(self, message: str, column: str, there: str) -> None:
        """Take the message and what it is about."""
        super().__init__(message)
        self.column, self.there = column, there


@dataclass
class Table:
    """Two columns of one source, as they were found: nothing dropped, nothing converted.

    Attributes:
        where: what to call the source in a message, usually the file's path.
        texts: the text column.
        labels: the label column, as long as ``texts``.
        lines: the line of the file on which each row starts, where rows have lines.
        label_names: names of integer labels, where the source declares them (a ``ClassLabel``).
    """

    where: str
    texts: list[Any]
    labels: list[Any]
    lines: list[int] | None = None
    label_names: list[str] | None = None

    def at(self, index: int) -> str:
        """Return where the row with this 0-based index is, for a message; rows are counted from 1."""
        line = f" (line {self.lines[index]})" if self.lines else ""
        return f"{self.where}: row {index + 1}{line}"


def read_table(path: Path, text_column: str, label_column: str, encoding: str = "utf-8") -> Table:
    """Read two columns of a file whose format its suffix names.

    Raises:
        UserError: the file is missing, empty, malformed or not in ``encoding``, or lacks a column.
    """
    readers = {".csv": _read_csv, ".tsv": _read_tsv, ".json": _read_json, ".jsonl": _read_jsonl}
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        table = _read_parquet(path, text_column, label_column)
    elif suffix in readers:
        table = readers[suffix](str(path), read_text(path, encoding), text_column, label_column)
    else:
        raise UserError(f"{path}: unknown format; the name must end in .csv, .tsv, .json, .jsonl or .parquet")
    if not table.texts:
        raise UserError(f"{path}: no rows in the file")
    return table


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return a text file's content without its byte order mark, with every line end as a single line feed.

    Raises:
        UserError: the file is missing, empty or not in ``encoding``; names the line and byte, and how to convert.
    """
    content = _read_bytes(path)
    name = shlex.quote(str(path))
    if encoding == "utf-8" and content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{path}: UTF-16, not UTF-8; convert it: iconv -f utf-16 -t utf-8 {name} > utf8{path.suffix}")
    try:
        text = content.decode(encoding)
    except LookupError:
        raise UserError(f"--encoding {encoding}: no such encoding; common ones are utf-8, gb18030, cp1252") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line} (byte {error.start}): not {encoding}; convert it: "
            f"iconv -f gb18030 -t utf-8 {name} > utf8{path.suffix}, or name the encoding that it has: "
            f"--encoding gb18030 (most Chinese files), --encoding cp1252 (most Western ones)"
        ) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def check_columns(where: str, present: Sequence[str], text_column: str, label_column: str) -> None:
    """Raise a UserError that lists the columns there unless both are among them, once each and different."""
    if text_column == label_column:
        raise UserError(f'--text-column and --label-column both name "{text_column}"; name two columns of {where}')
    for flag, column in (("--text-column", text_column), ("--label-column", label_column)):
        if column not in present:
            there = ", ".join(f'"{_shortened(name)}"' for name in present)
            message = f'{where}: no column "{column}"; the columns are {there}; name one with {flag}'
            raise NoColumn(message, column, there)
        if Counter(present)[column] > 1:
            raise UserError(f'{where}: {Counter(present)[column]} columns are named "{column}"; rename all but one')


def _shortened(name: str) -> str:
    """Return a name cut to 40 characters: in a file without a header the "columns" are its first row."""
    return name if len(name) <= 40 else name[:39] + "…"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, a file was expected") from None


def _read_csv(where: str, text: str, text_column: str, label_column: str) -> Table:
    return _read_delimited(where, text, ",", text_column, label_column)


def _read_tsv(where: str, text: str, text_column: str, label_column: str) -> Table:
    return _read_delimited(where, text, "\t", text_column, label_column)


def _read_delimited(where: str, text: str, delimiter: str, text_column: str, label_column: str) -> Table:
    csv.field_size_limit(sys.maxsize)  # the default, 128 KiB, is shorter than a patent's description
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    table = Table(where, [], [], lines=[])
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise UserError(
                f"{where}: the row that starts at line {line} is malformed ({error}); a field with quotes in it is "
                f'enclosed in quotes and each inner quote doubled: "say ""yes"""'
            ) from None
        if not fields:  # a blank line
            continue
        if not header:
            header = fields
            check_columns(where, header, text_column, label_column)
            text_at, label_at = header.index(text_column), header.index(label_column)
            continue
        if len(fields) != len(header):
            raise UserError(
                f"{where}: row {len(table.texts) + 1} (line {line}): {len(fields)} fields, the header has "
                f"{len(header)}; a field that holds the delimiter or a line break goes in double quotes"
            )
        table.texts.append(fields[text_at])
        table.labels.append(fields[label_at])
        table.lines.append(line)
    return table


def _read_json(where: str, text: str, text_column: str, label_column: str) -> Table:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object a line is JSON Lines: name it .jsonl" if error.msg == "Extra data" else ""
        raise UserError(f"{where}: line {error.lineno}: not valid JSON ({error.msg}){hint}") from None
    if not isinstance(records, list):
        raise UserError(f"{where}: expected a list of objects, found {_kind(records)}")
    return _from_records(where, records, None, text_column, label_column)


def _read_jsonl(where: str, text: str, text_column: str, label_column: str) -> Table:
    records, lines = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: line {number}: not valid JSON ({error.msg}, column {error.colno})") from None
        lines.append(number)
    return _from_records(where, records, lines, text_column, label_column)


def _from_records(
    where: str, records: Iterable[Any], lines: list[int] | None, text_column: str, label_column: str
) -> Table:
    table = Table(where, [], [], lines=lines)
    present: dict[str, None] = {}
    for record in records:
        if not isinstance(record, dict):
            raise UserError(f"{table.at(len(table.texts))}: expected an object, found {_kind(record)}")
        present.update(dict.fromkeys(record))
        table.texts.append(record.get(text_column))
        table.labels.append(record.get(label_column))
    if table.texts:
        check_columns(where, list(present), text_column, label_column)
    return table


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _read_parquet(path: Path, text_column: str, label_column: str) -> Table:
    import pyarrow  # imported here: 0.2 s that the other formats need not pay
    import pyarrow.parquet

    if not _read_bytes(path):
        raise UserError(f"{path}: the file is empty")
    try:
        file = pyarrow.parquet.ParquetFile(path)
        check_columns(str(path), file.schema_arrow.names, text_column, label_column)
        columns = file.read(columns=[text_column, label_column])
        texts, labels = columns[text_column].to_pylist(), columns[label_column].to_pylist()
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    return Table(str(path), texts, labels, label_names=_declared_names(file.schema_arrow.metadata, label_column))


def _declared_names(metadata: dict[bytes, bytes] | None, label_column: str) -> list[str] | None:
    """Return a ``ClassLabel``'s names, which ``datasets`` leaves in the metadata of the Parquet files it writes."""
    declared = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    return declared.get("info", {}).get("features", {}).get(label_column, {}).get("names")
