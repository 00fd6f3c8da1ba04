"""Ordinal regression: classes that have an order, such as the stars of a review or the grade of an essay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from edgeopt.plugins import Bounds, CountedTask, Field, LabelLoss, Place, Raw, Values, bad_input, classes_of

if TYPE_CHECKING:
    import torch


#: Where a metric begins and how far it goes, where that is not from 0 to 1.
_SPANS = {"quadratic_kappa": (-1.0, 2.0)}


class OrdinalRegression(CountedTask):
    """K classes in the order of their numbers, or of `task.labels`, from K − 1 outputs.

    Each output is trained by binary cross-entropy to say whether the label is above a class; the answer is how many say
    so. The reduction is that of Li and Lin (2006, Ordinal Regression by Extended Binary Classification); the loss of
    all in one network is that of Niu et al. (2016, Ordinal Regression with Multiple Output CNN for Age Estimation,
    equation 3, without weights of the outputs).

    accuracy; within_one, the share of answers at most one class off; quadratic_kappa, Cohen's kappa with squared
    weights (1968); closeness, 1 minus the mean absolute error as a share of the largest, so that more is better as
    everywhere.
    """

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    known_metrics: ClassVar[tuple[str, ...]] = ("quadratic_kappa", "accuracy", "within_one", "closeness")
    default_metrics: ClassVar[tuple[str, ...]] = ("quadratic_kappa", "closeness", "accuracy")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"quadratic_kappa": (-1.0, 1.0)}
    softmax: ClassVar[bool] = False
    one_output: ClassVar[bool] = True
    windowed: ClassVar[bool] = True

    # rows

    def classes(self, rows: Sequence[Raw], given: Sequence[str] | None) -> list[str]:
        found = list(given or classes_of((label, place) for _, label, place in rows))
        if given is None and not all(name.lstrip("-").isdecimal() for name in found):
            raise bad_input(
                "E304",
                f"classes with names have no order: {', '.join(found[:5])}",
                help="name them from the lowest to the highest in task.labels",
            )
        return found

    def label(self, raw: Any, place: Place) -> int:
        return self.number(raw, place)

    # model

    @property
    def outputs(self) -> int:
        return max(len(self.names) - 1, 1)

    def head_options(self) -> dict[str, Any]:
        names = {k: f"above {name}" for k, name in enumerate(self.names[:-1])}
        return {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {v: k for k, v in names.items()},
            "problem_type": "multi_label_classification",
        }

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return (np.array(labels)[:, None] > np.arange(self.outputs)).astype(np.float32)

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        return ThresholdLoss(weights, smoothing)

    # outputs

    @property
    def output_shape(self) -> Any:
        return Annotated[list[float], Field(min_length=self.outputs, max_length=self.outputs)]

    def predict(self, outputs: Values) -> Values:
        return np.asarray((outputs > 0).sum(axis=-1))

    # metrics: each is a fraction of its span, and what rows add to it are the cells of the confusion matrix

    def counts(self, metric: str, labels: Values, outputs: Values) -> Values:
        size = len(self.names)
        return np.asarray(np.eye(size * size)[labels.astype(int) * size + self.predict(outputs)])

    def value(self, metric: str, counts: Values) -> Values:
        size = len(self.names)
        table, apart = counts.reshape(-1, size, size), np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        total = np.maximum(table.sum((1, 2)), np.finfo(float).tiny)
        if metric == "quadratic_kappa":
            expected = np.einsum("di,dj,ij->d", table.sum(2), table.sum(1), apart**2.0) / total
            kappa = 1 - np.divide((table * apart**2).sum((1, 2)), expected, out=np.ones(len(table)), where=expected > 0)
            return np.asarray((kappa + 1) / 2)
        kept = {"accuracy": apart == 0, "within_one": apart <= 1, "closeness": 1 - apart / max(size - 1, 1)}[metric]
        return np.asarray((table * kept).sum((1, 2)) / total)

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        low, size = _SPANS.get(metric, (0.0, 1.0))
        return low + size * super().measure(metric, labels, outputs)

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        low, size = _SPANS.get(metric, (0.0, 1.0))
        return Bounds(*(low + size * x for x in super().bounds(metric, labels, outputs, confidence)))

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        _, size = _SPANS.get(metric, (0.0, 1.0))
        return Bounds(*(size * x for x in super().difference(metric, labels, base, candidate, confidence)))

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Always the most frequent class, and always the one in the middle of the rows."""
        classes = {int(np.bincount(labels.astype(int)).argmax()), int(np.median(labels))}
        levels = np.arange(self.outputs)
        return {
            f"always answering '{self.names[c]}'": np.tile(np.where(c > levels, 1.0, -1.0), (len(labels), 1))
            for c in sorted(classes)
        }

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        return [
            f"The candidate's answers are {np.abs(labels - self.predict(outputs)).mean():.4f} classes off on average "
            "(its mean absolute error)."
        ]

    @property
    def information(self) -> str:
        return "quadratic_kappa"


class ThresholdLoss(LabelLoss):
    """The mean over a row's outputs of their binary cross-entropies, a row weighed by its class."""

    def __init__(self, weights: Sequence[float] | None, smoothing: float) -> None:
        self.weights, self.smoothing = weights, smoothing

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        import torch

        return self._weights(torch.cat([b["labels"] for b in batches])).sum()

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch

        wanted = labels.float() * (1 - self.smoothing) + self.smoothing / 2
        rows = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(-1)
        return (rows * self._weights(labels)).sum()

    def _weights(self, levels: torch.Tensor) -> torch.Tensor:
        import torch

        classes = levels.sum(-1).long()
        return (
            torch.ones(len(levels), device=levels.device)
            if self.weights is None
            else torch.tensor(self.weights, device=levels.device)[classes]
        )
