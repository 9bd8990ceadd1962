"""Profiles of models that cannot be had here: one of the same class, small and random, through the whole sweep.

CI tries BLOOM, which no other test has; PROFILES=all tries every class (1 to 3 minutes each). Then a real model, which
can be had wherever there is a package index.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from random_models import MODELS, make

PROJECT = Path(__file__).resolve().parents[1]
WANTED = list(MODELS) if os.environ.get("PROFILES") == "all" else ["bloomz-560m"]
WORDS = {"Animals": "fur paw tail", "Plants": "leaf root stem", "Stones": "granite slate quartz"}


def sweep(folder: Path, profile: str, rows: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the sweep ``x`` of the rows, ``text,label`` each, in a folder."""
    (folder / "rows.csv").write_text("text,label\n" + "\n".join(rows), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key not in ("PROFILE", "MODEL")} | {
        "TRAIN_FILE": str(folder / "rows.csv"),
        "SWEEP_NAME": "x",
        **{f"{name.upper()}_DIR": str(folder / name) for name in ("data", "saves", "logs", "objs")},
    }
    command = ["bash", str(PROJECT / "bin/sweep.sh"), "--profile", profile]
    return subprocess.run(command, env=environment | settings, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.end_to_end
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("profile", WANTED)
def test_a_sweep_of_a_random_model_of_its_class(tmp_path, profile):
    rows = [f"about {word} {index % 7} {word},{label}" for label, words in WORDS.items() for index in range(12)
            for word in words.split()]  # fmt: skip
    make(profile, rows, tmp_path / "model")
    settings = {
        "MODEL": str(tmp_path / "model"),
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
    }
    ran = sweep(tmp_path, profile, rows, settings)
    assert ran.returncode == 0, ran.stderr
    record = json.loads((tmp_path / "objs/x-llm_train_24.json").read_text())
    assert record["counts"]["items"] == 9
    assert record["backend"] == "huggingface"
    training = json.loads(next(tmp_path.glob("saves/*/lora/x-llm_train_24/training.json")).read_text())
    assert training["loss"]["last"] < training["loss"]["first"]
    assert json.loads((tmp_path / "objs/x-llm_train_24.probe.json").read_text())["differs"]
    scores = json.loads((tmp_path / "objs/x-llm_train_24.scores.json").read_text())
    assert len(scores.get("probabilities", [])) == 9, scores.get("absent")


# label -> who, what
NEWS = {
    "Weather": ("Heavy rain", "A cold front", "Thick fog", "The heat wave", "Strong wind"),
    "Sports": ("The home team", "The young goalkeeper", "The veteran sprinter", "The coach", "The tennis champion"),
    "Cooking": ("The tomato soup", "A loaf of rye bread", "The chocolate cake", "Grilled fish", "The onion sauce"),
    "Music": ("The string quartet", "The jazz pianist", "The choir", "The opera singer", "The rock band"),
}
WHAT = {
    "Weather": ("will reach the coast tonight", "brought snow to the hills", "closed the mountain pass",
                "is expected until Sunday", "ended the dry season", "flooded several streets"),
    "Sports": ("won the final in extra time", "broke a record at the stadium", "lost the third set",
               "trained for the championship", "scored twice before the break", "qualified for the finals"),
    "Cooking": ("needs a pinch of salt", "is baked for forty minutes", "tastes best with fresh herbs",
                "is served hot with butter", "simmers on a low flame", "cools before it is cut"),
    "Music": ("played a slow waltz", "opened the concert hall", "recorded a new album",
              "rehearsed the last movement", "tuned up before the show", "sang without a microphone"),
}  # fmt: skip


@pytest.mark.end_to_end
@pytest.mark.timeout(2400)
def test_a_real_model_learns_real_texts_from_32_labels(tmp_path):
    rows = [f"{who} {what}.,{label}" for label in NEWS for who in NEWS[label] for what in WHAT[label]]
    settings = {"SIZES": "16 32", "TEST_COUNT": "40", "VALID_COUNT": "8", "METHODS": "lora zero-shot tfidf"}
    ran = sweep(tmp_path, "smollm2-135m", rows, settings)
    if "cannot be had, neither from the hub" in ran.stderr:
        pytest.skip(ran.stderr.strip().splitlines()[-1])
    assert ran.returncode == 0, ran.stderr
    assert "sweep x: 5 of 5 runs done (status 0" in ran.stdout
    found = {
        run: json.loads((tmp_path / f"objs/x-{run}.json").read_text())["metrics"]["accuracy"]
        for run in ("zero-shot", "llm_train_16", "llm_train_32")
    }
    assert found["llm_train_32"] > max(0.6, found["zero-shot"] + 0.2), found
    model = tmp_path / "saves/SmolLM2-135M-Instruct/base"
    names = json.loads((model / "tokenizer_config.json").read_text())
    assert [names[f"{kind}_token"] for kind in ("bos", "eos", "pad")] == ["<|im_start|>", "<|im_end|>", "<|im_end|>"]
