"""Methods beside LoRA: what they answer on small sets, and where their encoder comes from."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fewshot_sft import hub, runs
from fewshot_sft.evaluation import without_server
from fewshot_sft.evaluation.questions import EvaluationSet
from fewshot_sft.methods import Answers, Task, Unavailable, embedding, encoders, tfidf
from fewshot_sft.preflight import methods
from fewshot_sft.provenance import PROJECT
from fewshot_sft.settings import Settings, table

CLASSES = ["Animals", "Plants", "Stones"]
WORDS = {"Animals": "dog cat horse", "Plants": "oak tulip moss", "Stones": "granite marble flint"}
ASKED = ["a dog and a horse", "moss below an oak", "a wall of granite and flint"]


def task(counts: dict[str, int], seed: int = 0) -> Task:
    """So many examples of each class; each class has words of its own."""
    rows = [
        (f"number {index}: {WORDS[label].split()[index % 3]} and {WORDS[label].split()[(index + 1) % 3]}", label)
        for label, count in counts.items()
        for index in range(count)
    ]
    return Task([text for text, _ in rows], [label for _, label in rows], ASKED, CLASSES, seed)


def is_sound(found: Answers) -> None:
    """Rows add up to 1, and each answer is the likeliest class."""
    assert found.probabilities.shape == (len(ASKED), len(CLASSES))
    assert np.allclose(found.probabilities.sum(1), 1)
    assert found.answers == [CLASSES[index] for index in found.probabilities.argmax(1)]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, and nothing in its cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "cached", lambda name: None)


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes connections and never answers, as a firewall may."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(hub, "cached", lambda name: None)
        monkeypatch.setattr(hub, "PATIENCE", 0.2)
        yield


def test_tfidf_learns_and_is_the_same_for_the_same_seed() -> None:
    found, again = tfidf.answer([task(dict.fromkeys(CLASSES, 6))] * 2, Settings({}))
    is_sound(found)
    assert found.answers == CLASSES
    assert found.facts["folds"] == 5
    assert found.facts["cross_validated_accuracy"] == 1.0
    assert np.array_equal(found.probabilities, again.probabilities)


def test_a_label_with_one_example_leaves_no_folds() -> None:
    (found,) = tfidf.answer([task({"Animals": 5, "Plants": 5, "Stones": 1})], Settings({}))
    is_sound(found)
    assert found.facts == {"C": 1.0, "folds": 0}


def test_a_class_without_an_example_has_probability_0() -> None:
    (found,) = tfidf.answer([task({"Plants": 5, "Animals": 5})], Settings({}))
    is_sound(found)
    assert found.probabilities[:, 2].tolist() == [0, 0, 0]
    assert found.answers[:2] == CLASSES[:2]


@pytest.mark.parametrize("method", ["tfidf", "embedding", "encoder", "setfit"])
@pytest.mark.usefixtures("offline")
def test_with_one_label_that_is_the_answer(method: str) -> None:
    pytest.importorskip(encoders.PACKAGE)
    module = importlib.import_module(f"fewshot_sft.methods.{without_server.MODULES[method]}")
    (found,) = module.answer([task({"Plants": 3})], Settings({}))
    is_sound(found)
    assert found.answers == ["Plants"] * 3


@pytest.mark.usefixtures("offline")
def test_embedding_by_the_package() -> None:
    pytest.importorskip(encoders.PACKAGE)
    tasks = [task(dict.fromkeys(CLASSES, count)) for count in (1, 4)]
    first, second = embedding.answer(tasks, Settings({}))
    for found in first, second:
        is_sound(found)
        assert found.answers == CLASSES
        assert found.facts["unknown_tokens"] == 0


def test_many_unknown_tokens_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Tokenizer:
        unk_token_id = 1

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [1, 2, 3, 4]}

    class Encoder:
        tokenizer = Tokenizer()

        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            return np.array([[len(text), 1.0] for text in texts])

    monkeypatch.setattr(encoders, "find", lambda settings: ("folder", "name"))
    monkeypatch.setattr(encoders, "load", lambda loader, folder: Encoder())
    (found,) = embedding.answer([task(dict.fromkeys(CLASSES, 1))], Settings({}))
    assert found.facts["unknown_tokens"] == 0.25
    assert capsys.readouterr().err == (
        "warning: embedding: 25% of the tokens of the texts are unknown to the encoder; set ENCODER to one that knows "
        "the language\n"
    )


def test_the_encoder_that_is_given(tmp_path: Path) -> None:
    assert encoders.find(Settings({"ENCODER": str(tmp_path)})) == (str(tmp_path), str(tmp_path))
    with pytest.raises(Unavailable, match=r"^ENCODER=\./none: no such folder; "):
        encoders.find(Settings({"ENCODER": "./none"}))
    with pytest.raises(Unavailable, match=r"cannot be loaded \(.+\); set ENCODER to another$"):
        list(embedding.answer([task({"Plants": 3})], Settings({"ENCODER": str(tmp_path)})))


@pytest.mark.usefixtures("silent_hub")
def test_of_a_silent_hub_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(encoders.PACKAGE)
    monkeypatch.setattr(hub, "fetch", pytest.fail)
    folder, name = encoders.find(Settings({}))
    assert name == "all-MiniLM-L6-v2"
    assert Path(folder, "model.safetensors").is_file()
    with pytest.raises(Unavailable, match=r"^ENCODER=a/b is not in the cache and cannot be fetched; "):
        encoders.find(Settings({"ENCODER": "a/b"}))


@pytest.mark.usefixtures("offline")
def test_no_encoder_is_known_before_the_night(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "PACKAGE", "no_such_package")
    (found,) = methods.check(Settings({"METHODS": "lora embedding encoder"}))
    assert (found.result, found.text) == (
        "warning",
        "methods: embedding, encoder will be left out: no encoder: the hub cannot be reached, and the package "
        "no_such_package is not installed; set ENCODER",
    )
    assert methods.check(Settings({"METHODS": "lora tfidf"})) == []


def test_what_would_be_downloaded_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "cached", lambda name: None)
    monkeypatch.setattr(hub, "answers", lambda name: True)
    monkeypatch.setattr(hub, "fetch", lambda name: pytest.fail("it was fetched"))
    assert encoders.find(Settings({}), fetch=False) == (encoders.MULTILINGUAL, encoders.MULTILINGUAL)


def test_llm_embedding_on_a_random_model(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from fewshot_sft.methods import llm_embedding

    words = ["?", "</s>", *" ".join(WORDS.values()).split()]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(tmp_path)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    (found,) = llm_embedding.answer([task(dict.fromkeys(CLASSES, 5))], Settings({"MODEL": str(tmp_path)}))
    is_sound(found)
    assert found.facts["layer"] in {f"{how} of layer {layer}" for how in ("mean", "last token") for layer in (1, 2)}
    with pytest.raises(Unavailable, match=r"^the base model .*/none cannot be loaded: "):
        llm_embedding.answer([], Settings({"MODEL": str(tmp_path / "none")}))


def test_llm_embedding_is_of_the_base_models_weights(given: Callable[..., Settings], folder: Path) -> None:
    settings = given(METHODS="llm-embedding tfidf", SIZES="3", MODEL=str(folder / "model"))
    settings.data_dir.mkdir()
    (settings.data_dir / "llm_train_3.json").write_text("[]")

    def identities() -> list[str]:
        asked = EvaluationSet(folder, [], CLASSES, "")
        found = [runs.baselines(settings, method)[0] for method in ("llm-embedding", "tfidf")]
        return [without_server.look(run, "base", asked).identity for run in found]

    with pytest.raises(Unavailable, match=r"^MODEL=.*/model: no such folder"):
        identities()
    (folder / "model").mkdir()
    (folder / "model/model.safetensors").write_text("weights")
    before = identities()
    (folder / "model/model.safetensors").write_text("others")
    assert [one == other for one, other in zip(before, identities(), strict=True)] == [False, True]


@pytest.mark.end_to_end
@pytest.mark.parametrize("method", ["encoder", "setfit"])
@pytest.mark.usefixtures("offline")
def test_the_encoder_tuned(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(encoders.PACKAGE)
    module = importlib.import_module(f"fewshot_sft.methods.{without_server.MODULES[method]}")
    monkeypatch.setattr(module, "EPOCHS" if method == "encoder" else "STEPS", 2)
    (found,) = module.answer([task({"Stones": 2, "Animals": 2})], Settings({}))
    is_sound(found)
    assert found.probabilities[:, 1].tolist() == [0, 0, 0]


def test_only_lines_of_ours_and_what_all_sizes_share_apart(given: Callable[..., Settings], folder: Path) -> None:
    pytest.importorskip(encoders.PACKAGE)
    settings = given(METHODS="embedding", SIZES="3 6", DEVICE="cpu")
    made = settings.data_dir
    made.mkdir()
    settings.objs_dir.mkdir()
    asked = task({"Plants": 1}).asked
    rows = [
        {"instruction": "Which?", "input": text, "output": label} for text, label in zip(asked, CLASSES, strict=True)
    ]
    (made / "llm_test.json").write_text(json.dumps(rows))
    for size in (3, 6):
        some = task(dict.fromkeys(CLASSES, size // 3))
        learned = [{"input": text, "output": label} for text, label in zip(some.texts, some.labels, strict=True)]
        (made / f"llm_train_{size}.json").write_text(json.dumps(learned))
    import hashlib

    sha256 = hashlib.sha256((made / "llm_test.json").read_bytes()).hexdigest()
    manifest = {"labels": CLASSES, "splits": {"llm_test": {"sha256": sha256}}}
    (made / "manifest.json").write_text(json.dumps(manifest))
    # The default seed's names.
    assert settings.seeds == (42,)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    program = subprocess.run(
        [sys.executable, "py/baseline.py", "embedding"], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert (program.returncode, program.stderr) == (0, "")
    line = "accuracy 1.0000, macro F1 1.0000; 0 of 3 answers outside the labels"
    assert program.stdout == f"embedding, size 3: {line}\nembedding, size 6: {line}\n"
    records = [json.loads((settings.objs_dir / f"x-embedding_{size}.json").read_text()) for size in (3, 6)]
    for record in records:
        timings = record["timings"]
        assert timings["shared_seconds"] > timings["seconds"] > 0
        assert timings["shared_cpu_seconds"] > 0
    assert records[0]["model"] == "all-MiniLM-L6-v2"
    scores = json.loads((settings.objs_dir / "x-embedding_3.scores.json").read_text())
    assert scores["labels"] == CLASSES
    assert [len(row) for row in scores["probabilities"]] == [3, 3, 3]


def test_the_setting_takes_the_methods_that_there_are():
    assert set(table()["METHODS"].type.removeprefix("methods:").split(",")) == set(runs.METHODS)
    assert set(without_server.MODULES) == {*runs.ON_CPU, *runs.ON_GPU}
