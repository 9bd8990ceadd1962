"""Which runs share a task of the cluster."""

from __future__ import annotations

import os

import pytest

import slurm_tasks
from fewshot_sft import runs
from fewshot_sft.cluster.grouping import group
from fewshot_sft.settings import Settings


def tasks(missing: str = "", **values: str) -> list[tuple[str, str, str]]:
    """Return (part, scripts, runs) of each task of a sweep ``s``, whose name is left out."""
    settings = Settings({"SWEEP_NAME": "s", "MODEL_NAME": "m", "DEVICE": "gpu", "SEEDS": "42", **values})
    some = [run for run in runs.every(settings) if not missing or run.name in missing.split()]
    made = group(some, settings.device)
    return [(each.part, ",".join(each.scripts), " ".join(run.name[2:] for run in each.runs)) for each in made]


def test_small_sizes_share_a_task_and_none_trains_on_more_than_the_largest():
    assert tasks(SIZES="10 50 100", METHODS="zero-shot lora") == [
        ("models", "train,eval", "zero-shot llm_train_100"),
        ("models", "train,eval", "llm_train_50 llm_train_10"),
    ]
    seeds = tasks(SIZES="10 50 100", SEEDS="42 43", METHODS="lora")
    assert [len(each[2].split()) for each in seeds] == [1, 1, 2, 2]


def test_k_shot_goes_with_the_adapter_of_its_examples_and_alone_is_only_evaluated():
    assert tasks(SIZES="10 20", METHODS="lora k-shot") == [
        ("models", "train,eval", "llm_train_20 k-shot_20"),
        ("models", "train,eval", "llm_train_10 k-shot_10"),
    ]
    assert tasks("s-zero-shot", SIZES="10", METHODS="zero-shot lora") == [("models", "eval", "zero-shot")]


@pytest.mark.parametrize(
    ("device", "setfit"), [("gpu", ("models", "baselines --on-gpu")), ("cpu", ("methods", "baselines"))]
)
def test_methods_without_a_server(device: str, setfit: tuple[str, str]):
    assert tasks(SIZES="10 20", SEEDS="42 43", METHODS="tfidf setfit", DEVICE=device) == [
        ("methods", "baselines", "tfidf_10 tfidf_20 tfidf_10-seed43 tfidf_20-seed43"),
        (*setfit, "setfit_10 setfit_20"),
        (*setfit, "setfit_10-seed43 setfit_20-seed43"),
    ]


def test_nothing_is_missing():
    assert group([], "gpu") == []


def test_with_another_revision_of_the_model_the_earlier_plans_commit_does_not_count(given, capsys):
    settings = given(MODEL="own/er", MODEL_REVISION="v1", KV_CACHE_BYTES="0", MODEL_COMMIT="a" * 40)
    settings.logs_dir.mkdir()
    settings.write(settings.kept)
    for revision, found in (("v1", "a" * 40), ("v2", "")):
        asked = given(MODEL="own/er", MODEL_REVISION=revision)
        slurm_tasks.settle(asked, False)
        assert Settings.read(f"{os.environ['FEWSHOT_SETTINGS']}.planned").model_commit == found
    assert capsys.readouterr().out == "kept\nnew\n"
