"""Read the text and label columns of one file: CSV, TSV and other delimited text, JSON, JSON Lines or Parquet."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from . import dialogues
from .columns import find_columns
from .decoding import ADVICE, BY_SUFFIX, decode, lost, read_bytes
from .delimited import QUOTED_ONLY, read_delimited, read_delimiter

OWN_DELIMITER = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
QUOTING = {"literal": "quotes as characters", "backslash": "quotes after backslashes", "quotes": "quoted fields"}
SPACE = re.compile(r"\s*")
SUFFIXES = ".csv, .tsv, .txt, .json, .jsonl (each also with .gz) or .parquet"


@dataclass
class Table:
    """Two columns of one source, as they were found: nothing dropped, nothing converted.

    Attributes:
        where: what to call the source in a message, usually the file's path.
        texts: the text column.
        labels: the label column, as long as ``texts``.
        lines: the line of the file on which each row starts, where rows have lines.
        label_names: names of integer labels, where the source declares them (a ``ClassLabel``).
        read_as: how a file was read, for the manifest: its format, and the encoding, delimiter and quoting that it has.
        note: what is suspicious about its text.
        instructions: of each row of instruction data; ``texts`` are its inputs then, ``labels`` its outputs.
    """

    where: str
    texts: list[Any]
    labels: list[Any]
    lines: list[int] | None = None
    label_names: list[str] | None = None
    read_as: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    instructions: list[str] | None = None

    def at(self, index: int) -> str:
        """Return where the row with this 0-based index is, for a message; rows are counted from 1."""
        line = f" (line {self.lines[index]})" if self.lines else ""
        return f"{self.where}: row {index + 1}{line}"

    def is_plain(self) -> bool:
        """Return whether the file was read as its name promises, with nothing in it that the user should know of."""
        how = self.read_as
        usual = {"delimiter": OWN_DELIMITER.get(data_suffix(Path(self.where))), "encoding": "utf-8"}
        as_promised = all(how.get(key, value) == value for key, value in usual.items())
        quotes = how.get("quoting", "none")
        sure = quotes == "none" or (quotes == "quotes" and how["delimiter"] in QUOTED_ONLY)
        return as_promised and sure and not self.note and "rows_with_line_breaks" not in how

    def reading(self) -> str:
        """Return a line that says how the file was read, and how many rows came of it."""
        how = self.read_as
        parts = [str(how["format"])]
        if "delimiter" in how:
            parts = [{",": "comma", "\t": "tab"}.get(how["delimiter"], how["delimiter"]) + "-separated"]
            parts += [QUOTING[how["quoting"]]] if how["quoting"] in QUOTING else []
        parts += [how["encoding"]] if "encoding" in how else []
        if broken := how.get("rows_with_line_breaks"):
            parts.append(f"{broken} with line breaks (the first in line {how['first_with_line_breaks']})")
        parts += [self.note] if self.note else []
        return f"{self.where}: {len(self.texts)} rows, read as {', '.join(parts)}"


def read_table(
    path: Path,
    text_column: str,
    label_column: str | None,
    encoding: str = "auto",
    delimiter: str = "auto",
    *,
    dialogue: bool = False,
) -> Table:
    """Read two columns of a file whose format its suffix names.

    Args:
        path: the file.
        text_column: name of the column of the text.
        label_column: name of the column of the label; None where there is none, and ``labels`` are the texts then.
        encoding: of a text file; "auto" finds it, see :func:`fewshot_sft.data.decoding.decode`.
        delimiter: of a delimited file, as the setting DELIMITER has it.
        dialogue: JSON and Parquet in Alpaca's or ShareGPT's form are read as instruction data.

    Raises:
        UserError: the file is missing, empty, malformed or in an encoding that cannot be told, or lacks a column.
    """
    suffix = data_suffix(path)
    delimiter = read_delimiter(delimiter)
    content = read_bytes(path)
    if suffix == ".parquet":
        table = _read_parquet(path, content, text_column, label_column, dialogue=dialogue)
    elif suffix in OWN_DELIMITER or suffix in (".json", ".jsonl", ".ndjson"):
        text, name = decode(path, content, encoding)
        if suffix in OWN_DELIMITER:
            found = read_delimited(str(path), text, OWN_DELIMITER[suffix], delimiter, text_column, label_column)
            table = Table(str(path), *found[:3], read_as={"format": "delimited", **found[3]})
        else:
            table = _read_json(str(path), text, text_column, label_column, dialogue=dialogue)
        table.read_as["encoding"] = name
        table.note = lost(text)
    elif kind := BY_SUFFIX.get(suffix):
        raise UserError(f"{path}: {ADVICE[kind]}")
    else:
        raise UserError(f"{path}: unknown format; the name must end in {SUFFIXES}")
    if not table.texts:
        raise UserError(f"{path}: no rows in the file")
    return table


def data_suffix(path: Path) -> str:
    """Return the suffix that names a file's format: the last but for .gz."""
    return next((each.lower() for each in reversed(path.suffixes) if each.lower() != ".gz"), "")


