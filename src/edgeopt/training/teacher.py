"""A frozen model that answers."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from edgeopt.training.distill_terms import recorded

if TYPE_CHECKING:
    from torch import nn


class Teacher:
    """A frozen model that answers a batch. scores: its logits are scores and not those of classes."""

    def __init__(self, model: nn.Module, *, scores: bool, bf16: bool) -> None:
        self.model, self.scores, self.bf16 = model.eval().requires_grad_(False), scores, bf16

    def answer(self, batch: dict[str, Any]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(logits, what each layer writes) for a batch, on its device."""
        logits, inside = self.look(batch, ("hidden",))
        return logits, inside["hidden"]

    @torch.no_grad()
    def look(
        self, batch: dict[str, Any], kinds: Collection[str] = ()
    ) -> tuple[torch.Tensor, dict[str, list[torch.Tensor]]]:
        """(logits, what each layer has of each of the kinds that `recorded` takes) for a batch, on its device."""
        device = batch["input_ids"].device
        self.model.to(device)
        with ExitStack() as stack, torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            inside = {kind: stack.enter_context(recorded(self.model, kind)) for kind in kinds}
            logits = self.model(**batch).logits
        return logits, inside
