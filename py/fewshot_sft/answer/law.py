"""The law of the curve: what a method scores at any number of labels, as draws from a posterior.

The error at N examples is ``c + (v - c) * ((N + d) / (n_k + d)) ** -b``: a power law that falls from ``v``, the error
at the largest measured size ``n_k``, to ``c``. It is parametrized by ``v`` because that is what the data know best
(Hoiem et al., arXiv 2010.11029); the shift ``d`` is for the phase before the power law begins (Lin et al., arXiv
2402.02314). Three things keep measured scores off it: the test items, which all sizes share, so that their errors go
together; the seeds (which training subset, which order); and what no power law explains, a random walk in log2(N) whose
scale is itself unknown, so that a curve that bends oddly gets a wide band and one that does not a narrow one.

The priors' numbers (PRIOR) were chosen on half of the data sets of LCDB 1.0 (Mohr et al., ECML PKDD 2022) and measured
on the other half: docs/answer.md, ``bench/coverage.py``. The posterior is drawn by importance sampling, which is enough
for six unknowns and a handful of numbers; sharp data get more rounds of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

DRAWS, KEPT = 60_000, 2_000
ENOUGH, ROUNDS = 1_000, 8  # effective draws; draws are made in rounds until there are so many


class Prior(NamedTuple):
    """Scales of the priors; errors are scaled by e * (1 - e), with e the error at the largest size."""

    slope: float = 1.0  # of the exponent b, half-normal
    unshifted: float = 0.2  # probability that d is 0
    shift: float = 1.8  # of log(d / n_1)
    walk: float = 0.03  # a doubling's step that no power law explains: median
    walk_spread: float = 2.5  # of its logarithm
    seeds: float = 0.19  # standard deviation between seeds at N = 64: median
    seeds_decay: float = 0.36  # by which it falls with N
    seeds_spread: float = 0.8  # of its logarithm
    wiggle: float = 0.2  # of the walk's step, independent at each size


PRIOR = Prior()
LEAST_ERROR = 1e-4
ALMOST = 0.02  # errors nearer to 0 or 1 count as this where scales are taken from them


@dataclass(frozen=True)
class Law:
    """Draws from the posterior.

    Attributes:
        sizes: the measured sizes, ascending.
        effective: the effective number of draws; small where the prior and the data disagree.
        p: of the hypothesis that some member of the family, with a usual walk, gave these scores.
    """

    sizes: np.ndarray
    effective: float
    p: float
    _parameters: np.ndarray  # (draws, 5): v, b, c, d, walk's scale
    _residuals: np.ndarray  # (draws, sizes)
    _inverse: np.ndarray  # (draws, sizes, sizes), of the covariance
    _seed: int

    def at(self, sizes: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return draws of the expected score at these sizes, (draws, sizes), jointly."""
        x = np.asarray(sizes, float)
        rng = np.random.default_rng(self._seed)
        first = self.sizes[0]
        here, there = np.log2(np.maximum(x, first) / first), np.log2(self.sizes / first)
        walk = (self._parameters[:, 4] ** 2)[:, None, None]
        cross = walk * np.minimum.outer(here, there)
        gain = cross @ self._inverse
        mean = np.stack([_curve(self._parameters, self.sizes[-1], each) for each in x], 1)
        mean = mean + (gain @ self._residuals[:, :, None])[:, :, 0]
        covariance = walk * np.minimum.outer(here, here) - gain @ np.swapaxes(cross, 1, 2)
        covariance[:, range(len(x)), range(len(x))] += 1e-10
        noise = np.linalg.cholesky(covariance) @ rng.standard_normal((len(mean), len(x), 1))
        return 1 - np.clip(mean + noise[:, :, 0], 0, 1)


