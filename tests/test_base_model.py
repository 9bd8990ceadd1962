"""What the base model is loaded from: its folder, or a hub."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

import build_base
import chat_template
from fewshot_sft import base_model, runs
from fewshot_sft.errors import UserError
from fewshot_sft.jsonio import read_json
from fewshot_sft.planning import facts
from fewshot_sft.preflight import model
from fewshot_sft.serving import server
from fewshot_sft.settings import Settings

NAME = "own/er-1.5"
# Of ModelScope's cache, the newest first.
LAYOUTS = (
    "models/own--er-1.5/snapshots/master",
    "models/own/er-1___5",
    "hub/models/own/er-1___5",
    "hub/own/er-1___5",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer, and what passes for weights."""
    folder = tmp_path_factory.mktemp("made")
    build_base.make_tokenizer(build_base.corpus(100, 1), 500, folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    save_file({"lm_head.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of ModelScope's. No hub is asked: Hugging Face's is offline, ModelScope's client cannot."""
    monkeypatch.setenv("MODELSCOPE_CACHE", str(folder / "ms"))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "modelscope", None)
    return folder / "ms"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_modelscope_has_fetched_is_found_without_a_network(
    cache: Path, made: Path, given: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    shutil.copytree(made, cache / layout)
    settings = given(MODEL=NAME, USE_MODELSCOPE_HUB="1")
    assert base_model.source(settings) == str(facts.model_folder(settings)) == str(cache / layout)
    assert base_model.source(given(MODEL=NAME)) == NAME  # on Hugging Face's hub
    assert base_model.source(given(MODEL=str(made), USE_MODELSCOPE_HUB="1")) == str(made)
    monkeypatch.undo()
    from modelscope import snapshot_download

    assert snapshot_download(NAME, cache_dir=str(cache), local_files_only=True) == str(cache / layout)


def test_of_several_folders_it_is_the_one_that_modelscope_takes(
    cache: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for layout in LAYOUTS:
        shutil.copytree(made, cache / layout)
    monkeypatch.undo()
    from modelscope import snapshot_download

    for gone in ("none", "models/own", "hub/models", "models"):  # one after the other
        shutil.rmtree(cache / gone, ignore_errors=True)
        first = next(each for each in model.modelscope_folders(NAME, cache) if each.is_dir())
        assert snapshot_download(NAME, cache_dir=str(cache), local_files_only=True) == str(first)


def test_what_is_not_whole_is_fetched_from_modelscope(
    cache: Path, made: Path, given: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = given(MODEL=NAME, USE_MODELSCOPE_HUB="1")
    described = cache / LAYOUTS[0]
    described.mkdir(parents=True)
    shutil.copy(made / "config.json", described)  # as the preflight leaves it
    instead = "; check MODEL and the network, or set MODEL to a folder"
    with pytest.raises(UserError) as error:
        base_model.source(settings)
    assert str(error.value) == (
        f"{NAME} is not whole in the cache and ModelScope does not give it (import of modelscope halted; None in "
        f"sys.modules){instead}"
    )
    fetched: list[str] = []
    client = ModuleType("modelscope")
    vars(client)["snapshot_download"] = lambda name: fetched.append(name) or f"fetched/{name}"
    monkeypatch.setitem(sys.modules, "modelscope", client)
    assert (base_model.source(settings), fetched) == (f"fetched/{NAME}", [NAME])


def test_template_and_label_tokens_are_made_from_modelscopes_tokenizer(
    cache: Path, made: Path, given: Callable[..., Settings]
) -> None:
    shutil.copytree(made, cache / LAYOUTS[0])
    settings = given(MODEL=NAME, USE_MODELSCOPE_HUB="1")
    settings.data_dir.mkdir()
    (settings.data_dir / "llm_test.json").write_text(json.dumps([{"instruction": "Which one?", "input": "a rotor"}]))
    (settings.data_dir / "manifest.json").write_text('{"labels": ["Physics", "Electricity"]}')
    assert chat_template.main([]) == 0
    template = read_json(settings.saves_dir / "base/glm4.json")
    tokens = read_json(settings.objs_dir / "x/label_tokens.json")
    assert template["tokenizer"] == tokens["tokenizer"] == {"hub": NAME}
    assert (template["compared"], len(tokens["tokens"])) == (4, 2)


def test_vllm_serves_modelscopes_folder_under_the_same_name(
    cache: Path, made: Path, given: Callable[..., Settings], folder: Path
) -> None:
    shutil.copytree(made, cache / LAYOUTS[0])
    log = folder / "server.log"
    for more, served in (({}, NAME), ({"USE_MODELSCOPE_HUB": "1"}, f"'{cache / LAYOUTS[0]}'")):
        settings = given(MODEL=NAME, SERVER="vllm", **more)
        with server.serve(runs.zero_shot(settings), ["echo", "serve", NAME, "--x"], log, lambda server: None):
            said = log.read_text()
        assert f"echo serve {served} --x --host 127.0.0.1 --port " in said
        assert "--served-model-name x-zero-shot" in said


@pytest.mark.parametrize("trusted", [True, False])
def test_a_models_own_code_runs_where_it_is_trusted(
    given: Callable[..., Settings], folder: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    from transformers import AutoConfig, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(folder / "modules"))
    (folder / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}')
    (folder / "own.py").write_text("from transformers import PretrainedConfig\nclass Own(PretrainedConfig): own = 7\n")
    settings = given(MODEL=str(folder), TRUST_REMOTE_CODE=str(int(trusted)))
    if trusted:
        assert base_model.load(AutoConfig, settings).own == 7
    else:
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            base_model.load(AutoConfig, settings)
