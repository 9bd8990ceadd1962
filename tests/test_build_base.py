"""py/build_base.py prepare: what a pretraining begins with is made once, and again when it is not as it was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import build_base


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
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
    return calls


def prepare(tmp_path: Path, *more: str) -> None:
    flags = ["prepare", "--base", str(tmp_path / "base"), "--texts", "3", *more]
    assert build_base.main([*flags, "--", "llamafactory-cli", "train", "--seed", "42"]) == 0


def test_what_an_interrupted_pretraining_began_with_is_kept(tmp_path: Path, made: list[str]):
    prepare(tmp_path)
    (tmp_path / "base.part").mkdir()
    (tmp_path / "base.part/half").touch()
    prepare(tmp_path)
    assert made == ["tokenizer", "model"]
    assert not (tmp_path / "base.part").exists()


def test_what_a_killed_finish_has_left_goes_with_the_next_look(tmp_path: Path, made: list[str], capsys):
    prepare(tmp_path)
    record = json.loads((tmp_path / "init/base_model.json").read_text())
    (tmp_path / "base").mkdir()
    (tmp_path / "base/base_model.json").write_text(json.dumps(record | {"status": "done"}))
    flags = ["prepare", "--base", str(tmp_path / "base"), "--texts", "3"]
    assert build_base.main([*flags, "--", "llamafactory-cli", "train", "--seed", "42"]) == build_base.EXIT_DONE
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "base_corpus.json", "dataset_info.json"])
@pytest.mark.parametrize("content", [None, ""])
def test_it_is_made_again_when_it_is_damaged(tmp_path: Path, made: list[str], file: str, content: str | None):
    prepare(tmp_path)
    before = (tmp_path / "init" / file).read_text()
    if content is None:
        (tmp_path / "init" / file).unlink()
    else:
        (tmp_path / "init" / file).write_text(content)
    prepare(tmp_path)
    assert made == ["tokenizer", "model"] * 2
    assert (tmp_path / "init" / file).read_text() == before


def test_it_is_made_again_for_other_texts_and_with_force(tmp_path: Path, made: list[str]):
    prepare(tmp_path)
    prepare(tmp_path, "--texts", "4")
    assert len(json.loads((tmp_path / "init/base_corpus.json").read_text())) == 4
    prepare(tmp_path, "--texts", "4", "--force")
    assert made == ["tokenizer", "model"] * 3


def test_transformers_reads_the_tokenizer_and_the_model_as_they_are_meant(tmp_path: Path):
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    prepare(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "init")
    assert tokenizer.convert_ids_to_tokens(range(10)) == list(build_base.SPECIAL_TOKENS)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.padding_side) == (0, 0, "left")
    assert set(tokenizer.all_special_tokens) == set(build_base.SPECIAL_TOKENS)
    assert tokenizer.decode(tokenizer("a valve , fitted").input_ids) == "a valve , fitted"
    config = AutoConfig.from_pretrained(tmp_path / "init")
    assert (config.model_type, config.hidden_size, config.num_hidden_layers, config.head_dim) == ("glm", 128, 2, 32)
    assert config.attention_bias
    ends = GenerationConfig.from_pretrained(tmp_path / "init")
    assert (ends.eos_token_id, ends.do_sample, ends.use_cache) == ([0, 7, 9], False, True)
