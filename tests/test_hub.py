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
from random_models import make

import plan
import preflight
from fewshot_sft import hub as hubs
from fewshot_sft import revision
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import sha256_json
from fewshot_sft.serving import label_tokens
from fewshot_sft.serving.served_model import what_serves
from fewshot_sft.settings import Settings

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


@pytest.fixture
def two(hub: HubServer) -> tuple[str, str]:
    """Two commits of ``own/er``, whose configurations differ: the older one is the tag v1, the newer one main."""
    old, new = (hub.add("model", "own/er", {"config.json": each}) for each in (b"{}", b"[]"))
    commits = hub.commits["model", "own/er"]
    commits["v1"] = commits[old]
    return old, new


@pytest.fixture
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's cache in this process, which reads the environment when it is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hf/hub"))
    return folder / "hf/hub"


def test_the_commit_of_a_revision_is_the_hubs_and_then_the_caches(hub, two, cache, monkeypatch):
    old, new = two
    wanted = {"": new, "v1": old, old: old, "main": new}
    assert {revision: hubs.commit("own/er", revision) for revision in wanted} == wanted
    changed = hub.add("model", "own/er", {"config.json": b"{ }"})
    assert hubs.commit("own/er") == changed
    hub.failing["own/er"] = 503
    assert {revision: hubs.commit("own/er", revision) for revision in wanted} == wanted | {"": changed, "main": changed}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(hub.asked)
    assert {revision: hubs.commit("own/er", revision) for revision in wanted} == wanted | {"": changed, "main": changed}
    assert len(hub.asked) == asked


NO_REVISION = {
    "unknown": ("v9", None, "{hub} has own/er, but not its revision v9; set MODEL_REVISION to a branch, tag or commit "
                "of {hub}/own/er/commits/main"),
    "down": ("v1", 503, "own/er is not in the cache and {hub} does not answer (HTTP 503); run the same command again "
             "later, or set HF_ENDPOINT to a mirror"),
    "offline": ("v1", 0, "own/er: revision v1 is not in the cache and HF_HUB_OFFLINE=1 forbids to fetch it; fetch it "
                "where there is a network (hf download own/er --revision v1), or check MODEL_REVISION"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_REVISION)
def test_a_revision_that_cannot_be_had_ends_in_one_line_in_preflight_and_plan(
    hub, two, cache, given, monkeypatch, capsys, case
):
    revision, status, said = NO_REVISION[case]
    if status:
        hub.failing["own/er"] = status
    elif status == 0:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hubs.commit("own/none") == ""  # without a revision it is for the loader to tell
    settings = given(MODEL="own/er", MODEL_REVISION=revision, DEVICE="cpu")
    finding, _ = preflight.base_model(settings)
    said = said.format(hub=hub.address)
    assert (finding.result, finding.text) == ("problem", f"model: {said}")
    with pytest.raises(UserError) as error:
        plan.main([])
    assert str(error.value) == said


def test_two_revisions_are_two_identities_of_whatever_the_model_makes(given):
    def identities(commit: str) -> list[str]:
        settings = given(MODEL="own/er", MODEL_COMMIT=commit)
        served = what_serves(settings)["model"]
        tokens = label_tokens.decides(settings, ["a"])["tokenizer"]
        assert served == tokens == {"hub": "own/er", "revision": commit}
        return [sha256_json(each) for each in (what_serves(settings), label_tokens.decides(settings, ["a"]))]

    assert not set(identities("1" * 40)) & set(identities("2" * 40))


@pytest.mark.end_to_end
@pytest.mark.timeout(1200)
def test_a_sweep_from_names_alone_of_a_pinned_revision_and_again_offline(hub, folder):
    make("smollm2-135m", [text for text, _ in rows(12)], folder / "model")
    files = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    pinned = hub.add("model", "own/er", files)
    # Nothing can be loaded of what is the newest.
    hub.add("model", "own/er", dict.fromkeys(files, b"{}") | {"config.json": files["config.json"]})
    hub.commits["model", "own/er"]["v1"] = files
    settings = {
        "MODEL": "own/er",
        "MODEL_REVISION": "v1",
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

    def sweep(*flags: str, **more: str) -> str:
        command = ["bash", str(PROJECT / "bin/sweep.sh"), *flags]
        ran = subprocess.run(command, env=os.environ | settings | more, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout + ran.stderr

    assert "sweep x: 3 of 3 runs done (status 0" in sweep()
    assert hub.downloads("model.safetensors") == [""]
    of_main = {path for method, path, _ in hub.asked if method == "GET" and path.startswith("/own/er/resolve/main")}
    assert of_main <= {"/own/er/resolve/main/config.json"}  # peft looks up the size of the vocabulary there
    model = {"hub": "own/er", "revision": pinned}
    assert json.loads((folder / "saves/er/lora/x-llm_train_12/training.json").read_text())["decides"]["model"] == model
    for run in ("x-llm_train_12", "x-zero-shot"):
        assert json.loads((folder / f"objs/{run}.json").read_text())["base_model_revision"] == pinned
    assert json.loads((folder / "objs/x-llm-embedding_12.json").read_text())["decides"]["model"] == model
    for path in (folder / "data").iterdir():
        path.unlink()
    asked = len(hub.asked)
    said = sweep(HF_HUB_OFFLINE="1", SIZES="12 24")
    assert "size 12: already trained" in said
    assert "sweep x: 5 of 5 runs done (status 0" in said
    assert len(hub.asked) == asked
    # What main is by now is another model, and is named.
    newest = hub.add("model", "own/er", files | {"README.md": b"new"})
    unpinned = Settings.read(str(folder / "logs/x.settings.json")).but(MODEL_REVISION="")
    assert revision.commit(unpinned) == pinned  # what it was trained with
    said = sweep("--dry-run", "--model-revision=main")
    assert f"training of size 12: to do, the base model's revision changed ({pinned} -> {newest})" in said
