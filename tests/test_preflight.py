"""The preflight: each check when all is well and when not, in the words that the user reads."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import save_file

import preflight
from fewshot_sft.errors import UserError
from fewshot_sft.planning import facts as plan_facts
from fewshot_sft.planning import gpus
from fewshot_sft.preflight import adapters, amount, labels, lengths, machine, model, templates
from fewshot_sft.preflight.machine import Writes
from fewshot_sft.preflight.model import Size
from fewshot_sft.settings import Settings
from fewshot_sft.training import step_counts

AGAIN = "fetch it again (hf download OWNER/NAME --local-dir NEW_FOLDER) and set MODEL=NEW_FOLDER"
REMEDY = "; to keep them whole: CUTOFF_LEN=64"
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {"id": number, "content": f"<|{name}|>", "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number, name in enumerate(("system", "user", "assistant", "observation"), 1)
    ],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"},
}
TOO_LONG = (
    "1 of the 3 texts of {} are longer than the 40 tokens that the server takes, row 2 is the first; the longest has "
    "48 with its prompt and MAX_TOKENS=8; shorten them, or "
)
GLM4 = templates.Slots(["[gMASK]<sop>"], ["<s>\n{{content}}"], ["<u>\n{{content}}<a>"], ["\n{{content}}", 1])


@pytest.fixture
def base(folder: Path) -> Path:
    """A whole model: 2 x 3 weights that get an adapter, an embedding and a norm that get none."""
    made = folder / "base"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    tensors = {"model.layers.0.q_proj.weight": (2, 3), "model.embed_tokens.weight": (10, 2), "model.norm.weight": (2,)}
    save_file({name: np.ones(shape, np.float32) for name, shape in tensors.items()}, str(made / "model.safetensors"))
    return made


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, tuple[int, object]]]]:
    """A hub on 127.0.0.1: its address, and what it answers by path."""
    answers: dict[str, tuple[int, object]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> bytes:
            status, body = answers.get(self.path.partition("?")[0], (404, {}))
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"ETag": '"1"', "X-Repo-Commit": "abc", "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            return content

        def do_GET(self) -> None:
            self.wfile.write(self.do_HEAD())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_hub_of_ours(monkeypatch, folder):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)


@pytest.fixture
def checked(given) -> Callable[..., int]:
    """Run the preflight of a sweep with this model and these settings; ``after`` the data."""

    def run(base: object, *, after: bool = False, **values: str) -> int:
        plain = {"SIZES": "4 8", "METHODS": "lora", "DEVICE": "cpu", "BACKEND": "huggingface", "SERVER": "llamafactory"}
        plain |= {"DATASET": "synthetic-patents", "TRAIN_ARGS": "--packing True", "PREPROCESSING_WORKERS": "1"}
        given(MODEL=str(base), **plain | values)
        return preflight.main(["--after-data"] * after)

    return run


def record(folder: Path) -> dict:
    return json.loads((folder / "logs/x.preflight.json").read_text())


# The whole


def test_all_is_well_nothing_is_said_and_the_record_tells_what_was_found(folder, base, capsys, checked):
    assert checked(base) == 0
    assert capsys.readouterr() == ("", "")
    found = record(folder)
    assert (found["kind"], found["name"], found["problems"], found["warnings"]) == ("preflight", "x", 0, 0)
    checks = ["folders", "packages", "template", "steps", "model", "LORA_TARGET", "disk"]
    assert [each["check"] for each in found["checks"]] == checks
    (disk,) = (each for each in found["checks"] if each["check"] == "disk")
    assert disk["basis"] == "the shapes in its safetensors files"
    assert sorted(path.name for path in folder.iterdir()) == ["base", "logs", "settings.json"]


def test_every_problem_is_said_at_once_each_with_what_mends_it(folder, base, capsys, checked, monkeypatch):
    (base / "config.json").unlink()
    (folder / "saves").write_text("a file")
    monkeypatch.setattr(gpus, "examine", lambda: {"count": 0, "gpus": [], "bf16": False})
    assert checked(base, DEVICE="gpu", PROFILE="x", TEMPLATE="glm44") == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: device: profile x needs a CUDA GPU and none is visible to PyTorch; check nvidia-smi (the driver has "
        "to be 580 or newer, for CUDA 13; in a container: the NVIDIA Container Toolkit and the compose service's GPU "
        "reservation), or run the profile for a CPU: PROFILE=tiny bin/sweep.sh",
        f"error: folders: {folder / 'saves'} is a file, a folder was expected; choose another SAVES_DIR",
        f"error: {templates.check('glm44', templates.registered(templates.source())).text}",
        f"error: model: {base}: incomplete, it lacks config.json; {AGAIN}",
        "preflight: 4 problems; nothing was trained (SKIP_PREFLIGHT=1 goes on all the same)",
    ]


def test_own_texts_for_the_toy_model(base, capsys, checked, folder):
    toy = {"PROFILE": "tiny", "MODEL_SCRIPT": "bin/base_model.sh", "TRAIN_FILE": str(folder / "own.csv")}
    assert checked(base, **toy) == 0
    assert capsys.readouterr().err == (
        "warning: model: the profile tiny is a toy for its own texts and learns little of yours; "
        "PROFILE=smollm2-135m needs no GPU either, docs/models.md has others\n"
    )
    for other in ({"TRAIN_FILE": ""}, {"METHODS": "tfidf"}, {"PROFILE": "smollm2-135m"}, {"MODEL_SCRIPT": ""}):
        assert checked(base, **toy | other) == 0
    assert capsys.readouterr().err == ""


def test_after_the_data_the_lengths_are_added_to_the_record(folder, base, capsys, checked):
    checked(base)
    (folder / "data").mkdir()
    rows = [{"instruction": "a b", "input": "c " * count, "output": "d"} for count in (1, 400)]
    (folder / "data/llm_train_8.json").write_text(json.dumps(rows))
    assert checked(base, after=True, CUTOFF_LEN="100") == 0
    message = f"1 of 2 examples of {folder / 'data/llm_train_8.json'} will be cut at 100 tokens, "
    assert capsys.readouterr().err.startswith(f"warning: lengths: {message}the longest has 4")
    found = record(folder)
    assert found["warnings"] == 1
    assert [each["check"] for each in found["checks"]][-3:] == ["disk", "texts", "lengths"]
    assert found["checks"][-1]["truncated"] == 1


# Disk and folders


def test_disk_one_finding_a_file_system_with_all_that_goes_there(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    planned = [
        Writes("SAVES_DIR", folder / "not/there/yet", 6_000_000_000, "adapters"),
        Writes("OBJS_DIR", folder, 2_000_000, "results"),
        Writes("DATA_DIR", folder, 0, "data"),
    ]
    said = f"about 6.0 GB will be written to {folder} (adapters 6.0 GB, results 2 MB)"
    results = {}
    for free in (5_000_000_000, 6_100_000_000, 9_000_000_000):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: usage(0, 0, free))
        (found,) = machine.disk(planned, "a guess")
        results[free] = found
        assert found.facts == {"bytes_needed": 6_002_000_000, "bytes_free": free, "basis": "a guess"}
    assert [found.result for found in results.values()] == ["problem", "warning", "ok"]
    assert results[5_000_000_000].text == (
        f"disk: {said}, 5.0 GB are free; "
        "free some (du -sh saves/* | sort -h), or set SAVES_DIR or OBJS_DIR to a larger disk"
    )


def test_the_estimate_of_a_training_is_near_what_one_leaves():
    """The tiny profile at rank 16: an adapter of 248,864 bytes, a checkpoint of 876,000, its tokenizer of 96,576."""
    one = machine.training_writes(Size(lora=3840, tokenizer=96_576), rank=16, runs=1, at_once=2, vllm=False)
    assert one == pytest.approx(248_864 + 96_576 + 3 * 876_000, rel=0.1)
    several = machine.training_writes(Size(lora=3840, tokenizer=96_576), rank=16, runs=4, at_once=2, vllm=False)
    assert 3 * one < several < 4 * one


def test_what_is_trained_already_needs_no_disk(folder, given):
    args = given(SIZES="4 8")
    size = Size(lora=1000.0, tokenizer=10)
    assert preflight.writes(args, size, False)[0].what == "2 adapters with checkpoints"
    done = folder / "saves/base/lora/x-llm_train_4"
    done.mkdir(parents=True)
    (done / "training.json").write_text('{"status": "done"}')
    assert preflight.writes(args, size, False)[0].what == "1 adapter with checkpoints"
    args.force = 1
    assert preflight.writes(args, size, False)[0].what == "2 adapters with checkpoints"


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    monkeypatch.setattr(machine.os, "access", lambda path, _: path != folder)
    (found,) = machine.folders({"OBJS_DIR": folder / "new/objs"})
    assert found.text == f"folders: {folder} cannot be written; check its owner (ls -ld) or choose another OBJS_DIR"


# GPU, port, packages


@pytest.mark.parametrize(
    ("bits", "result", "text"),
    [
        (4, "ok", "4 bits take 16.0 GB of the GPU's 42.9 GB"),
        (
            *(16, "problem"),
            "16 bits take 64.0 GB of the GPU's 42.9 GB; take a smaller MODEL, a larger GPU, or QUANTIZATION=4",
        ),
    ],
)
def test_weights_of_a_model_whose_shape_is_not_known(bits, result, text):
    (found,) = machine.weights_fit(Size(parameters=32 * 10**9), bits, {"gpus": [{"memory_bytes": 40 * 2**30}]})
    assert (found.result, found.text) == (result, f"GPU memory: 32.0 billion parameters at {text}")
    assert machine.weights_fit(Size(), bits, {"gpus": [{"memory_bytes": 1}]}) == []


def test_packages(folder, monkeypatch):
    lock = folder / "requirements.lock"
    lock.write_text("torch==2.11.0 \\\n    --hash=sha256:0\npeft==0.18.1 ; python_version > '3'\nvllm==0.26.0\n")
    monkeypatch.setattr(machine, "versions", lambda _: {"torch": "2.11.0+cu130", "peft": "0.18.1", "vllm": "0.26.0"})
    assert machine.packages(lock, ["torch", "peft", "vllm"], "")[0].result == "ok"
    monkeypatch.setattr(machine, "versions", lambda _: {"torch": "2.10.0", "peft": "0.18.1"})
    (found,) = machine.packages(lock, ["torch", "peft", "vllm"], " gpu")
    assert found.message == "torch 2.10.0 is installed, 2.11.0 is pinned; vllm is missing, 0.26.0 is pinned"
    assert found.mend.startswith("install them again: rm -f '")
    assert found.mend.endswith(".few-shot-sft' && bin/setup.sh gpu")


# Template and lengths


def test_template():
    known = templates.registered(templates.source())
    assert templates.check("qwen", known).result == "ok"
    found = templates.check("qwenn", known)
    assert (found.result, found.message) == ("problem", "LLaMA-Factory has no template 'qwenn'")
    assert "qwen" in found.mend
    assert templates.check("zzzzzz", known).mend.endswith("near it are glm4, qwen, llama3")
    assert templates.check("glm4", None).result == "warning"


@pytest.mark.parametrize(
    ("cutoff", "result", "text"),
    [
        (512, "ok", "none of 2 examples of {} is longer than 512 tokens, the longest has 28 tokens"),
        (26, "warning", "1 of 2 examples of {} will be cut at 26 tokens, the longest has 28 tokens" + REMEDY),
        (5, "problem", "2 of 2 examples of {} will be cut at 5 tokens, the longest has 28 tokens" + REMEDY),
    ],
)  # fmt: skip
def test_lengths(folder, base, cutoff, result, text):
    rows = folder / "rows.json"
    rows.write_text(json.dumps([{"instruction": "a", "input": "b " * n, "output": "c d"} for n in (1, 10)]))
    found = lengths.check(rows, base / "tokenizer.json", GLM4, cutoff)
    assert (found.result, found.text) == (result, f"lengths: {text.format(rows)}")
    assert found.facts["common"] == 9  # of "[gMASK]<sop>" and "<s>\na"; the user part differs


@pytest.mark.parametrize(
    ("most", "own", "text"),
    [
        (90, 90, "none of the 3 texts of {} is longer than the server takes"),
        (40, inf, f"{TOO_LONG}have them served: SERVER_ARGS='--max-model-len 64'"),
        (40, 50, f"{TOO_LONG}have them served: SERVER_ARGS='--max-model-len 50'"),
        (40, 47, f"{TOO_LONG}take a MODEL that reads more than 47 tokens"),
    ],
)
def test_texts_that_the_server_would_refuse(folder, base, most, own, text):
    rows = folder / "llm_test.json"
    texts = ["a", "a " * 24, "b", "a " * 500]
    rows.write_text(json.dumps([{"instruction": "a", "input": each, "output": "a " * 99} for each in texts]))
    takes = lengths.Takes(most, own, "--max-model-len")
    found = lengths.check_asked(rows, 3, base / "tokenizer.json", GLM4, 8, takes)
    assert (found.result, found.text) == ("ok" if most == 90 else "problem", f"texts asked: {text.format(rows)}")
    assert lengths.check_asked(rows, 3, None, GLM4, 8, takes).message.startswith("not counted before the training: ")


def test_what_is_asked_is_compared_with_the_models_own_limit(folder, base, given):
    (base / "config.json").write_text('{"max_position_embeddings": 40}')
    settings = given(MODEL=str(base), SERVER="vllm", MAX_TOKENS="8")
    settings.data_dir.mkdir()
    rows = settings.data_dir / "llm_test.json"
    rows.write_text(json.dumps([{"instruction": "a", "input": "a " * count, "output": "a"} for count in (1, 24)]))
    found = preflight.asked_lengths(settings, base / "tokenizer.json", GLM4)
    text = f"{TOO_LONG}take a MODEL that reads more than 40 tokens".replace("3 texts", "2 texts").format(rows)
    assert (found.result, found.text) == ("problem", f"texts asked: {text}")


@pytest.mark.parametrize(
    ("words", "settings", "too_long"),
    [
        ({8: 24}, {"EVAL_LIMIT": "4"}, "row 8 is the first; the longest has 55 "),
        ({8: 24}, {"SPLIT": "valid"}, "row 8 is the first; the longest has 55 "),
        ({1: 24}, {"SPLIT": "valid"}, "row 1 is the first; the longest has 56 "),  # the first one with its instruction
        ({1: 24}, {"SPLIT": "valid", "ADAPTER_CHECK": "0"}, "row 1 is the first; the longest has 56 "),
        ({9: 24}, {"EVAL_LIMIT": "4"}, ""),
        ({8: 9}, {"EVAL_LIMIT": "4"}, ""),  # it fits without its instruction
        ({8: 24}, {"EVAL_LIMIT": "4", "ADAPTER_CHECK": "0"}, ""),
    ],
)
def test_the_probe_set_too_is_to_fit(folder, base, given, words, settings, too_long):
    settings = given(MODEL=str(base), SERVER="vllm", SERVER_ARGS="--max-model-len 40", MAX_TOKENS="8", **settings)
    settings.data_dir.mkdir()
    texts = [{"instruction": "a", "input": "a " * words.get(row, 1), "output": "a"} for row in range(1, 10)]
    for name, rows in (("test", texts), ("valid", texts[1:2])):
        (settings.data_dir / f"llm_{name}.json").write_text(json.dumps(rows))
    found = preflight.asked_lengths(settings, base / "tokenizer.json", GLM4)
    assert (found.result, too_long in found.message) == ("problem" if too_long else "ok", True)
    assert not too_long or found.message.endswith("with its prompt and 16 tokens of an answer to the probe set")


def test_a_length_of_the_server_that_is_no_number_is_not_compared(base, given):
    args = given(SERVER="vllm", SERVER_ARGS="--max-model-len=8k")
    found = preflight.asked_lengths(args, base / "tokenizer.json", GLM4)
    assert found.text == "texts asked: not counted before the training: SERVER_ARGS has --max-model-len 8k"


def test_lengths_that_cannot_be_counted_stop_nothing(folder, base):
    rows = folder / "rows.json"
    rows.write_text('[{"text": "x"}]')
    said = "not counted before the training: "
    assert lengths.check(rows, None, GLM4, 9).message == f"{said}the model has no tokenizer.json here"
    assert lengths.check(rows, base / "tokenizer.json", None, 9).message == f"{said}the template is not known"
    assert lengths.check(rows, base / "tokenizer.json", GLM4, 9).message == f"{said}{rows}: not Alpaca rows"
    assert lengths.check(folder / "no.json", base / "tokenizer.json", GLM4, 9).result == "ok"
    rows.write_text('[{"instruction": "a", "input": "b", "output": "c"}]')
    (base / "tokenizer.json").write_text("{}")
    assert lengths.check(rows, base / "tokenizer.json", GLM4, 9).message.startswith(f"{said}{base}/tokenizer.json: ")


# The model


def test_a_whole_folder_and_its_size(base):
    found, size = model.check_folder(base, "all")
    assert (found.result, found.message) == ("ok", f"{base} is complete")
    assert (size.parameters, size.lora) == (6 + 20 + 2, 2 + 3)
    assert model.check_folder(base, "v_proj")[1].lora == 0
    assert model.check_folder(base, "v_proj,q_proj")[1].lora == 5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda base: (base / "config.json").unlink(), "{}: incomplete, it lacks config.json"),
        (lambda base: (base / "tokenizer.json").unlink(), "{}: incomplete, it lacks a tokenizer (tokenizer.json)"),
        (lambda base: (base / "model.safetensors").unlink(), "{}: incomplete, it lacks weights (*.safetensors)"),
        (
            lambda base: (base / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-1.safetensors", "b": "model.safetensors", "c": "model-1.safetensors"}}'
            ),
            "{}: incomplete, it lacks model-1.safetensors",
        ),
        (
            lambda base: (base / "model.safetensors.index.json").write_text("[]"),
            "{}/model.safetensors.index.json: damaged, it lists no weights",
        ),
        (
            lambda base: (base / "model.safetensors").write_bytes(b"weights"),
            "{}/model.safetensors: damaged, not a safetensors file",
        ),
    ],
)
def test_a_folder_that_is_not_whole(base, damage, message):
    damage(base)
    found, _ = model.check_folder(base, "all")
    assert (found.result, found.message) == ("problem", message.format(base))
    assert found.mend == AGAIN


def test_weights_that_a_download_left_short(base):
    path = base / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    found, _ = model.check_folder(base, "all")
    assert found.message == f"{path}: cut short, it has {len(whole) - 1:,} of {len(whole):,} bytes"


def test_weights_of_the_old_format_are_judged_by_their_size(base):
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(bytes(16_000))
    found, size = model.check_folder(base, "all")
    assert (found.result, size.parameters, size.lora) == ("ok", 8000, pytest.approx(8000 * 0.003 / 8))


def test_a_model_that_is_neither_folder_nor_name(folder, capsys, checked):
    assert checked("./nowhere") == 2
    said = "error: model: ./nowhere: no such folder, nor a name on a hub, which is OWNER/NAME; set MODEL to either\n"
    assert capsys.readouterr().err.startswith(said)


def test_the_tiny_base_model_that_is_to_be_made(folder, capsys, checked):
    assert checked(folder / "saves/tiny/base", MODEL_SCRIPT="bin/base_model.sh") == 0
    assert {"check": "model", "result": "ok", "message": f"{folder}/saves/tiny/base is to be made"} in record(folder)[
        "checks"
    ]


def test_a_tiny_base_model_that_is_not_whole_is_made_again(folder, base, capsys, checked):
    (folder / "saves/tiny").mkdir(parents=True)
    (base / "config.json").unlink()
    moved = base.rename(folder / "saves/tiny/base")
    assert checked(moved, MODEL_SCRIPT="bin/base_model.sh") == 2
    said = f"{moved}: incomplete, it lacks config.json; make it again: bin/base_model.sh --force"
    assert capsys.readouterr().err.startswith(f"error: model: {said}\n")


def test_a_name_on_the_hub_that_can_be_fetched_and_how_large_it_is(folder, hub, monkeypatch, checked):
    address, answers = hub
    answers["/api/models/own/er"] = (
        200,
        {
            "id": "own/er",
            "siblings": [{"rfilename": "model.safetensors", "size": 4_000_000}, {"rfilename": "x.bin", "size": 7}],
            "safetensors": {"parameters": {"BF16": 2_000_000}, "total": 2_000_000},
        },
    )
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert checked("own/er") == 0
    found = {each["check"]: each for each in record(folder)["checks"]}
    assert found["model"]["message"] == f"own/er can be fetched from {address}"
    assert "the download of the model 4 MB" in found["disk"]["message"]
    assert found["disk"]["basis"] == (
        f"what {address} says of its files, the adapter taken as 0.3% of the parameters at rank 8"
    )


def test_what_describes_a_model_of_the_hub_is_fetched_for_the_plan(folder, hub, monkeypatch):
    address, answers = hub
    names = ("config.json", "tokenizer.json", "model.safetensors")
    siblings = [{"rfilename": name} for name in names]
    answers["/api/models/own/er/revision/abc"] = (200, {"id": "own/er", "siblings": siblings})
    answers["/own/er/resolve/main/config.json"] = (200, {"model_type": "llama"})
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))
    assert plan_facts.model_folder(Settings({"MODEL": "own/er"})) is None
    found, _ = model.check_hugging_face("own/er", "all", address, {})
    assert (found.result, found.message) == ("ok", f"own/er can be fetched from {address}")
    there = plan_facts.model_folder(Settings({"MODEL": "own/er"}))
    assert json.loads((there / "config.json").read_text()) == {"model_type": "llama"}
    assert [path.name for path in there.iterdir()] == ["config.json"]  # the tokenizer was not to be had
    assert model.check_hugging_face("own/er", "all", address, {})[0].result == "ok"


GATED = {"id": "own/er", "siblings": [], "gated": "manual"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            (200, GATED),
            "own/er is given only to those who accept its terms; "
            "accept them on {hub}/own/er, then set HF_TOKEN to a token of yours",
        ),
        (
            None,
            "{hub} has no model own/er, or not for you (HTTP 404); "
            "check MODEL; for one that is private or gated set HF_TOKEN",
        ),
        (
            (503, {}),
            "own/er is not in the cache and {hub} does not answer (HTTP 503); "
            "run the same command again later, or set HF_ENDPOINT to a mirror",
        ),
        (
            (429, {}),
            "own/er is not in the cache and {hub} does not answer (HTTP 429); wait a few minutes and run the "
            "same command again, or set HF_TOKEN to a token of yours, which may ask more",
        ),
    ],
)
def test_a_gated_model_one_that_the_hub_does_not_know_and_a_hub_that_fails(hub, answer, expected):
    address, answers = hub
    if answer:
        answers["/api/models/own/er"] = answer
    found, _ = model.check_hugging_face("own/er", "all", address, {})
    assert found.text == f"model: {expected.format(hub=address)}"


def test_a_hub_that_cannot_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    found, _ = model.check_hugging_face("own/er", "all", address, {})
    assert found.message.startswith(f"own/er is not in the cache and {address} does not answer (")
    assert "Connection refused" in found.message
    assert found.mend == (
        "check the network and HTTPS_PROXY, set HF_ENDPOINT to a mirror or USE_MODELSCOPE_HUB=1, or MODEL to a folder"
    )


def test_offline_a_cached_model_is_enough_and_another_is_not(folder, base):
    offline = {"HF_HUB_OFFLINE": "1"}
    found, _ = model.check_hugging_face("own/er", "all", "http://127.0.0.1:9", offline)
    assert found.text == (
        "model: own/er is not in the cache and HF_HUB_OFFLINE=1 forbids to fetch it; "
        "fetch it where there is a network (hf download OWNER/NAME --local-dir FOLDER) and set MODEL=FOLDER"
    )
    cache = folder / "cache/models--own--er"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs/main").write_text("abc")
    (cache / "snapshots").mkdir()
    base.rename(cache / "snapshots/abc")
    found, size = model.check_hugging_face("own/er", "all", "http://127.0.0.1:9", offline)
    assert (found.result, size.lora, size.download) == ("ok", 5, 0)
    (cache / "snapshots/abc/model.safetensors").unlink()
    found, _ = model.check_hugging_face("own/er", "all", "http://127.0.0.1:9", offline)
    assert found.message == "own/er is not whole in the cache and HF_HUB_OFFLINE=1 forbids to fetch it"


def test_modelscope(folder, base, hub, monkeypatch):
    from modelscope.hub import file_download

    fetched = []
    monkeypatch.setattr(file_download, "model_file_download", lambda *what: fetched.append(what))
    address, answers = hub
    cache = folder / "modelscope"
    found, _ = model.check_modelscope("own/er-1.5", address, cache, "all")
    assert found.message == f"{address} has no model own/er-1.5, or not for you (HTTP 404)"
    answers["/api/v1/models/own/er-1.5"] = (200, {})
    found, _ = model.check_modelscope("own/er-1.5", address, cache, "all")
    assert found.message == f"own/er-1.5 can be fetched from {address}"
    assert fetched == [("own/er-1.5", "config.json"), ("own/er-1.5", "tokenizer.json")]
    (cache / "hub/models/own").mkdir(parents=True)
    base.rename(cache / "hub/models/own/er-1___5")
    found, size = model.check_modelscope("own/er-1.5", address, cache, "all")
    assert (found.message, size.lora) == (f"own/er-1.5 is in the cache, {cache}/hub/models/own/er-1___5", 5)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "2 KB"), (999_600, "1 MB"), (1.25e12, "1250.0 GB")]
)
def test_amount(size, text):
    assert amount(size) == text


@pytest.mark.parametrize(
    ("workers", "vllm", "more"),
    [(1, False, None), (2, False, "; or PREPROCESSING_WORKERS=1 goes without"), (1, True, "")],
)
def test_shared_memory_is_needed_where_processes_work_together(monkeypatch, workers, vllm, more):
    assert machine.shared_memory(workers, vllm) == []

    def lock(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", lock)
    found = [finding.text for finding in machine.shared_memory(workers, vllm)]
    what = "shared memory: /dev/shm cannot be written (Permission denied), and processes that work together need it"
    mend = "mount -t tmpfs tmpfs /dev/shm, or in a container --shm-size 8g or --tmpfs /dev/shm"
    assert found == ([] if more is None else [f"{what}; {mend}{more}"])


# What is known of labels, adapters and the data set


def tokenizer(folder: Path, **changes: object) -> Path:
    """A tokenizer of bytes as GPT-2's: decode(encode(text)) is the text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|user|>", "</s>"])
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(made.to_str()) | changes))
    return path


