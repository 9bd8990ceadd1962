"""The hardware plan: what is chosen for a card and a model, the user's own values, what does not fit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import plan as program
import preflight
from fewshot_sft import planning, words
from fewshot_sft.errors import UserError
from fewshot_sft.planning import facts, gpus
from fewshot_sft.planning.facts import Facts, Gpu, Wishes
from fewshot_sft.planning.memory import shape_of
from fewshot_sft.settings import Settings

GIB = 2**30
KEYS = "model_type hidden_size num_hidden_layers intermediate_size num_attention_heads num_key_value_heads vocab_size"
CONFIGS = {
    name: dict(zip(KEYS.split(), values, strict=True)) | {"tie_word_embeddings": name in ("0.1B", "0.5B")}
    for name, values in {
        "0.1B": ("llama", 576, 30, 1536, 9, 3, 49152),
        "0.5B": ("qwen2", 896, 24, 4864, 14, 2, 151936),
        "7B": ("qwen2", 3584, 28, 18944, 28, 4, 152064),
        "9.4B": ("glm", 4096, 40, 13696, 32, 2, 151552),
        "14B": ("qwen2", 5120, 48, 13824, 40, 8, 152064),
        "70B": ("llama", 8192, 80, 28672, 64, 8, 128256),
    }.items()
}
CARDS = {
    12: Gpu("RTX 3060", 12 * GIB),
    16: Gpu("RTX 4080", 16 * GIB),
    24: Gpu("RTX 4090", 24 * GIB),
    40: Gpu("A100", 40 * GIB),
    48: Gpu("RTX A6000", 48 * GIB),
    80: Gpu("H100", 80 * GIB),
    141: Gpu("H200", 150_121_545_728),
}
GRAPHS = {"fast": True, "graphs": True, "common": 108}


def known(card=141, model="9.4B", length=1024, gpus=1, **other) -> Facts:
    found = {"gpus": (CARDS[card],) * gpus, "shape": shape_of(CONFIGS[model]), "length": length, "server": "vllm"}
    found |= {"sizes": (100, 500, 1000, 2000), "batch_size": 2, "accumulation": 4, "bitsandbytes": True, "cpus": 16}
    return Facts(**found | other)


def plan(card=141, model="9.4B", length=1024, wishes=None, **other) -> planning.Plan:
    return planning.make(known(card, model, length, **other), wishes or Wishes())


def short(made: planning.Plan) -> str:
    """Micro-batch, checkpointing, quantization, jobs, overlap."""
    return " ".join(list(made.settings.values())[:5])


@pytest.mark.parametrize(
    ("card", "model", "length", "chosen"),
    [
        # By the cutoff alone: the data is not there yet.
        (12, "9.4B", 1024, "1 1 4 1 0"),
        (16, "9.4B", 1024, "2 1 4 1 0"),
        (24, "9.4B", 1024, "1 1 none 1 0"),
        (24, "7B", 1024, "2 1 none 1 0"),
        (40, "9.4B", 1024, "1 0 none 1 0"),
        (80, "9.4B", 1024, "2 0 none 1 1"),
        (141, "9.4B", 1024, "2 0 none 2 1"),
        (12, "7B", 1024, "2 1 4 1 0"),
        (12, "0.5B", 1024, "2 0 none 1 0"),
        (24, "14B", 1024, "4 1 4 1 0"),
        (48, "14B", 1024, "1 0 none 1 0"),
        (48, "70B", 1024, "1 1 4 1 0"),
        (80, "70B", 1024, "8 1 4 1 0"),
        (141, "70B", 1024, "2 0 4 1 0"),
        # With examples of 296 tokens.
        (12, "9.4B", 296, "1 0 4 1 0"),
        (24, "7B", 296, "2 0 none 1 0"),
        (24, "9.4B", 296, "1 0 none 1 0"),
        (40, "9.4B", 296, "4 0 none 1 0"),
        (80, "9.4B", 296, "4 0 none 2 0"),
        (141, "9.4B", 296, "8 0 none 2 1"),
        (141, "0.5B", 296, "8 0 none 3 1"),
        (24, "0.5B", 296, "8 1 none 2 1"),
    ],
)
def test_what_is_chosen(card, model, length, chosen):
    made = plan(card, model, length)
    assert short(made) == chosen
    assert [each.what for each in made.problems if not each.what.startswith("the server")] == []


@pytest.mark.parametrize(
    ("chosen", "facts_and_wishes"),
    [
        # The fast trainer needs less; a third trainer fits where its steps are CUDA graphs.
        ("8 0 none 1 0", {"card": 40, "fast": True}),
        ("8 0 none 3 1", GRAPHS),
        ("8 0 none 2 1", GRAPHS | {"cpus": 4}),
        ("8 0 none 2 1", GRAPHS | {"graphs": False}),
        ("4 0 none 3 1", GRAPHS | {"common": 0}),
        ("8 0 none 3 1", GRAPHS | {"model": "7B"}),
        # Few cores, few sizes, several GPUs.
        ("8 0 none 1 1", {"cpus": 2}),
        ("8 0 none 1 1", {"sizes": (100,)}),
        ("2 0 none 4 0", {"card": 24, "model": "7B", "gpus": 4, "server": "llamafactory"}),
        ("2 0 none 4 0", {"card": 24, "model": "7B", "gpus": 8, "server": "llamafactory"}),
        ("8 0 none 4 0", {"gpus": 2, "server": "llamafactory"}),
        ("8 0 none 4 1", {"gpus": 3}),
        ("1 0 none 2 0", {"gpus_mixed": (141, 24), "server": "llamafactory"}),
        ("2 0 none 3 0", {"card": 24, "model": "7B", "gpus": 3}),
        # What is set is kept, and the rest planned around it.
        ("2 0 none 3 1", {"wishes": Wishes(micro_batch=2)}),
        ("8 1 none 2 1", {"wishes": Wishes(checkpointing=True)}),
        ("8 0 4 2 1", {"wishes": Wishes(quantization="4")}),
        ("8 0 none 2 0", {"wishes": Wishes(overlap=False)}),
        ("8 1 none 4 0", {"wishes": Wishes(train_jobs=4)}),
        ("4 0 none 1 1", {"card": 80, "wishes": Wishes(overlap=True)}),
        ("8 0 none 1 1", {"wishes": Wishes(gpu_memory=0.5)}),
    ],
)
def test_what_is_chosen_otherwise(chosen, facts_and_wishes):
    """Where nothing else is said: GLM-4-9B, examples of 296 tokens, one H200."""
    given = {"length": 296} | facts_and_wishes
    if mixed := given.pop("gpus_mixed", None):
        wishes, cards = given.pop("wishes", Wishes()), tuple(CARDS[card] for card in mixed)
        made = planning.make(replace(known(**given), gpus=cards), wishes)
    else:
        made = plan(**given)
    assert short(made) == chosen
    assert made.problems == []


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("model", CONFIGS)
@pytest.mark.parametrize("length", [256, 1024])
@pytest.mark.parametrize("gpus", [1, 4])
def test_what_is_planned_fits_or_says_that_it_does_not(card, model, length, gpus):
    made = plan(card, model, length, gpus=gpus)
    found, settings = made.memory, made.settings
    beside = found["server_bytes"] if settings["OVERLAP"] == "1" else 0
    needed = found["trainers_per_gpu"] * found["trainer_bytes"] + beside
    assert (needed <= found["usable_bytes"]) == (not any("frugal" in each.what for each in made.problems))
    assert 8 % int(settings["MICRO_BATCH"]) == 0
    assert int(settings["TRAIN_JOBS"]) <= min(4, 3 * gpus)
    assert (made.details["KV_CACHE_BYTES"] != "0") == bool(beside)
    quantized = settings["QUANTIZATION"] == "4", "SERVER_QUANTIZATION" in made.details
    assert len(made.warnings) == sum(quantized)
    if settings["OVERLAP"] == "0":
        left = CARDS[card].memory_bytes - CARDS[card].noticed
        assert found["server_bytes"] <= left or any(each.what.startswith("the server") for each in made.problems)


@pytest.mark.parametrize(
    ("card", "gpus", "wishes", "chosen"),
    [
        (24, 2, Wishes(train_jobs=1, overlap=True), "1 1 none 1 1"),
        (40, 2, Wishes(train_jobs=1, overlap=True), "1 0 none 1 1"),
        (40, 2, Wishes(train_jobs=1), "1 0 none 1 1"),
        (40, 5, Wishes(), "1 0 none 4 1"),
        (40, 4, Wishes(), "1 0 none 4 0"),
    ],
)
def test_with_fewer_trainers_than_gpus_the_server_has_one_to_itself(card, gpus, wishes, chosen):
    made, after = plan(card, gpus=gpus, wishes=wishes), plan(card, wishes=Wishes(overlap=False))
    assert (short(made), made.problems) == (chosen, [])
    assert made.memory["server_parts"] == after.memory["server_parts"]
    assert (made.details, made.settings["GPU_MEMORY"]) == (after.details, after.settings["GPU_MEMORY"])
    alone = made.reasons["OVERLAP"].startswith("the server has the last GPU, without trainers; all takes about ")
    assert alone == (gpus != 4 and wishes.overlap is None)


def test_the_estimate_of_a_whole_sweep():
    """GLM-4-9B, 4 sizes, 5,000 items each: 281 to 303 s were measured on an H200, and on an H100 402 s with one trainer
    and 354 s with two (docs/performance.json)."""
    given = GRAPHS | {"length": 296, "items": 5000, "max_tokens": 8}
    made = plan(141, "9.4B", **given)
    assert short(made) == "8 0 none 3 1"
    assert made.seconds == pytest.approx(290, rel=0.1)
    slower = {jobs: plan(141, "9.4B", wishes=Wishes(train_jobs=jobs), **given).seconds for jobs in (1, 2)}
    assert slower[1] > slower[2] > made.seconds
    assert plan(141, "9.4B", wishes=Wishes(overlap=False), **given).seconds > made.seconds
    assert plan(141, "9.4B", server="llamafactory", **given).seconds is None
    h100 = {jobs: plan(80, "9.4B", wishes=Wishes(train_jobs=jobs), **given) for jobs in (1, 2)}
    assert [short(each) for each in h100.values()] == ["8 0 none 1 1", "4 0 none 2 1"]
    assert [each.seconds for each in h100.values()] == pytest.approx([402, 354], rel=0.1)
    four = {jobs: plan(80, "9.4B", gpus=4, wishes=Wishes(train_jobs=jobs), **given).seconds for jobs in (1, 2)}
    assert four[1] > 1.3 * four[2]  # by trainers, not by GPUs
    two = plan(141, "9.4B", gpus=2, **given).seconds
    assert 0.5 * made.seconds < two < 0.9 * made.seconds


@pytest.mark.parametrize(
    ("chosen", "given"),
    [
        # Without lora nothing is trained: whatever a trainer would need.
        ("8 0 none 1 0", {"seeds": 0, "untrained": 1, "card": 24}),
        ("8 0 none 2 1", {"seeds": 0, "wishes": Wishes(train_jobs=2, overlap=True)}),
        ("8 0 none 9 1", {"wishes": Wishes(train_jobs=9), "gpus": 8}),
        ("8 0 none 2 1", {"items": 0, "epochs": float("nan")}),
    ],
)
def test_a_sweep_with_little_or_nothing_to_do(chosen, given):
    made = plan(length=296, **given)
    assert (short(made), made.problems) == (chosen, [])
    assert 0 <= made.seconds < 1000


def test_the_updates_are_those_of_the_trainings(settings):
    assert collected(settings)[0].updates == [39, 189]  # 3 epochs of 13 and 63 batches
    assert collected(settings, MATCH_STEPS="1")[0].updates == [189, 189]
    assert collected(settings, TRAIN_ARGS="--max_steps 7")[0].updates == [7, 7]
    found, _ = collected(settings, METHODS="zero-shot k-shot tfidf")
    assert (found.trainings, found.untrained) == (0, 3)


def test_a_batch_as_one_sequence_needs_less():
    """The common beginning is computed once: 108 + 8 x 188 = 1,612 tokens, padded to 1,664, instead of 8 x 296."""
    assert plan(141, "9.4B", 296, fast=True).memory["trainer_bytes"] == pytest.approx(38.2e9, rel=0.01)
    assert plan(141, "9.4B", 296, **GRAPHS).memory["trainer_bytes"] == pytest.approx(33.4e9, rel=0.01)
    # A cutoff below the instruction: a token of each example is left.
    parts = [plan(141, "9.4B", length, **GRAPHS).memory["trainer_parts"] for length in (96, 296)]
    assert 0 < parts[0]["activations"] < parts[1]["activations"]
    # Attention that looks back less far than an example is long takes none as one sequence.
    facts = known(141, "9.4B", 296, **GRAPHS)
    made = {
        window: planning.make(replace(facts, shape=replace(facts.shape, window=window)), Wishes())
        for window in (295, 296)
    }
    assert made[296].memory == plan(141, "9.4B", 296, **GRAPHS).memory
    alone = plan(141, "9.4B", 296, **GRAPHS | {"common": 0})
    assert made[295].memory["trainer_parts"] == alone.memory["trainer_parts"]
    # The server's cache holds the beginning once all the same.
    assert made[295].memory["server_parts"]["kv_cache"] < 0.75 * alone.memory["server_parts"]["kv_cache"]
    # Batches that cost more as one sequence, or are too large for graphs, stay as they are.
    wishes = Wishes(micro_batch=8, checkpointing=False)
    for length in (640, 1024):
        plain = plan(141, "9.4B", length, fast=True, wishes=wishes).memory["trainer_parts"]
        assert plan(141, "9.4B", length, wishes=wishes, **GRAPHS).memory["trainer_parts"] == plain


def test_the_front_end_in_rust_is_for_models_that_the_one_in_python_would_hold_back():
    def front(model: str, **more: object) -> str | None:
        return plan(80, model, 496, **GRAPHS | {"rust_front": True, **more}).details.get("RUST_FRONT")

    assert front("0.1B") == "1"
    assert front("9.4B") is None
    assert front("0.1B", rust_front=False) is None
    assert front("0.1B", server="llamafactory") is None


def test_the_server_captures_graphs_where_so_much_is_asked_that_it_pays():
    def captures(model: str, **more: object) -> bool:
        made = plan(80, model, 496, **GRAPHS | {"rust_front": True, "items": 3_080, **more})
        assert (made.memory["server_parts"]["graphs"] > 0) == ("SERVER_GRAPHS" in made.details)
        return made.details.get("SERVER_GRAPHS") == "1"

    assert captures("0.1B", untrained=1)
    assert captures("0.1B", items=3_750, untrained=0)
    assert not captures("0.1B", items=3_749, untrained=0)
    assert not captures("0.1B", untrained=1, rust_front=False)
    assert not captures("9.4B", untrained=1)


def test_the_front_end_in_rust_is_not_asked_for_what_it_may_not_know(settings, tmp_path, monkeypatch):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert not collected(settings)[0].rust_front
    (tmp_path / "vllm/vllm-rs").touch(mode=0o755)
    assert collected(settings)[0].rust_front
    assert not collected(settings, SERVER_ARGS="--seed 1")[0].rust_front
    assert not collected(settings, MODEL="own/er")[0].rust_front  # the newest revision, whatever it is told


def test_lines_have_every_value_and_its_reason():
    made = plan(141, "9.4B", 296, length_basis="the longest of the data", wishes=Wishes(train_jobs=2))
    assert made.lines() == [
        "MICRO_BATCH=8  # 47.4 GB of 138.1 GB with 296 tokens an example (the longest of the data)",
        "CHECKPOINTING=0  # without, a trainer needs 47.4 GB",
        "QUANTIZATION=none  # the weights take 18.8 GB",
        "TRAIN_JOBS=2  # as set",
        "OVERLAP=1  # the server and one trainer take at least 79.4 GB of 138.1 GB; all takes "
        "about 5 min 12 s with it, 6 min 23 s without",
        "GPU_MEMORY=0.17  # weights 18.8 GB, KV cache 3.8 GB",
        "KV_CACHE_BYTES=3774873600",
    ]
    lines = plan(24, "9.4B", server="llamafactory").lines()
    assert lines[1:5] == [
        "CHECKPOINTING=1  # without, a trainer needs 31.9 GB",
        "QUANTIZATION=none  # the weights take 18.8 GB",
        "TRAIN_JOBS=1  # 2 on one GPU take 51.1 GB of 23.7 GB; 4 trainings, 1 GPUs, 16 CPU cores",
        "OVERLAP=0  # needs SERVER=vllm",
    ]


def test_memory_that_others_hold_is_left_to_them():
    made = planning.make(replace(known(length=296), gpus=(replace(CARDS[80], free_bytes=30 * GIB),)), Wishes())
    assert made.memory["trainer_bytes"] <= made.memory["usable_bytes"] == round(0.92 * 30 * GIB)
    assert float(made.settings["GPU_MEMORY"]) * 80 <= 30
    # A little is the driver's own.
    card = replace(CARDS[80], free_bytes=round(79.4 * GIB))
    assert planning.make(replace(known(length=296), gpus=(card,)), Wishes()) == plan(80, length=296)
    assert replace(CARDS[12], free_bytes=round(11.4 * GIB)).others == CARDS[12].memory_bytes - round(11.4 * GIB)
    # A trainer does not see whether what it has is a small GPU, or what others leave of a large one.
    for size in (12, 16, 24):
        left = replace(CARDS[80], free_bytes=CARDS[size].memory_bytes)
        wishes = Wishes(overlap=False)
        given = {"length": 296, "model": "7B", "wishes": wishes}
        part = planning.make(replace(known(length=296, model="7B"), gpus=(replace(left, name="RTX"),)), wishes)
        assert part.memory["trainer_parts"] == plan(size, **given).memory["trainer_parts"]
        assert part.memory["server_bytes"] <= CARDS[size].memory_bytes


@pytest.mark.parametrize(
    ("card", "model", "other", "quantized"),
    [
        (16, "7B", {}, True),
        (12, "9.4B", {}, True),
        (24, "9.4B", {}, False),
        (12, "0.5B", {}, False),
        (80, "9.4B", {"wishes": Wishes(gpu_memory=0.2)}, False),
        (16, "7B", {"wishes": Wishes(gpu_memory=0.8)}, True),
        (16, "7B", {"server_bits": 8}, False),
        (16, "7B", {"bitsandbytes": False}, False),
        (16, "7B", {"server": "llamafactory"}, False),
    ],
)
def test_the_servers_weights_are_quantized_only_where_they_do_not_fit(card, model, other, quantized):
    made = plan(card, model, 296, **other)
    assert made.details.get("SERVER_QUANTIZATION") == ("bitsandbytes" if quantized else None)
    if quantized:
        assert made.problems == []
        assert made.warnings[-1] == (
            f"SERVER_QUANTIZATION=bitsandbytes: the weights take {'15.2' if model == '7B' else '18.8'} GB at 16 bits, "
            "with which the server does not fit. Answers with 4 bit weights differ; compare them only with other 4 "
            "bit results"
        )


@pytest.mark.parametrize(
    ("card", "model", "wishes", "other", "what", "mend"),
    [
        (
            *(12, "9.4B", Wishes(), {"bitsandbytes": False}),
            "the most frugal plan (micro-batch 1, gradient checkpointing, 16 bit weights) needs 22.4 GB of 11.9 GB: "
            "92% of the GPU",
            "install bitsandbytes (bin/setup.sh gpu) and set QUANTIZATION=4, which needs 10.6 GB, or take a smaller "
            "MODEL or a larger GPU",
        ),
        (
            *(12, "9.4B", Wishes(quantization="4"), {"bitsandbytes": False}),
            "QUANTIZATION=4 needs bitsandbytes, which is not installed",
            "install bitsandbytes (bin/setup.sh gpu)",
        ),
        (24, "70B", Wishes(), {}, "(micro-batch 1, gradient checkpointing, 4 bit weights)", "take a smaller MODEL or"),
        (
            24,
            "9.4B",
            Wishes(quantization="none"),
            {"length": 4096},
            "needs 29.7 GB of 23.7 GB",
            "set QUANTIZATION=4, which needs 17.8 GB, or lower CUTOFF_LEN",
        ),
        (24, "9.4B", Wishes(8, False), {}, "frugal", "set MICRO_BATCH=auto, or set CHECKPOINTING=auto, or "),
        (24, "9.4B", Wishes(train_jobs=2), {}, "and 2 trainers are to share it", "set TRAIN_JOBS=auto, or "),
        (24, "9.4B", Wishes(overlap=True), {}, "and the server (2", "set OVERLAP=auto, or "),
        # Nor do 4 bits, which change the result, follow from a wish about speed.
        (40, "9.4B", Wishes(train_jobs=2), {"bitsandbytes": True}, "and 2 trainers", "set TRAIN_JOBS=auto, or "),
        (40, "9.4B", Wishes(overlap=True), {"bitsandbytes": True}, "and the server (2", "set OVERLAP=auto, or "),
        (
            *(24, "9.4B", Wishes(checkpointing=False, origin={"checkpointing": "TRAIN_ARGS has x"}), {}),
            *("no gradient checkpointing", "take it out of TRAIN_ARGS, or "),
        ),
        (
            *(80, "9.4B", Wishes(gpu_memory=0.2), {}, "may take 17.2 GB, 20% of the GPU"),
            "set GPU_MEMORY=auto, or set SERVER_ARGS='--quantization bitsandbytes', or take a smaller MODEL",
        ),
        (
            *(16, "9.4B", Wishes(), {"server": "llamafactory"}, "the server needs 19."),
            "set BACKEND=huggingface SERVER_ARGS='--quantization_bit 4', or take",
        ),
    ],
)
def test_problems_and_what_mends_them(card, model, wishes, other, what, mend):
    other = {"bitsandbytes": not (wishes.train_jobs or wishes.overlap or wishes.micro_batch or wishes.origin)} | other
    problem = plan(card, model, other.pop("length", 1024), wishes=wishes, **other).problems[0]
    assert what in problem.what
    assert problem.mend.startswith(mend), problem.mend


def test_a_micro_batch_that_does_not_divide():
    message = r"MICRO_BATCH=3 does not divide the global batch of 8 .* take one of 1, 2, 4, 8"
    with pytest.raises(UserError, match=message):
        plan(wishes=Wishes(micro_batch=3))


# The server


def test_servers_at_once_share_the_gpu():
    for share, jobs, count in (("0.7", 1, 1), ("0.45", 2, 1), ("0.7", 2, 2), ("0.45", 3, 2)):
        assert plan(server="llamafactory", eval_jobs=jobs, gpus=count).settings["GPU_MEMORY"] == share
    made = plan(24, "9.4B", server="llamafactory")  # 0.7 does not hold the model
    assert (made.settings["GPU_MEMORY"], made.problems) == ("0.9", [])
    made = plan(length=296, wishes=Wishes(gpu_memory=0.5))
    assert int(made.details["KV_CACHE_BYTES"]) == pytest.approx(0.5 * 150.1e9 - 18.8e9 - 1.8e9, rel=0.02)


@pytest.mark.parametrize(
    ("values", "slots", "rank"),
    [
        ({"LORA_RANK": "4", "LORA_TARGET": "q_proj"}, 2, 8),
        ({"LORA_RANK": "100"}, 2, 128),
        ({"SERVER_ARGS": "--max-lora-rank 64"}, 2, 64),
        ({"SERVER": "llamafactory"}, 1, 32),
        ({"SERVER": "llamafactory", "SERVER_ARGS": "--vllm_max_lora_rank 16"}, 1, 16),
    ],
)
def test_the_server_has_room_for_adapters_of_its_rank_in_every_linear(settings, values, slots, rank):
    parts = planning.make(*collected(settings, **values)).memory["server_parts"]
    assert parts["adapters"] == slots * 2 * shape_of(CONFIGS["9.4B"]).adapter("all", rank)


@pytest.mark.parametrize(
    ("cards", "given", "overlap", "like"),
    [
        # After the training the server has the first GPU, beside it the last.
        ((24, 48), {"wishes": Wishes(overlap=False)}, "0", 24),
        ((48, 24), {"wishes": Wishes(overlap=False)}, "0", 48),
        ((48, 24), {"wishes": Wishes(train_jobs=1, overlap=True)}, "1", 24),
        ((24, 48), {"wishes": Wishes(train_jobs=1)}, "1", 48),
        # Where only one of them holds it, it is that one, and at 16 bits.
        ((24, 12), {"model": "7B", "wishes": Wishes(train_jobs=1)}, "0", 24),
        ((12, 24), {"model": "7B", "wishes": Wishes(train_jobs=1)}, "1", 24),
        # Each run's server may be on any of them.
        ((24, 48), {"server": "llamafactory"}, "0", 24),
    ],
)
def test_of_unlike_gpus_the_server_gets_a_share_of_the_one_that_it_runs_on(cards, given, overlap, like):
    wishes = given.get("wishes", Wishes())
    given = {name: value for name, value in given.items() if name != "wishes"}
    unlike = replace(known(length=296, **given), gpus=tuple(CARDS[card] for card in cards))
    made = planning.make(unlike, wishes)
    alone = plan(like, length=296, wishes=Wishes(overlap=False), **given)
    assert (made.settings["OVERLAP"], made.problems) == (overlap, [])
    assert made.settings["GPU_MEMORY"] == alone.settings["GPU_MEMORY"]
    assert made.memory["server_parts"] == alone.memory["server_parts"]
    assert made.details == alone.details


def test_of_unlike_gpus_the_smaller_gets_a_quantized_server_where_the_trainings_need_the_other():
    unlike = replace(known(model="7B", length=296, bitsandbytes=True), gpus=(CARDS[12], CARDS[24]))
    made = planning.make(unlike, Wishes())
    assert (made.settings["OVERLAP"], made.details["SERVER_QUANTIZATION"], made.problems) == ("0", "bitsandbytes", [])


def test_an_unknown_model_or_gpu():
    unplanned = replace(known(gpus=2), shape=None, unknown="the size of a/b is unknown")
    made = planning.make(unplanned, Wishes(checkpointing=False))
    assert list(made.settings.values()) == ["2", "0", "none", "2", "0", "0.9"]
    assert made.lines()[:2] == ["MICRO_BATCH=2  # the size of a/b is unknown; the original's", "CHECKPOINTING=0"]
    assert planning.make(known(gpus=0), Wishes()).settings["TRAIN_JOBS"] == "1"
    assert made.memory == {}


# The facts, and the program


GPU = {"name": "NVIDIA H200", "memory_bytes": 150_121_545_728, "free_bytes": 149_500_000_000}


@pytest.fixture
def settings(folder: Path, monkeypatch, given) -> Settings:
    """A sweep with a model of GLM-4's shape."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(folder / name))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("model", "data", "logs"):
        (folder / name).mkdir()
    (folder / "model/config.json").write_text(json.dumps(CONFIGS["9.4B"]))
    return given(
        SIZES="100 500", MODEL=str(folder / "model"), SERVER="vllm", TRAINER="llamafactory-cli", SHARED_PREFIX="0"
    )


