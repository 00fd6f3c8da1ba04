"""Losses on labels, right over accumulated batches and several processes.

The mean of a weighted cross-entropy divides by the sum of the rows' weights. transformers' Trainer counts rows instead,
and a mean of the micro-batches' means is not the whole batch's: so these losses bring their own divisor.

An objective's losses are averaged over batches and processes by the Trainer. So its loss on the labels divides by
what a batch of the step weighs on average (`Objective.mean_weight`), and a batch without a labeled row counts with 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: transformers' mark of a position without a label
_IGNORED = -100


class LabelLoss(ABC):
    """A sum over labels, divided by what they weigh together. Where they weigh nothing it is 0."""

    @abstractmethod
    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        """The weight of all labels in the batches of one optimizer step, which their losses are divided by."""

    @abstractmethod
    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the losses of all labels.

        logits: (rows, classes), (rows, tokens, classes) or (rows, 1). labels: on the same device.
        """

    def __call__(
        self,
        outputs: dict[str, torch.Tensor] | tuple[torch.Tensor, ...],
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss of a batch, as the Trainer calls its `compute_loss_func`.

        num_items_in_batch: `total` of the optimizer step; None: this batch's own.
        """
        import torch

        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        labels = labels.to(logits.device)
        total = self.total([{"labels": labels}]) if num_items_in_batch is None else num_items_in_batch
        total = torch.as_tensor(total, dtype=torch.float32, device=logits.device)
        return self.summed(logits.float(), labels) / total.clamp(min=torch.finfo(torch.float32).tiny)


class WeightedCrossEntropy(LabelLoss):
    """The loss of torch's CrossEntropyLoss(weight, label_smoothing)."""

    def __init__(self, weights: Sequence[float] | None, smoothing: float) -> None:
        self.weights, self.smoothing = weights, smoothing

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        import torch

        labels = torch.cat([b["labels"].reshape(-1) for b in batches])
        labels = labels[labels != _IGNORED]
        if self.weights is None:
            return torch.tensor(float(len(labels)), device=labels.device)
        return torch.tensor(self.weights, device=labels.device)[labels].sum()

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch

        weight = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        return torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            labels.reshape(-1),
            weight,
            ignore_index=_IGNORED,
            label_smoothing=self.smoothing,
            reduction="sum",
        )


class SquaredError(LabelLoss):
    """The loss of torch's MSELoss, of scores."""

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        import torch

        return torch.tensor(float(sum(b["labels"].numel() for b in batches)), device=batches[0]["labels"].device)

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.mse_loss(logits.reshape(-1), labels.reshape(-1).float(), reduction="sum")


class BinaryCrossEntropy(LabelLoss):
    """The loss of torch's BCEWithLogitsLoss(pos_weight) on labels of 0 and 1: the mean over rows and classes.

    positive: what a yes of each class counts against a no, which counts 1. smoothing: labels are moved by its half.
    """

    def __init__(self, positive: Sequence[float] | None, smoothing: float) -> None:
        self.positive, self.smoothing = positive, smoothing

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        import torch

        return torch.tensor(float(sum(b["labels"].numel() for b in batches)), device=batches[0]["labels"].device)

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch

        weight = None if self.positive is None else torch.tensor(self.positive, device=logits.device)
        wanted = labels.float() * (1 - self.smoothing) + self.smoothing / 2
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight, reduction="sum")


class Pointwise(SquaredError):
    """The weighted sum of the squared error of scores and of the binary cross-entropy of their sigmoid.

    Each is a mean over the rows.
    """

    def __init__(self, mse: float, bce: float) -> None:
        self.mse, self.bce = mse, bce

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional as F

        total = self.mse * super().summed(logits, labels)
        if self.bce:
            scores, wanted = logits.reshape(-1), labels.reshape(-1).float()
            total = total + self.bce * F.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
        return total
