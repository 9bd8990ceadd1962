"""py/build_base.py: what a pretraining begins with is made once, and again when it is not as it was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import build_base
from fewshot_sft.jsonio import read_json, write_json


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Return what is made from now on; the tokenizer and the model's description are a byte each."""
    calls: list[str] = []

    def make_tokenizer(_rows: object, _vocabulary: int, folder: Path) -> None:
        calls.append("tokenizer")
        (folder / "tokenizer.json").write_text("t")

    def describe_model(*arguments: object) -> None:
        calls.append("model")
        (Path(str(arguments[-1])) / "config.json").write_text("m")

    monkeypatch.setattr(build_base, "make_tokenizer", make_tokenizer)
    monkeypatch.setattr(build_base, "describe_model", describe_model)
    monkeypatch.setattr(build_base, "end_on_signals", lambda: None)
    return calls


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *how: str, texts: int = 3, force: bool = False) -> int:
    """Make the base model; its trainer leaves nothing and ends with status 7. Returns the program's status."""
    folders = {"SAVES_DIR": str(tmp_path), "LOGS_DIR": str(tmp_path)}
    model = {"MODEL": str(tmp_path / "tiny/base")}
    write_json(tmp_path / "settings.json", {**folders, **model, "BASE_TEXTS": str(texts), "FORCE": str(int(force))})
    monkeypatch.setenv("FEWSHOT_SETTINGS", str(tmp_path / "settings.json"))
    return build_base.main([*how, "--", "sh", "-c", "echo ValueError: bad luck; exit 7", "--seed", "42"])


def test_a_pretraining_that_fails_says_why_and_what_it_began_with_is_kept(tmp_path, monkeypatch, made, capsys):
    assert make(tmp_path, monkeypatch) == 1
    log = tmp_path / "tiny.base.log"
    reason = "the trainer ended with status 7: ValueError: bad luck"
    assert f"base model: pretraining failed: {reason} (log: {log})\n" in capsys.readouterr().err
    (tmp_path / "tiny/base.part").mkdir()
    assert make(tmp_path, monkeypatch) == 1
    assert made == ["tokenizer", "model"]
    assert not (tmp_path / "tiny/base.part").exists()


def test_a_dry_run_makes_nothing(tmp_path, monkeypatch, made, capsys):
    monkeypatch.setenv("FEWSHOT_PLANNED", str(tmp_path / "planned"))
    assert make(tmp_path, monkeypatch, "--dry-run") == 3
    assert capsys.readouterr().out.startswith("base model: to do\n    sh -c ")
    assert (tmp_path / "planned").read_text() == '"base model"\n'
    assert not (tmp_path / "tiny").exists()


def test_what_is_there_is_kept_and_what_a_killed_end_has_left_goes(tmp_path, monkeypatch, made, capsys):
    make(tmp_path, monkeypatch)
    record = read_json(tmp_path / "tiny/init/base_model.json")
    write_json(tmp_path / "tiny/base/base_model.json", record | {"status": "done"})
    assert make(tmp_path, monkeypatch, "--dry-run") == 0
    assert make(tmp_path, monkeypatch) == 0
    base = tmp_path / "tiny/base"
    assert capsys.readouterr().out.endswith(f"base model: done ({base})\nbase model: already there ({base})\n")
    assert {path.name for path in (tmp_path / "tiny").iterdir()} == {"base", ".base.lock"}


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "base_corpus.json", "dataset_info.json"])
@pytest.mark.parametrize("content", [None, ""])
def test_it_is_made_again_when_it_is_damaged(tmp_path, monkeypatch, made, file, content):
    make(tmp_path, monkeypatch)
    path = tmp_path / "tiny/init" / file
    before = path.read_text()
    path.unlink() if content is None else path.write_text(content)
    make(tmp_path, monkeypatch)
    assert made == ["tokenizer", "model"] * 2
    assert path.read_text() == before


def test_it_is_made_again_for_other_texts_and_with_force(tmp_path, monkeypatch, made):
    make(tmp_path, monkeypatch)
    make(tmp_path, monkeypatch, texts=4)
    assert len(json.loads((tmp_path / "tiny/init/base_corpus.json").read_text())) == 4
    make(tmp_path, monkeypatch, texts=4, force=True)
    assert made == ["tokenizer", "model"] * 3


def test_transformers_reads_the_tokenizer_and_the_model_as_they_are_meant(tmp_path, monkeypatch):
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    make(tmp_path, monkeypatch)
    init = tmp_path / "tiny/init"
    tokenizer = AutoTokenizer.from_pretrained(init)
    assert tokenizer.convert_ids_to_tokens(range(10)) == list(build_base.SPECIAL_TOKENS)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.padding_side) == (0, 0, "left")
    assert set(tokenizer.all_special_tokens) == set(build_base.SPECIAL_TOKENS)
    assert tokenizer.decode(tokenizer("a valve , fitted").input_ids) == "a valve , fitted"
    config = AutoConfig.from_pretrained(init)
    assert (config.model_type, config.hidden_size, config.num_hidden_layers, config.head_dim) == ("glm", 128, 2, 32)
    assert config.attention_bias
    ends = GenerationConfig.from_pretrained(init)
    assert (ends.eos_token_id, ends.do_sample, ends.use_cache) == ([0, 7, 9], False, True)
