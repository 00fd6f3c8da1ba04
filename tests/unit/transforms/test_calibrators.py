"""Streaming calibrators against numpy's brute force over all values, and ONNX Runtime's where they mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeopt.transforms.quantize import clipping
from edgeopt.transforms.quantize.observers import Channels, Histogram, MinMax, MovingAverage

Array = np.ndarray[Any, np.dtype[Any]]


def rows(seed: int = 0, scale: float = 1.0) -> list[Array]:
    """Rows of different lengths whose values grow, shrink, and have a few outliers; after a GELU, mostly above zero."""
    rng = np.random.default_rng(seed)
    made = [
        rng.standard_normal((1, n, 8)).astype(np.float32) * scale * growth
        for n, growth in ((5, 0.01), (40, 1), (17, 3), (200, 0.5), (90, 1))
    ]
    made[3][0, 7, 3] = 11 * scale
    return [np.maximum(r, -0.17 * scale) for r in made]


def histogram(values: list[Array]) -> Histogram:
    seen = Histogram()
    for each in values:
        seen.add(each)
    return seen


@pytest.mark.parametrize("scale", [1.0, 1e-5, 3e4])
def test_streamed_counts_are_those_of_all_values_at_once(scale: float) -> None:
    parts = rows(scale=scale)
    seen, values = histogram(parts), np.concatenate([p.ravel() for p in parts]).astype(np.float64)
    assert np.array_equal(seen.counts, np.histogram(values, bins=seen.edges)[0])
    assert seen.counts.sum() == len(values)
    assert np.array_equal(histogram(parts[::-1]).counts, seen.counts)  # whatever the order
    assert values.max() < seen.edges[-1] <= 2.001 * values.max() * (1 + 1e-9)
    assert len(seen.counts) == Histogram.BINS


def test_zeros() -> None:
    seen = histogram([np.zeros((1, 3), np.float32)] * 2)
    assert clipping.mean_squared_error(seen, symmetric=False) == clipping.entropy(seen, symmetric=True) == (0, 0)
    assert clipping.percentile(seen, 99.0, symmetric=False)[0] == 0
    seen.add(np.full((1, 4), 1e-6, np.float32))  # zeros did not decide the width for good
    assert seen.width < 1e-8 and np.count_nonzero(seen.counts) == 2


def test_min_max_and_moving_average() -> None:
    parts = rows()
    widest, smoothed = MinMax(), MovingAverage()
    for part in parts:
        widest.add(part)
        smoothed.add(part)
    assert widest.range() == (min(p.min() for p in parts), max(p.max() for p in parts))
    np.testing.assert_allclose(
        smoothed.range(), (np.mean([p.min() for p in parts]), np.mean([p.max() for p in parts])), rtol=1e-6
    )


@pytest.mark.parametrize("percent", [90.0, 99.0, 99.9, 99.99, 100.0])
def test_percentiles_are_numpys_up_to_a_bin(percent: float) -> None:
    parts = rows()
    seen, values = histogram(parts), np.concatenate([p.ravel() for p in parts])
    cut = (1 - percent / 100) / 2
    expected = np.quantile(values, [cut, 1 - cut], method="inverted_cdf")
    np.testing.assert_allclose(
        clipping.percentile(seen, percent, symmetric=False),
        np.array([min(expected[0], 0), expected[1]]),
        atol=1.01 * seen.width,
    )
    magnitude = np.quantile(np.abs(values), percent / 100, method="inverted_cdf")
    np.testing.assert_allclose(
        clipping.percentile(seen, percent, symmetric=True), (-magnitude, magnitude), atol=1.01 * seen.width
    )


@pytest.mark.parametrize("percent", [99.0, 99.9])
def test_percentiles_are_onnxruntimes_up_to_its_bin(percent: float, capsys: pytest.CaptureFixture[str]) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = np.concatenate([p.ravel() for p in rows()])
    collector = HistogramCollector("percentile", False, 2048, 128, percent, "same")
    collector.collect({"x": values})
    low, high, *_ = collector.compute_collection_result()["x"]
    theirs = 2 * np.abs(values).max() / 2048
    np.testing.assert_allclose(
        clipping.percentile(histogram([values]), percent, symmetric=False), (low, high), atol=1.1 * theirs
    )


def rounding(values: Array, low: float, high: float) -> float:
    """Mean squared error of the 8 bits, on every value."""
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return float(np.mean(((np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale - values) ** 2))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_mse_is_the_least_on_all_values(seed: int, symmetric: bool) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.laplace(size=100_000).astype(np.float32) for _ in range(3)]
    values = np.concatenate(parts).astype(np.float64)
    low, high = (float(v) for v in clipping.mean_squared_error(histogram(parts), symmetric=symmetric))
    assert high < 0.95 * values.max()
    lows = (lambda t: -t) if symmetric else (lambda t: max(-t, values.min()))
    best = min(rounding(values, lows(t), t) for t in np.linspace(0.3, 1, 100) * values.max())
    assert rounding(values, low, high) <= 1.02 * best


def naive_divergence(counts: Array, first: int, last: int, levels: int) -> float:
    """The algorithm of the TensorRT slides, loop by loop."""
    inside = [float(c) for c in counts[first:last]]
    p = list(inside)
    p[0] += sum(counts[:first])
    p[-1] += sum(counts[last:])
    size, q = len(p) // levels, [0.0] * len(p)
    assert size * levels == len(p)
    for level in range(levels):
        bins = range(level * size, (level + 1) * size)
        occupied = [i for i in bins if p[i] > 0]
        for i in occupied:
            q[i] = sum(inside[j] for j in bins) / len(occupied)
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            total += a / sum(p) * np.log((a / sum(p)) / max(b / sum(q), 1e-4 / sum(counts)))
    return total


@pytest.mark.parametrize(("first", "last"), [(0, 4096), (1024, 3072), (1792, 2304), (2048, 4096)])
def test_divergence_by_hand(first: int, last: int) -> None:
    values = np.random.default_rng(0).laplace(size=20_000)
    edges = np.linspace(-10, 10, 4097)
    counts = np.histogram(values.clip(-9.9, 9.9), bins=edges)[0]
    found = clipping.divergence(counts, edges, edges[first], edges[last], levels=256)
    assert found == pytest.approx(naive_divergence(counts, first, last, 256), rel=1e-9)


def test_entropy_finds_the_threshold_that_onnxruntime_finds() -> None:
    """On a histogram and with levels of its own, symmetric: the divergence at its threshold is as small as at ours."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = np.random.default_rng(0).laplace(size=40_000).astype(np.float32)
    largest = np.abs(values).max()
    counts, edges = np.histogram(values, bins=2049, range=(-largest, largest))
    collector = HistogramCollector("entropy", True, 2049, 255, 0, "same")
    _, theirs = collector.get_entropy_threshold((counts, edges.astype(np.float32), values.min(), values.max()), 255)
    _, ours = clipping.entropy(histogram([values]), symmetric=True)
    ours_on_theirs = clipping.divergence(counts, edges, -float(ours), float(ours), 255)
    assert ours < largest
    assert ours_on_theirs <= clipping.divergence(counts, edges, -float(theirs), float(theirs), 255) + 0.01


def test_entropy_keeps_what_is_evenly_spread() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    low, high = clipping.entropy(histogram([values]), symmetric=False)
    assert low < -0.98 and high > 0.98


def test_channels() -> None:
    parts, seen = rows(), Channels()
    for part in parts:
        seen.add(part)
    flat = np.concatenate([p.reshape(-1, 8) for p in parts])
    np.testing.assert_array_equal(seen.largest, np.abs(flat).max(0))
    np.testing.assert_allclose(seen.mean, flat.mean(0, dtype=np.float64), rtol=1e-6)
