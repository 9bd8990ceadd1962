"""Tables of fields between delimiters: which delimiter, and what quotes mean in the file, is told from the whole file.

Written with quoting (Excel, pandas), a field that holds delimiters, line breaks or quotes is enclosed in quotes.
Written without (GLUE, SST), a line is a row and a quote is a character. Read the wrong way, rows merge. So both are
tried.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ..errors import UserError
from .columns import NoSuchColumn, find_columns

DELIMITERS = (",", "\t", ";", "|")
# Programs that write these quote what must be quoted; a quote in others may be a mere character.
QUOTED_ONLY = (",", ";")
ENCLOSED = re.compile(r'"((?:[^"]|"")*)"')


@dataclass
class Rows:
    """The rows of one file in one reading, the header first, and the first thing that does not fit it.

    ``unsure``: that is a row which may have taken in others, but they have no label that is known.
    """

    fields: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problem: str = ""
    problem_line: int = sys.maxsize
    unsure: bool = False

    def fail(self, line: int, problem: str) -> None:
        """Note what does not fit, if it is the first."""
        if not self.problem:
            self.problem, self.problem_line = problem, line


def read_delimiter(value: str) -> str:
    r"""Return the delimiter that the setting DELIMITER names: "auto", "tab" or "\t", or the character itself."""
    found = {"tab": "\t", "\\t": "\t"}.get(value, value)
    if found != "auto" and (len(found) != 1 or found in '"\r\n'):
        raise UserError(f"DELIMITER={value}: it must be one character such as ; or |, tab, or auto")
    return found


def read_delimited(
    where: str, text: str, own: str, delimiter: str, text_column: str, label_column: str | None
) -> tuple[list[str], list[str], list[int], dict[str, Any]]:
    """Return texts, labels, the line on which each row starts, and how the file was read.

    Args:
        where: the file, for messages.
        text: its content.
        own: the delimiter that its name promises.
        delimiter: the one it has, or "auto".
        text_column: name of the column of the text.
        label_column: name of the column of the label, None where there is none.

    Raises:
        UserError: it lacks a column, or its rows do not fit any reading; names the row.
    """
    csv.field_size_limit(sys.maxsize)  # the default, 128 KiB, is shorter than a patent's description
    if says := re.match(r"\s*sep=(.)[^\n]*\n", text):  # a line for Excel
        text, own = "\n" + text[says.end() :], says[1]
    if re.match(r"\s*__label__\S+\s", text):
        raise UserError(
            f"{where}: fastText's format; make a table of it: (printf 'label\\ttext\\n'; "
            f"sed -E 's/^__label__([^ ]+) +/\\1\\t/' {shlex.quote(where)}) > table.tsv"
        )
    if delimiter == "auto":
        delimiter = _find_delimiter(text, own, text_column, label_column)
    header = _header(text, delimiter)
    try:
        names = find_columns(where, header, text_column, label_column)
    except NoSuchColumn:
        _check_header(where, text, delimiter)
        raise
    at = [header.index(name) for name in names]
    rows, quoting = _choose(text, delimiter, at[1] if label_column is not None else None)
    if rows.problem:
        raise UserError(f"{where}: {rows.problem}")
    body = rows.fields[1:]
    if rows.fields[0] in body:
        again = body.index(rows.fields[0]) + 1
        raise UserError(f"{where}: row {again} (line {rows.lines[again]}) is the header again; remove it")
    broken = [number for number, fields in enumerate(body) if any("\n" in each for each in fields)]
    how: dict[str, Any] = {"delimiter": delimiter, "quoting": quoting}
    if broken:
        how["rows_with_line_breaks"] = len(broken)
        how["first_with_line_breaks"] = rows.lines[broken[0] + 1]
    return [fields[at[0]] for fields in body], [fields[at[1]] for fields in body], rows.lines[1:], how


def _find_delimiter(text: str, own: str, text_column: str, label_column: str | None) -> str:
    """Return the delimiter with which the header has both columns; else one that looks like it, for the message."""
    candidates = [own, *(each for each in DELIMITERS if each != own)]
    headers = {each: _header(text, each) for each in candidates}
    for each, header in headers.items():
        try:
            find_columns("", header, text_column, label_column)
        except NoSuchColumn:
            continue
        except UserError:  # there, but twice
            pass
        return each
    lines = [line for line in text.split("\n", 50)[:50] if line.strip()]
    even = [each for each in candidates if len({line.count(each) for line in lines}) == 1 and each in lines[0]]
    return even[0] if even else max(candidates, key=lambda each: len(headers[each]))


def _header(text: str, delimiter: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return next((fields for fields in reader if not _is_blank(fields)), [""])


def _check_header(where: str, text: str, delimiter: str) -> None:
    """Raise a UserError if the first line is a row like the others: a value of it is there again in its column."""
    lines = [line.split(delimiter) for line in text.split("\n") if line.strip()]
    first, rest = lines[0], [fields for fields in lines[1:] if len(fields) == len(lines[0])]
    if len(first) < 2 or not any(first[at] == fields[at] != "" for fields in rest for at in range(len(first))):
        return
    distinct = [len({fields[at] for fields in rest}) for at in range(len(first))]
    names = [f"column{at + 1}" for at in range(len(first))]
    if len(first) == 2:
        names = ["label", "text"] if distinct[0] < distinct[1] else ["text", "label"]
    line = delimiter.join(names).replace("\t", "\\t")
    raise UserError(
        f"{where}: no header, the first line is a row like the others; put a line with the names of the columns "
        f"before it: (printf '{line}\\n'; cat {shlex.quote(where)}) > table{PurePath(where).suffix}"
    )


def _choose(text: str, delimiter: str, label_at: int | None) -> tuple[Rows, str]:
    """Return the rows in the reading that fits the whole file, and what that reading does with quotes.

    When none fits, the rows have the problem of the reading that gets further.
    """
    if '"' not in text:
        return _parse(text, delimiter, csv.QUOTE_NONE), "none"
    plain = _parse(text, delimiter, csv.QUOTE_NONE)
    quoted = _parse(text, delimiter, csv.QUOTE_MINIMAL)
    _find_swallowed(quoted, delimiter, label_at, every_line_fits=not plain.problem)
    if quoted.problem and '\\"' in text:
        # As MySQL, Spark and JSON have it. A doubled quote says the same.
        unescaped = re.sub(r'\\(["\\])', lambda found: '""' if found[1] == '"' else "\\", text)
        escaped = _parse(unescaped, delimiter, csv.QUOTE_MINIMAL)
        _find_swallowed(escaped, delimiter, label_at, every_line_fits=False)
        if not escaped.problem:
            return escaped, "backslash"
    if not plain.problem and delimiter not in QUOTED_ONLY and (line := _are_characters(plain)) is not None:
        if not line and not quoted.unsure:
            return plain, "literal"
        quoted.fail(
            line,
            f"the row at line {line} begins a field with a quote that does not enclose it, while other fields are "
            f"enclosed in quotes; double the quotes in a field and enclose it, or remove those that enclose others",
        )
        return quoted, "quotes"
    if quoted.problem and delimiter not in QUOTED_ONLY and plain.problem_line > quoted.problem_line:
        return plain, "literal"
    return quoted, "quotes"


def _parse(text: str, delimiter: str, quoting: Any) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    rows, widths = Rows(), Counter[int]()
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            rows.fail(
                line,
                f"the row that starts at line {line} is malformed ({error}); a field with quotes in it is enclosed in "
                f'quotes and each inner quote doubled: "say ""yes"""',
            )
            break
        if _is_blank(fields):
            continue
        rows.fields.append(fields)
        rows.lines.append(line)
        if len(rows.fields) > 1:
            widths[len(fields)] += 1
        if len(fields) != (expected := len(rows.fields[0])):
            rows.fail(
                line,
                f"row {len(rows.fields) - 1} (line {line}): {len(fields)} fields, the header has {expected}; "
                f"a field that holds the delimiter or a line break goes in double quotes",
            )
    width = next(iter(widths), 0)
    if rows.problem and len(widths) == 1 and widths[width] > 1 and width > len(rows.fields[0]):
        rows.problem = (
            f"every row has {width} fields, the header {len(rows.fields[0])}; it lacks the name of a column: "
            f"add it to line {rows.lines[0]}"
        )
    return rows