NFC, LOWER, NFKC = ({"normalizer": {"type": name}} for name in ("NFC", "Lowercase", "NFKC"))
SLOTS = templates.Slots([], [], ["<|user|>{{content}}"], ["\n", "{{content}}<|stop|>", 1], stop_words=["<|stop|>"])


@pytest.mark.parametrize(
    ("label", "changes", "cleans", "back"),
    [
        ("Arts , jeux !", {}, True, None),
        ("Arts  ' jeux", {}, True, "Arts 'jeux"),
        ("Arts  ' jeux", {}, False, None),
        ("The\u0302\u0309 thao", NFC, True, None),
        ("Ａ类", {}, False, None),
        ("Ａ类", NFKC, False, "A类"),
        ("Physics", LOWER, False, "physics"),
        ("</s>", {}, False, ""),
        ("a <|user|> b", {}, False, "a  b"),
        ("a<|stop|>", {}, False, "a"),
        ("<image>", {}, False, None),
    ],
)
def test_labels_that_do_not_come_back(folder, label, changes, cleans, back):
    (found,) = labels.check(["other", label], tokenizer(folder, **changes), SLOTS, 64, cleans)
    if back is None:
        assert (found.result, found.text[:25]) == ("ok", "labels: all 2 come back, ")
        return
    assert (found.result, found.text) == (
        "problem",
        f'labels: 1 of the 2 labels would come back from the model as something else: "{label}" as "{back}"; '
        'give it another name with LABELS_FILE=names.json: {"<label in the data>": "<name>", ...}',
    )


