"""The decision: curves of every kind, among them those that invite a wrong answer, and what is said about them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from made_curves import made

from fewshot_sft.answer import decision
from fewshot_sft.answer.decision import LEAST_DRAWS
from fewshot_sft.answer.sentences import headline
from fewshot_sft.catalogue import words

UP = {100: 0.5, 200: 0.65, 400: 0.75, 800: 0.82}
FLAT = {100: 0.8, 200: 0.8, 400: 0.8, 800: 0.8}
ONE_SEED = "One seed: what another draw of the training texts would change is assumed, not measured."


def decide(*curves, without=None, metric="accuracy", **settings):
    answer = decision.decide(list(curves), [without] if without else [], metric, **settings)
    json.dumps(answer, allow_nan=False)  # is a record
    return answer, headline(answer)


def dearer(curve, times, method):
    """Return the same answers under another name, at another price."""
    seconds = {size: {kind: times * value for kind, value in each.items()} for size, each in curve.seconds.items()}
    return replace(curve, method=method, seconds=seconds)


def test_a_curve_that_rises():
    answer, said = decide(made("lora", UP, seeds=3, spread=0.01))
    lora = answer["methods"]["lora"]

    assert answer["then"] == "label"
    expected = lora["expected"]["2x"]
    assert expected["size"] == 1600
    order = [expected[key] for key in ("low95", "low80", "median", "high80", "high95")]
    assert order == sorted(order)
    assert lora["fit"]["effective_draws"] > LEAST_DRAWS
    assert lora["points"][-1]["accuracy"]["seeds_sd"] == pytest.approx(
        made("lora", UP, seeds=3, spread=0.01).cells[800].score("accuracy").std(ddof=1)
    )
    gain = lora["gain_of_next_doubling"]
    assert f"twice the labels bring about {gain['median']:+.3f}" in said.lower()
    assert said.endswith("80 %): label more.")


def test_one_seed_is_said():
    assert decide(made("lora", UP))[1].endswith(ONE_SEED)
    assert ONE_SEED not in decide(made("lora", UP, seeds=2, spread=0.01))[1]


def test_a_dip_is_refused():
    answer, said = decide(made("lora", {100: 0.5, 200: 0.8, 400: 0.6, 800: 0.85}))
    lora = answer["methods"]["lora"]

    assert answer["then"] == "decide"
    assert lora["refused"] == "the score falls significantly from 200 to 400 labels (-0.200)"
    assert "expected" not in lora
    assert "What would decide it: another seed (about 2 min)" in said


def test_after_a_dip_with_one_seed_nothing_is_reached():
    curve = {100: 0.5, 200: 0.95, 400: 0.6, 800: 0.95}

    answer, said = decide(made("lora", curve), target=0.9)
    assert answer["methods"]["lora"]["target"] == {}
    assert said.startswith("Whether accuracy 0.9 is reached cannot be said.")

    answer, said = decide(made("lora", curve, seeds=3), target=0.9)
    assert answer["methods"]["lora"]["target"]["reached_from"] == 800  # not 200, for 400 is below


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_flat_curve_says_stop(seeds):
    answer, said = decide(made("lora", FLAT, seeds=seeds))

    assert answer["then"] == "stop"
    assert ": stop labelling." in said
    gain = answer["methods"]["lora"]["gain_of_next_doubling"]
    assert gain["low80"] < 0.005 < gain["high80"] < 0.03


@pytest.mark.parametrize(("metric", "chance"), [("accuracy", 0.25), ("f1", 0.25)])
def test_chance_is_not_extrapolated(metric, chance):
    curves = [made(name, dict.fromkeys((100, 200, 400), 0.25), rng=i) for i, name in enumerate(("lora", "tfidf"))]

    answer, said = decide(*curves, metric=metric)

    assert answer["chance"] == chance
    assert answer["then"] == "decide"
    for found in answer["methods"].values():
        assert found["refused"] == "with 400 labels it is not surely better than chance (0.250)"
        assert found["needs"][0] == "size"
    assert "stop" not in said
    assert answer["break_even"] == []


def test_nothing_right_at_all_is_not_extrapolated():
    answer, _ = decide(made("lora", dict.fromkeys((16, 32, 64), 0.0), items=60))

    assert answer["methods"]["lora"]["points"][-1]["accuracy"]["high"] > 0.04  # none of 60 may be 5 %
    assert answer["then"] == "decide"


@pytest.mark.parametrize("sizes", [1, 2])
def test_too_few_sizes(sizes):
    answer, said = decide(made("lora", dict(list(UP.items())[:sizes])), target=0.8)
    lora = answer["methods"]["lora"]

    were = {1: "1 size was measured", 2: "2 sizes were measured"}[sizes]
    assert lora["refused"] == f"{were}, 3 are needed (SIZES)"
    assert lora["needs"] == ["size"]
    last = {1: 100, 2: 200}[sizes]
    assert lora["needs_seconds"] == {"size": 2 * last / 10}
    assert f"What would decide it: a run with {2 * last} labels (about {2 * last / 10:.0f} s)" in said
    assert ("gain_of_last_doubling" in lora) == (sizes == 2)
    assert lora["target"]["p_now"] < 0.05  # the score at the largest size is known all the same


def test_a_target_reached_with_one_size():
    answer, said = decide(made("lora", {100: 0.9}), target=0.8)

    assert answer["methods"]["lora"]["target"]["reached_from"] == 100
    assert said.startswith("Accuracy 0.8 is reached by lora from 100 labels on: no more labels are needed for it.")
    assert answer["then"] == "stop"


def test_a_target_that_is_reached():
    answer, said = decide(made("lora", UP), target=0.7)
    found = answer["methods"]["lora"]["target"]

    assert found["reached_from"] == 400  # .75 of 1,000 items; .65 is below
    assert found["p_now"] >= 0.95
    assert said.startswith("Accuracy 0.7 is reached by lora from 400 labels on")
    assert "cannot be said" not in said


def test_just_above_is_not_reached():
    answer, said = decide(made("lora", {100: 0.7, 200: 0.76, 400: 0.805}, items=300), target=0.8)
    found = answer["methods"]["lora"]["target"]

    assert "reached_from" not in found
    assert 0.05 < found["p_now"] < 0.95
    assert said.startswith("Accuracy 0.8 is not surely reached (probability ")


def test_a_target_ahead():
    answer, said = decide(made("lora", UP, seeds=3, spread=0.01), target=0.87)
    lora = answer["methods"]["lora"]

    assert answer["then"] == "label"
    assert 0.05 < lora["expected"]["2x"]["p_target"] < lora["expected"]["4x"]["p_target"] < 1
    assert 800 < lora["target"]["at_least"] < lora["target"]["at_most"] <= 16 * 800
    assert f"it takes {lora['target']['at_least']} to {lora['target']['at_most']} labels (80 %)" in said


def test_a_target_out_of_reach():
    curve = made("lora", {100: 0.5, 200: 0.55, 400: 0.57, 800: 0.58}, seeds=3, spread=0.005)
    answer, said = decide(curve, target=0.95)
    lora = answer["methods"]["lora"]

    assert lora["expected"]["2x"]["p_target"] < 0.01
    assert lora["expected"]["4x"]["p_target"] < 0.01
    assert lora["target"]["p_within_horizon"] < 0.05
    assert "at_most" not in lora["target"]
    assert answer["then"] == "stop"
    assert "below 1 % with 1600 labels and below 1 % with 3200 labels" in said
    assert "more labels alone will hardly reach the target" in said


def test_thirty_items_are_too_few():
    answer, said = decide(made("lora", UP, items=30), target=0.8)
    lora = answer["methods"]["lora"]

    assert lora["refused"].endswith("wide, more than TOLERANCE=0.2")
    assert lora["needs"][0] == "items"
    assert lora["needs_seconds"]["items"] == 8  # four evaluations of 2 s
    assert "What would decide it: twice the test items (about 8 s)" in said


def test_thirty_right_ones_are_no_proof():
    answer, said = decide(made("lora", {10: 1.0, 20: 1.0, 40: 1.0}, items=30), target=0.95)
    lora = answer["methods"]["lora"]

    assert lora["points"][-1]["accuracy"]["low"] < 0.9
    assert "reached_from" not in lora["target"]
    assert answer["then"] == "decide"
    assert lora["needs"] == ["items"]
    assert "What would decide whether the target is reached: twice the test items" in said


def test_a_tolerance_that_allows_it():
    curve = made("lora", UP, items=300)

    assert "refused" not in decide(curve, tolerance=1)[0]["methods"]["lora"]
    assert "TOLERANCE=0.01" in decide(curve, tolerance=0.01)[0]["methods"]["lora"]["refused"]


def test_identical_methods_are_not_told_apart():
    lora = made("lora", UP)
    answer, said = decide(lora, dearer(lora, 1, "tfidf"))

    assert [(each["difference"], each["p"]) for each in answer["comparisons"] if "lora 800" in each["first"]] == [
        (0, 1)
    ]
    assert answer["break_even"] == [{"methods": ["lora", "tfidf"], "from": 100, "to": 3200}]
    assert "cheaper" not in answer
    assert "the difference of lora to it, +0.000 (+0.000 to +0.000), is not significant" in said


def test_an_interval_without_0_may_not_be_significant_after_correction():
    answer, _ = decide(made("lora", UP), made("tfidf", UP, rng=1))
    own = {"first": "lora 800", "second": "tfidf 800", "difference": 0.05, "low": 0.01, "high": 0.09, "corrected": 0.2}
    answer |= {"use": "tfidf", "comparisons": [own, {"first": "lora 100", "second": "lora 200"}]}

    difference = "the difference of tfidf to it, +0.050 (+0.010 to +0.090), is not significant"
    assert f"{difference} after correction for 2 comparisons" in headline(answer)
    own["low"] = -0.01
    assert f"{difference.replace('+0.010', '-0.010')}, and lora takes" in headline(answer)


@pytest.mark.parametrize("tolerance", [0.01, 1])
def test_the_same_answer_in_chinese(tolerance):
    answer, said = decide(made("lora", UP, items=300), tolerance=tolerance)
    chinese = headline(answer, words("zh"))

    numbers = re.compile(r"(?<![A-Z\d=.])[-+]?\d+\.\d+")
    assert sorted(numbers.findall(chinese)) == sorted(numbers.findall(said))
    assert ("TOLERANCE=0.01" in chinese) == (tolerance == 0.01)
    assert "labels" not in chinese


def test_as_good_and_much_cheaper():
    lora = made("lora", UP)
    answer, said = decide(dearer(lora, 100, "lora"), made("tfidf", UP | {800: 0.815}, rng=3))

    assert (answer["best"], answer["cheaper"], answer["use"]) == ("lora", "tfidf", "tfidf")
    assert "is not significant, and lora takes 2.2 h instead of 80 s" in said


def test_some_seconds_saved_are_nothing():
    answer, _ = decide(made("lora", UP), made("tfidf", UP | {800: 0.815}, rng=3, seconds=3.0))

    assert (answer["best"], answer["use"]) == ("lora", "lora")
    assert "cheaper" not in answer


def test_cheap_but_much_worse_on_few_items_is_not_as_good():
    """Thirty items cannot tell .80 from .65, which does not make them alike."""
    answer, _ = decide(
        dearer(made("lora", UP, items=30), 100, "lora"), made("tfidf", {100: 0.4, 400: 0.6, 800: 0.7}, items=30)
    )

    assert answer["use"] == "lora"


def test_better_and_cheaper():
    better = made("embedding", {size: score + 0.1 for size, score in UP.items()}, rng=1, seeds=3)
    answer, said = decide(dearer(made("lora", UP, seeds=3), 100, "lora"), better)

    assert answer["use"] == "embedding"
    assert said.startswith("embedding has accuracy 0.920 (")
    assert "lora has 0.820 (" in said
    assert "embedding is ahead by +0.100 (" in said
    assert ", and was so at every smaller size" in said
    (entry,) = answer["break_even"]
    assert (entry["better_at_first"], entry["better_at_last"]) == ("embedding", "embedding")
    assert "on_the_mean" not in entry
    assert {each["method"] for each in answer["pareto"]} == {"embedding"}


def test_ahead_only_where_it_is_significant():
    """Ahead at every size, but not surely at the largest: then that is not said."""
    ahead = made("tfidf", {size: score + 0.01 for size, score in UP.items()}, items=200, rng=1)
    _, said = decide(made("lora", UP, items=200), ahead)

    assert "is not significant" in said
    assert "every" not in said


def test_where_two_curves_cross():
    lora = made("lora", {100: 0.3, 200: 0.55, 400: 0.75, 800: 0.88}, seeds=3)
    tfidf = made("tfidf", {100: 0.55, 200: 0.63, 400: 0.7, 800: 0.75}, seeds=3, rng=1)

    answer, said = decide(lora, tfidf)
    (entry,) = answer["break_even"]

    assert (entry["better_at_first"], entry["better_at_last"], entry["leads_later"]) == ("tfidf", "lora", "lora")
    assert 200 < entry["on_the_mean"] <= 400
    assert entry["on_the_mean"] <= entry["surely"] <= 800
    assert f"lora leads from about {entry['on_the_mean']} labels on, surely from {entry['surely']} on" in said


def test_no_labels_at_all_may_be_the_best():
    zero_shot = made("zero-shot", {0: 0.8})
    answer, said = decide(made("lora", {100: 0.3, 200: 0.45, 400: 0.55, 800: 0.6}), without=zero_shot)

    assert answer["use"] == "zero-shot"
    assert answer["then"] == "stop"
    assert said.startswith("zero-shot has accuracy 0.800 (")
    assert "with no labels. lora has 0.600 (" in said
    assert answer["methods"]["zero-shot"]["points"][0].get("size") is None

    answer, said = decide(made("lora", UP), without=zero_shot, target=0.75)
    assert answer["methods"]["zero-shot"]["target"]["reached_from"] == 0


def test_where_the_labels_overtake_no_labels():
    answer, _ = decide(made("lora", UP), without=made("zero-shot", {0: 0.7}))

    (entry,) = answer["break_even"]
    assert (entry["better_at_first"], entry["better_at_last"]) == ("zero-shot", "lora")
    assert 200 < entry["on_the_mean"] <= 400


def test_the_cheapest_for_each_score():
    """Without prices a point must be beaten in labels and seconds, with prices in money."""
    lora, tfidf = made("lora", UP), made("tfidf", {size: score - 0.1 for size, score in UP.items()}, rng=1)
    lora = replace(lora, seconds={size: {"gpu": 3600.0, "cpu": 0.0, "evaluation": 9.0} for size in UP})

    free, _ = decide(lora, tfidf)
    assert len(free["pareto"]) == 8  # tfidf is worse and quicker everywhere
    assert all(each["low"] < each["score"] < each["high"] for each in free["pareto"])
    assert "cost" not in free["methods"]["lora"]["points"][0]

    priced, _ = decide(lora, tfidf, gpu_price=2.0, label_cost=0.01)
    assert [point["cost"] for point in priced["methods"]["lora"]["points"]] == [3, 4, 6, 10]
    assert [point["cost"] for point in priced["methods"]["tfidf"]["points"]] == [1, 2, 4, 8]
    kept = [(each["method"], each["size"]) for each in priced["pareto"]]
    assert kept[0] == ("tfidf", 100)
    assert kept[-1] == ("lora", 800)
    costs, scores = ([each[key] for each in priced["pareto"]] for key in ("cost", "score"))
    assert costs == sorted(costs)
    assert scores == sorted(scores)


def test_the_f1_of_each_class():
    answer, _ = decide(made("lora", UP), labels=["a", "b", "c", "d"])
    points = answer["methods"]["lora"]["points"]

    assert [("per_class" in point) for point in points] == [False, False, False, True]
    per_class = points[-1]["per_class"]
    assert list(per_class) == ["a", "b", "c", "d"]
    assert all(each["low"] < each["mean"] < each["high"] for each in per_class.values())
    assert np.mean([each["mean"] for each in per_class.values()]) == pytest.approx(points[-1]["f1"]["mean"])


def test_the_answer_is_the_same_again():
    curves = made("lora", UP), made("tfidf", FLAT, rng=1)

    assert decide(*curves, seed=5) == decide(*curves, seed=5)
