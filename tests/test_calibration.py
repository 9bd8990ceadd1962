"""calibration.json, against scikit-learn and numbers made by hand; which runs are absent, and why."""
# ruff: noqa: F401, F811 - fixtures of other files

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from test_constrain import VLLM, _vllm
from test_evaluation import LABELS, RUN, Sweep, _environment, right, server, sweep
from test_label_scores import asked

from fewshot_sft.answer.calibration import answered, bins, error, make, of_run
from fewshot_sft.answer.curves import cost, shares
from fewshot_sft.errors import UserError
from fewshot_sft.results.sweep import read_sweep


def drawn(items: int, too_sure: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences, and whether each was right, of a model that is by so much too sure."""
    rng = np.random.default_rng(seed)
    confidence = 0.25 + 0.75 * rng.beta(5, 1.5, items)
    return confidence, (rng.random(items) < confidence - too_sure).astype(float)


@pytest.mark.parametrize("digits", [12, 1])  # one digit: many are equal
def test_the_bins_are_scikit_learns(digits):
    confidence, hit = drawn(300, 0.1, 1)
    confidence = confidence.round(digits)
    accuracy, mean = calibration_curve(hit, confidence, n_bins=10, strategy="quantile")
    found = bins(confidence, hit)
    assert [each["accuracy"] for each in found] == pytest.approx(accuracy)
    assert [each["confidence"] for each in found] == pytest.approx(mean)
    assert sum(each["items"] for each in found) == 300
    assert all(each["low"] - 1e-9 <= each["confidence"] <= each["high"] + 1e-9 for each in found)
    weights = np.array([each["items"] for each in found]) / 300
    ece = error(confidence, hit, np.random.default_rng(0))
    assert ece["value"] == pytest.approx(weights @ np.abs(accuracy - mean))
    assert ece["low"] <= ece["value"] <= ece["high"]


@pytest.mark.parametrize(("too_sure", "least"), [(0.0, 0.92), (0.05, 0.84), (0.15, 0.86)])
def test_the_interval_holds_the_error_of_many_items(too_sure, least):
    truth = too_sure  # in every bin
    held = 0
    for seed in range(100):
        found = error(*drawn(200, too_sure, seed), np.random.default_rng(0))
        held += found["low"] <= truth <= found["high"]
    assert held / 100 >= least


def test_only_the_surest_are_answered():
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    hit = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0])
    found = answered(confidence, hit)
    assert [each["share"] for each in found] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    # Two are as sure as the second: both are answered.
    assert [each["items"] for each in found] == [1, 3, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [each["accuracy"] for each in found][:5] == pytest.approx([1, 2 / 3, 2 / 3, 0.75, 0.8])
    assert [each["at_least"] for each in found][:4] == [0.9, 0.8, 0.8, 0.7]
    # Wilson's for 4 of 10, from statsmodels.
    assert (found[-1]["low"], found[-1]["high"]) == pytest.approx((0.16818, 0.68733), abs=1e-5)


def evaluated(sweep: Sweep, server, **changed: str):
    """Return what is read of a sweep that was evaluated."""
    assert sweep.evaluate(server, **changed) == 0
    return read_sweep(sweep.run(**changed).settings, "tiny")


def test_a_run_with_scores(asked, server):
    found = make(evaluated(asked, server, **VLLM))
    assert (found["schema"], found["kind"], found["name"], found["absent"]) == (2, "calibration", "tiny", [])
    (run,) = found["runs"]
    about = {"run": RUN, "name": "tiny", "model": "base", "method": "lora", "size": 100, "seed": 42, "items": 6}
    assert {key: run[key] for key in about} == about
    # All are answered rightly, and all have the third label as the likeliest.
    assert run["same_as_answer"] == pytest.approx(1 / 3)
    assert run["bins"] == [
        {"low": 0.66667, "high": 0.66667, "items": 6, "confidence": pytest.approx(0.66667), "accuracy": 1 / 3}
    ]
    assert run["ece"]["value"] == pytest.approx(0.66667 - 1 / 3)
    assert [each["items"] for each in run["answered"]] == [6] * 10


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"identity": "other"}, "scores.json: of another evaluation than the record beside it; run bin/sweep.sh again"),
        ({"kind": "else"}, "scores.json: no label scores in it; move it away and run bin/sweep.sh again"),
        ({"absent": "so it is"}, "so it is"),
        (
            {"labels": ["a"]},
            "damaged (not the labels and items of the record); move it away and run bin/sweep.sh again",
        ),
        ({"probabilities": [[0.5, 0.2, 0.1]] * 6}, "damaged (its rows do not add up to 1)"),
        ({"probabilities": [[1, 0]] * 6}, "damaged (not the labels and items of the record)"),
        ({"probabilities": [[1, 0], [1]]}, "damaged ("),
        ({"probabilities": None}, "damaged ("),
    ],
)
def test_scores_that_cannot_be_used_are_absent_with_the_reason(asked, server, change, why):
    gathered = evaluated(asked, server, **VLLM)
    path = asked.objs / f"{RUN}.scores.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    found = make(gathered)
    assert found["runs"] == []
    (absent,) = found["absent"]
    assert absent["run"] == RUN
    assert why in absent["reason"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"BACKEND": "huggingface"},
            "BACKEND=huggingface: bin/results.sh scores the labels of models below a billion ",
        ),
        ({"BACKEND": "vllm"}, "llamafactory-cli api does not tell the probabilities; SERVER=vllm does"),
        (VLLM, "it was evaluated without label scores, by an earlier version; bin/eval.sh --force makes them"),
    ],
)
def test_a_run_without_scores_says_why(asked, server, changed, why):
    (one,) = evaluated(asked, server, **changed).evaluations
    (asked.objs / f"{RUN}.scores.json").unlink(missing_ok=True)
    with pytest.raises(UserError) as raised:
        of_run(one)
    assert str(raised.value).startswith(why)


def test_what_all_runs_of_a_method_share_is_part_of_the_cost_of_each(asked, server):
    (one,) = evaluated(asked, server, **VLLM).evaluations
    one = replace(one, record=one.record | {"device": "cpu", "timings": {"seconds": 2.0, "shared_seconds": 30.0}})
    assert cost(one, {}) == {"gpu": 0.0, "cpu": 32.0, "evaluation": 2.0}


def test_of_the_time_that_runs_were_asked_at_once_each_has_its_part(asked, server):
    (one,) = evaluated(asked, server, **VLLM).evaluations

    def timed(begin: int, end: int, trained: dict[str, object] | None = None):
        span = {"started": f"2026-01-01T00:00:{begin:02}+00:00", "finished": f"2026-01-01T00:00:{end:02}+00:00"}
        timings = span | {"seconds": float(end - begin)}
        return replace(one, record=one.record | {"timings": timings}, training=trained and timings | trained)

    # From 10 to 20 it is alone, to 30 with one other, which has the last 5 for itself.
    first, second = timed(10, 30), timed(20, 35)
    alone = shares([first, second])
    assert cost(first, alone)["evaluation"] == pytest.approx(10 + 10 / 2)
    assert cost(second, alone)["evaluation"] == pytest.approx(10 / 2 + 5)
    twice = shares([first, first])
    assert cost(first, twice)["evaluation"] == pytest.approx(10)
    both = timed(10, 30, {"status": "done"})
    assert sum(cost(both, shares([both])).values()) == pytest.approx(20 + 10)