def counted(folder: Path, longest: int, rows: int = 500) -> None:
    """A preflight that has counted the tokens of the data."""
    data = folder / "data/llm_train_500.json"
    data.write_text("[]")
    check = {"check": "lengths", "file": str(data), "rows": rows, "longest": longest, "common": 108}
    (folder / "logs/x.preflight.json").write_text(json.dumps({"checks": [check]}))


def collected(settings: Settings, bf16: bool = True, **values: str) -> tuple[Facts, Wishes]:
    return facts.collect(settings.but(**values), {"count": 1, "gpus": [GPU], "bf16": bf16})


def test_what_is_auto_goes_into_the_settings_with_the_reasons_in_the_record(folder, settings, given, capsys):
    counted(folder, 290)
    (folder / "logs/hardware.json").write_text(json.dumps({"count": 1, "gpus": [GPU], "bf16": True}))
    settings = given(**settings.record() | {"TRAIN_JOBS": "2"})
    assert program.main(["--known"]) == 0
    assert capsys.readouterr().out == ""
    record = json.loads((folder / "logs/x.plan.json").read_text())
    assert (record["kind"], record["facts"]["length"], record["reasons"]["TRAIN_JOBS"]) == ("plan", 296, "as set")
    values = {"MICRO_BATCH": "8", "CHECKPOINTING": "0", "QUANTIZATION": "none", "TRAIN_JOBS": "2", "OVERLAP": "1"}
    assert record["settings"] == values | {"GPU_MEMORY": "0.17"}
    assert sum(record["memory"]["trainer_parts"].values()) == record["memory"]["trainer_bytes"]
    found = (
        {
            "PRECISION": "bf16",
            "GPUS": "0",
            "MAX_LORA_RANK": "8",
            "MODEL_LENGTH": "4096",
            "MODEL_COMMIT": "",
            "METHODS": "zero-shot lora tfidf embedding",
        }
        | record["settings"]
        | record["details"]
    )
    assert Settings.read().record() == settings.record() | found
    settings.write()
    (folder / "logs/x.plan.json").unlink()
    assert program.main(["--known", "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert dict(line.split("  # ")[0].split("=") for line in lines) == record["settings"] | record["details"]
    took = words.duration(record["seconds"])
    assert last == f"# all trainings and answers take about {took} (an estimate: docs/performance.md)"
    assert not (folder / "logs/x.plan.json").exists()


def test_on_a_cpu_nothing_is_looked_at(folder, settings, given):
    given(**settings.record() | {"DEVICE": "cpu", "BACKEND": "huggingface", "BATCH_SIZE": "3", "TRAIN_JOBS": "2"})
    assert program.main([]) == 0
    found = Settings.read()
    values = found["MICRO_BATCH"], found["TRAIN_JOBS"], found["OVERLAP"], found["PRECISION"], found["GPUS"]
    assert values == ("3", "2", "0", "fp32", "")
    assert list((folder / "logs").iterdir()) == []


@pytest.mark.parametrize(
    ("values", "count", "bf16", "visible", "expected"),
    [
        ({}, 2, True, "", {"PRECISION": "bf16", "GPUS": "0 1"}),
        ({}, 2, False, "3,GPU-ab", {"PRECISION": "fp16", "GPUS": "3 GPU-ab"}),
        (
            {"PRECISION": "fp32"},
            1,
            True,
            "",
            "PRECISION=fp32 is for a CPU: trainer and server of a GPU take 16 bit weights all the same; "
            "use PRECISION=auto",
        ),
        ({"PRECISION": "bf16"}, 1, False, "", "PRECISION=bf16 is asked for and this GPU has none; use PRECISION=auto"),
        (
            {},
            1,
            True,
            "0,1",
            "CUDA_VISIBLE_DEVICES=0,1 names 2 GPU(s), and PyTorch sees 1 of them; compare with nvidia-smi -L",
        ),
        ({"DEVICE": "cpu"}, 0, True, "", "BACKEND=vllm needs a GPU; with DEVICE=cpu use BACKEND=huggingface"),
        (
            {"DEVICE": "cpu", "BACKEND": "huggingface", "PRECISION": "fp16"},
            0,
            True,
            "",
            "PRECISION=fp16 needs a GPU; with DEVICE=cpu use fp32 or bf16",
        ),
    ],
)
def test_gpus_and_precision(settings, monkeypatch, values, count, bf16, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    hardware = {"count": count, "gpus": [GPU] * count, "bf16": bf16}
    if isinstance(expected, dict):
        assert gpus.resolve(settings.but(**values), hardware) == expected
    else:
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            gpus.resolve(settings.but(**values), hardware)


@pytest.mark.parametrize(
    ("kind", "flags", "bf16", "merges", "graphs"),
    [
        ("glm", {}, True, True, True),
        ("glm", {"SHARED_PREFIX": "0"}, True, False, True),
        ("phi3", {}, True, False, True),
        ("glm", {"TRAIN_ARGS": "--neftune_noise_alpha 5"}, True, False, True),
        ("glm", {"TRAIN_ARGS": "--lora_dropout 0.05"}, True, False, True),
        ("glm", {"TRAIN_ARGS": "--flash_attn disabled"}, True, False, True),
        ("glm", {"TRAIN_ARGS": "--step_graphs False"}, True, True, False),
        ("glm", {"TRAIN_ARGS": "--fp16 True"}, True, True, False),
        ("glm", {"PRECISION": "fp16"}, True, True, False),
        ("glm", {}, False, True, False),
    ],
)
def test_settings_that_keep_a_step_from_being_a_graph(folder, settings, kind, flags, bf16, merges, graphs):
    counted(folder, 290)
    (folder / "model/config.json").write_text(json.dumps(CONFIGS["9.4B"] | {"model_type": kind}))
    found, _ = collected(settings, bf16, **{"TRAINER": "fast", "SHARED_PREFIX": "1"} | flags)
    assert (found.common, found.graphs) == (108 if merges else 0, graphs)


def test_lengths_are_those_of_the_data(folder, settings):
    assert collected(settings)[0].length_basis == "CUTOFF_LEN; the data is not built yet"
    # The whole data, a sample of it, examples that will be cut.
    for longest, rows, length in ((290, 500, 296), (400, 250, 504), (5000, 500, 1024)):
        counted(folder, longest, rows)
        assert collected(settings)[0].length == length
    assert collected(settings)[0].length_known
    # The data is newer than the record: it is counted again, which here cannot be.
    os.utime(folder / "logs/x.preflight.json", (1, 1))
    assert collected(settings)[0].length_basis == "CUTOFF_LEN; the data's tokens cannot be counted"
    counted(folder, 290)
    assert collected(settings, TRAIN_ARGS="--packing True")[0].length == 1024


def test_flags_of_trainer_and_server_are_the_users_choice(settings):
    trainer = "--quantization_bit 4 --disable_gradient_checkpointing=True --lora_rank 16 --cutoff_len 512"
    server = "--gpu-memory-utilization 0.4 --enforce-eager"
    found, wishes = collected(settings, TRAIN_ARGS=trainer, SERVER_ARGS=server)
    assert not found.compiled
    compiled = planning.make(*collected(settings, SERVER_ARGS="--no-enforce-eager"))
    assert compiled.memory["server_parts"]["graphs"] > 0
    assert (wishes.quantization, wishes.checkpointing, wishes.gpu_memory) == ("4", False, 0.4)
    assert (found.rank, found.length) == (16, 512)
    assert "QUANTIZATION=4  # TRAIN_ARGS has --quantization_bit 4" in planning.make(found, wishes).lines()
    # LLaMA-Factory quantizes to 3 bits, too (hqq).
    assert planning.make(*collected(settings, TRAIN_ARGS="--quantization_bit 3")).settings["QUANTIZATION"] == "3"
    with pytest.raises(UserError, match=r"^SERVER_ARGS has --gpu_memory_utilization high; give it a number$"):
        collected(settings, SERVER_ARGS="--gpu-memory-utilization high")
    bits = {"--quantization bitsandbytes": 4, "--quantization fp8": 8, "--quantization_bit 4": 4, "": 16}
    assert {flags: collected(settings, SERVER_ARGS=flags)[0].server_bits for flags in bits} == bits
    # The other program's flags of the same names are nothing to this one.
    assert collected(settings, SERVER_ARGS=trainer, TRAIN_ARGS=server)[1] == collected(settings)[1]
    for flags, micro in (("--per_device_train_batch_size 4 ", 4), ("", 2)):
        found, wishes = collected(settings, TRAIN_ARGS=f"{flags}--gradient_accumulation_steps 1")
        assert (wishes.micro_batch, found.global_batch) == (micro, micro)


def test_a_model_of_the_hub_is_found_in_the_cache(folder, settings, monkeypatch):
    settings = settings.but(MODEL="owner/name")
    assert collected(settings)[0].unknown == "the size of owner/name is unknown until its config.json has been fetched"
    repository = folder / "HF_HUB_CACHE/models--owner--name"
    (repository / "snapshots/abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    (repository / "snapshots/abc/config.json").write_text(json.dumps(CONFIGS["7B"]))
    assert collected(settings)[0].shape == shape_of(CONFIGS["7B"])
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(folder))
    (folder / "HF_HUB_CACHE").rename(folder / "hub")
    assert collected(settings)[0].shape == shape_of(CONFIGS["7B"])


def test_cpus_are_those_that_a_container_gives(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    real, limit = Path.read_text, ""
    monkeypatch.setattr(Path, "read_text", lambda self, **more: limit if self.name == "cpu.max" else real(self, **more))
    for limit, cpus in (("max 100000", 8), ("350000 100000", 3), ("50000 100000", 1)):  # noqa: B007 - read_text has it
        assert facts.usable_cpus() == cpus


def test_it_starts_without_heavy_packages(folder, settings):
    (folder / "logs/hardware.json").write_text(json.dumps({"count": 1, "gpus": [GPU], "bf16": True}))
    code = "import sys; sys.path.insert(0, 'py'); import plan; plan.main(['--known']); "
    code += "print({'torch', 'transformers', 'tokenizers', 'huggingface_hub', 'numpy'} & sys.modules.keys())"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_preflight_reports_what_the_plan_needs():
    (finding,) = preflight.planned_memory(plan(24, "7B"))
    assert (finding.result, finding.message) == ("ok", "a trainer needs 21.0 GB of the GPU's 25.8 GB")
    (finding,) = preflight.planned_memory(plan(12, "9.4B", server="llamafactory", backend="huggingface"))
    assert (finding.result, finding.message) == (
        "warning",
        "QUANTIZATION=4: the weights take 18.8 GB at 16 bits, which does not fit. Training with 4 bit weights (QLoRA) "
        "changes the result; compare it only with other 4 bit results",
    )
    # Before the data is there, only examples as long as the cutoff would not fit.
    long = known(24, "9.4B", 4096, bitsandbytes=False)
    (finding,) = preflight.planned_memory(planning.make(long, Wishes()))
    assert finding.result == "warning"
    assert finding.message.startswith("if examples are as long as CUTOFF_LEN, the most frugal plan (micro-batch 1, ")
    counted = replace(long, length_basis="the longest of the data")
    assert preflight.planned_memory(planning.make(counted, Wishes()))[0].result == "problem"
