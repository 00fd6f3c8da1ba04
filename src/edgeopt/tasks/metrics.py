"""Metrics of a class or a score for each row, as scikit-learn and scipy have them, by numpy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeopt.statistics.bounds import Values
from edgeopt.statistics.metric_bounds import is_constant, margin_metric, moderate

Metric = Callable[[Values, Values, int], float]


def _confused(name: str) -> Metric:
    """The metric F1, precision or recall, of class 1 of two, else the classes' mean; or Matthews' correlation."""

    def metric(truth: Values, predicted: Values, classes: int) -> float:
        truth = truth.astype(int)
        counts = (
            np.bincount(each, minlength=classes)[None].astype(float)
            for each in (truth[truth == predicted], truth, predicted)
        )
        return float(margin_metric(name, *counts)[0])

    return metric


def _accuracy(truth: Values, predicted: Values, classes: int) -> float:
    return float(np.mean(truth == predicted))


def _pearson(truth: Values, predicted: Values, classes: int) -> float:
    if is_constant(predicted) or np.ptp(truth) == 0:
        return 0.0  # a constant carries no information
    value = float(np.corrcoef(moderate(truth), moderate(predicted))[0, 1])
    return value if np.isfinite(value) else 0.0


def _spearman(truth: Values, predicted: Values, classes: int) -> float:
    if is_constant(predicted):
        return 0.0
    return _pearson(ranks(truth), ranks(predicted), classes)


def ranks(values: Values) -> Values:
    """The place of each value in their order, from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


#: metric(labels, predictions, number of classes)
METRICS: dict[str, Metric] = {
    "accuracy": _accuracy,
    **{name: _confused(name) for name in ("f1", "precision", "recall", "matthews")},
    "pearson": _pearson,
    "spearman": _spearman,
}
