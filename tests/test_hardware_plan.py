"""The hardware plan: what an expert would choose for a card and a model, the user's own values, what does not fit."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hardware_plan as script
from fewshot_sft import hardware_plan, memory, plan_choice, plan_facts
from fewshot_sft.errors import UserError
from fewshot_sft.plan_choice import Facts, Gpu, Wishes
from fewshot_sft.preflight import machine

GIB = 2**30


def decoder(kind, hidden, layers, intermediate, heads, kv_heads, vocabulary, tied=False, head_dim=None):
    config = {"model_type": kind, "hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": intermediate}
    config |= {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocabulary}
    return config | {"tie_word_embeddings": tied} | ({"head_dim": head_dim} if head_dim else {})


CONFIGS = {
    "0.5B": decoder("qwen2", 896, 24, 4864, 14, 2, 151936, tied=True),
    "7B": decoder("qwen2", 3584, 28, 18944, 28, 4, 152064),
    "9.4B": decoder("glm", 4096, 40, 13696, 32, 2, 151552, head_dim=128),
    "14B": decoder("qwen2", 5120, 48, 13824, 40, 8, 152064),
    "70B": decoder("llama", 8192, 80, 28672, 64, 8, 128256),
}
CARDS = {
    12: Gpu("RTX 3060", 12 * GIB, None, "8.6", 28),
    16: Gpu("RTX 4080", 16 * GIB, None, "8.9", 76),
    24: Gpu("RTX 4090", 24 * GIB, None, "8.9", 128),
    40: Gpu("A100", 40 * GIB, None, "8.0", 108),
    48: Gpu("RTX A6000", 48 * GIB, None, "8.6", 84),
    80: Gpu("H100", 80 * GIB, None, "9.0", 132),
    141: Gpu("H200", 150_121_545_728, None, "9.0", 132),
}


def facts(card=141, model="9.4B", length=1024, gpus=1, **other) -> Facts:
    known = {
        "device": "gpu",
        "gpus": (CARDS[card],) * gpus,
        "shape": memory.shape_of(CONFIGS[model]),
        "length": length,
        "sizes": (100, 500, 1000, 2000),
        "batch_size": 2,
        "accumulation": 4,
        "items": 20_000,
        "server": "vllm",
        "bitsandbytes": True,
        "cpus": 16,
    }
    return Facts(**known | other)


def plan(card=141, model="9.4B", length=1024, wishes=None, **other) -> hardware_plan.Plan:
    return hardware_plan.make(facts(card, model, length, **other), wishes or Wishes())


def short(made: hardware_plan.Plan) -> str:
    """micro-batch, checkpointing, quantization, jobs, overlap"""
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
        (80, "9.4B", 1024, "4 0 none 1 0"),
        (141, "9.4B", 1024, "8 0 none 1 0"),
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
        (80, "9.4B", 296, "8 0 none 1 0"),
        (141, "9.4B", 296, "8 0 none 2 1"),
        (141, "0.5B", 296, "8 0 none 2 1"),
        (24, "0.5B", 296, "8 0 none 1 1"),
    ],
)
def test_what_is_chosen(card, model, length, chosen):
    made = plan(card, model, length)
    assert short(made) == chosen
    assert [each.what for each in made.problems if not each.what.startswith("the server")] == []


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("model", CONFIGS)
@pytest.mark.parametrize("length", [256, 1024])
@pytest.mark.parametrize("gpus", [1, 4])
def test_what_is_planned_fits_or_says_that_it_does_not(card, model, length, gpus):
    made = plan(card, model, length, gpus=gpus)
    found, settings = made.memory, made.settings
    micro, per_gpu = int(settings["MICRO_BATCH"]), found["trainers_per_gpu"]
    assert micro * int(made.details["ACCUMULATION"]) == 8
    beside = found["server_bytes"] if settings["OVERLAP"] == "1" and made.details["SERVER_ALONE"] == "0" else 0
    needed = per_gpu * found["trainer_bytes"] + beside
    assert (needed <= found["usable_bytes"]) == (not any("frugal" in each.what for each in made.problems))
    assert int(settings["TRAIN_JOBS"]) <= min(4, 2 * gpus)
    assert (made.details["KV_CACHE_BYTES"] != "0") == bool(beside)
    warned = next(each for each in made.reasons if each.setting == "QUANTIZATION").warning
    assert warned == (settings["QUANTIZATION"] == "4")


def test_a_larger_card_is_never_slower():
    for model in CONFIGS:
        seconds = []
        for card in CARDS.values():
            known = replace(facts(model=model, length=296), gpus=(replace(CARDS[141], memory=card.memory),))
            chooser = plan_choice.Chooser(known, Wishes(quantization="4"), known.shape)
            decision = chooser.decide()
            seconds.append(chooser.seconds(decision.way) if decision.fits else float("inf"))
        assert seconds == sorted(seconds, reverse=True), model


def test_the_fast_trainer_needs_less():
    assert short(plan(40, "9.4B", 296)) == "4 0 none 1 0"
    assert short(plan(40, "9.4B", 296, fast=True)) == "8 0 none 1 0"
    assert plan(141, "9.4B", 296, fast=True).memory["trainer_bytes"] == pytest.approx(38.2e9, rel=0.01)
    # For other models only what was measured is counted: LoRA's inputs.
    plain, fast = (plan(141, "7B", 296, fast=each).memory["trainer_parts"] for each in (False, True))
    assert fast["loss"] == plain["loss"]
    assert fast["activations"] < plain["activations"]


GRAPHS = {"fast": True, "graphs": True, "common": 108}


def test_steps_that_are_graphs_leave_room_for_a_third_trainer():
    """What the examples have in common is computed once, then: 108 + 8 x 188 = 1,612, padded 1,664, not 8 x 296."""
    made = plan(141, "9.4B", 296, **GRAPHS)
    assert short(made) == "8 0 none 3 1"
    assert made.memory["trainer_bytes"] == pytest.approx(33.4e9, rel=0.01)
    assert "TRAIN_JOBS 3: 3 trainers, the others train while one starts: 3 x 3" in "\n".join(script.explained(made))
    assert short(plan(141, "9.4B", 296, **GRAPHS, cpus=4)) == "8 0 none 2 1"
    for other in ({"graphs": False}, {"common": 0}, {"model": "7B"}):
        given = {"card": 141, "model": "9.4B", "length": 296, **GRAPHS, **other}
        assert short(plan(**given)) == "8 0 none 2 1", other
        assert plan(**given).memory["trainer_bytes"] > made.memory["trainer_bytes"]
    # A cutoff below the instruction: no less than a token of each.
    cut = plan(141, "9.4B", 96, **GRAPHS).memory["trainer_parts"]
    assert 0 < cut["activations"] < made.memory["trainer_parts"]["activations"]


def test_batches_that_cost_more_as_one_sequence_or_are_too_large_for_graphs_are_reckoned_as_they_are():
    wishes = Wishes(micro_batch=8, checkpointing=False)
    for length in (640, 1024):
        plain = plan(141, "9.4B", length, fast=True, wishes=wishes)
        assert plan(141, "9.4B", length, wishes=wishes, **GRAPHS).memory == plain.memory
    # Without graphs it is done only where it is asked for.
    once, never = (
        plan(141, "7B", 296, fast=True, common=108, common_always=each).memory["trainer_parts"]
        for each in (True, False)
    )
    assert once["activations"] < 0.8 * never["activations"]
    assert never == plan(141, "7B", 296, fast=True).memory["trainer_parts"]


@pytest.mark.parametrize(
    ("kind", "flags", "bf16", "merges", "graphs"),
    [
        ("glm", {}, True, True, True),
        ("glm", {"shared_prefix": "0"}, True, False, True),
        ("mistral", {"shared_prefix": "1"}, True, False, True),
        ("glm", {"train_args": "--neftune_noise_alpha 5"}, True, False, True),
        ("glm", {"train_args": "--lora_dropout 0.05"}, True, False, True),
        ("glm", {"train_args": "--flash_attn disabled"}, True, False, True),
        ("glm", {"train_args": "--step_graphs False"}, True, True, False),
        ("glm", {"train_args": "--fp16 True"}, True, True, False),
        ("glm", {"precision": "fp16"}, True, True, False),
        ("glm", {}, False, True, False),
    ],
)
def test_what_keeps_the_trainer_from_it_the_plan_knows(tmp_path, kind, flags, bf16, merges, graphs):
    (tmp_path / "hardware.json").write_text(json.dumps({"bf16": bf16, "gpus": [], "count": 1}))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(CONFIGS["9.4B"] | {"model_type": kind}))
    rows = tmp_path / "llm_train_100.json"
    rows.write_text("[]")
    lengths = {"check": "lengths", "file": str(rows), "rows": 100, "longest": 296, "common": 108}
    (tmp_path / ".preflight.json").write_text(json.dumps({"checks": [lengths]}))
    given = {"model": str(tmp_path / "model"), "sizes": "100", "data_dir": str(tmp_path), "logs_dir": str(tmp_path)}
    given |= {"trainer": "fast", "shared_prefix": "auto"} | flags
    parser = argparse.ArgumentParser()
    plan_facts.add_flags(parser)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    found, _ = plan_facts.collect(parser.parse_args(words))
    assert (found.common, found.graphs) == (108 if merges else 0, graphs)
    assert found.common_always is (flags.get("shared_prefix") == "1")


def test_the_reasons_name_every_setting_and_its_numbers():
    made = plan(141, "9.4B", 296, length_basis="the longest of the data")
    assert [each.setting for each in made.reasons] == list(hardware_plan.SETTINGS) == list(made.settings)
    assert script.explained(made) == [
        "MICRO_BATCH 8: the whole global batch in one step: with examples of up to 296 tokens (the longest of the data)"
        " a trainer needs 47.4 GB of 138.1 GB, 92% of the GPU's 150.1 GB",
        "CHECKPOINTING 0: it fits without, and no layer is computed twice",
        "QUANTIZATION none: the weights take 18.8 GB at 16 bits and fit",
        "TRAIN_JOBS 2: 2 trainers, one trains while another starts: 2 x 55.5 GB and the server's 23.9 GB of 138.1 GB",
        "OVERLAP 1: the server needs at least 23.9 GB and fits beside the training",
        "GPU_MEMORY 0.17: 25.5 GB beside the training: weights 18.8 GB, KV cache 3.8 GB for 256 sequences",
        "EAGER 1: 20,000 items will be asked; compilation and CUDA graphs pay from 1,461,786 on (start 95 s against "
        "32 s, measured on an H200)",
    ]
    made = plan(24, "9.4B", 1024)
    assert script.explained(made)[:3] == [
        "MICRO_BATCH 1: 8 steps make the global batch of 8: with examples of up to 1024 tokens (CUTOFF_LEN) a trainer "
        "needs 22.4 GB of 23.7 GB, 92% of the GPU's 25.8 GB; 2 would need 24.9 GB",
        "CHECKPOINTING 1: without, micro-batch 1 needs 31.9 GB",
        "QUANTIZATION none: the weights take 18.8 GB at 16 bits and fit",
    ]


def test_4_bit_is_said_to_change_the_result():
    made = plan(12, "9.4B")
    assert script.explained(made)[2] == (
        "warning: QUANTIZATION 4: the weights take 18.8 GB at 16 bits, which does not fit: trained with 4 bit weights "
        "(QLoRA). That changes the result; compare it only with others of 4 bit"
    )


def test_4_bit_without_bitsandbytes():
    made = plan(12, "9.4B", bitsandbytes=False)
    assert made.settings["QUANTIZATION"] == "none"
    what, mend, _ = made.problems[0]
    assert what == (
        "the most frugal plan (micro-batch 1, gradient checkpointing, 16 bit weights) needs 22.4 GB of the 11.9 GB "
        "that 92% of the GPU are"
    )
    assert mend == (
        "install bitsandbytes (bin/setup.sh gpu) and set QUANTIZATION=4, which needs 10.6 GB"
        ", or take a smaller MODEL or a larger GPU"
    )
    made = plan(12, "9.4B", bitsandbytes=False, wishes=Wishes(quantization="4"))
    assert made.problems[0][:2] == (
        "QUANTIZATION=4 needs bitsandbytes, which is not installed",
        "install bitsandbytes (bin/setup.sh gpu)",
    )


def test_what_fits_nowhere():
    made = plan(24, "70B")
    assert made.problems[0][1] == "take a smaller MODEL or a larger GPU"
    assert short(made) == "1 1 4 1 0"
    # A shorter cutoff is named only where it would do.
    assert "lower CUTOFF_LEN" not in made.problems[0][1]
    made = plan(24, "9.4B", 4096, wishes=Wishes(quantization="none"))
    assert "lower CUTOFF_LEN, or take a smaller" in made.problems[0][1]


def test_the_server_that_does_not_fit():
    for server, less in (
        ("vllm", "SERVER_ARGS='--quantization bitsandbytes'"),
        ("llamafactory", "BACKEND=huggingface SERVER_ARGS='--quantization_bit 4'"),
    ):
        ((what, mend, _),) = plan(16, "9.4B", server=server).problems
        assert what.startswith("the server needs 19.")
        assert what.endswith("may take 15.5 GB, 90% of the GPU's 17.2 GB")
        assert mend == f"set {less}, or take a smaller MODEL or a larger GPU"
    assert plan(16, "9.4B", server="llamafactory", backend="huggingface", server_bits=4).problems == []


# Several GPUs


def test_a_size_on_each_gpu():
    made = plan(24, "7B", 296, gpus=4, server="llamafactory")
    assert (made.settings["TRAIN_JOBS"], made.memory["trainers_per_gpu"]) == ("4", 1)
    assert made.reasons[3].why == "there are 4 sizes, each on a GPU of its own"
    assert plan(24, "7B", 296, gpus=8, server="llamafactory").settings["TRAIN_JOBS"] == "4"
    made = plan(141, "9.4B", 296, gpus=2, server="llamafactory")
    assert (made.settings["TRAIN_JOBS"], made.memory["trainers_per_gpu"]) == ("4", 2)


def test_the_smallest_gpu_decides():
    mixed = plan(gpus=1, length=296, server="llamafactory")
    assert mixed.settings["MICRO_BATCH"] == "8"
    known = replace(facts(length=296, server="llamafactory"), gpus=(CARDS[141], CARDS[24]))
    assert hardware_plan.make(known, Wishes()).settings["MICRO_BATCH"] == "1"


def test_the_server_gets_a_gpu_of_its_own_where_it_does_not_fit_beside_a_trainer():
    made = plan(24, "7B", 296, gpus=3)
    assert (made.settings["OVERLAP"], made.details["SERVER_ALONE"], made.settings["TRAIN_JOBS"]) == ("1", "1", "2")
    assert (made.settings["GPU_MEMORY"], made.details["KV_CACHE_BYTES"]) == ("0.9", "0")
    made = plan(48, "14B", 296, gpus=3)
    assert (made.details["SERVER_ALONE"], made.settings["TRAIN_JOBS"]) == ("1", "2")
    # Two trainers would fit on one GPU: one each, or the second round would meet the server.
    made = plan(24, "7B", 296, gpus=3, wishes=Wishes(quantization="4", micro_batch=1, checkpointing=True))
    assert (made.details["SERVER_ALONE"], made.settings["TRAIN_JOBS"]) == ("1", "2")
    assert 2 * made.memory["trainer_bytes"] < made.memory["usable_bytes"]
    made = plan(141, "9.4B", 296, gpus=3)
    assert (made.settings["OVERLAP"], made.details["SERVER_ALONE"], made.settings["TRAIN_JOBS"]) == ("1", "0", "4")


def test_few_cores_and_few_sizes():
    made = plan(length=296, cpus=2)
    assert made.settings["TRAIN_JOBS"] == "1"
    assert made.reasons[3].why == "one size at a time; two want 4 CPU cores, the machine has 2"
    assert plan(length=296, sizes=(100,)).settings["TRAIN_JOBS"] == "1"


# What others hold


def test_what_others_hold_is_left_to_them():
    card = replace(CARDS[80], free=30 * GIB)
    made = hardware_plan.make(replace(facts(length=296), gpus=(card,)), Wishes())
    assert made.memory["trainer_bytes"] <= 0.92 * 80 * GIB - 50 * GIB
    assert "less 53.7 GB that others hold" in made.reasons[0].why
    assert float(made.settings["GPU_MEMORY"]) * 80 <= 30
    # The driver's own is nobody's.
    card = replace(CARDS[80], free=round(79.4 * GIB))
    assert hardware_plan.make(replace(facts(length=296), gpus=(card,)), Wishes()) == plan(80, length=296)


# The user's own values


def test_what_is_set_is_kept_and_the_rest_planned_around_it():
    made = plan(length=296, wishes=Wishes(micro_batch=2))
    assert (made.settings["MICRO_BATCH"], made.details["ACCUMULATION"]) == ("2", "4")
    assert made.reasons[0].why == "as it is set; 4 steps make the global batch of 8"
    assert plan(length=296, wishes=Wishes(checkpointing=True)).settings["CHECKPOINTING"] == "1"
    assert plan(length=296, wishes=Wishes(quantization="4")).settings["QUANTIZATION"] == "4"
    assert plan(length=296, wishes=Wishes(overlap=False)).settings["OVERLAP"] == "0"
    assert plan(length=296, wishes=Wishes(eager=False)).settings["EAGER"] == "0"
    # Four at once fit with gradient checkpointing, and the server beside them no more.
    made = plan(length=296, wishes=Wishes(train_jobs=4))
    assert short(made) == "8 1 none 4 0"
    assert made.problems == []
    # OVERLAP=1 takes the memory from the trainer.
    assert short(plan(80, "9.4B", 296)) == "8 0 none 1 0"
    assert short(plan(80, "9.4B", 296, wishes=Wishes(overlap=True))) == "4 0 none 1 1"
    made = plan(length=296, wishes=Wishes(gpu_memory=0.5))
    assert made.settings["GPU_MEMORY"] == "0.5"
    assert short(made) == "8 0 none 1 1"
    assert int(made.details["KV_CACHE_BYTES"]) == pytest.approx(0.5 * 150.1e9 - 18.8e9 - 1.8e9, rel=0.02)


@pytest.mark.parametrize(
    ("wishes", "mend"),
    [
        (Wishes(micro_batch=8, checkpointing=False), "set MICRO_BATCH=auto, or set CHECKPOINTING=auto, or "),
        (Wishes(train_jobs=2), "set TRAIN_JOBS=auto, or "),
        (Wishes(overlap=True), "set OVERLAP=auto, or "),
        (Wishes(checkpointing=False, origin={"checkpointing": "TRAIN_ARGS has x"}), "take it out of TRAIN_ARGS, or "),
    ],
)
def test_what_is_set_and_cannot_fit(wishes, mend):
    made = plan(24, "9.4B", wishes=wishes, bitsandbytes=False)
    assert made.problems[0][1].startswith(mend), made.problems
    assert "warning: " in script.explained(made)[-1]


def test_a_micro_batch_that_does_not_divide():
    with pytest.raises(
        UserError, match=r"MICRO_BATCH=3 does not divide the global batch of 8 .* take one of 1, 2, 4, 8"
    ):
        plan(wishes=Wishes(micro_batch=3))


# The server


def test_eager_or_compiled_by_the_number_of_items():
    even = plan_choice.Chooser(facts(), Wishes(), facts().shape).break_even()
    for items, eager in ((even - 1, "1"), (even, "0"), (None, "1")):
        assert plan(length=296, items=items).settings["EAGER"] == eager
    assert plan(length=296, items=even - 1, compiled=True).settings["EAGER"] == "0"
    assert plan(length=296, items=even, server="llamafactory").settings["EAGER"] == "1"
    # One request at a time, graphs pay soon.
    assert plan(length=296, items=1000, sizes=(100,)).settings["EAGER"] == "1"
    assert plan(length=296, items=1000, sizes=(100,), concurrency=1).settings["EAGER"] == "0"
    assert plan(length=296, items=2000, concurrency=1).settings["EAGER"] == "0"
    assert plan(length=296, items=1000, concurrency=1).settings["EAGER"] == "1"  # four sizes, four requests in flight
    # Where there is room for them.
    assert plan(24, "9.4B", items=even).settings["EAGER"] == "0"
    made = plan(24, "9.4B", items=even, wishes=Wishes(gpu_memory=0.8))
    assert (made.settings["EAGER"], made.reasons[6].why) == (
        "1",
        "beside its weights there is no room for CUDA graphs",
    )


def test_servers_at_once_share_the_gpu():
    assert plan(server="llamafactory", eval_jobs=2).settings["GPU_MEMORY"] == "0.45"
    assert plan(server="llamafactory", eval_jobs=2, gpus=2).settings["GPU_MEMORY"] == "0.7"
    assert plan(server="llamafactory", eval_jobs=3, gpus=2).settings["GPU_MEMORY"] == "0.45"
    assert plan(server="llamafactory").settings["GPU_MEMORY"] == "0.7"
    made = plan(24, "9.4B", server="llamafactory")
    assert (made.settings["GPU_MEMORY"], made.problems) == ("0.9", [])
    assert made.reasons[5].why == "LLaMA-Factory's own 0.7 does not hold the model here"


# Where nothing is planned


def test_a_cpu():
    known = replace(facts(), device="cpu", gpus=(), shape=None)
    made = hardware_plan.make(known, Wishes(train_jobs=2, checkpointing=False))
    assert list(made.settings.values()) == ["2", "0", "none", "2", "0", "0.9", "1"]
    assert [each.setting for each in made.reasons] == ["all"]
    assert list(hardware_plan.make(known, Wishes()).settings.values()) == ["2", "1", "none", "1", "0", "0.9", "1"]
    assert made.memory == {}


def test_an_unknown_model():
    known = replace(facts(gpus=2), shape=None, unknown="the size of a/b is not known, its config.json is not here yet")
    made = hardware_plan.make(known, Wishes())
    assert list(made.settings.values()) == ["2", "1", "none", "2", "0", "0.9", "1"]
    assert script.explained(made) == [
        "MICRO_BATCH 2, CHECKPOINTING 1, QUANTIZATION none, TRAIN_JOBS 2, OVERLAP 0, GPU_MEMORY 0.9, EAGER 1: the size "
        "of a/b is not known, its config.json is not here yet: the seed's way"
    ]


# The command


@pytest.fixture
def settings(folder: Path, monkeypatch) -> list[str]:
    """The flags that bin/sweep.sh passes, for a model of GLM-4's shape on an H200."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT"):
        monkeypatch.setenv(name, str(folder / name))
    for name in ("model", "data", "logs"):
        (folder / name).mkdir()
    (folder / "model/config.json").write_text(json.dumps(CONFIGS["9.4B"]))
    gpu = {"name": "NVIDIA H200", "memory_gib": 139.8, "memory_bytes": 150_121_545_728, "multiprocessors": 132}
    gpu |= {"compute_capability": "9.0", "free_bytes": 149_500_000_000}
    (folder / "logs/hardware.json").write_text(json.dumps({"gpus": [gpu], "bf16": True}))
    named = [
        "--sizes=100 500",
        f"--model={folder / 'model'}",
        "--template=glm4",
        "--sweep-name=x",
        "--learning-rate=1e-4",
    ]
    named += [
        "--eval-limit=",
        "--train-args=",
        "--server-args=",
        "--micro-batch=auto",
        "--overlap=auto",
        "--eager=auto",
    ]
    return [*named, f"--data-dir={folder / 'data'}", f"--logs-dir={folder / 'logs'}", "--server=vllm"]


