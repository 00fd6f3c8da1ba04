"""Bounds on latencies that were measured over several openings of their files. numpy alone.

A function that takes a percentile, such as 50.0, takes None for the mean.

Where a file's weights come to lie in memory is drawn anew whenever it is opened, and makes it some percent quicker or
slower as long as it is open (benchmarks/results/latency_honesty.md). However many queries one opening answers, they do
not tell that apart from the file. So the openings are what is resampled: the rounds of one are left out at a time (the
grouped jackknife: Efron and Tibshirani 1993, chapter 11), and Student's t for as many openings makes the bounds. What
is correlated in time within an opening is in them too.

Between two times more differs than where the weights lie. What is compared then was measured in several sittings, each
a process of its own, beside a twin that is the same at both times (`measure/twin.py`); there the sittings are the units
(benchmarks/results/occasions.md).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgeopt.statistics.bounds import Bounds, Values

#: Rounds of which no openings are known are taken in so many equal parts.
PARTS = 8
#: By how much a ratio to the twin may differ from one occasion to another besides, as a standard deviation: a prior, as
#: sittings of a minute cannot show it. Degrees of freedom at which Student's t is the normal distribution.
OCCASION, _MOST = 0.01, 1000.0
#: Above it no float holds the power of e.
_LARGEST_EXPONENT = 709.0
#: A drift smaller than this share does not matter to a gate; of a larger one it must be this sure that it is no chance.
LARGEST, CONFIDENCE = 0.05, 0.995


def ratio_bounds(
    over: Values, under: Values, percentile: float | None, confidence: float, openings: Sequence[int] = ()
) -> Bounds:
    """A percentile of the one over that of the other, samples of the same rounds, with its bounds.

    openings: how many rounds each opening has, in order.
    """
    rounds = min(len(over), len(under))

    def statistic(keep: Values) -> float:
        top, bottom = (typical(x[:rounds][keep], percentile) for x in (over, under))
        return math.log(top / bottom)

    return _jackknife(statistic, rounds, openings).bounds(confidence)


class Beside(NamedTuple):
    """Samples of a subject and of the twin beside it, of the same rounds.

    sittings: how many rounds each sitting has, in order.
    """

    samples: Values
    twin: Values
    sittings: Sequence[int]


def between_times(over: Beside, under: Beside, percentile: float | None, confidence: float) -> Bounds | None:
    """A percentile of the one over that of the other, which were measured at two times, each by its ratio to the twin.

    The error between occasions is that between the sittings of either time, a sitting being a unit, and OCCASION, for
    what sittings in a row all share; together they have Welch's degrees of freedom. None where there is one sitting
    alone, which says nothing of others.
    """
    top, bottom = (_of_sittings(x, percentile) for x in (over, under))
    if not (top.freedom and bottom.freedom):
        return None
    square = top.error**2 + bottom.error**2 + OCCASION**2
    weights = top.error**4 / top.freedom + bottom.error**4 / bottom.freedom
    freedom = min(square**2 / weights, _MOST) if weights else _MOST
    return _Estimate(top.value - bottom.value, math.sqrt(square), freedom).bounds(confidence)


def _of_sittings(found: Beside, percentile: float | None) -> _Estimate:
    """The percentile's ratio to the twin's, of all rounds.

    Its error is the larger of the jackknife's, which sees how one ratio comes of several sittings, and of what the
    sittings' own ratios vary by, which it misses where a middle one is the median.
    """
    sittings, rounds = found.sittings, min(len(found.samples), len(found.twin))
    if len(sittings) < 2 or sum(sittings) != rounds:
        return _Estimate(0.0, math.inf, 0)

    def statistic(keep: Values) -> float:
        top, bottom = (typical(x[:rounds][keep], percentile) for x in (found.samples, found.twin))
        return math.log(top / bottom)

    whole = _jackknife(statistic, rounds, sittings)
    each = np.array([statistic(part) for part in _parts(rounds, sittings)])
    return whole._replace(error=max(whole.error, float(each.std(ddof=1)) / math.sqrt(len(each))))


def typical(samples: Values, percentile: float | None) -> float:
    """A percentile of the samples, or their mean."""
    return float(np.mean(samples) if percentile is None else np.percentile(samples, percentile))


def percentile_bounds(
    samples: Values, percentile: float | None, confidence: float, openings: Sequence[int] = ()
) -> Bounds:
    """A percentile of latencies with its bounds."""
    return _percentile(samples, percentile, openings).bounds(confidence)


def drift(samples: Values, against: Values | None = None, openings: Sequence[int] = ()) -> Bounds:
    """The median in the second half of the openings over that in the first.

    With `against`, samples of the same rounds, it is that of the ratio of both medians. Bounds at 99.5 % by Student's t
    of the openings' logarithms, of one variance in both halves.
    """
    parts = [p for p in _parts(len(samples), openings) if len(p)]
    values = np.array(
        [math.log(np.median(samples[p])) - (0.0 if against is None else math.log(np.median(against[p]))) for p in parts]
    )
    halves = values[: len(values) // 2], values[len(values) - len(values) // 2 :]
    if len(halves[0]) < 2:
        return Bounds(1.0, 0.0, math.inf)
    change = float(halves[1].mean() - halves[0].mean())
    freedom = 2 * (len(halves[0]) - 1)
    error = math.sqrt(sum(float(np.sum((h - h.mean()) ** 2)) for h in halves) / freedom * 2 / len(halves[0]))
    return _around(change, error * t_quantile(CONFIDENCE, freedom))


def drifted(found: Bounds) -> bool:
    """Whether a change is no chance and large enough to matter."""
    return not found.low <= 1.0 <= found.high and not 1 / (1 + LARGEST) <= found.value <= 1 + LARGEST


def wider(bounds: Bounds, change: Bounds) -> Bounds:
    """Bounds on what changed meanwhile by so much from the first half to the second, as `drift` has it.

    From the middle of the measuring, which the value stands for, to its end it is as far as from one half to the other;
    and where it drifts to is known no better than as far again. So both bounds move out by the square of the largest
    change that cannot be ruled out.
    """
    far = max(change.high, 1 / change.low if change.low > 0 else math.inf)
    far *= far  # a power would overflow
    return Bounds(bounds.value, bounds.low / far, bounds.high * far)


def order_bounds(samples: Values, percentile: float, confidence: float) -> Bounds:
    """A percentile with its one-sided bounds from the order of the samples alone, whatever their distribution.

    The method is that of David and Nagaraja 2003, Order Statistics, section 7.1. Where the samples are too few for a
    bound, it is 0 or infinity.
    """
    n, p = len(samples), percentile / 100
    chance = [
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(p)
            + (n - k) * math.log1p(-p)
        )
        for k in range(n + 1)
    ]
    below, ordered = np.cumsum(chance), np.sort(samples)  # below[k]: at most k samples are under the true percentile
    upper = int(np.searchsorted(below[:n], confidence))
    lower = int(np.sum(below[:n] <= 1 - confidence))
    value = float(np.percentile(samples, percentile))
    return Bounds(value, float(ordered[lower - 1]) if lower else 0.0, float(ordered[upper]) if upper < n else math.inf)


@functools.cache
def t_quantile(p: float, freedom: float) -> float:
    """The quantile of Student's t at p: with x = √ν tan θ its density is that of cos^(ν-1) θ."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 20_001)
    mass = np.cumsum(np.cos(angles).clip(0) ** (freedom - 1))
    return math.sqrt(freedom) * math.tan(float(np.interp(p, mass / mass[-1], angles)))


