"""Tasks whose metrics are made of counts that add up over rows, or over documents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Set
from typing import Any

import numpy as np

from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.metric_bounds import counted_bounds, counted_difference
from edgeopt.tasks.base import Task, Values


class CountedTask(Task):
    """Base of tasks whose bounds come from a bootstrap of what is counted: of rows, or of documents of such rows."""

    @abstractmethod
    def counts(self, metric: str, labels: Values, outputs: Values) -> Values:
        """The counts that the metric adds up, shape (rows or documents, counts)."""

    def value(self, metric: str, counts: Values) -> Values:
        """Precision, recall, F1 or accuracy out of sums of right, predicted and true: (draws, 3) to (draws,).

        It is 0 where nothing is there.
        """
        right, predicted, true = counts[:, 0].astype(float), counts[:, 1], counts[:, 2]
        top, bottom = {
            "precision": (right, predicted),
            "recall": (right, true),
            "accuracy": (right, true),
            "f1": (2 * right, predicted + true),
        }[metric]
        return ratio(top, bottom)

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        return float(self.value(metric, self.counts(metric, labels, outputs).sum(0)[None])[0])

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        before, after = (self.counts(metric, labels, x) for x in (base, candidate))
        return counted_difference(before, after, lambda counts: self.value(metric, counts), confidence)

    # of coreference too, whose accuracy is not that of independent rows
    more_rows, slice_metric = Task.more_rows, Task.slice_metric

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        return counted_bounds(
            self.counts(metric, labels, outputs), lambda counts: self.value(metric, counts), confidence
        )


def matches(predicted: Set[Any], true: Set[Any]) -> tuple[int, int, int]:
    """(right, predicted, true): how many are in both sets, in the predicted one, and in the true one."""
    return len(predicted & true), len(predicted), len(true)


def ratio(top: Values, bottom: Values) -> Values:
    """The quotient top / bottom, and 0 where bottom is 0."""
    values: Values = np.divide(top, bottom, out=np.zeros(np.shape(top)), where=bottom > 0)
    return values
