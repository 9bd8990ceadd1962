"""Subsets: proportional at every size, nested, seeded, and blind to the order of the source."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest

from fewshot_sft.data import sampling
from fewshot_sft.data.cleaning import Example
from fewshot_sft.jsonio import sha256_json

# Skewed, even, tiny, many classes, a class of one, a dominant class.
COUNTS = [
    [1],
    [1, 1],
    [5, 5, 5],
    [90, 2, 2, 2, 2, 2],
    [50, 40, 5, 4, 1],
    [1, 1, 1, 997],
    [7] * 40,
    [3, 5, 8, 13, 21, 34, 55, 89],
    [100, 1],
    *[
        [random.Random(case).randint(1, 60) for _ in range(random.Random(-case).randint(2, 12))]
        for case in range(1, 40)
    ],
]


def examples(counts: dict[str, int]) -> list[Example]:
    made = []
    for label, count in counts.items():
        for number in range(count):
            text = f"{label} {number}"
            made.append(Example(len(made) + 1, text, label, sha256_json({"text": text, "label": label})))
    return made


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_every_prefix_is_within_one_of_proportional(counts):
    sequence = sampling.class_sequence(counts)

    assert Counter(sequence) == dict(enumerate(counts))
    taken = [0] * len(counts)
    for size, group in enumerate(sequence, start=1):
        taken[group] += 1
        for count, have in zip(counts, taken, strict=True):
            quota = Fraction(size * count, sum(counts))
            assert quota - 1 < have < quota + 1


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_every_class_comes_as_early_as_proportion_allows(counts):
    total = sum(counts)
    # The smallest size from which on, at every size, floor(quota) of each class and at least one fit in.
    fits = [sum(max(size * count // total, 1) for count in counts) <= size for size in range(1, total + 1)]
    earliest = max((size for size, fit in enumerate(fits, start=1) if not fit), default=0) + 1

    assert len(set(sampling.class_sequence(counts)[:earliest])) == len(counts)


def test_a_rare_class_is_in_a_small_subset():
    # Its share of 50 is 0.25: rounding alone would leave it out.
    assert Counter(sampling.class_sequence([500, 400, 95, 5])[:50])[3] == 1


def test_no_classes_no_sequence():
    assert sampling.class_sequence([]) == []


def test_nested_subsets_are_prefixes_of_each_other():
    pool = sampling.stratified_order(examples({"a": 60, "b": 30, "c": 10}), seed=42)

    made = sampling.subsets(pool, [10, 50, 100], 42, 42, "nested")

    assert made[50][:10] == made[10]
    assert made[100][:50] == made[50]
    assert Counter(example.label for example in made[50]) == {"a": 30, "b": 15, "c": 5}
    other = sampling.subsets(pool, [10, 50, 100], 1, 42, "nested")
    assert other[50][:10] == other[10] != made[10]
    assert Counter(example.label for example in other[50]) == {"a": 30, "b": 15, "c": 5}


def test_order_depends_on_seed_and_content_but_not_on_source_order():
    rows = examples({"a": 30, "b": 20})
    texts = [example.text for example in sampling.stratified_order(rows, seed=1)]

    assert [example.text for example in sampling.stratified_order(rows[::-1], seed=1)] == texts
    assert [example.text for example in sampling.stratified_order(rows, seed=2)] != texts
    assert texts[:4] == ["a 1", "b 5", "a 21", "a 2"]  # for ever, on every machine and Python


def test_independent_subsets_are_drawn_size_by_size():
    pool = sampling.stratified_order(examples({"a": 150, "b": 50}), seed=42)

    made = sampling.subsets(pool, [50, 100], 42, 42, "independent")

    assert not set(made[50]) <= set(made[100])
    assert len(set(made[50])) == 50
    assert made == sampling.subsets(pool, [50, 100], 42, 42, "independent")
    assert made != sampling.subsets(pool, [50, 100], 43, 42, "independent")


def test_held_out_rows_leave_small_subsets_as_they_are():
    rows = examples({"a": 60, "b": 39, "c": 1})
    pool, held = sampling.hold_out(rows, {}, {"valid": 10, "test": 20}, 42)
    smaller, less = sampling.hold_out(rows, {}, {"valid": 5, "test": 5}, 42)

    assert [len(pool), len(held["valid"]), len(held["test"])] == [70, 10, 20]
    assert smaller[:70] == pool
    assert len(less["valid"]) == 5
    assert sorted([*pool, *held["valid"], *held["test"]], key=lambda example: example.row) == rows
    assert "c" in {example.label for example in pool}  # the only one of its class stays in training
    assert Counter(example.label for example in held["test"])["a"] in (12, 13)


def test_default_shares_are_a_tenth_and_a_fifth():
    _, held = sampling.hold_out(examples({"a": 60, "b": 40}), {}, {"valid": None, "test": None}, 42)

    assert [len(held["valid"]), len(held["test"])] == [10, 20]


def test_a_cap_takes_a_stratified_sample_in_the_source_order():
    given = {"valid": examples({"a": 80, "b": 20}), "test": examples({"a": 3, "b": 3})}
    pool, held = sampling.hold_out(examples({"a": 5, "b": 5}), given, {"valid": 10, "test": 100}, 42)

    assert len(pool) == 10
    assert Counter(example.label for example in held["valid"]) == {"a": 8, "b": 2}
    assert [example.row for example in held["valid"]] == sorted(example.row for example in held["valid"])
    assert held["test"] == given["test"]