def read_text(path: Path) -> str:
    """Return a text file's content without its byte order mark, with every line end as a single line feed.

    Raises:
        UserError: the file is missing or empty, or it cannot be told which encoding it is in.
    """
    return decode(path, read_bytes(path), mend="save it as UTF-8")[0]


def _read_json(where: str, text: str, text_column: str, label_column: str | None, *, dialogue: bool) -> Table:
    """Read a list of objects, objects one after the other (JSON Lines, also over several lines), or pandas' forms."""
    values, lines = _json_values(where, text)
    only = values[0] if len(values) == 1 else None
    if only is None or (isinstance(only, dict) and not any(isinstance(each, list | dict) for each in only.values())):
        return from_records(where, values, lines, text_column, label_column, dialogue=dialogue)
    records = _records_of(where, only, text_column, label_column)
    return from_records(where, records, None, text_column, label_column, dialogue=dialogue)


def _json_values(where: str, text: str) -> tuple[list[Any], list[int]]:
    """Return the JSON values that stand one after the other in the text, and the line on which each starts."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    values, lines = [], []
    at, line, counted = _after_space(text, 0), 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{where}: line {error.lineno}: not valid JSON ({error.msg}, column {error.colno})"
            ) from None
        except (ValueError, RecursionError) as error:  # a key twice, a number of 5000 digits, 1000 brackets
            raise UserError(f"{where}: line {line}: not valid JSON ({error})") from None
        values.append(value)
        lines.append(line)
        at = _after_space(text, end)
    return values, lines


def _after_space(text: str, at: int) -> int:
    """Return the first position from ``at`` on that holds no white space."""
    found = SPACE.match(text, at)
    return found.end() if found else at


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'an object has the key "{twice}" twice')
    return made


def _records_of(where: str, value: Any, text_column: str, label_column: str | None) -> list[Any]:
    """Return the objects of a JSON document: a list of them, or what pandas and others make of a table."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected a list of objects, found {_kind(value)}")
    tables = [name for name, each in value.items() if isinstance(each, list) and each and isinstance(each[0], dict)]
    if len(tables) > 1:
        raise UserError(
            f"{where}: holds several tables, {', '.join(tables)}; write each to a file of its own for TRAIN_FILE, "
            f"VALID_FILE and TEST_FILE: jq .{tables[0]} {shlex.quote(where)} > {tables[0]}.json"
        )
    if tables:
        return value[tables[0]]
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):  # pandas: orient="split"
        names, rows = value["columns"], value["data"]
        if all(isinstance(row, list) and len(row) == len(names) for row in rows):
            return [dict(zip(map(str, names), row, strict=True)) for row in rows]
    if value and all(isinstance(each, dict) for each in value.values()):
        keys = [list(each) for each in value.values()]
        if {text_column, label_column or text_column} <= set(keys[0]):  # pandas: orient="index"
            return list(value.values())
        if all(each == keys[0] for each in keys):  # pandas: orient="columns"
            return [{name: each[key] for name, each in value.items()} for key in keys[0]]
    if value and all(isinstance(each, list) for each in value.values()):
        lengths = {name: len(each) for name, each in value.items()}
        if len(set(lengths.values())) == 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
        raise UserError(f"{where}: its columns differ in length: {json.dumps(lengths, ensure_ascii=False):.200}")
    raise UserError(f"{where}: expected a list of objects, found an object with the keys {', '.join(value):.200}")