def test_labels_that_max_tokens_would_cut_and_no_more_than_three_are_named(folder):
    names = ["a", *("b" * count for count in (40, 41, 42, 8))]
    (found,) = labels.check(names, tokenizer(folder), SLOTS, 8, False)
    b = "b" * 39
    assert found.text == (
        f'labels: 4 of the 5 labels are longer than MAX_TOKENS=8 tokens: "{b}b" has 41, "{b}…" has 42, "{b}…" has 43, '
        "...; MAX_TOKENS=48"
    )
    (found,) = labels.check(names, tokenizer(folder), SLOTS, 43, False)
    assert found.text == "labels: all 5 come back, the longest has 43 tokens"


def test_without_a_tokenizer_labels_are_not_checked_and_it_is_said(folder):
    (folder / "tokenizer.json").write_text("{}")
    for file, slots, result, why in (
        (None, SLOTS, "warning", "it has no tokenizer.json here"),
        (None, None, "ok", "the template is not known"),
        (folder / "tokenizer.json", SLOTS, "warning", f"{folder / 'tokenizer.json'}: "),
    ):
        (found,) = labels.check(["a"], file, slots, 8, False)
        assert found.result == result
        assert found.text.startswith(f"labels: not checked whether they come back from the model: {why}")


def test_texts_that_are_more_than_text(folder):
    rows = folder / "llm_test.json"
    rows.write_text(json.dumps([{"instruction": "i", "input": text, "output": "a"} for text in ("x", "<image></s>")]))
    pictures = templates.registered(templates.source())["qwen3_vl_nothink"]
    found = [each.text for each in labels.check_texts([rows], tokenizer(folder), pictures, "qwen3_vl_nothink")]
    assert found == [
        f"texts: 1 of the 2 texts of {rows} hold a piece like <image> (row 2), which TEMPLATE=qwen3_vl_nothink takes "
        "for pictures that are not there; write it otherwise in the data, or set TEMPLATE to one for text only",
        f"texts: 1 of the 2 texts of {rows} hold a piece like </s> (row 2), which the model reads as a special token, "
        "not as text; write it otherwise in the data if it is not meant so",
    ]
    (found,) = labels.check_texts([rows], None, SLOTS, "x")
    assert found.result == "ok"


