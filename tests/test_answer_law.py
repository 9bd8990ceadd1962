"""The law of the curve: what it expects is what comes, as often as it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fewshot_sft.answer import law
from fewshot_sft.answer.decision import LEAST_DRAWS, REFUSED_BELOW

LCDB = Path(__file__).parent / "data/lcdb_sample.json"


def covariance(scores, items, common=0.6):
    """Return that of the scores' means: binomial, with so much in common between two sizes."""
    share = np.clip(np.asarray(scores).mean(1), 1 / (items + 2), 1 - 1 / (items + 2))
    deviation = np.sqrt(share * (1 - share) / items)
    return common * np.outer(deviation, deviation) + (1 - common) * np.diag(deviation**2)


def fit(sizes, scores, items, seed=0):
    scores = np.atleast_2d(np.asarray(scores, float).T).T  # a list is of one seed
    return law.fit(sizes, scores, covariance(scores, items), seed)


def width(fitted, size):
    low, high = np.quantile(fitted.at([size])[:, 0], [0.025, 0.975])
    return high - low


@pytest.mark.parametrize("seed", range(3))
def test_the_originals_curve(seed):
    """Its README has .4112, .5996 and .6398 at 100, 500 and 1000 examples; at 2000 it measured .6844."""
    low, middle, high = np.quantile(
        fit([100, 500, 1000], [0.4112, 0.5996, 0.6398], 5000, seed).at([2000]), [0.1, 0.5, 0.9]
    )

    assert middle == pytest.approx(0.6844, abs=0.02)
    assert low < 0.6844 < high
    assert high - low < 0.14


def test_simulated_curves_are_covered():
    """Power laws with a shift, and the walk and the noise of items and seeds that the law supposes."""
    rng, prior, items, share_below = np.random.default_rng(1), law.PRIOR, 1000, []
    sizes = np.array([100, 200, 400, 800, 1600])
    while len(share_below) < 60:
        b, last = abs(prior.slope * rng.standard_normal()), rng.uniform(0.2, 0.5)
        c = rng.uniform(0, last)
        d = 0 if rng.random() < prior.unshifted else 100 * np.exp(rng.normal(0, prior.shift))
        step = prior.walk * last * (1 - last) * np.exp(rng.normal(0, prior.walk_spread))
        walk = np.cumsum(np.r_[0, step * rng.standard_normal(4)])
        true = 1 - (c + (last - c) * ((sizes + d) / (800 + d)) ** -b + walk)
        if true.min() < 0.02 or true.max() > 0.98:
            continue
        between = law.usual_deviation(true, sizes) * np.exp(rng.normal(0, prior.seeds_spread))
        noise = np.linalg.cholesky(covariance(true[:4, None], items)) @ rng.standard_normal(4)
        scores = true[:4, None] + noise[:, None] + between[:4, None] * rng.standard_normal((4, 3))
        drawn = fit([100, 200, 400, 800], np.clip(scores, 0, 1), items).at([1600])[:, 0]
        share_below.append((drawn < true[4]).mean())

    off = np.abs(np.array(share_below) - 0.5)
    assert 0.87 <= np.mean(off <= 0.475) <= 1
    assert 0.68 <= np.mean(off <= 0.4) <= 0.92
    assert 0.35 <= np.mean(off <= 0.25) <= 0.65


def test_real_curves_are_covered():
    """One curve of each of 36 data sets of LCDB, on which no number was chosen (the whole: bench/coverage.py)."""
    sample = json.loads(LCDB.read_text(encoding="utf-8"))
    covered, error, error_of_last, refused = [], [], [], 0
    for each in sample["curves"]:
        scores = np.array(each["scores"])
        fitted = fit(sample["sizes"], scores, each["items"])
        low, middle, high = np.quantile(fitted.at([1024]), [0.025, 0.5, 0.975])
        covered.append(low <= each["truth"] <= high)
        error.append(abs(middle - each["truth"]))
        error_of_last.append(abs(scores[-1].mean() - each["truth"]))
        refused += fitted.p < REFUSED_BELOW or fitted.effective < LEAST_DRAWS

    assert len(covered) > 30
    assert np.mean(covered) >= 0.85
    assert np.mean(error) < np.mean(error_of_last)
    assert refused <= 3


def test_more_seeds_narrow_the_band():
    sizes, curve = [100, 200, 400], np.array([0.5, 0.6, 0.68])
    noise = 0.04 * np.resize([1, -1, 0.5, -0.5, 0], 10)
    by_seeds = [width(fit(sizes, curve[:, None] + (noise - noise[:k].mean())[:k], 2000), 800) for k in (2, 5, 10)]

    assert by_seeds == sorted(by_seeds, reverse=True)


def test_more_items_narrow_the_band():
    by_items = [width(fit([100, 200, 400], [0.5, 0.6, 0.68], items), 800) for items in (30, 200, 5000)]

    assert by_items == sorted(by_items, reverse=True)


def test_farther_is_less_known():
    fitted = fit([100, 200, 400, 800], [0.5, 0.6, 0.68, 0.74], 1000)

    assert width(fitted, 800) < width(fitted, 1600) < width(fitted, 3200) < width(fitted, 12800)


def test_the_same_seed_gives_the_same_draws():
    once, again, other = (fit([100, 200, 400], [0.5, 0.6, 0.68], 1000, seed).at([800]) for seed in (3, 3, 4))

    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    assert np.median(once) == pytest.approx(np.median(other), abs=0.01)


def test_sharp_data_get_enough_draws():
    scores = np.array([[0.499, 0.505, 0.495], [0.544, 0.55, 0.544], [0.571, 0.568, 0.577], [0.586, 0.587, 0.581]])
    deviation = 0.0095 * np.ones(4)

    fitted = law.fit([100, 200, 400, 800], scores, 0.85 * np.outer(deviation, deviation) + 0.15 * np.diag(deviation**2))

    assert fitted.effective > 500
    assert fitted.p > 0.5


def test_seeds_all_alike():
    fitted = fit([100, 200, 400], np.repeat([[0.5], [0.6], [0.68]], 3, 1), 500)

    assert fitted.effective > 500
    assert 0.6 < np.median(fitted.at([800])) < 0.8


def test_a_curve_that_no_law_fits():
    assert fit([100, 200, 400, 800], [0.5, 0.8, 0.3, 0.85], 2000).p < REFUSED_BELOW


def test_one_size_tells_its_score():
    drawn = fit([100], [0.6], 1000).at([100])[:, 0]

    assert np.median(drawn) == pytest.approx(0.6, abs=0.01)
    assert drawn.std() > np.sqrt(0.6 * 0.4 / 1000)  # of the items, and of the seeds, unseen


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_stay_scores(score):
    drawn = fit([10, 20, 40], [score] * 3, 50).at([10, 40, 80, 640])

    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