def measured(folder: Path, longest: int, rows: int = 500) -> None:
    """A preflight that has counted the tokens of the data."""
    data = folder / "data/llm_train_500.json"
    data.write_text("[]")
    check = {"check": "lengths", "file": str(data), "rows": rows, "longest": longest}
    (folder / "logs/x.preflight.json").write_text(json.dumps({"checks": [check]}))


def test_lines_for_bash_and_the_record(folder, settings, capsys):
    measured(folder, 290)
    manifest = {"splits": {"llm_test": {"rows": 5000}, "llm_valid": {"rows": 300}}}
    (folder / "data/manifest.json").write_text(json.dumps(manifest))
    out = folder / "logs/x.plan.json"
    assert script.main([*settings, f"--out={out}", "--train-jobs=2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *("MICRO_BATCH=8", "CHECKPOINTING=0", "QUANTIZATION=none", "TRAIN_JOBS=2", "OVERLAP=1", "GPU_MEMORY=0.17"),
        "EAGER=1",
    ]
    record = json.loads(out.read_text())
    assert (record["schema"], record["kind"], record["facts"]["length"], record["facts"]["items"]) == (
        1,
        "plan",
        296,
        10000,
    )
    assert record["settings"]["MICRO_BATCH"] == "8"
    assert {"setting": "TRAIN_JOBS", "value": "2", "why": "as it is set"} in record["reasons"]
    assert sum(record["memory"]["trainer_parts"].values()) == record["memory"]["trainer_bytes"]
    assert script.main([*settings, "--details", "--train-jobs=2"]) == 0
    assert capsys.readouterr().out.splitlines()[7:] == ["ACCUMULATION=1", "KV_CACHE_BYTES=3774873600", "SERVER_ALONE=0"]


def facts_of(settings: list[str]) -> tuple[Facts, Wishes]:
    import argparse

    parser = argparse.ArgumentParser()
    plan_facts.add_flags(parser)
    return plan_facts.collect(parser.parse_known_args(settings)[0])


def test_lengths_are_those_of_the_data(folder, settings):
    assert facts_of(settings)[0].length_basis == "CUTOFF_LEN; the data is not built yet"
    measured(folder, 290)
    assert (facts_of(settings)[0].length, facts_of(settings)[0].length_basis) == (296, "the longest of the data")
    # A part was counted.
    measured(folder, 400, rows=250)
    assert facts_of(settings)[0].length == 504
    # Longer ones are cut.
    measured(folder, 5000)
    assert facts_of(settings)[0].length == 1024
    # The data is newer than the record: it is counted again, which here cannot be.
    os.utime(folder / "logs/x.preflight.json", (1, 1))
    assert facts_of(settings)[0].length_basis == "CUTOFF_LEN; the data's tokens cannot be counted"
    measured(folder, 290)
    assert facts_of([*settings, "--train-args=--packing True"])[0].length == 1024


def test_arguments_of_trainer_and_server_are_choices_of_the_user(settings):
    more = ["--train-args=--quantization_bit 4 --disable_gradient_checkpointing=True --lora_rank 16 --cutoff_len 512"]
    more += ["--server-args=--gpu-memory-utilization 0.4 --enforce-eager"]
    known, wishes = facts_of([*settings, *more])
    assert (wishes.quantization, wishes.checkpointing, wishes.gpu_memory, wishes.eager) == ("4", False, 0.4, True)
    assert (known.rank, known.length) == (16, 512)
    assert wishes.origin["quantization"] == "TRAIN_ARGS has --quantization_bit 4"
    assert wishes.origin["checkpointing"] == "TRAIN_ARGS has --disable_gradient_checkpointing True"
    known, wishes = facts_of(
        [*settings, "--train-args=--per_device_train_batch_size 4 --gradient_accumulation_steps 1"]
    )
    assert (wishes.micro_batch, known.global_batch) == (4, 4)


def test_a_model_of_the_hub_is_found_in_the_cache(folder, settings, monkeypatch):
    settings = [*settings, "--model=owner/name"]
    assert facts_of(settings)[0].unknown == "the size of owner/name is not known, its config.json is not here yet"
    repository = folder / "HF_HUB_CACHE/models--owner--name"
    (repository / "snapshots/abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    (repository / "snapshots/abc/config.json").write_text(json.dumps(CONFIGS["7B"]))
    assert facts_of(settings)[0].shape == memory.shape_of(CONFIGS["7B"])
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(folder))
    (folder / "HF_HUB_CACHE").rename(folder / "hub")
    assert facts_of(settings)[0].shape == memory.shape_of(CONFIGS["7B"])


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--micro-batch=0", "0 is not above 0"),
        ("--micro-batch=x", "invalid"),
        ("--overlap=maybe", "'maybe' is not auto, 0 or 1"),
        ("--quantization=3", "'3' is not auto, none, 4 or 8"),
        ("--gpu-memory=90", "90 is not between 0 and 1"),
    ],
)
def test_settings_that_are_wrong(settings, capsys, flag, message):
    with pytest.raises(SystemExit, match="2"):
        script.main([*settings, flag])
    assert message in capsys.readouterr().err


