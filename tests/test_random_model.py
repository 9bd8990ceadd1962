"""bench/random_model.py: a model that the trainer and the servers take for a known one; its weights mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SMALL = {"hidden-size": 32, "intermediate-size": 48, "num-hidden-layers": 2, "num-attention-heads": 4, "head-dim": 8}


def random_model(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "bench/random_model.py", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "kind"), [("glm4-9b", "glm"), ("gemma3-270m", "gemma3_text")])
def test_a_model_that_can_be_loaded_and_whose_vocabulary_is_full(tmp_path, name, kind):
    rows = [{"instruction": "Which section?", "input": f"a valve and a piston {n}", "output": "A"} for n in range(50)]
    (tmp_path / "llm_train_50.json").write_text(json.dumps(rows))
    shape = [part for name, value in SMALL.items() for part in (f"--{name}", value)]
    out = tmp_path / "model"
    done = random_model("--data", tmp_path, "--out", out, "--shape", name, *shape, "--vocab-size", 1000)
    assert done.returncode == 0, done.stderr

    import torch
    from llamafactory.data.template import TEMPLATES
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert done.stdout == f"{out}: {model.num_parameters():,} random parameters\n"
    assert (model.config.model_type, model.dtype) == (kind, torch.bfloat16)
    assert model.get_input_embeddings().num_embeddings == 1000
    assert all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert len(tokenizer) == 1000
    text = "a valve and a piston"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) < len(text) / 2
    assert tokenizer.decode(ids) == text
    # Where the template ends a turn, the model ends its answer.
    ends = model.generation_config.eos_token_id
    assert {tokenizer.convert_tokens_to_ids(word) for word in TEMPLATES["glm4"].stop_words} <= set(ends)
    assert tokenizer.decode([999]) == " filler999"


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = random_model("--data", tmp_path, "--out", tmp_path)
    said = f"error: {tmp_path}: is there already and not empty; give another folder with --out\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_data_there_is_no_tokenizer(tmp_path):
    done = random_model("--data", tmp_path, "--out", tmp_path / "model")
    said = f"error: {tmp_path}: no llm_train_<N>.json in it; make the data with bin/build_data.sh\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert not (tmp_path / "model").exists()
