"""Fixtures that several test files share."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fewshot_sft.settings import Settings

# In the background of a script (`bin/test.sh &`) SIGINT is ignored, and whatever a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    """Programs of ours that a test runs in this process install theirs."""
    three = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(each) for each in three]
    yield
    for each, handler in zip(three, before, strict=True):
        signal.signal(each, handler)


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
def given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Return ``given(SIZES="4 8", ...)``, which writes the settings file of a sweep ``x`` in ``folder``."""

    def write(**values: str) -> Settings:
        folders = {f"{name.upper()}_DIR": str(folder / name) for name in ("data", "saves", "logs", "objs")}
        found = Settings({"SWEEP_NAME": "x", "MODEL_NAME": "base", "TEMPLATE": "glm4"} | folders | values)
        found.write(folder / "settings.json")
        monkeypatch.setenv("FEWSHOT_SETTINGS", str(folder / "settings.json"))
        return found

    return write