def test_it_starts_without_heavy_packages(settings):
    code = "import sys; sys.path.insert(0, 'py'); import hardware_plan; hardware_plan.main(sys.argv[1:]); "
    code += "print({'torch', 'transformers', 'tokenizers', 'huggingface_hub', 'numpy'} & sys.modules.keys())"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code, *settings], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


# The preflight


def test_the_preflight_says_what_the_plan_needs():
    (finding,) = machine.planned_memory(plan(24, "7B"))
    assert (finding.result, finding.message) == ("ok", "a trainer needs 21.0 GB of the GPU's 25.8 GB")
    warning, *problems = machine.planned_memory(plan(12, "9.4B", server="llamafactory", backend="huggingface"))
    assert (warning.result, problems) == ("warning", [])
    assert warning.text.startswith("GPU memory: QUANTIZATION=4: the weights take 18.8 GB at 16 bits")
    problem = machine.planned_memory(plan(24, "70B"))[0]
    assert problem.text == (
        "GPU memory: the most frugal plan (micro-batch 1, gradient checkpointing, 4 bit weights) needs 45.7 GB of the "
        "23.7 GB that 92% of the GPU are; take a smaller MODEL or a larger GPU"
    )
    # Before the data is there, what only the cutoff forbids is no problem.
    long = replace(facts(24, "9.4B", 4096, bitsandbytes=False), length_known=False)
    (finding,) = machine.planned_memory(hardware_plan.make(long, Wishes()))
    assert finding.result == "warning"
    assert finding.message.startswith("if examples are as long as CUTOFF_LEN, the most frugal plan (micro-batch 1, ")
    (finding,) = machine.planned_memory(hardware_plan.make(replace(long, length_known=True), Wishes()))
    assert finding.result == "problem"
    assert machine.planned_memory(hardware_plan.make(replace(facts(), shape=None), Wishes())) is None