@pytest.mark.parametrize(
    ("name", "rows", "resized", "result", "text"),
    [
        ("alpaca", 100, False, None, ""),
        ("qwen", 258, False, "problem", "<|im_end|>, <|im_start|> are"),
        ("qwen", 999, False, "warning", "<|im_end|>, <|im_start|> are"),
        ("qwen", 258, True, "warning", "<|im_end|>, <|im_start|> are"),
        ("llama3", None, False, "problem", "<|eot_id|>, <|start_header_id|>, <|end_header_id|> are"),
        ("chatglm3", 999, False, "problem", "[gMASK], sop, <|system|> are"),
        ("phi", 999, False, "warning", "<|end|>, <|system|>, <|assistant|> are"),
    ],
)
def test_a_template_of_another_model(folder, name, rows, resized, result, text):
    slots = templates.registered(templates.source())[name]
    found = templates.check_tokens(name, slots, tokenizer(folder), rows, resized)
    assert (found and found.result) == result
    if found:
        said = f"{name} is of another model: {text} not in {folder / 'tokenizer.json'}"
        assert found.text == f"template: {said}; set TEMPLATE to the model's own"


OR_HF = "or set SERVER=llamafactory BACKEND=huggingface"


@pytest.mark.parametrize(
    ("train", "server", "rank", "where", "text"),
    [
        ("--use_rslora True --use_dora false", "", 8, "vllm vllm", ""),
        ("--use_dora", "", 8, "llamafactory huggingface", ""),
        (
            "--use_dora",
            "",
            8,
            "vllm vllm",
            f"TRAIN_ARGS has --use_dora: vLLM serves no adapter with DoRA; leave it out, {OR_HF}",
        ),
        (
            "--additional_target=embed_tokens",
            "",
            8,
            "llamafactory vllm",
            "TRAIN_ARGS has --additional_target: vLLM serves no adapter with modules that are trained whole; "
            f"leave it out, {OR_HF}",
        ),
        (
            "--finetuning-type full",
            "",
            8,
            "llamafactory huggingface",
            "TRAIN_ARGS has --finetuning_type full, of which no LoRA adapter comes; leave it out",
        ),
        ("", "", 640, "llamafactory huggingface", ""),
        ("", "", 640, "vllm vllm", f"LORA_RANK=640: vLLM serves adapters up to rank 512; take a lower one, {OR_HF}"),
        ("", "", 400, "vllm vllm", ""),
        (
            "--lora_rank 64",
            "",
            8,
            "vllm vllm",
            "TRAIN_ARGS has --lora_rank 64, and the server is started for adapters up to rank 8; "
            "set LORA_RANK=64 instead",
        ),
        (
            "",
            "",
            33,
            "llamafactory vllm",
            "LORA_RANK=33, and the server is started for adapters up to rank 32; "
            "SERVER_ARGS='--vllm_max_lora_rank 64', or SERVER=vllm",
        ),
        ("", "--vllm_max_lora_rank 64", 33, "llamafactory vllm", ""),
        (
            "",
            "--max-lora-rank 16",
            33,
            "vllm vllm",
            "LORA_RANK=33, and the server is started for adapters up to rank 16; raise --max-lora-rank in SERVER_ARGS",
        ),
    ],
)
def test_an_adapter_that_the_server_would_refuse(train, server, rank, where, text):
    found = [each.text for each in adapters.check(train, server, rank, *where.split())]
    assert found == ([f"adapter: {text}"] if text else [])


