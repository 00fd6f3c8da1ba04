"""Metrics of two models on the same rows, with bounds on the difference. numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeopt.bootstrap import bootstrap
from edgeopt.statistics import Bounds, Values, accuracy_difference, normal_quantile, paired_proportions


def metric_difference(name: str, truth: Values, base: Values, candidate: Values, classes: int, confidence: float) -> Bounds:
    """Candidate's metric minus baseline's on the same rows: Tango's interval for accuracy, else a paired bootstrap, BCa, of
    10,000 resamples. truth, base, candidate: class numbers or scores, shape (rows,)."""
    if name == "accuracy":
        return accuracy_difference(base == truth, candidate == truth, confidence)
    if name in ("pearson", "spearman"):
        both = _correlations(name, truth, [base, candidate])
        return bootstrap(lambda w: np.diff(both(w), axis=0)[0], np.ones(len(truth)), confidence)
    if np.array_equal(base, candidate):
        return _agreeing(len(truth), _one_row(name, truth, candidate, classes), confidence)
    cells, counts = _joint([truth, base, candidate], classes)
    return bootstrap(lambda w: margin_metric(name, *_margins(cells, w, classes, 2)) - margin_metric(name, *_margins(cells, w, classes, 1)), counts, confidence)


def metric_bounds(name: str, truth: Values, predicted: Values, classes: int, confidence: float) -> Bounds:
    """A metric with its bounds: Wilson's score interval for accuracy, else a bootstrap, BCa."""
    if name == "accuracy":
        return proportion(float(np.mean(truth == predicted)), len(truth), confidence)
    if name in ("pearson", "spearman"):
        alone = _correlations(name, truth, [predicted])
        return bootstrap(lambda w: alone(w)[0], np.ones(len(truth)), confidence)
    cells, counts = _joint([truth, predicted], classes)
    return bootstrap(lambda w: margin_metric(name, *_margins(cells, w, classes, 1)), counts, confidence)


def proportion(p: float, n: int, confidence: float) -> Bounds:
    """A share p of n with its bounds: Wilson's score interval (Wilson 1927)."""
    z = normal_quantile(confidence)
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Bounds(p, (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))


def counted_difference(base: Values, candidate: Values, value: Callable[[Values], Values], confidence: float) -> Bounds:
    """The same by a paired bootstrap for a metric, from 0 to 1, of sums over rows, such as the F1 of entities.
    base, candidate: what each row adds, shape (rows, counts). value: sums of shape (draws, counts) to (draws,).
    Where there is one row alone, of which every resample is the same, nothing is ruled out."""
    if len(base) == 1:
        return Bounds(float((value(candidate) - value(base))[0]), -1.0, 1.0)
    if np.array_equal(base, candidate):
        return _agreeing(len(base), 1 / len(base), confidence)
    return bootstrap(lambda w: value(w @ candidate) - value(w @ base), np.ones(len(base)), confidence)


def counted_bounds(counts: Values, value: Callable[[Values], Values], confidence: float) -> Bounds:
    """A metric of sums over rows with its bounds, by a bootstrap of the rows."""
    return bootstrap(lambda w: value(w @ counts), np.ones(len(counts)), confidence) if len(counts) > 1 else Bounds(float(value(counts)[0]), 0.0, 1.0)


def _agreeing(rows: int, effect: float, confidence: float) -> Bounds:
    """Where no row tells two models apart every resample is alike, and a bootstrap would be sure that none ever will. Tango's
    bound says how many of as many rows may; effect: of one of them on the metric."""
    most = paired_proportions(0, 0, rows, confidence).high * rows * effect
    return Bounds(0.0, -most, most)


def _one_row(name: str, truth: Values, predicted: Values, classes: int) -> float:
    """What one wrong answer more does to a metric, in a row of the rarest class that has right ones."""
    hit, true, answered = _margins(*_joint([truth, predicted], classes), classes, 1)
    if not hit.any():
        return 1 / len(truth)
    rarest = int(np.argmin(np.where(hit[0] > 0, true[0], np.inf)))
    other = int(np.argmax(np.where(np.arange(classes) == rarest, -1, true[0])))
    fewer, moved = hit.copy(), answered.copy()
    fewer[0, rarest] -= 1
    moved[0, rarest] -= 1
    moved[0, other] += 1
    return abs(float((margin_metric(name, hit, true, answered) - margin_metric(name, fewer, true, moved))[0]))


def _joint(columns: list[Values], classes: int) -> tuple[Values, Values]:
    """Distinct rows of the columns, shape (cells, columns), and how often each occurs: rows of the same cell are alike."""
    return np.unique(np.stack([c.astype(int) for c in columns], axis=1), axis=0, return_counts=True)


