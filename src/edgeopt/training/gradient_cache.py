"""A loss that compares all rows of a large batch, in the memory of a small one.

Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup": the embeddings are computed
without gradients, part by part; the loss and its gradient by them are those of the whole batch; then each part is
computed again, with the same dropout, and hands its share of the gradient on. The gradients are those of the whole
batch at once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from edgeopt.tasks.losses import LabelLoss
from edgeopt.training.distill_terms import question
from edgeopt.training.objective import Objective

if TYPE_CHECKING:
    from torch import nn


class Cached(Objective):
    """A loss on the labels of a whole batch, of which so many rows are computed at once."""

    def __init__(self, on_labels: LabelLoss, rows: int) -> None:
        self.on_labels, self.rows = on_labels, rows
        self.on_selection = on_labels

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        count = len(labels)
        parts = [{k: v[i : i + self.rows] for k, v in asked.items()} for i in range(0, count, self.rows)]
        states, found = [], []
        with torch.no_grad():
            for part in parts:
                states.append(_Random())
                found.append(model(**part).logits)
        whole = torch.cat([x.float() for x in found]).requires_grad_()
        value = self.on_labels({"logits": whole}, labels)
        (gradient,) = torch.autograd.grad(value, whole)
        out = value.detach().requires_grad_()
        shares = torch.split(gradient, self.rows)
        hook: Any = out.register_hook
        hook(partial(_again, model, parts, states, shares))
        return out


def _again(
    model: nn.Module,
    parts: list[dict[str, Any]],
    states: list[_Random],
    gradients: tuple[torch.Tensor, ...],
    outer: torch.Tensor,
) -> None:
    """Compute each part once more, and hand its gradient on. outer: by what the loss is multiplied behind it."""
    for part, state, gradient in zip(parts, states, gradients, strict=True):
        with state, torch.enable_grad():
            logits = model(**part).logits
            (logits.float() * gradient * outer).sum().backward()


class _Random:
    """The state of the generators when it was made, which a block runs with and leaves as it was before."""

    def __init__(self) -> None:
        self.cpu = torch.get_rng_state()
        self.gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self._inside = torch.random.fork_rng(devices=[])

    def __enter__(self) -> None:
        self._inside = torch.random.fork_rng(devices=range(len(self.gpus)))
        self._inside.__enter__()
        torch.set_rng_state(self.cpu)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)

    def __exit__(self, *raised: Any) -> None:
        self._inside.__exit__(*raised)