QUIET = "--enable_thinking False"


@pytest.mark.parametrize(
    ("name", "train", "server", "with_", "text"),
    [
        ("glm4", "", "", "vllm", ""),
        ("chatglm3", "", "", "llamafactory", ""),
        ("chatglm3", "", "", "vllm", "chatglm3 has no form that vLLM can use; serve it with SERVER=llamafactory"),
        ("qwen3_nothink", "", "", "vllm", ""),
        (
            "qwen3",
            "",
            "",
            "vllm",
            "qwen3 is for reasoning: an empty thought is trained before each label, so no answer is a label; "
            "set TEMPLATE=qwen3_nothink",
        ),
        (
            "deepseekr1",
            QUIET,
            "",
            "llamafactory",
            "deepseekr1 is for reasoning: the prompt that is trained ends with an empty thought, "
            f"the server's does not; set TRAIN_ARGS='{QUIET}' SERVER_ARGS='{QUIET}' SERVER=llamafactory",
        ),
        ("deepseekr1", QUIET, QUIET, "llamafactory", ""),
    ],
)
def test_a_template_that_is_not_served_as_it_is_trained(name, train, server, with_, text):
    slots = templates.registered(templates.source())[name]
    found = [each.text for each in adapters.check_template(name, slots, train, server, with_)]
    assert found == ([f"template: {text}"] if text else [])


