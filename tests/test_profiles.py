"""Profiles of models that cannot be had here: one of the same class, small and random, through the whole sweep.

CI tries BLOOM, which no other test has; PROFILES=all tries every class (1 to 3 minutes each).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from random_models import MODELS, make

PROJECT = Path(__file__).resolve().parents[1]
WANTED = list(MODELS) if os.environ.get("PROFILES") == "all" else ["bloomz-560m"]
WORDS = {"Animals": "fur paw tail", "Plants": "leaf root stem", "Stones": "granite slate quartz"}


@pytest.mark.end_to_end
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("profile", WANTED)
def test_a_sweep_of_a_random_model_of_its_class(tmp_path, profile):
    rows = [f"about {word} {index % 7} {word},{label}" for label, words in WORDS.items() for index in range(12)
            for word in words.split()]  # fmt: skip
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    make(profile, rows, tmp_path / "model")
    environment = {key: value for key, value in os.environ.items() if key not in ("PROFILE", "MODEL")} | {
        "MODEL": str(tmp_path / "model"),
        "TRAIN_FILE": str(tmp_path / "rows.csv"),
        "SIZES": "24",
        "METHODS": "lora zero-shot",
        "DEVICE": "cpu",
        "BACKEND": "huggingface",
        "TEST_COUNT": "9",
        "VALID_COUNT": "9",
        "EPOCHS": "20",
        "LEARNING_RATE": "1e-2",
        "MAX_TOKENS": "6",
        "PREPROCESSING_WORKERS": "1",
        "SWEEP_NAME": "x",
        **{f"{name.upper()}_DIR": str(tmp_path / name) for name in ("data", "saves", "logs", "objs")},
    }
    command = ["bash", str(PROJECT / "bin/sweep.sh"), "--profile", profile]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    record = json.loads((tmp_path / "objs/x-llm_train_24.json").read_text())
    assert record["counts"]["items"] == 9
    assert record["backend"] == "huggingface"
    training = json.loads(next(tmp_path.glob("saves/*/lora/x-llm_train_24/training.json")).read_text())
    assert training["loss"]["last"] < training["loss"]["first"]
    assert json.loads((tmp_path / "objs/x-llm_train_24.probe.json").read_text())["differs"]
    scores = json.loads((tmp_path / "objs/x-llm_train_24.scores.json").read_text())
    assert len(scores.get("probabilities", [])) == 9, scores.get("absent")
