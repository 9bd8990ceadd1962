"""The statistics of the answer, each against another library's or a number made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from fewshot_sft.answer.intervals import (
    OUTSIDE,
    Cell,
    bootstrap,
    class_intervals,
    class_scores,
    compare,
    draws_of_items,
    interval,
    item_covariance,
    scores,
)


def answers_to(truth, right, classes, rng):
    """Return answers of which about ``right`` are the label, and a tenth of the others outside the labels."""
    other = rng.integers(0, classes, len(truth))
    other[rng.random(len(truth)) < 0.1] = OUTSIDE
    return np.where(rng.random(len(truth)) < right, truth, other)


def compared(cells, pairs, metric="accuracy", items=200):
    weights = draws_of_items(items, np.random.default_rng(0))
    each = {name: cell.drawn(metric, weights) for name, cell in cells.items()}
    return compare(pairs, cells, each, metric, np.random.default_rng(1))


@pytest.mark.parametrize("classes", [2, 5, 77])
@pytest.mark.parametrize("with_items", [1.0, 0.6])
def test_scores_are_those_of_scikit_learn(classes, with_items):
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, max(1, int(classes * with_items)), 150)  # the last classes have no items
    answers = answers_to(truth, 0.5, classes, rng)
    labels = list(range(classes))

    f1 = {"labels": labels, "zero_division": 0}
    assert scores(answers, truth, classes, "accuracy") == pytest.approx(accuracy_score(truth, answers))
    assert scores(answers, truth, classes, "f1") == pytest.approx(f1_score(truth, answers, average="macro", **f1))
    assert class_scores(answers, truth, classes) == pytest.approx(f1_score(truth, answers, average=None, **f1))


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_a_draw_scores_as_the_items_that_it_repeats(metric):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 60)
    answers = answers_to(truth, 0.6, 4, rng)
    weights = draws_of_items(60, rng, draws=20)

    repeated = [np.repeat(np.arange(60), each.astype(int)) for each in weights]
    by_hand = [scores(answers[each], truth[each], 4, metric) for each in repeated]
    assert scores(answers, truth, 4, metric, weights) == pytest.approx(by_hand)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_the_interval_is_scipys(metric):
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, 200)
    answers = answers_to(truth, 0.7, 3, rng)
    cell = Cell(answers[None], truth, 3)

    weights = draws_of_items(200, rng, draws=4000)
    found = interval(bootstrap(cell.drawn(metric, weights), rng), 200)

    def statistic(a, t):
        return scores(np.asarray(a), np.asarray(t), 3, metric)

    made = stats.bootstrap(
        (answers, truth), statistic, paired=True, vectorized=False, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    assert found == pytest.approx((made.low, made.high), abs=0.006)


def test_rare_classes_do_not_push_the_interval_below_the_score():
    truth = np.arange(120) % 60  # two items each: a draw misses 13 % of the classes
    answers = answers_to(truth, 0.7, 60, np.random.default_rng(5))
    cell = Cell(answers[None], truth, 60)

    draws = bootstrap(cell.drawn("f1", draws_of_items(120, np.random.default_rng(6))), np.random.default_rng(7))

    assert draws.mean() == pytest.approx(cell.score("f1")[0], abs=0.05)
    low, high = interval(draws, 120)
    assert low < cell.score("f1")[0] < high


def test_all_right_is_not_surely_perfect():
    low, high = interval(np.ones(1000), 30)

    assert (low, high) == pytest.approx((0.025 ** (1 / 30), 1))  # Clopper and Pearson, by hand
    assert interval(np.zeros(1000), 30) == pytest.approx((0, 1 - 0.025 ** (1 / 30)))


def test_seeds_widen_the_interval_by_their_variance():
    each = np.repeat([[0.5, 0.6, 0.7]], 50_000, 0)  # no noise of items

    draws = bootstrap(each, np.random.default_rng(8))

    assert draws.mean() == pytest.approx(0.6, abs=1e-3)
    assert draws.var() == pytest.approx(np.var([0.5, 0.6, 0.7], ddof=1) / 3, rel=0.02)


def test_class_intervals():
    truth = np.array([0] * 100 + [1] * 100 + [2] * 5)
    rng = np.random.default_rng(9)
    cell = Cell(np.array([answers_to(truth, 0.6, 4, rng) for _ in range(2)]), truth, 4)

    found = class_intervals(cell, draws_of_items(205, rng), rng)

    assert list(found) == [0, 1, 2]  # class 3 has no items: it was not measured
    expected = np.mean([f1_score(truth, row, labels=[0, 1, 2], average=None) for row in cell.answers], 0)
    assert [mean for mean, _, _ in found.values()] == pytest.approx(expected)
    assert all(low <= mean <= high for mean, low, high in found.values())
    width = {number: high - low for number, (_, low, high) in found.items()}
    assert width[2] > 2 * width[0]


def test_mcnemar_by_hand():
    truth = np.zeros(200, int)
    one, two = np.zeros(200, int), np.zeros(200, int)
    one[:12], two[12:16] = 1, 1  # only the second is right in 12, only the first in 4

    (found,) = compared({"a": Cell(one[None], truth, 2), "b": Cell(two[None], truth, 2)}, [("a", "b")])

    assert found.test == "McNemar"
    assert found.difference == pytest.approx(8 / 200)
    assert found.p == pytest.approx(stats.binomtest(4, 16, 0.5).pvalue)
    assert found.low < found.difference < found.high


def test_the_bootstraps_p_value_is_near_mcnemars():
    truth = np.zeros(200, int)
    one, two = np.zeros(200, int), np.zeros(200, int)
    one[:30], two[30:45] = 1, 1
    cells = {"a": Cell(one[None], truth, 2), "b": Cell(two[None], truth, 2)}
    twice = {name: Cell(np.repeat(cell.answers, 2, 0), truth, 2) for name, cell in cells.items()}  # seeds all alike

    (found,) = compared(twice, [("a", "b")])

    assert found.test == "paired bootstrap"
    assert found.p == pytest.approx(stats.chi2.sf((30 - 15) ** 2 / 45, 1), rel=0.25)


def test_a_large_difference_stays_significant_among_many():
    truth = np.arange(200) % 4
    rng = np.random.default_rng(10)
    cells = {"good": Cell(answers_to(truth, 0.9, 4, rng)[None], truth, 4)}
    cells |= {f"bad {i}": Cell(answers_to(truth, 0.3, 4, rng)[None], truth, 4) for i in range(80)}

    found = compared(cells, [(f"bad {i}", "good") for i in range(80)], "f1")

    assert max(each.corrected for each in found) < 0.001


def test_equal_methods_are_rarely_told_apart():
    """With three seeds each that differ, and no difference between the methods: about 5 % of the p-values are < .05."""
    rng = np.random.default_rng(11)
    truth = np.arange(150) % 3
    weights = draws_of_items(150, rng, draws=200)
    low = 0
    for _ in range(60):
        cells = {
            name: Cell(np.array([answers_to(truth, rng.normal(0.6, 0.05), 3, rng) for _ in range(3)]), truth, 3)
            for name in "ab"
        }
        each = {name: cell.drawn("f1", weights) for name, cell in cells.items()}
        low += compare([("a", "b")], cells, each, "f1", rng)[0].p < 0.05
    assert low <= 8


def test_identical_answers_do_not_differ():
    truth = np.arange(100) % 2
    cell = Cell(np.zeros((1, 100), int), truth, 2)

    for metric in ("accuracy", "f1"):
        (found,) = compared({"a": cell, "b": cell}, [("a", "b")], metric, items=100)
        assert (found.difference, found.p, found.corrected) == (0, 1, 1)


def test_holm_by_hand():
    truth = np.zeros(200, int)
    cells = {}
    for name, wrong in {"a": 0, "b": 6, "c": 8, "d": 12}.items():
        row = np.zeros(200, int)
        row[:wrong] = 1
        cells[name] = Cell(row[None], truth, 2)

    found = compared(cells, [("a", "b"), ("a", "c"), ("a", "d")])

    raw = [2 * 0.5**6, 2 * 0.5**8, 2 * 0.5**12]
    assert [each.p for each in found] == pytest.approx(raw)
    # The smallest times 3, the next times 2, the largest as it is.
    assert [each.corrected for each in found] == pytest.approx([raw[0], 2 * raw[1], 3 * raw[2]])


def test_the_covariance_of_common_items():
    rng = np.random.default_rng(12)
    truth = np.zeros(400, int)
    one = (rng.random(400) < 0.3).astype(int)
    two = np.where(rng.random(400) < 0.6, one, (rng.random(400) < 0.2).astype(int))
    weights = draws_of_items(400, rng, draws=20_000)

    each = [Cell(row[None], truth, 2).drawn("accuracy", weights) for row in (one, two)]

    assert item_covariance(each, 400) == pytest.approx(np.cov(one, two, bias=True) / 400, rel=0.05)


def test_right_answers_alone_do_not_make_sure():
    truth = np.zeros(30, int)
    weights = draws_of_items(30, np.random.default_rng(13))
    each = [Cell(np.zeros((1, 30), int), truth, 2).drawn("accuracy", weights)] * 2

    found = item_covariance(each, 30)

    assert found[0, 0] == pytest.approx(2 / 34 * (1 - 2 / 34) / 34)
    assert found[0, 1] == pytest.approx(found[0, 0])  # of the same items: two sizes do not know more than one
