"""Metrics of a class or a score for each row, from scikit-learn and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[Any]]
Metric = Callable[[Values, Values, int], float]


def _sklearn(name: str) -> Metric:
    """F1, precision or recall: of class 1 where there are two classes, else the classes' mean."""

    def metric(truth: Values, predicted: Values, classes: int) -> float:
        import sklearn.metrics as sk

        options: dict[str, Any] = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": range(classes)}
        return float(getattr(sk, name)(truth.astype(int), predicted, zero_division=0.0, **options))

    return metric


def _accuracy(truth: Values, predicted: Values, classes: int) -> float:
    return float(np.mean(truth == predicted))


def _matthews(truth: Values, predicted: Values, classes: int) -> float:
    import sklearn.metrics as sk

    return float(sk.matthews_corrcoef(truth, predicted))


def _correlation(name: str) -> Metric:
    def metric(truth: Values, predicted: Values, classes: int) -> float:
        import scipy.stats

        if np.ptp(predicted) == 0 or np.ptp(truth) == 0:
            return 0.0  # a constant carries no information; scipy would warn and give nan
        value = float(getattr(scipy.stats, name)(truth, predicted).statistic)
        return value if math.isfinite(value) else 0.0

    return metric


#: metric(labels, predictions, number of classes)
METRICS: dict[str, Metric] = {
    "accuracy": _accuracy,
    "f1": _sklearn("f1_score"),
    "precision": _sklearn("precision_score"),
    "recall": _sklearn("recall_score"),
    "matthews": _matthews,
    "pearson": _correlation("pearsonr"),
    "spearman": _correlation("spearmanr"),
}