def _is_blank(fields: Sequence[str]) -> bool:
    return len(fields) < 2 and not "".join(fields).strip()


def _find_swallowed(rows: Rows, delimiter: str, label_at: int | None, every_line_fits: bool) -> None:
    """Note the first row with a line that is a row itself, from which a quote without its second has taken it.

    A line of a text has as many delimiters as a row now and then; but then a label is not what is in the label's place.
    Without labels it cannot be told.
    """
    if label_at is None:
        return
    known = {fields[label_at] for fields in rows.fields[1:] if len(fields) > label_at}
    for number, (fields, start) in enumerate(zip(rows.fields, rows.lines, strict=True)):
        if not any("\n" in each for each in fields):
            continue
        own = sum(each.count("\n") for each in fields[:label_at])
        for at, line in enumerate(delimiter.join(fields).split("\n")):
            parts = line.split(delimiter)
            if at == own or len(parts) != len(rows.fields[0]) or not parts[label_at]:
                continue
            if delimiter in QUOTED_ONLY and f"{delimiter} " in line:  # as in prose
                continue
            label = parts[label_at]
            like_one = every_line_fits and label == label.strip() and '"' not in label
            if label in known or like_one or delimiter not in QUOTED_ONLY:
                rows.unsure = not rows.problem and label not in known
                rows.fail(
                    start,
                    f"row {number} (line {start}): a quote that is not closed takes in what looks like other rows "
                    f"(line {start + at}); close it, or double it if it belongs to the text; if the row is meant as "
                    f"it is, give the data as .jsonl",
                )
                return


def _are_characters(plain: Rows) -> int | None:
    """Tell of a file in which every line fits whether its quotes are characters of the fields.

    Returns:
        None if they are quoting; 0 if they are characters; where both is there, the line of a field that is not quoted
        as it should be.
    """
    enclosed: list[str] = []
    columns: Counter[int] = Counter()
    stray = 0
    for fields, line in zip(plain.fields, plain.lines, strict=True):
        for at, each in enumerate(fields):
            if found := ENCLOSED.fullmatch(each):
                enclosed.append(found[1])
                columns[at] += 1
            elif each.startswith('"'):
                stray = stray or line
    mostly = 2 * max(columns.values(), default=0) >= len(plain.fields) - 1
    surely_quoting = mostly or any('""' in inner for inner in enclosed)
    if stray:
        return stray if surely_quoting else 0
    # Quoting programs enclose what has to be; Excel also what holds a comma.
    needless = any("," not in inner for inner in enclosed)
    return 0 if needless and not surely_quoting else None
