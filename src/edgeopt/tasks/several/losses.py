"""The losses of several tasks, each on its own rows, added up by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeopt.tasks.losses import LabelLoss

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PartLoss:
    """The loss of one task.

    outputs: numbers that its head answers with. classes: whether its labels are numbers of classes. low, high: the
    least score and the most, which a cosine is trained towards as 0 and 1.
    """

    loss: LabelLoss
    weight: float
    outputs: int
    classes: bool
    low: float = 0.0
    high: float = 1.0


class SeveralLosses(LabelLoss):
    """The mean over the rows of a step, each row with the mean loss of its task's rows in its batch, times its weight.

    Labels are (number of the task, label); outputs are the number of the task, then the answer of its head.
    """

    def __init__(self, parts: Sequence[PartLoss]) -> None:
        self.parts = tuple(parts)

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        import torch

        return torch.tensor(float(sum(len(b["labels"]) for b in batches)), device=batches[0]["labels"].device)

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch

        found = []
        for number in sorted(set(labels[:, 0].tolist())):
            part, rows = self.parts[int(number)], labels[:, 0] == number
            own = labels[rows, 1]
            wanted = own.long() if part.classes else (own - part.low) / ((part.high - part.low) or 1.0)
            mean = part.loss({"logits": logits[rows, 1 : 1 + part.outputs]}, wanted)
            found.append(part.weight * mean * rows.sum())
        return torch.stack(found).sum()
