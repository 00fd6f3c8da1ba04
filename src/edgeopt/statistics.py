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


def accuracy_difference(base_right: Values, candidate_right: Values, confidence: float) -> Bounds:
    """Candidate's accuracy minus baseline's on the same rows, by Tango's score interval for paired
    proportions (Tango 1998, Statistics in Medicine 17:891). Unlike a bootstrap it does not shrink to
    nothing where the two models agree on every row."""
    n = len(base_right)
    gained = int(np.sum(~base_right & candidate_right))
    lost = int(np.sum(base_right & ~candidate_right))
    z = _normal_quantile(confidence)
    point = (gained - lost) / n

    def score(delta: float) -> float:
        """Tango's statistic for the hypothesis that the difference is delta."""
        b = -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        top = gained - lost - n * delta
        return top / math.sqrt(variance) if variance > 1e-12 else math.copysign(math.inf, top) if abs(top) > 1e-9 else 0.0

    return Bounds(point, _root(lambda d: score(d) - z, -1.0, point), _root(lambda d: score(d) + z, point, 1.0))


def _root(function: Any, low: float, high: float) -> float:
    """Where a falling function crosses zero, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def metric_difference(name: str, truth: Values, base: Values, candidate: Values, classes: int, confidence: float) -> Bounds:
    """Candidate's metric minus baseline's on the same rows: Tango's interval for accuracy, else a paired
    bootstrap of 10,000 resamples. truth, base, candidate: class numbers or scores, shape (rows,)."""
    if name == "accuracy":
        return accuracy_difference(base == truth, candidate == truth, confidence)
    (base_point, base_draws), (point, draws) = _resampled_metric(name, truth, [base, candidate], classes)
    return _bounds(point - base_point, draws - base_draws, confidence)


def metric_bounds(name: str, truth: Values, predicted: Values, classes: int, confidence: float) -> Bounds:
    """A metric with its bounds: Wilson's score interval for accuracy (Wilson 1927), else a bootstrap."""
    if name == "accuracy":
        n, p, z = len(truth), float(np.mean(truth == predicted)), _normal_quantile(confidence)
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return Bounds(p, (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    ((point, draws),) = _resampled_metric(name, truth, [predicted], classes)
    return _bounds(point, draws, confidence)


def counted_difference(base: Values, candidate: Values, value: Callable[[Values], Values], confidence: float) -> Bounds:
    """The same by a paired bootstrap for a metric, from 0 to 1, of sums over rows, such as the F1 of entities.
    base, candidate: what each row adds, shape (rows, counts). value: sums of shape (draws, counts) to (draws,).
    Where there is one row alone, of which every resample is the same, nothing is ruled out."""
    (point_base, base_draws), (point, draws) = _resampled_counts([base, candidate], value)
    return _bounds(point - point_base, draws - base_draws, confidence) if len(base) > 1 else Bounds(point - point_base, -1.0, 1.0)


def counted_bounds(counts: Values, value: Callable[[Values], Values], confidence: float) -> Bounds:
    """A metric of sums over rows with its bounds, by a bootstrap of the rows."""
    ((point, draws),) = _resampled_counts([counts], value)
    return _bounds(point, draws, confidence) if len(counts) > 1 else Bounds(point, 0.0, 1.0)


def _resampled_counts(columns: list[Values], value: Callable[[Values], Values]) -> list[tuple[float, Values]]:
    rng, rows = np.random.default_rng(_SEED), len(columns[0])
    draws: list[list[Values]] = [[] for _ in columns]
    for _ in range(RESAMPLES // 500):
        weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=500)
        for counts, kept in zip(columns, draws, strict=True):
            kept.append(value(weights @ counts))
    return [(float(value(counts.sum(0)[None])[0]), np.concatenate(kept)) for counts, kept in zip(columns, draws, strict=True)]


def _resampled_metric(name: str, truth: Values, predictions: list[Values], classes: int) -> list[tuple[float, Values]]:
    """For each prediction the metric and its values on 10,000 resamples, the same resamples for all."""
    rng = np.random.default_rng(_SEED)
    if name in ("pearson", "spearman"):
        return _resampled_correlation(name, truth, predictions, rng)
    cells, counts = _joint([truth, *predictions], classes)
    # rows of the same cell are alike, so resampling rows is drawing the cells' counts
    resampled = rng.multinomial(len(truth), counts / counts.sum(), size=RESAMPLES)
    return [
        (float(confusion_metric(name, _confusion(cells, counts[None], classes, i))[0]),
         confusion_metric(name, _confusion(cells, resampled, classes, i)))
        for i in range(1, len(predictions) + 1)
    ]  # fmt: skip


def _bounds(value: float, draws: Values, confidence: float) -> Bounds:
    low, high = np.quantile(draws, [1 - confidence, confidence])
    return Bounds(float(value), float(low), float(high))


def _joint(columns: list[Values], classes: int) -> tuple[Values, Values]:
    """Distinct rows of the columns, shape (cells, columns), and how often each occurs."""
    return np.unique(np.stack([c.astype(int) for c in columns], axis=1), axis=0, return_counts=True)


def _confusion(cells: Values, counts: Values, classes: int, which: int) -> Values:
    """Confusion matrices (draws, truth, predicted) of column `which` of the cells."""
    out = np.zeros((counts.shape[0], classes, classes))
    for i, cell in enumerate(cells):
        out[:, cell[0], cell[which]] += counts[:, i]
    return out


def confusion_metric(name: str, matrix: Values) -> Values:
    """f1, precision, recall or matthews for each confusion matrix (draws, truth, predicted): of class 1
    where there are two classes, else the classes' mean, as scikit-learn has it with zero_division=0."""
    hit, true, predicted = np.einsum("dii->di", matrix), matrix.sum(2), matrix.sum(1)
    if name == "matthews":
        total = matrix.sum((1, 2))
        top = hit.sum(1) * total - (true * predicted).sum(1)
        bottom = np.sqrt(total**2 - (predicted**2).sum(1)) * np.sqrt(total**2 - (true**2).sum(1))
        return _divide(top, bottom)
    precision, recall = _divide(hit, predicted), _divide(hit, true)
    values = {"precision": precision, "recall": recall, "f1": _divide(2 * hit, predicted + true)}[name]
    return values[:, 1] if matrix.shape[1] == 2 else values.mean(1)


def _divide(top: Values, bottom: Values) -> Values:
    return np.divide(top, bottom, out=np.zeros(np.shape(top)), where=bottom > 0)


def _rank(name: str, values: Values) -> Values:
    if name == "pearson":
        return np.asarray(values, dtype=float)
    import scipy.stats

    return np.asarray(scipy.stats.rankdata(values))


def _pearson(a: Values, b: Values) -> Values:
    """Correlation of each row of a with the same row of b."""
    a = a - a.mean(1, keepdims=True)
    b = b - b.mean(1, keepdims=True)
    return _divide((a * b).sum(1), np.sqrt((a * a).sum(1) * (b * b).sum(1)))


def _resampled_correlation(name: str, truth: Values, predictions: list[Values], rng: np.random.Generator) -> list[tuple[float, Values]]:
    """Spearman's ranks are those of the whole set: ranking each resample anew changes a bound in the
    fourth decimal and takes a hundred times as long."""
    ranked, others = _rank(name, truth), [_rank(name, p) for p in predictions]
    draws: list[list[Values]] = [[] for _ in others]
    for _ in range(RESAMPLES // 500):
        rows = rng.integers(0, len(truth), size=(500, len(truth)))
        for values, kept in zip(others, draws, strict=True):
            kept.append(_pearson(ranked[rows], values[rows]))
    return [(float(_pearson(ranked[None], values[None])[0]), np.concatenate(kept)) for values, kept in zip(others, draws, strict=True)]


#: Consecutive rounds share the state of the machine, so they are resampled together.
_BLOCK = 10


def _resampled_rounds(rounds: int, resamples: int, block: int) -> Values:
    """Indices (resamples, rounds) of a moving-block bootstrap."""
    rng = np.random.default_rng(_SEED)
    block = min(block, rounds)
    starts = rng.integers(0, rounds - block + 1, size=(resamples, math.ceil(rounds / block)))
    return (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :rounds]


def percentile_ratio(baseline: Values, candidate: Values, percentile: float, confidence: float, block: int = _BLOCK) -> Bounds:
    """Baseline's percentile over the candidate's, from samples of the same rounds; block: rounds that are resampled together."""
    rounds = min(len(baseline), len(candidate))
    index = _resampled_rounds(rounds, RESAMPLES // 5, block)
    top, bottom = (np.percentile(x[index], percentile, axis=1) for x in (baseline[:rounds], candidate[:rounds]))
    return _bounds(float(np.percentile(baseline, percentile) / np.percentile(candidate, percentile)), top / bottom, confidence)


def percentile_bounds(samples: Values, percentile: float, confidence: float, block: int = _BLOCK) -> Bounds:
    """A percentile of latencies with its bounds."""
    index = _resampled_rounds(len(samples), RESAMPLES // 5, block)
    return _bounds(float(np.percentile(samples, percentile)), np.percentile(samples[index], percentile, axis=1), confidence)