def _margins(cells: Values, counts: Values, classes: int, which: int) -> tuple[Values, Values, Values]:
    """Right answers, rows and answers of each class, shapes (draws, classes), of column `which` of the cells: all that the
    metrics need of a confusion matrix, which thousands of classes would make too large. counts: (draws, cells), or (cells,) for one."""
    counts = np.atleast_2d(counts)
    truth, answer = cells[:, 0], cells[:, which]
    right = truth == answer
    return _summed(truth[right], counts[:, right], classes), _summed(truth, counts, classes), _summed(answer, counts, classes)


def _summed(column: Values, counts: Values, classes: int) -> Values:
    """The counts by the class that the column names, shape (draws, classes)."""
    out = np.zeros((len(counts), classes))
    order = np.argsort(column, kind="stable")
    present, starts = np.unique(column[order], return_index=True)
    if len(present):
        out[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return out


def confusion_metric(name: str, matrix: Values) -> Values:
    """The same for each confusion matrix (draws, truth, predicted)."""
    return margin_metric(name, np.einsum("dii->di", matrix), matrix.sum(2), matrix.sum(1))


def margin_metric(name: str, hit: Values, true: Values, predicted: Values) -> Values:
    """f1, precision, recall or matthews of each draw, from right answers, rows and answers of each class (draws, classes): of
    class 1 where there are two classes, else the classes' mean, as scikit-learn has it with zero_division=0."""
    if name == "matthews":
        total = true.sum(1)
        top = hit.sum(1) * total - (true * predicted).sum(1)
        bottom = np.sqrt(total**2 - (predicted**2).sum(1)) * np.sqrt(total**2 - (true**2).sum(1))
        return _divide(top, bottom)
    precision, recall = _divide(hit, predicted), _divide(hit, true)
    values = {"precision": precision, "recall": recall, "f1": _divide(2 * hit, predicted + true)}[name]
    return values[:, 1] if hit.shape[1] == 2 else values.mean(1)


def _divide(top: Values, bottom: Values) -> Values:
    return np.asarray(np.divide(top, bottom, out=np.zeros(np.shape(top)), where=bottom > 0))


def _correlations(name: str, truth: Values, predictions: list[Values]) -> Callable[[Values], Values]:
    """Of weights (draws, rows) each prediction's correlation with the truth, (predictions, draws): Pearson's, or Spearman's
    with the ranks that rows have in the resample."""
    columns = [_ranks(x) if name == "spearman" else _standard(x) for x in (truth, *predictions)]

    def correlations(weights: Values) -> Values:
        one, *others = (column(weights) for column in columns)
        return np.stack([_pearson(weights, one, other) for other in others])

    return correlations


def _standard(values: Values) -> Callable[[Values], Values]:
    """The values, of mean 0 and deviation 1 over all rows, whatever the weights."""
    moved = (np.asarray(values, dtype=float) - np.mean(values)) / (np.std(values) or 1.0)
    return lambda weights: moved


def _pearson(weights: Values, a: Values, b: Values) -> Values:
    """Correlation of a and b, (rows,) or (draws, rows), with each row of weights (draws, rows)."""

    def mean(x: Values) -> Values:
        return np.asarray((weights @ x if x.ndim == 1 else np.einsum("dr,dr->d", weights, x)) / total)

    total = weights.sum(1)
    mean_a, mean_b = mean(a), mean(b)
    spread = np.sqrt(np.maximum(mean(a * a) - mean_a**2, 0) * np.maximum(mean(b * b) - mean_b**2, 0))
    return np.asarray(np.divide(mean(a * b) - mean_a * mean_b, spread, out=np.zeros(len(total)), where=spread > 1e-12))


def _ranks(values: Values) -> Callable[[Values], Values]:
    """Of weights (draws, rows) each row's middle rank in the resample, as a share of the rows, about 0."""
    order = np.argsort(values, kind="stable")
    group = np.unique(values, return_inverse=True)[1]
    starts = np.r_[0, np.bincount(group).cumsum()[:-1]]

    def ranks(weights: Values) -> Values:
        # transposed, because whole rows of memory are quicker to put in order than single numbers
        sizes = np.ascontiguousarray(weights.T)[order]
        if len(starts) < len(order):
            sizes = np.add.reduceat(sizes, starts, axis=0)
        middle = (sizes.cumsum(0) - sizes / 2) / len(values) - 0.5
        return np.ascontiguousarray(middle[group].T)

    return ranks