def fit(sizes: list[int], scores: np.ndarray, item_covariance: np.ndarray, seed: int = 0, prior: Prior = PRIOR) -> Law:
    """Return the law of one curve.

    Args:
        sizes: training examples, ascending; of one size only the score there can be told.
        scores: (sizes, seeds), each from 0 to 1.
        item_covariance: (sizes, sizes), of the mean scores, from their common test items
            (:func:`fewshot_sft.answer.intervals.item_covariance`).
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    n = np.asarray(sizes, float)
    count, seeds = scores.shape
    error = 1 - scores.mean(1)
    near = np.clip(error[-1], ALMOST, 1 - ALMOST)
    unit = near * (1 - near)
    together = np.minimum.outer(np.log2(n / n[0]), np.log2(n / n[0]))
    typical = usual_deviation(scores.mean(1), n, prior)
    seen = scores.var(1, ddof=1) if seeds > 1 else np.zeros(count)
    free = seeds - 1
    usual = typical[-1] ** 2 * np.exp(prior.seeds_spread**2 / 2)
    if seeds > 1:
        usual = (3 * typical[-1] ** 2 + free * count * seen.mean()) / (3 + free * count)
    scale = 3 * np.sqrt(item_covariance[-1, -1] + usual / seeds + (prior.wiggle * prior.walk * unit) ** 2 + 1e-7)
    centre, spread = _between(seen / typical**2, free, prior)
    diagonal = range(count)

    def covariance(walk: np.ndarray, between: np.ndarray) -> np.ndarray:
        found = item_covariance + (walk**2)[:, None, None] * together
        found[:, diagonal, diagonal] += between / seeds + ((prior.wiggle * walk) ** 2)[:, None] + 1e-9
        return found

    def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        # Between seeds, and v: around what was seen, wider than it is known. All else from the prior.
        log = centre + spread * rng.standard_normal(DRAWS)
        between = np.exp(2 * log)[:, None] * typical**2
        # Logarithms of densities, without what all draws have in common.
        weight = 0.5 * (((log - centre) / spread) ** 2 - (log / prior.seeds_spread) ** 2)
        weight -= 0.5 * free * (seen / between + np.log(between)).sum(1)
        walk = prior.walk * unit * np.exp(rng.normal(0, prior.walk_spread, DRAWS))
        v = error[-1] + scale * rng.standard_t(5, DRAWS)
        weight += 3 * np.log1p(((v - error[-1]) / scale) ** 2 / 5)
        weight[(v <= LEAST_ERROR) | (v >= 1)] = -np.inf
        v = np.clip(v, LEAST_ERROR, 1)
        b = np.abs(rng.standard_normal(DRAWS)) * prior.slope
        c = rng.random(DRAWS) * v
        d = np.where(rng.random(DRAWS) < prior.unshifted, 0, np.exp(rng.normal(0, prior.shift, DRAWS)) * n[0])
        parameters = np.stack([v, b, c, d, walk], 1)
        residuals = np.stack([error[i] - _curve(parameters, n[-1], n[i]) for i in range(count)], 1)
        root = np.linalg.cholesky(covariance(walk, between))
        standard = np.linalg.solve(root, residuals[:, :, None])[:, :, 0]
        weight -= 0.5 * (standard**2).sum(1) + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        return parameters, residuals, between, weight

    # Of a curve that no member fits, more draws are not better ones.
    usual_walk = (prior.walk * unit * np.exp(prior.walk_spread)) ** 2
    expected = item_covariance + usual_walk * together + np.diag(typical**2 * np.exp(prior.seeds_spread) / seeds + 1e-9)
    inverse = np.linalg.inv(expected)
    rounds: list[tuple[np.ndarray, ...]] = []
    effective = 0.0
    while effective < ENOUGH and len(rounds) < ROUNDS:
        rounds.append(draw())
        parameters, residuals, between, weight = (np.concatenate(each) for each in zip(*rounds, strict=True))
        share = np.exp(weight - weight.max())
        share /= share.sum()
        effective = float(1 / (share**2).sum())
        possible = residuals[np.isfinite(weight)]
        p = float(special.chdtrc(max(count - 2, 1), np.einsum("di,ij,dj->d", possible, inverse, possible).min()))
        if p < 1e-6:
            break
    kept = rng.choice(len(share), KEPT, p=share)
    return Law(
        sizes=n,
        effective=effective,
        p=p,
        _parameters=parameters[kept],
        _residuals=residuals[kept],
        _inverse=np.linalg.inv(covariance(parameters[kept, 4], between[kept])),
        _seed=seed + 1,
    )


def _between(ratios: np.ndarray, free: int, prior: Prior) -> tuple[float, float]:
    """Return where to draw the logarithm of (deviation between seeds / the usual one), and how wide.

    Around the mode of its prior and the variances seen, half as wide again as the curvature there says. The mode ``m``
    is where ``precision * m + free * sizes = total * exp(-2 * m)``.

    Args:
        ratios: (sizes,), the variances seen over the usual ones.
        free: degrees of freedom of each.
    """
    precision, total = 1 / prior.seeds_spread**2, free * ratios.sum()

    offset = 2 * free * len(ratios) / precision
    with np.errstate(divide="ignore"):
        centre = (special.wrightomega(np.log(2 * total / precision) + offset) - offset) / 2
    return centre, 1.5 / np.sqrt(precision + 2 * total * np.exp(-2 * centre)) if free else prior.seeds_spread


def usual_deviation(scores: np.ndarray, sizes: np.ndarray, prior: Prior = PRIOR) -> np.ndarray:
    """Return the standard deviation between seeds that is usual at these scores and sizes."""
    near = np.clip(scores, ALMOST, 1 - ALMOST)
    return prior.seeds * near * (1 - near) * (sizes / 64) ** -prior.seeds_decay


def _curve(parameters: np.ndarray, last: float, size: float) -> np.ndarray:
    """Return the error at a size, for each row of parameters."""
    v, b, c, d, _ = parameters.T
    return c + (v - c) * ((size + d) / (last + d)) ** -b
