"""Classes of a text or of a pair of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from edgeopt.statistics.agreement import probabilities
from edgeopt.statistics.bounds import Bounds, paired_proportions
from edgeopt.statistics.metric_bounds import metric_bounds, metric_difference
from edgeopt.support.errors import Place
from edgeopt.tasks import columns
from edgeopt.tasks.base import Answer, Label, Task, Values
from edgeopt.tasks.metrics import METRICS


class Classification(Task):
    """A class for a text or a pair: one logit a class, of which the largest is the answer."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    known_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "precision", "recall", "matthews")
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"matthews": (-1.0, 1.0)}
    windowed: ClassVar[bool] = True
    names_outputs: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("pair", "bi-encoder")
    one_class: ClassVar[bool] = True
    one_output: ClassVar[bool] = True
    one_query: ClassVar[bool] = True
    typed: ClassVar[bool] = True
    told_by_outputs: ClassVar[bool] = True
    pipeline: ClassVar[str | None] = "text-classification"

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        return list(given or columns.classes_of((label, place) for _, label, place in rows))

    def label(self, raw: object, place: Place) -> Label:
        return self.number(raw, place)

    def head_options(self) -> dict[str, Any]:
        return {**super().head_options(), "problem_type": "single_label_classification"}

    def predict(self, outputs: Values) -> Values:
        return np.asarray(outputs.argmax(axis=-1))

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        shares = probabilities(np.asarray(outputs, dtype=float))
        return [
            (self._name(best), float(row[best]))
            for best, row in zip(self.predict(outputs).tolist(), shares, strict=True)
        ]

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        return METRICS[metric](labels, self.predict(outputs), outputs.shape[-1])

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        return metric_difference(
            metric, labels, self.predict(base), self.predict(candidate), candidate.shape[-1], confidence
        )

    def more_rows(
        self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float
    ) -> Callable[[float], Bounds]:
        if metric != "accuracy":
            return super().more_rows(metric, labels, base, candidate, confidence)
        before, after = (self.predict(x) == labels for x in (base, candidate))
        gained, lost = int(np.sum(~before & after)), int(np.sum(before & ~after))
        return lambda times: paired_proportions(gained * times, lost * times, len(labels) * times, confidence)

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Outputs that answer always the most frequent class; of two also always class 1, the best known of F1."""
        classes = outputs.shape[-1]
        often = int(np.bincount(labels.astype(int), minlength=classes).argmax())
        return {
            f"always answering '{self._name(c)}'": np.tile(np.eye(classes)[c], (len(labels), 1))
            for c in ({often, 1} if classes == 2 else {often})
        }

    def judged_by(self, metric: str) -> str:
        """Matthews' correlation in place of precision, recall and macro averages.

        Those of a guess depend on how often it guesses which class, and recall is 1 where every answer is yes;
        Matthews' correlation of any guess is 0.
        """
        return metric if metric == "accuracy" or (metric == "f1" and len(self.names) == 2) else "matthews"

    @property
    def information(self) -> str | None:
        return "matthews"

    @property
    def slice_metric(self) -> str | None:
        return "accuracy"

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        return metric_bounds(metric, labels, self.predict(outputs), outputs.shape[-1], confidence)
