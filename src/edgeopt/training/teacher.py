"""A frozen model that answers, and the objective of its logits alone."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from edgeopt.training.distill_terms import logits_loss, question, recorded
from edgeopt.training.objective import Objective

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


class DistillLogits(Objective):
    """An objective that follows the teacher's logits and looks at no labels."""

    def __init__(self, teacher: Teacher, temperature: float) -> None:
        self.teacher, self.temperature = teacher, temperature

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        return logits_loss(
            model(**asked).logits, self.teacher.answer(asked)[0], labels, self.temperature, scores=self.teacher.scores
        )