def test_a_warm_up_that_is_as_long_as_the_training(folder, base, capsys, checked):
    assert checked(base, WARMUP_STEPS="3") == 0
    assert capsys.readouterr().err == (
        "warning: steps: the warm-up of 3 steps does not end before the training does (N = 4, 8; 3 steps for N = 4), "
        "so LEARNING_RATE is never reached; WARMUP_STEPS=0.1 is a share of all steps\n"
    )
    for more in ({"WARMUP_STEPS": "2"}, {"WARMUP_STEPS": "0.9"}, {"WARMUP_STEPS": "3", "EPOCHS": "4.0"}):
        assert checked(base, **more) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("target", "modules", "result", "text"),
    [
        ("all", ["l.0.q_proj"], "ok", "all"),
        ("q_proj", [], "ok", "q_proj is not compared with the model's modules"),
        ("attn.q_proj, v_proj", ["l.0.attn.q_proj", "l.0.v_proj"], "ok", "the model has attn.q_proj, v_proj"),
        (
            "q_proj v_proj",
            ["l.q_proj", "l.v_proj", "embed"],
            "problem",
            "no module 'q_proj v_proj'; it has q_proj, v_proj",
        ),
        ("q_proj,v_prj", ["l.q_proj", "l.v_proj"], "problem", "no module 'v_prj'; it has q_proj, v_proj"),
        ("proj", ["l.q_proj"], "problem", "no module 'proj'; it has q_proj"),
        ("gate_up_proj", ["l.experts.0.up_proj"], "warning", "no module 'gate_up_proj'; it has up_proj"),
    ],
)
def test_modules_that_the_model_lacks(target, modules, result, text):
    found = model.check_target(target, modules)
    if result != "ok":
        text = f"the model has {text}; take of these, with commas between them, or LORA_TARGET=all"
    assert (found.result, found.text) == (result, f"LORA_TARGET: {text}")


