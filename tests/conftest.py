"""Fixtures that several test files share."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from fewshot_sft.settings import VARIABLE, Settings

# In the background of a script (`bin/test.sh &`) SIGINT is ignored, and whatever a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A temporary folder with a space in its path: every script has to cope with one."""
    made = tmp_path / "with a space"
    made.mkdir()
    return made


@pytest.fixture
def write_csv(folder: Path) -> Callable[..., Path]:
    """Return ``write_csv(name, rows)``, which writes (text, label) rows below a header and returns the path."""

    def write(name: str, rows: Iterable[tuple[Any, Any]], header: tuple[str, str] = ("text", "label")) -> Path:
        path = folder / name
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])
        return path

    return write


@pytest.fixture
def read_items() -> Callable[[Path], list[dict[str, str]]]:
    """Return ``read_items(path)``, which reads an Alpaca file."""

    def read(path: Path) -> list[dict[str, str]]:
        return json.loads(path.read_text(encoding="utf-8"))

    return read


@pytest.fixture
def use_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Return ``use_settings(NAME=value)``: these, and the defaults, in the file that FEWSHOT_SETTINGS names."""

    def use(**values: object) -> Settings:
        settings = Settings({name: str(value) for name, value in values.items()})
        monkeypatch.setenv(VARIABLE, str(folder / "settings.json"))
        settings.write()
        return settings

    return use
