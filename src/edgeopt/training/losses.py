"""Cross-entropy with class weights and label smoothing, right over accumulated batches and several processes.

The mean of a weighted cross-entropy divides by the sum of the rows' weights. transformers' Trainer counts rows instead,
and a mean of the micro-batches' means is not the whole batch's: so this loss brings its own divisor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: transformers' mark of a position without a label
_IGNORED = -100


class WeightedCrossEntropy:
    """The Trainer's `compute_loss_func`: torch's CrossEntropyLoss(weight, label_smoothing), its sum divided by `total`."""

    def __init__(self, weights: Sequence[float] | None, smoothing: float) -> None:
        self.weights, self.smoothing = weights, smoothing

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        """Sum of the weights of every label in the batches of one optimiser step: what their losses are divided by."""
        import torch

        labels = torch.cat([b["labels"].reshape(-1) for b in batches])
        labels = labels[labels != _IGNORED]
        if self.weights is None:
            return torch.tensor(float(len(labels)), device=labels.device)
        return torch.tensor(self.weights, device=labels.device)[labels].sum()

    def __call__(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
        """num_items_in_batch: `total` of the optimiser step; None: this batch's own."""
        import torch

        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        logits, labels = logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1).to(logits.device)
        weight = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        loss = torch.nn.functional.cross_entropy(logits, labels, weight, ignore_index=_IGNORED, label_smoothing=self.smoothing, reduction="sum")
        return loss / (self.total([{"labels": labels}]) if num_items_in_batch is None else num_items_in_batch)