def test_the_model_s_own_modules_are_compared(folder, base, capsys, checked):
    for more in ({"LORA_TARGET": "q_prj"}, {"TRAIN_ARGS": "--lora_target=q_prj"}):
        assert checked(base, **more) == 2
        assert capsys.readouterr().err.startswith(
            "error: LORA_TARGET: the model has no module 'q_prj'; it has q_proj; "
        )
    assert checked(base, TEMPLATE="llama3") == 2
    assert "error: template: llama3 is of another model: <|eot_id|>, " in capsys.readouterr().err


def test_a_template_with_pictures_is_not_for_a_model_without(base, capsys, checked):
    mend = "set TEMPLATE to the model's own; of Gemma 3 270M and 1B it is gemma2"
    said = f"error: template: gemma3 takes pictures, too, and {base} has no preprocessor_config.json for them; {mend}\n"
    assert checked(base, TEMPLATE="gemma3") == 2
    assert said in capsys.readouterr().err
    (base / "preprocessor_config.json").write_text("{}")
    checked(base, TEMPLATE="gemma3")
    assert said not in capsys.readouterr().err


def test_an_adapter_or_a_gguf_is_no_model(folder, base, capsys, checked):
    (base / "model.safetensors").rename(folder / "model.gguf")
    (base / "adapter_config.json").write_text('{"base_model_name_or_path": "zai-org/x"}')
    (base / "adapter_model.safetensors").write_text("")
    assert (
        model.check_folder(base, "all")[0].text
        == f"model: {base} is an adapter; set MODEL to its base model, zai-org/x"
    )
    (base / "adapter_config.json").write_text("{}")
    assert model.check_folder(base, "all")[0].mend == "set MODEL to the model that it was trained from"
    gguf = "a GGUF cannot be trained; set MODEL to the model that it was made from, with *.safetensors files"
    file = folder / "model.gguf"
    assert model.check_folder(folder, "all")[0].text == f"model: {folder}: {gguf}"
    for path, said in (
        (file, f"{file}: {gguf}"),
        (base / "config.json", f"{base / 'config.json'} is a file; set MODEL to its folder, {base}"),
    ):
        assert checked(path) == 2
        assert f"error: model: {said}\n" in capsys.readouterr().err


