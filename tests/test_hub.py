"""Data sets and models by their names, from a stand-in for the hub: whole, offline, pinned, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from fewshot_sft.settings import Settings

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from random_models import make

PROJECT = Path(__file__).resolve().parents[1]
WORDS = {"Animals": "fur paw tail", "Plants": "leaf root stem", "Stones": "granite slate quartz"}
README = b"""---
configs:
- config_name: short
  data_files:
  - split: train
    path: short/train-*.parquet
  - split: test
    path: short/test.parquet
- config_name: long
  data_files: long/*.parquet
---
# News
"""
# The client waits between its attempts, half a minute in all.
AT_ONCE = "import runpy, sys, time; time.sleep = lambda _: None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
Built = Callable[..., subprocess.CompletedProcess[str]]


def rows(count: int, more: str = "") -> list[tuple[str, str]]:
    return [
        (f"about {word}{more} {index} {word}", label)
        for label, words in WORDS.items()
        for word in words.split()
        for index in range(count)
    ]


def news(more: str = "") -> dict[str, bytes]:
    """The files of a data set with two configurations."""
    import pyarrow
    from pyarrow import parquet

    def table(of: list[tuple[str, str]]) -> bytes:
        stream = io.BytesIO()
        parquet.write_table(
            pyarrow.table({"text": [text for text, _ in of], "label": [each for _, each in of]}), stream
        )
        return stream.getvalue()

    train, test = table(rows(12, more)), table(rows(15, more)[12::15])
    return {
        "README.md": README,
        "short/train-00000-of-00001.parquet": train,
        "short/test.parquet": test,
        "long/all.parquet": train,
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[HubServer]:
    """The stand-in, with ``own/news``; the cache is empty."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    with HubServer() as server:
        server.add("dataset", "own/news", news())
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def build(hub: HubServer, given: Callable[..., Settings]) -> Built:
    """Return ``build(offline=False, NAME=value)``, which builds the data of a sweep."""

    def run(*, offline: bool = False, **values: str) -> subprocess.CompletedProcess[str]:
        settings = {"SIZES": "6 12", "DATASET": "own/news", "DATASET_CONFIG": "short", "VALID_COUNT": "6"}
        given(**settings | values)
        command = [sys.executable, "-c", AT_ONCE, str(PROJECT / "py/build_data.py")]
        environment = os.environ | {"PYTHONPATH": str(PROJECT / "py")} | ({"HF_HUB_OFFLINE": "1"} if offline else {})
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_data_set_by_its_name_then_offline_then_a_newer_one_and_the_old_one_pinned(hub, build, folder):
    def built(**how: object) -> dict:
        ran = build(**how)
        assert ran.returncode == 0, ran.stderr
        return json.loads((folder / "data/manifest.json").read_text())

    old = next(each for each in hub.commits["dataset", "own/news"] if each != "main")
    first = built()
    source = {"kind": "hub", "hub": "Hugging Face", "dataset": "own/news", "config": "short", "revision": old}
    assert {key: first["source"][key] for key in source} == source
    assert first["source"]["rows"] == {"train": 108, "test": 9}
    for path in (folder / "data").iterdir():
        path.unlink()
    asked = len(hub.asked)
    assert built(offline=True)["identity"] == first["identity"]
    assert len(hub.asked) == asked

    new = hub.add("dataset", "own/news", news(" new"))
    newer = built()
    assert (newer["source"]["revision"], newer["identity"] != first["identity"]) == (new, True)
    pinned = built(DATASET_REVISION=old)
    assert (pinned["source"]["asked_revision"], pinned["source"]["revision"]) == (old, old)
    assert pinned["identity"] == first["identity"]


def test_offline_another_revision_than_the_pinned_one_is_not_taken(hub, build):
    (old,) = (each for each in hub.commits["dataset", "own/news"] if each != "main")
    assert build().returncode == 0
    ran = build(offline=True, DATASET_REVISION="0" * 40)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (
        2,
        f"error: own/news: revision {'0' * 40} is not in the cache, which has {old}, and {hub.address} does not "
        "answer; check the network, or DATASET_REVISION",
    )


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, build):
    hub.cut["short/test.parquet"] = 100
    assert build().returncode == 0
    assert len(hub.downloads("test.parquet")) == 2


REFUSED = {
    "a wrong name": ({"DATASET": "own/knews"}, None, "{hub} has no data set own/knews, or not for you (HTTP 404); "
                     "check DATASET; for one that is private or gated set HF_TOKEN"),
    "a wrong configuration": ({"DATASET_CONFIG": "abstract"}, None,
                              'own/news: no configuration "abstract"; set DATASET_CONFIG to one of short, long'),
    "a wrong revision": ({"DATASET_REVISION": "v9"}, None,
                         "cannot load own/news (short, v9) from Hugging Face: Revision 'v9' doesn't exist for dataset "
                         "'own/news' on the Hub; check DATASET, DATASET_CONFIG, DATASET_REVISION and the network "
                         "(HF_ENDPOINT names a mirror, USE_MODELSCOPE_HUB=1 chooses ModelScope's hub), or download "
                         "it and name the file with TRAIN_FILE"),
    "gated": ({}, 401, "own/news is given only to those who accept its terms; accept them on {hub}/datasets/own/news, "
              "then set HF_TOKEN to a token of yours"),
    "too many requests": ({}, 429, "own/news is not in the cache and {hub} does not answer (HTTP 429); wait a few "
                          "minutes and run the same command again, or set HF_TOKEN to a token of yours, which may ask "
                          "more"),
    "down": ({}, 503, "own/news is not in the cache and {hub} does not answer (HTTP 503); run the same command again "
             "later, or set HF_ENDPOINT to a mirror"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_hub_refuses_is_said_in_one_line(hub, build, folder, case):
    values, status, said = REFUSED[case]
    if status == 401:
        hub.gated.add("own/news")
    elif status:
        hub.failing["own/news"] = status
    ran = build(**values)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (2, f"error: {said.format(hub=hub.address)}")
    assert "Traceback" not in ran.stderr
    assert not list((folder / "data").glob("*.json"))


def test_another_configuration_in_the_cache_does_not_hide_why_this_one_is_refused(hub, build):
    assert build().returncode == 0
    hub.failing["own/news"] = 503
    ran = build(DATASET_CONFIG="long")
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith(f"error: own/news is not in the cache and {hub.address} does not")


@pytest.mark.end_to_end
@pytest.mark.timeout(1200)
def test_a_sweep_from_names_alone_and_again_offline(hub, folder):
    make("smollm2-135m", [text for text, _ in rows(12)], folder / "model")
    hub.add("model", "own/er", {path.name: path.read_bytes() for path in (folder / "model").iterdir()})
    settings = {
        "MODEL": "own/er",
        "TEMPLATE": "smollm2",
        "DATASET": "own/news",
        "DATASET_CONFIG": "short",
        "SIZES": "12",
        "METHODS": "lora zero-shot llm-embedding",
        "DEVICE": "cpu",
        "BACKEND": "huggingface",
        "VALID_COUNT": "6",
        "EPOCHS": "20",
        "LEARNING_RATE": "1e-2",
        "MAX_TOKENS": "12",
        "PREPROCESSING_WORKERS": "1",
        "SWEEP_NAME": "x",
        **{f"{name.upper()}_DIR": str(folder / name) for name in ("data", "saves", "logs", "objs")},
    }

    def sweep(**more: str) -> str:
        command = ["bash", str(PROJECT / "bin/sweep.sh")]
        ran = subprocess.run(command, env=os.environ | settings | more, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout + ran.stderr

    assert "sweep x: 3 of 3 runs done (status 0" in sweep()
    assert hub.downloads("model.safetensors") == [""]
    for path in (folder / "data").iterdir():
        path.unlink()
    asked = len(hub.asked)
    said = sweep(HF_HUB_OFFLINE="1", SIZES="12 24")
    assert "size 12: already trained" in said
    assert "sweep x: 5 of 5 runs done (status 0" in said
    assert len(hub.asked) == asked