class _Estimate(NamedTuple):
    """A logarithm, its standard error, and how many degrees of freedom that has."""

    value: float
    error: float
    freedom: float

    def bounds(self, confidence: float) -> Bounds:
        return _around(self.value, self.error * t_quantile(confidence, self.freedom) if self.freedom else math.inf)


def _jackknife(statistic: Callable[[Values], float], rounds: int, openings: Sequence[int]) -> _Estimate:
    """The jackknife's estimate of a function of the indices of rounds, by leaving out one part of them after another.

    Nothing is ruled out where there is one part alone.
    """
    parts = [p for p in _parts(rounds, openings) if len(p)]
    value = statistic(np.arange(rounds))
    if len(parts) < 2:
        return _Estimate(value, math.inf, 0)
    without = np.array([statistic(np.concatenate([p for p in parts if p is not left])) for left in parts])
    error = math.sqrt((len(parts) - 1) / len(parts) * float(np.sum((without - without.mean()) ** 2)))
    return _Estimate(value, error, len(parts) - 1)


def _percentile(samples: Values, percentile: float | None, openings: Sequence[int]) -> _Estimate:
    return _jackknife(lambda keep: math.log(typical(samples[keep], percentile)), len(samples), openings)


def _around(value: float, half: float) -> Bounds:
    return Bounds(_exp(value), _exp(value - half), _exp(value + half))


def _exp(value: float) -> float:
    return math.exp(value) if value < _LARGEST_EXPONENT else math.inf


def _parts(rounds: int, openings: Sequence[int]) -> list[Values]:
    """Indices of the rounds of each opening: of one alone one part, of which nothing says what another would do."""
    if sum(openings) != rounds:
        return np.array_split(np.arange(rounds), PARTS)
    return np.split(np.arange(rounds), np.cumsum(openings)[:-1])
