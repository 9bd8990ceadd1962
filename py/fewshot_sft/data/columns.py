"""Which columns of a table hold the text and the label."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError

SHOWN = 10


class NoSuchColumn(UserError):
    """A table lacks a column. ``setting`` names it: TEXT_COLUMN or LABEL_COLUMN."""

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


def find_columns(
    where: str, present: Sequence[str], text_column: str, label_column: str | None, hint: str = ""
) -> tuple[str, str]:
    """Return the names of both columns as the table has them; space around a name and its case do not count.

    Where no label is asked for, the text's column stands in for it.

    Raises:
        UserError: one is not there (``hint`` then says what else could be done), there more than once, or both are one.
    """
    text = _find(where, present, "TEXT_COLUMN", text_column, hint)
    if label_column is None:
        return text, text
    label = _find(where, present, "LABEL_COLUMN", label_column, hint)
    if text == label:
        raise UserError(f'TEXT_COLUMN and LABEL_COLUMN both name "{text_column}"; name two columns of {where}')
    return text, label


def _find(where: str, present: Sequence[str], setting: str, wanted: str, hint: str) -> str:
    alike = [name for name in present if name == wanted] or [
        name for name in present if _folded(name) == _folded(wanted)
    ]
    if len(alike) > 1:
        raise UserError(f'{where}: {len(alike)} columns are named "{wanted}"; rename all but one')
    if not alike:
        there = ", ".join(f'"{_shortened(name)}"' for name in present[:SHOWN])
        more = f" and {len(present) - SHOWN} more" if len(present) > SHOWN else ""
        mend = hint or f"name one with {setting}=..."
        raise NoSuchColumn(f'{where}: no column "{wanted}"; the columns are {there}{more}; {mend}', setting)
    return alike[0]


def _folded(name: str) -> str:
    return name.replace("\ufeff", "").strip().casefold()


def _shortened(name: str) -> str:
    """Return a name cut to 40 characters, on one line: in a file without a header the "columns" are its first row."""
    name = " ".join(name.split())
    return name if len(name) <= 40 else name[:39] + "…"