def from_records(
    where: str,
    records: Iterable[Any],
    lines: list[int] | None,
    text_column: str,
    label_column: str | None,
    *,
    dialogue: bool,
) -> Table:
    """Return the table of these objects; the arguments are those of :class:`Table` and :func:`read_table`."""
    table = Table(where, [], [], lines=lines, read_as={"format": "JSON"})
    present: dict[str, Any] = {}
    records = list(records)
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise UserError(f"{table.at(index)}: expected an object, found {_kind(record)}")
        present = record | present
    if dialogue and (read := dialogues.reader_of(present)):
        rows = [read(record, table.at(index)) for index, record in enumerate(records)]
        table.texts, table.labels = [row[1] for row in rows], [row[2] for row in rows]
        table.instructions = [row[0] or "" for row in rows]
    elif records:
        text, label = find_columns(where, list(present), text_column, label_column, _hint(present))
        table.texts = [record.get(text) for record in records]
        table.labels = [record.get(label) for record in records]
    return table


def _hint(present: Mapping[str, Any]) -> str:
    """Return what to do about JSON of other tools that lacks the columns asked for."""
    if {"instruction", "output"} <= set(present):
        return "in Alpaca's format set TEXT_COLUMN=input LABEL_COLUMN=output"
    if chats := {"conversations", "messages"} & set(present):
        return f'"{chats.pop()}" holds chats; write an object {{"text": ..., "label": ...}} for each'
    if nested := next((name for name, value in present.items() if isinstance(value, dict)), None):
        return f'"{nested}" holds objects; write each row as one flat object {{"text": ..., "label": ...}}'
    return ""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _read_parquet(path: Path, content: bytes, text_column: str, label_column: str | None, *, dialogue: bool) -> Table:
    import pyarrow  # imported here: 0.2 s that the other formats need not pay
    import pyarrow.parquet

    if not content:
        raise UserError(f"{path}: the file is empty")
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        schema = file.schema_arrow
        if dialogue and dialogues.reader_of(dict.fromkeys(schema.names)):
            table = from_records(str(path), file.read().to_pylist(), None, text_column, label_column, dialogue=True)
            table.read_as = {"format": "Parquet"}
            return table
        nested = next((each.name for each in schema if pyarrow.types.is_struct(each.type)), None)
        hint = f'"{nested}" is a struct; write its fields as columns of their own' if nested else ""
        names = find_columns(str(path), schema.names, text_column, label_column, hint)
        for name in names:
            _check_type(f'{path}: column "{name}"', schema.field(name).type)
        columns = file.read(columns=list(dict.fromkeys(names)))
        texts, labels = (_decoded(f'{path}: column "{name}"', columns[name].to_pylist()) for name in names)
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    declared = _declared_names(schema.metadata, names[1])
    return Table(str(path), texts, labels, label_names=declared, read_as={"format": "Parquet"})


def _check_type(where: str, kind: Any) -> None:
    """Raise a UserError unless an Arrow type holds one string or number a row."""
    from pyarrow import types

    while types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind):
        raise UserError(
            f"{where} holds {kind}, but each row needs one text and one label; where rows have several labels, choose "
            f"one of them, or join them to one name"
        )
    if types.is_temporal(kind) or types.is_decimal(kind):
        raise UserError(f"{where} holds {kind}; write it as text")


def _decoded(where: str, values: list[Any]) -> list[Any]:
    """Return the values with bytes as the text that they are in UTF-8."""
    for index, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                values[index] = value.decode("utf-8")
            except UnicodeDecodeError:
                raise UserError(f"{where}: row {index + 1}: bytes that are not UTF-8; write it as text") from None
    return values


def _declared_names(metadata: Mapping[bytes, bytes] | None, label_column: str) -> list[str] | None:
    """Return a ``ClassLabel``'s names, which ``datasets`` leaves in the metadata of the Parquet files it writes."""
    try:
        found = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:
        return None
    for key in ("info", "features", label_column, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, list) else None
