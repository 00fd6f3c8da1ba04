"""Bounds on differences and ratios, from paired data. numpy alone."""

from __future__ import annotations

import math
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
    if name in ("pearson", "spearman"):
        points = [_correlation(name, truth, x) for x in (base, candidate)]
        draws = _correlation_draws(name, truth, base, candidate)
    else:
        cells, counts = _joint(truth.astype(int), base.astype(int), candidate.astype(int), classes)
        points = [float(confusion_metric(name, _confusion(cells, counts[None], classes, i))[0]) for i in (1, 2)]
        rng = np.random.default_rng(_SEED)
        # rows of the same cell are alike, so resampling rows is drawing the cells' counts
        resampled = rng.multinomial(len(truth), counts / counts.sum(), size=RESAMPLES)
        base_draw, candidate_draw = (confusion_metric(name, _confusion(cells, resampled, classes, i)) for i in (1, 2))
        draws = candidate_draw - base_draw
    return _bounds(points[1] - points[0], draws, confidence)


def _bounds(value: float, draws: Values, confidence: float) -> Bounds:
    low, high = np.quantile(draws, [1 - confidence, confidence])
    return Bounds(float(value), float(low), float(high))


def _joint(truth: Values, base: Values, candidate: Values, classes: int) -> tuple[Values, Values]:
    """Distinct (truth, baseline, candidate) triples, shape (cells, 3), and how often each occurs."""
    code = (truth * classes + base) * classes + candidate
    codes, counts = np.unique(code, return_counts=True)
    return np.stack([codes // classes**2, codes // classes % classes, codes % classes], axis=1), counts


def _confusion(cells: Values, counts: Values, classes: int, which: int) -> Values:
    """Confusion matrices (draws, truth, predicted) of the baseline (which = 1) or the candidate (2)."""
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


def _correlation(name: str, truth: Values, predicted: Values) -> float:
    return float(_pearson(_rank(name, truth)[None], _rank(name, predicted)[None])[0])


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


def _correlation_draws(name: str, truth: Values, base: Values, candidate: Values) -> Values:
    """Differences of the correlation under resampled rows. Spearman's ranks are those of the whole set:
    ranking each resample anew changes a bound in the fourth decimal and takes a hundred times as long."""
    rng = np.random.default_rng(_SEED)
    n = len(truth)
    t, b, c = (_rank(name, x) for x in (truth, base, candidate))
    out = []
    for _ in range(RESAMPLES // 500):
        rows = rng.integers(0, n, size=(500, n))
        out.append(_pearson(t[rows], c[rows]) - _pearson(t[rows], b[rows]))
    return np.concatenate(out)


#: Consecutive rounds share the state of the machine, so they are resampled together.
_BLOCK = 10


def _resampled_rounds(rounds: int, resamples: int) -> Values:
    """Indices (resamples, rounds) of a moving-block bootstrap."""
    rng = np.random.default_rng(_SEED)
    block = min(_BLOCK, rounds)
    starts = rng.integers(0, rounds - block + 1, size=(resamples, math.ceil(rounds / block)))
    return (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :rounds]


def percentile_ratio(baseline: Values, candidate: Values, percentile: float, confidence: float) -> Bounds:
    """Baseline's percentile over the candidate's, from samples of the same rounds."""
    rounds = min(len(baseline), len(candidate))
    index = _resampled_rounds(rounds, RESAMPLES // 5)
    top, bottom = (np.percentile(x[index], percentile, axis=1) for x in (baseline[:rounds], candidate[:rounds]))
    return _bounds(float(np.percentile(baseline, percentile) / np.percentile(candidate, percentile)), top / bottom, confidence)


def percentile_bounds(samples: Values, percentile: float, confidence: float) -> Bounds:
    """A percentile of latencies with its bounds."""
    index = _resampled_rounds(len(samples), RESAMPLES // 5)
    return _bounds(float(np.percentile(samples, percentile)), np.percentile(samples[index], percentile, axis=1), confidence)
