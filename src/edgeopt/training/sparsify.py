"""The objective of CoFi (Xia et al. 2022): learn which parts of a model to close while it follows its teacher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from edgeopt.models.hard_concrete import HardConcrete
from edgeopt.models.masks import Masks, masked
from edgeopt.models.slicing import structure_of
from edgeopt.training.distill_terms import layer_loss, logits_loss, question, recorded
from edgeopt.training.matching import matched
from edgeopt.training.objective import Objective
from edgeopt.training.teacher import Teacher

#: Rate of gradient ascent of the multipliers in trainings as long as the paper's. In shorter ones they ascend as much
#: faster, to have the same way to go: else they do not outweigh the other terms before the training is over.
_MULTIPLIERS_RATE, _STEPS = 0.01, 10_000


class Sparsify(Objective):
    """hidden·Σ MSE + logits·T²·KL + λ1(ŝ − t) + λ2(ŝ − t)², for the sparsity ŝ of the gates and t asked of them.

    ŝ is what the gates are expected to give; t rises evenly from the model's own to `target` in the share `warmup` of
    the training. The multipliers λ ascend, so that ŝ comes to t whatever the other terms weigh (section 3.1). match:
    which layers are compared; with `dynamic` (section 3.2) only those whose attention is not closed.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: Teacher,
        *,
        target: float,
        warmup: float,
        rate: float,
        hidden: float,
        logits: float,
        temperature: float,
        match: Literal["uniform", "dynamic"] | Sequence[int] = "dynamic",
    ) -> None:
        structure, theirs = structure_of(model), structure_of(teacher.model)
        self.teacher, self.warmup, self.rate = teacher, warmup, rate
        self.start, self.target = 1 - structure.weights / structure.dense.structure.weights, target
        self.hidden, self.logits, self.temperature = hidden, logits, temperature
        self.dynamic, self.pairs = match == "dynamic", matched(match, len(structure.layers), len(theirs.layers))
        self.gates = HardConcrete(structure)
        self.multipliers = nn.Parameter(torch.zeros(2))
        self.transform = nn.Linear(structure.hidden, theirs.hidden)
        nn.init.eye_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)
        self.module = nn.Module()
        for name in ("gates", "transform", "multipliers"):
            setattr(self.module, name, getattr(self, name))
        self._masks, self._written = Masks(), list[torch.Tensor]()

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        self._masks = self.gates.probabilities()  # for the hooks to have some: a loss puts its own there
        with masked(model, self._masks), recorded(model) as self._written:
            yield

    def groups(self) -> list[dict[str, Any]]:
        return [
            {"params": list(self.gates.parameters()), "lr": self.rate, "weight_decay": 0.0},
            {"params": [self.multipliers], "lr": _MULTIPLIERS_RATE, "weight_decay": 0.0, "maximize": True},
        ]

    def stepped(self) -> None:
        self.gates.clamp()

    def asked(self, done: float) -> float:
        """The sparsity t that is asked for after that share of the training."""
        return self.start + (self.target - self.start) * min(1.0, done / self.warmup)

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        vars(self._masks).update(vars(self.gates.sample()))
        student = model(**asked).logits
        teacher, teachers = self.teacher.answer(asked)
        assert self._masks.mha is not None
        alive = torch.nonzero(self._masks.mha.detach()).flatten().tolist()
        near = layer_loss(
            self._written if self.dynamic else [self._written[s] for s, _ in self.pairs],
            [teachers[t] for _, t in self.pairs],
            asked["attention_mask"],
            self.transform,
            alive if self.dynamic else None,
        )
        answers = logits_loss(student, teacher, labels, self.temperature, scores=self.teacher.scores)
        gap = self.gates.sparsity() - self.asked(step / steps)
        linear, square = self.multipliers * max(1.0, _STEPS / steps)
        total: torch.Tensor = self.hidden * near + self.logits * answers + linear * gap + square * gap**2
        return total
