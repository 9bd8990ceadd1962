"""Fixtures that several test files share."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fewshot_sft.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
# Of the sweep that `swept` runs.
SIZES = (16, 32)
SEEDS = (42, 7)
ITEMS = 24
EPOCHS = 12

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# In the background of a script (`bin/test.sh &`) SIGINT is ignored, and whatever a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a Chromium; its tests are skipped where CHROMIUM is None."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


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


def processes_marked(mark: str) -> list[str]:
    """Return the command lines of all live processes that inherited ``FEWSHOT_TEST_MARK=mark``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if f"FEWSHOT_TEST_MARK={mark}".encode() in environment and command.strip():
            found.append(command)
    return found


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Run a small real sweep once; return its folders, environment and output.

    It has no network, where that can be had, and the environment of somebody who does a lot of other things.
    """
    root = tmp_path_factory.mktemp("a sweep")
    environment = {key: value for key, value in os.environ.items() if key not in ("PROFILE", "MODEL")} | {
        "SIZES": " ".join(map(str, SIZES)),
        "SEEDS": " ".join(map(str, SEEDS)),
        "METHODS": "lora zero-shot tfidf",
        "TEST_COUNT": str(ITEMS),
        "VALID_COUNT": "9",
        "BASE_TEXTS": "1000",
        "EPOCHS": str(EPOCHS),
        "LOGGING_STEPS": "1",
        "FEWSHOT_TEST_MARK": str(root),
        **{f"{name.upper()}_DIR": str(root / name) for name in ("data", "saves", "logs", "objs")},
    }
    alone = ["unshare", "--map-root-user", "--net"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        alone = []
    helpers, heard = PROJECT / "tests/helpers", root / "heard"
    command = [*alone, sys.executable, str(helpers / "listener.py"), str(heard)]
    command += ["bash", str(helpers / "hostile.bash"), str(PROJECT / "bin/sweep.sh")]
    ran = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=3000)
    return {"root": root, "env": environment, "command": command, "ran": ran, "heard": heard, "alone": alone}


@contextmanager
def served(swept: dict[str, Any], script: str, *arguments: str) -> Iterator[str]:
    """Run bin/SCRIPT on the sweep's runs until it has said how it ends; yield what it said, and end it by Ctrl-C."""
    environment = swept["env"] | {"LOGS_DIR": str(swept["root"] / script), "API_PORT": "8300"}
    command = ["env", "--default-signal=INT", str(PROJECT / "bin" / script), *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        said = ""
        while "Ctrl-C ends it" not in said:
            line = process.stdout.readline()
            assert line, f"{script} ended with status {process.wait()}"
            said += line
        yield said
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.stdout.close()
