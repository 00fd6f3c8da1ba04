"""Bounds on differences and ratios, from paired data. numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Values = np.ndarray[Any, np.dtype[Any]]
RESAMPLES = 10_000
_SEED = 0


class Bounds(NamedTuple):
    """A point estimate with its one-sided lower and upper bound, each at the stated confidence."""

    value: float
    low: float
    high: float


def sure(confidence: float) -> str:
    """A confidence as a percentage with as many digits as it has: none below 1 is 100 %."""
    return f"{100 * confidence:.12g}%"


def accuracy_difference(base_right: Values, candidate_right: Values, confidence: float) -> Bounds:
    """Candidate's accuracy minus baseline's on the same rows, by Tango's interval."""
    gained, lost = (int(np.sum(x)) for x in (~base_right & candidate_right, base_right & ~candidate_right))
    return paired_proportions(gained, lost, len(base_right), confidence)


def paired_proportions(gained: float, lost: float, n: float, confidence: float) -> Bounds:
    """(gained - lost) / n by Tango's score interval for paired proportions (Tango 1998, Statistics in Medicine 17:891).

    Unlike a bootstrap it does not shrink to nothing where the two models agree on every row. gained, lost: rows that
    the candidate alone, and the baseline alone, answers rightly.
    """
    z = normal_quantile(confidence)
    point = (gained - lost) / n

    def score(delta: float) -> float:
        """Tango's statistic for the hypothesis that the difference is delta."""
        b = -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        top = gained - lost - n * delta
        return (
            top / math.sqrt(variance) if variance > 1e-12 else math.copysign(math.inf, top) if abs(top) > 1e-9 else 0.0
        )

    return Bounds(point, _root(lambda d: score(d) - z, -1.0, point), _root(lambda d: score(d) + z, point, 1.0))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def normal_quantile(p: float) -> float:
    """The quantile of the standard normal distribution at p."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def _bounds(value: float, draws: Values, confidence: float) -> Bounds:
    low, high = np.quantile(draws, [1 - confidence, confidence])
    return Bounds(float(value), float(low), float(high))


#: Consecutive rounds share the state of the machine, so they are resampled together.
_BLOCK = 10


def _resampled_rounds(rounds: int, resamples: int, block: int) -> Values:
    """Indices (resamples, rounds) of a moving-block bootstrap."""
    rng = np.random.default_rng(_SEED)
    block = min(block, rounds)
    starts = rng.integers(0, rounds - block + 1, size=(resamples, math.ceil(rounds / block)))
    return (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :rounds]


def percentile_ratio(
    baseline: Values, candidate: Values, percentile: float, confidence: float, block: int = _BLOCK
) -> Bounds:
    """Baseline's percentile over the candidate's, from samples of the same rounds.

    block: rounds that are resampled together.
    """
    rounds = min(len(baseline), len(candidate))
    index = _resampled_rounds(rounds, RESAMPLES // 5, block)
    top, bottom = (np.percentile(x[index], percentile, axis=1) for x in (baseline[:rounds], candidate[:rounds]))
    return _bounds(
        float(np.percentile(baseline, percentile) / np.percentile(candidate, percentile)), top / bottom, confidence
    )


def percentile_bounds(samples: Values, percentile: float, confidence: float, block: int = _BLOCK) -> Bounds:
    """A percentile of latencies with its bounds."""
    index = _resampled_rounds(len(samples), RESAMPLES // 5, block)
    return _bounds(
        float(np.percentile(samples, percentile)), np.percentile(samples[index], percentile, axis=1), confidence
    )
