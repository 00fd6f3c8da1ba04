"""The objective that follows a teacher's layers and logits, and looks at no labels: CoFi's distillation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from edgeopt.models.slicing import structure_of
from edgeopt.training.distill_terms import layer_loss, logits_loss, question, recorded
from edgeopt.training.objective import Objective
from edgeopt.training.teacher import Teacher


class Follow(Objective):
    """hidden·Σ MSE + logits·T²·KL, on the outputs of matched layers and on the logits (Xia et al. 2022, section 3.2).

    pairs: (layer of the model, layer of the teacher) of each that is compared. dynamic: only the teacher's count, and
    the model's are chosen anew in every batch, among those that have attention. The layers' outputs are compared
    through a linear map that is learned, and is the identity at first; transform: start from that one.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: Teacher,
        *,
        hidden: float,
        logits: float,
        temperature: float,
        pairs: Sequence[tuple[int, int]],
        dynamic: bool,
        transform: nn.Linear | None = None,
    ) -> None:
        self.structure = structure_of(model)
        self.teacher, self.pairs, self.dynamic = teacher, pairs, dynamic
        self.hidden, self.logits, self.temperature = hidden, logits, temperature
        self.transform = transform or _identity(self.structure.hidden, structure_of(teacher.model).hidden)
        self.module = nn.Module()
        self.module.transform = self.transform
        self._written = list[torch.Tensor]()

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        with recorded(model) as self._written:
            yield

    def alive(self) -> list[int]:
        """The layers of the model that have attention."""
        return [i for i, layer in enumerate(self.structure.layers) if layer.heads]

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        student = model(**asked).logits
        teacher, teachers = self.teacher.answer(asked)
        near = layer_loss(
            self._written if self.dynamic else [self._written[s] for s, _ in self.pairs],
            [teachers[t] for _, t in self.pairs],
            asked["attention_mask"],
            self.transform,
            self.alive() if self.dynamic else None,
        )
        answers = logits_loss(student, teacher, labels, self.temperature, scores=self.teacher.scores)
        return self.hidden * near + self.logits * answers


def _identity(width: int, wanted: int) -> nn.Linear:
    transform = nn.Linear(width, wanted)
    nn.init.eye_(transform.weight)
    nn.init.zeros_(transform.bias)
    return transform


@torch.no_grad()
def narrowed(transform: nn.Linear, kept: torch.Tensor) -> nn.Linear:
    """The map of a model whose width lost dimensions. kept: which of its inputs stay, shape (width,)."""
    found = nn.Linear(int(kept.sum()), transform.out_features)
    found.weight.copy_(transform.weight.cpu()[:, kept])
    found.bias.copy_(transform.bias.cpu())
    return found
