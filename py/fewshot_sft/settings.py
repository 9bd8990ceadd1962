"""The settings of a sweep, as bin/lib/settings.bash resolves them: one JSON file, which FEWSHOT_SETTINGS names.

Every value is a text there, as it will reach another program's command line; an attribute is the value with the type
that ``bin/settings.table`` gives it: ``settings.cutoff_len`` is an int, ``settings["CUTOFF_LEN"]`` the text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UserError
from .jsonio import read_json, write_json

VARIABLE = "FEWSHOT_SETTINGS"
TABLE = Path(__file__).resolve().parents[2] / "bin/settings.table"


class Row(NamedTuple):
    """One row of the table."""

    name: str
    type: str
    default: str
    meaning: str


@cache
def table() -> dict[str, Row]:
    """Return the rows of ``bin/settings.table`` by name."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = (Row(*line.split("|", 3)) for line in lines if line and not line.startswith("#"))
    return {row.name: row for row in rows}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())


# By the type's name up to its colon; the others are text. Empty and ``auto`` are None.
_READ: dict[str, Callable[[str], object]] = {
    "numbers": _numbers,
    "int": int,
    "int0": int,
    "count": int,
    "port": int,
    "auto_int": int,
    "number": float,
    "number0": float,
    "auto_share": float,
    "target": float,
    "price": float,
    "bool": lambda text: text == "1",
    "auto_bool": lambda text: text == "1",
    "path": Path,
}


class Settings:
    """The values of all settings; immutable."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Take the texts; what is missing has the table's default."""
        self._values = {name: row.default for name, row in table().items()} | dict(values)

    @classmethod
    def read(cls, path: str | os.PathLike[str] | None = None) -> Settings:
        """Read the file, by default the one that FEWSHOT_SETTINGS names.

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = path or os.environ.get(VARIABLE)
        if not path:
            raise UserError("FEWSHOT_SETTINGS is not set; start this by a script in bin/, which finds the settings")
        found = read_json(path)
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise UserError(f"{path}: not a settings file of ours; start the script in bin/ again")
        return cls(found)

    def __getitem__(self, name: str) -> str:
        """Return a setting's text."""
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        """Return a setting's value with its type; None where it is empty or ``auto`` and not a text."""
        row = table().get(name.upper())
        if row is None:
            raise AttributeError(f"no setting {name.upper()}")
        text = self._values[row.name]
        read = _READ.get(row.type.partition(":")[0])
        if read is None:
            return text
        return None if text in ("", "auto") and read is not _numbers else read(text)

    @property
    def kept(self) -> Path:
        """The file that its sweep keeps: what it was run with."""
        return Path(self["LOGS_DIR"]) / f"{self['SWEEP_NAME']}.settings.json"

    @property
    def model_commit(self) -> str:
        """The commit of MODEL on Hugging Face's hub, which py/plan.py has found; "" where it is none, or unknown."""
        return self._values.get("MODEL_COMMIT", "")

    def but(self, **values: str) -> Settings:
        """Return these settings with other values, as texts."""
        return Settings(self._values | values)

    def record(self) -> dict[str, str]:
        """Return all texts by name."""
        return dict(self._values)

    def write(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the file, by default the one that FEWSHOT_SETTINGS names."""
        write_json(path or os.environ[VARIABLE], self._values)
