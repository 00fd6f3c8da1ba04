"""The bias-corrected and accelerated bootstrap, of a statistic of weighted rows. numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np

from edgeopt.statistics.bounds import RESAMPLES, Bounds, Values, normal_quantile

#: Of weights, shape (draws, units), the value of each draw, shape (draws,).
Statistic = Callable[[Values], Values]
_SEED = 0
_CHUNK = 100  # what stays in the cache is quicker


def bootstrap(statistic: Statistic, counts: Values, confidence: float) -> Bounds:
    """A statistic with its one-sided bounds, by the BCa bootstrap (Efron 1987, JASA 82:171) of 10,000 resamples.

    Where few rows tell two models apart their number is skewed, and plain percentiles would pass a gate at its margin
    twice as often as they say. counts: how many rows each unit stands for; weights are what a resample has in their
    place.
    """
    value = float(statistic(counts[None].astype(float))[0])
    if confidence == 0.5:
        return Bounds(value, value, value)
    draws = np.concatenate([statistic(w) for w in _resamples(counts)])
    without = np.concatenate([statistic(w) for w in _without_one(counts)])
    low, high = np.quantile(draws, _levels(value, draws, without, counts, confidence))
    return Bounds(value, min(float(low), value), max(float(high), value))


def _resamples(counts: Values) -> Iterator[Values]:
    """Weights of as many rows drawn with replacement, always the same."""
    rng, units, rows = np.random.default_rng(_SEED), len(counts), int(counts.sum())
    for _ in range(RESAMPLES // _CHUNK):
        if units < rows:
            yield rng.multinomial(rows, counts / rows, size=_CHUNK).astype(float)
        else:  # the same, and quicker where every row is a unit
            drawn = rng.integers(0, units, (_CHUNK, rows)) + units * np.arange(_CHUNK)[:, None]
            yield np.bincount(drawn.ravel(), minlength=_CHUNK * units).reshape(_CHUNK, units).astype(float)


def _without_one(counts: Values) -> Iterator[Values]:
    """Weights of all rows but one of each unit: the jackknife."""
    for start in range(0, len(counts), _CHUNK):
        yield counts - np.eye(min(_CHUNK, len(counts) - start), len(counts), start)


def _levels(value: float, draws: Values, without: Values, counts: Values, confidence: float) -> tuple[float, float]:
    """Which quantiles of the draws are the bounds (Hesterberg 2015, section 3.3).

    They are corrected for how far the draws are off the value, for how their spread depends on it, and, by Student's t,
    for how few rows that spread is known from.
    """
    below = float(np.mean(draws < value - 1e-12) + np.mean(np.abs(draws - value) <= 1e-12) / 2)
    off = normal_quantile(min(max(below, 0.5 / len(draws)), 1 - 0.5 / len(draws)))
    spread = np.average(without, weights=counts) - without
    scale = float(np.sum(counts * spread**2))
    acceleration = float(np.sum(counts * spread**3)) / (6 * scale**1.5) if scale > 0 else 0.0

    def level(z: float) -> float:
        shifted = off + z
        room = 1 - acceleration * shifted
        return NormalDist().cdf(off + shifted / room) if room > 0 else float(z > 0)

    kurtosis = counts.sum() * float(np.sum(counts * spread**4)) / scale**2 if scale > 0 else 3.0
    t = _student(normal_quantile(confidence), max(2 * counts.sum() / (kurtosis - 1) if kurtosis > 1 else np.inf, 2.0))
    return level(-t), level(t)


def _student(z: float, freedom: float) -> float:
    """The quantile of Student's t for that of the normal distribution (Abramowitz and Stegun, 26.7.5)."""
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