def test_an_adapter_on_the_hub(hub):
    endpoint, answers = hub
    answers["/api/models/o/lora"] = (
        200,
        {
            "id": "o/lora",
            "siblings": [{"rfilename": "adapter_config.json"}, {"rfilename": "adapter_model.safetensors"}],
            "cardData": {"base_model": "zai-org/x"},
        },
    )
    found, _ = model.check_hugging_face("o/lora", "all", endpoint, {})
    assert found.text == "model: o/lora is an adapter; set MODEL to its base model, zai-org/x"


@pytest.mark.parametrize(
    ("environment", "gpu", "named"),
    [
        ({}, False, {"HF_HOME": "~/.cache/huggingface/datasets"}),
        ({"XDG_CACHE_HOME": "/x"}, False, {"HF_HOME": "/x/huggingface/datasets"}),
        ({"HF_HOME": "/h", "HF_DATASETS_CACHE": "/d"}, False, {"HF_DATASETS_CACHE": "/d"}),
        (
            {"HF_HOME": "/h", "VLLM_CACHE_ROOT": "/v", "TRITON_HOME": "/t", "TORCHINDUCTOR_CACHE_DIR": "/i"},
            True,
            {
                "HF_HOME": "/h/datasets",
                "TRITON_CACHE_DIR": "/t/.triton/cache",
                "TORCHINDUCTOR_CACHE_DIR": "/i",
                "VLLM_CACHE_ROOT": "/v",
            },
        ),
    ],
)
def test_the_caches_and_what_names_them(environment, gpu, named):
    assert machine.caches(environment, gpu, vllm=gpu) == {name: Path(path).expanduser() for name, path in named.items()}


def test_a_look_at_a_folder_leaves_no_trace(folder):
    before = folder.stat().st_mtime_ns
    assert [each.result for each in machine.folders({"OBJS_DIR": folder})] == ["ok"]
    assert (folder.stat().st_mtime_ns, list(folder.iterdir())) == (before, [])


def test_a_cache_that_cannot_be_made(folder, base, capsys, monkeypatch, checked):
    monkeypatch.setenv("HF_HOME", "/proc/nohome")
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    assert checked(base) == 2
    said = "error: folders: /proc cannot be written; check its owner (ls -ld) or choose another HF_HOME\n"
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("setting", "flags", "wrong"),
    [
        ("TRAIN_ARGS", {"cutoff_len": "abc"}, "--cutoff_len abc; give it a number"),
        ("TRAIN_ARGS", {"lora_rank": "8.5"}, "--lora_rank 8.5; give it a number"),
        ("TRAIN_ARGS", {"cutoff_len": "0"}, "--cutoff_len 0; give it a number above 0"),
        ("SERVER_ARGS", {"gpu_memory_utilization": "high"}, "--gpu_memory_utilization high; give it a number"),
        ("TRAIN_ARGS", {"max_steps": "-1", "num_train_epochs": "0.5"}, None),
    ],
)
def test_a_flag_of_trainer_or_server_that_needs_a_number(setting, flags, wrong):
    if wrong is None:
        step_counts.check_numbers(setting, flags)
        return
    with pytest.raises(UserError) as caught:
        step_counts.check_numbers(setting, flags)
    assert str(caught.value) == f"{setting} has {wrong}"
