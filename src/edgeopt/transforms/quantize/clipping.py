"""Which range the 8 bits should cover, judged by a histogram: percentile, entropy, or mean squared error.

The last two try ranges that cut at a magnitude T, from the largest value down to a 1/16 of it, as far as Migacz goes:
below, a GELU's many values near zero would have entropy cut off nearly all of the others. A range always has zero in
it, as the integers do; a symmetric one is [-T, T].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeopt.transforms.quantize.observers import Array, Histogram, Range

LEVELS = 256
#: Thresholds tried, and the smallest as a share of the largest magnitude.
_TRIED, _SMALLEST = 128, 1 / 16
#: Neighboring bins that entropy takes together: about 2,048 up to the largest value are left, as many as Migacz has.
_MERGED = 4


def percentile(histogram: Histogram, percent: float, *, symmetric: bool) -> Range:
    """The range that holds `percent` of the values, half of the others on either side; symmetric: of the magnitudes.

    Exact up to one bin.
    """
    half, edges = histogram.BINS // 2, histogram.edges
    counts, cut = histogram.counts, (1 - percent / 100) / 2
    if symmetric:
        counts, edges, cut = counts[half:] + counts[:half][::-1], edges[half:], 2 * cut
    below = np.cumsum(counts) / counts.sum()
    high = edges[int(np.searchsorted(below, 1 - cut - 1e-15)) + 1]
    low = -high if symmetric else edges[int(np.searchsorted(below, cut, side="right"))]
    return _within(histogram, low, high, symmetric=symmetric)


def mean_squared_error(histogram: Histogram, *, symmetric: bool) -> Range:
    """The range whose 256 levels are nearest the values in the mean of squares."""
    occupied = np.flatnonzero(histogram.counts)
    counts = np.repeat(histogram.counts[occupied], 2)
    middles = histogram.edges[occupied] + histogram.width / 2
    values = np.stack([middles - histogram.width / 4, middles + histogram.width / 4], 1).ravel()

    def error(low: float, high: float) -> float:
        scale = (high - low) / (LEVELS - 1)
        zero = np.round(-low / scale)
        found = (np.clip(np.round(values / scale) + zero, 0, LEVELS - 1) - zero) * scale
        return float(np.dot(counts, (found - values) ** 2))

    return _least(histogram, error, symmetric=symmetric)


def entropy(histogram: Histogram, *, symmetric: bool) -> Range:
    """The range after which the values' distribution is nearest what it was, by Kullback-Leibler divergence.

    Migacz, "8-bit inference with TensorRT", GTC 2017; here for ranges that need not be symmetric.
    """
    counts, edges = histogram.counts.reshape(-1, _MERGED).sum(1), histogram.edges[::_MERGED]
    return _least(histogram, lambda low, high: divergence(counts, edges, low, high), symmetric=symmetric)


def divergence(counts: Array, edges: Array, low: float, high: float, levels: int = LEVELS) -> float:
    """KL(P || Q) in nats between a histogram cut to [low, high] and the same histogram in so many levels.

    P: the counts, with what is outside in the end bins. Q: the counts inside, spread evenly over the occupied bins of
    each of the levels.
    """
    first = int(np.searchsorted(edges, low, side="right")) - 1
    last = int(np.searchsorted(edges, high, side="left"))
    inside = counts[first:last].astype(np.float64)
    p = inside.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    occupied = p > 0
    level = np.arange(len(inside)) * levels // len(inside)
    sums, bins = np.bincount(level, inside, levels), np.bincount(level, occupied, levels)
    q = np.divide(sums, bins, out=np.zeros(levels), where=bins > 0)[level][occupied]
    p, q = p[occupied] / p.sum(), np.maximum(q / max(inside.sum(), 1), 1e-4 / counts.sum())
    return float(np.dot(p, np.log(p / q)))


def _least(histogram: Histogram, cost: Callable[[float, float], float], *, symmetric: bool) -> Range:
    largest = max(abs(float(v)) for v in histogram.extremes.range())
    if not largest:
        return np.float32(0), np.float32(0)
    tried = [_within(histogram, -t, t, symmetric=symmetric) for t in np.geomspace(largest, largest * _SMALLEST, _TRIED)]
    return min(tried, key=lambda r: cost(float(r[0]), float(r[1])))


def _within(histogram: Histogram, low: float, high: float, *, symmetric: bool) -> Range:
    """The range from low to high, made no wider than the values and to have zero in it."""
    least, most = (float(v) for v in histogram.extremes.range())
    if symmetric:
        high = min(high, max(-least, most))
        return np.float32(-high), np.float32(high)
    return np.float32(min(max(low, least), 0.0)), np.float32(max(min(high, most), 0.0))
