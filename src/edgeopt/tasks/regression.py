"""A score for a text or for a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from edgeopt.statistics.metric_bounds import is_constant
from edgeopt.support.errors import Place
from edgeopt.support.reading import Finite
from edgeopt.tasks import columns
from edgeopt.tasks.base import Answer, Values
from edgeopt.tasks.classification import Classification
from edgeopt.tasks.losses import LabelLoss, SquaredError


class Regression(Classification):
    """A score for a text or a pair: one output, trained by squared error."""

    names_outputs: ClassVar[bool] = False
    known_metrics: ClassVar[tuple[str, ...]] = ("pearson", "spearman")
    default_metrics: ClassVar[tuple[str, ...]] = ("pearson", "spearman")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"pearson": (-1.0, 1.0), "spearman": (-1.0, 1.0)}
    has_classes: ClassVar[bool] = False
    scores: ClassVar[bool] = True
    softmax: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ("pair", "bi-encoder", "cosine")
    one_class: ClassVar[bool] = False
    pipeline: ClassVar[str | None] = None

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        return []

    def label(self, raw: object, place: Place) -> float:
        return columns.score(raw, place)

    def head_options(self) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        return SquaredError()

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return np.array(labels, dtype=np.float32)

    @property
    def label_shape(self) -> Any:
        return Finite

    def plain_label(self, label: Any) -> float:
        return float(label)

    def predict(self, outputs: Values) -> Values:
        return np.asarray(outputs, dtype=np.float64).reshape(len(outputs))

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        return [(score, None) for score in self.predict(outputs).tolist()]

    @property
    def slice_metric(self) -> str | None:
        return self.spec.metric_names[0]

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        return {"no relation at all": np.full((len(labels), 1), float(np.mean(labels)))}

    def judged_by(self, metric: str) -> str:
        return metric

    def unmeasurable(self, metric: str, labels: Values) -> str | None:
        return (
            f"the labels of all {len(labels)} rows are the same, and no correlation with them is defined"
            if np.ptp(labels) == 0
            else None
        )

    @property
    def information(self) -> str | None:
        return None

    def undefined(self, metric: str, labels: Values, outputs: Values) -> str | None:
        return (
            "scores are all the same, and their correlation is not defined"
            if is_constant(self.predict(outputs))
            else None
        )

    def flips(self, before: Values, after: Values) -> tuple[int, int] | None:
        return None
