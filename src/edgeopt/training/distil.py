"""Distillation: the losses that bring a model near its teacher's logits and layers, and the objective of the logits alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from edgeopt.models.anatomy import anatomy
from edgeopt.tasks.base import IGNORED
from edgeopt.training.objective import Objective


class Teacher:
    """A frozen model that answers a batch. scores: its logits are scores and not those of classes."""

    def __init__(self, model: Any, *, scores: bool, bf16: bool) -> None:
        self.model, self.scores, self.bf16 = model.eval().requires_grad_(False), scores, bf16

    @torch.no_grad()
    def answer(self, batch: dict[str, Any]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits, and what each layer writes, on the batch's device."""
        device = batch["input_ids"].device
        self.model.to(device)
        with recorded(self.model) as layers, torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(**batch).logits
        return logits, layers


class DistilLogits(Objective):
    """The teacher's logits, and no labels."""

    def __init__(self, teacher: Teacher, temperature: float) -> None:
        self.teacher, self.temperature = teacher, temperature

    def loss(self, model: Any, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        return logits_loss(model(**asked).logits, self.teacher.answer(asked)[0], labels, self.temperature, scores=self.teacher.scores)


def question(batch: dict[str, Any]) -> tuple[dict[str, Any], torch.Tensor]:
    """A batch without its labels, and those."""
    return {k: v for k, v in batch.items() if k != "labels"}, batch["labels"]


@contextmanager
def recorded(model: Any) -> Iterator[list[torch.Tensor]]:
    """What each layer writes, shape (batch, tokens, hidden); anew with every pass while the block runs."""
    layers = model.get_submodule(anatomy(model.config.model_type).layers)
    found: list[Any] = [None] * len(layers)

    def hook(number: int) -> Any:
        return lambda module, args, out: found.__setitem__(number, out[0] if isinstance(out, tuple) else out)

    hooks = [layer.register_forward_hook(hook(i)) for i, layer in enumerate(layers)]
    try:
        yield found
    finally:
        for one in hooks:
            one.remove()


def logits_loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float, *, scores: bool) -> torch.Tensor:
    """T²·KL(teacher, student) at temperature T, the mean over rows (Hinton et al. 2015), or over words that have a label;
    of scores the mean squared difference. Logits: (rows, classes) or (rows, tokens, classes)."""
    student, teacher = student.float(), teacher.float()
    if scores:
        return F.mse_loss(student, teacher)
    if student.dim() == 3:
        words = labels != IGNORED
        student, teacher = student[words], teacher[words]
    found, wanted = (F.log_softmax(x / temperature, -1) for x in (student, teacher))
    return temperature**2 * F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def quarters(count: int) -> list[int]:
    """The layers, of so many, at which a quarter each is over: of twelve 2, 5, 8 and 11."""
    return sorted({math.ceil(count * k / 4) - 1 for k in range(1, 5)})


def layer_loss(students: Sequence[torch.Tensor], teachers: Sequence[torch.Tensor], tokens: torch.Tensor, transform: nn.Module,
               alive: Sequence[int]) -> torch.Tensor:  # fmt: skip
    """Sum over the teacher's layers of their mean squared distance to the student's that match them (Xia et al. 2022,
    section 3.2): together the least there is, later ones never to earlier layers, and only to layers that are alive.

    tokens: the attention mask, whose last axis is the tokens; padding counts for nothing. transform: from the student's
    width to the teacher's. alive: numbers of layers of the student; none: all."""
    real = tokens.reshape(-1, tokens.shape[-1]).bool()
    able = list(alive) or list(range(len(students)))
    wanted = [t[real].float() for t in teachers]
    with torch.no_grad():
        costs = [[float(F.mse_loss(transformed, t)) for transformed in (transform(students[i][real].float()) for i in able)] for t in wanted]
    chosen = monotone(costs)
    return torch.stack([F.mse_loss(transform(students[able[i]][real].float()), t) for i, t in zip(chosen, wanted, strict=True)]).sum()


def monotone(costs: Sequence[Sequence[float]]) -> list[int]:
    """For each row a column, never before that of the row above, at the least sum of costs; of equal ones the first."""
    best: list[tuple[float, list[int]]] = [(0.0, [])] * len(costs[0])
    for row in costs:
        ways: list[tuple[float, list[int]]] = []
        for column, cost in enumerate(row):
            total, path = min(best[: column + 1], key=lambda way: way[0])
            ways.append((total + cost, [*path, column]))
        best = ways
    return min(best, key=lambda way: way[0])[1]
