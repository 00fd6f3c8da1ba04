"""Each term of a distillation alone: it brings the student to the teacher in what it promises, and labels do not.

What is promised is measured by the models' own outputs, not by the code of the losses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from families import tiny
from torch.nn import functional as F
from unit.training.test_distillation import ROWS, collate, objective, shorter

from edgeopt.models.narrow import narrower
from edgeopt.models.slicing import cut
from edgeopt.training.objective import attached

STEPS, RATE = 120, 1e-2


def apart(model: Any) -> Any:
    """The model with other weights, about as far from it as a student is in the beginning."""
    torch.manual_seed(7)
    found = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return found


def trained(student: Any, teacher: Any, **losses: Any) -> Any:
    """The student after Adam on the rows with these losses, in evaluation mode."""
    learned = objective(student, teacher, **{"logits": 0.0, **losses})
    batch = {**collate(ROWS), "labels": torch.tensor([0, 1, 0, 1]), "row": torch.arange(len(ROWS))}
    with attached(student, learned):
        optimizer = torch.optim.Adam(student.parameters(), lr=RATE)
        for step in range(STEPS):
            learned.loss(student, batch, step, STEPS).backward()
            optimizer.step()
            optimizer.zero_grad()
    return student


def seen(model: Any) -> dict[str, torch.Tensor]:
    """What the model's layers give for the rows, as transformers tells it, without padding."""
    model.set_attn_implementation("eager")
    values: list[torch.Tensor] = []
    last = model.bert.encoder.layer[-1].attention.self.value
    hook = last.register_forward_hook(lambda _, __, result: values.append(result))
    with torch.no_grad():
        found = model(**collate(ROWS), output_hidden_states=True, output_attentions=True)
    hook.remove()
    model.set_attn_implementation("sdpa")
    real = collate(ROWS)["attention_mask"].bool()
    heads = values[0].unflatten(-1, (4, -1)).transpose(1, 2)
    scores = (heads @ heads.transpose(2, 3) / heads.shape[-1] ** 0.5).masked_fill(~real[:, None, None], -torch.inf)
    return {
        "logits": found.logits.softmax(-1),
        "hidden": torch.stack([h[real] for h in found.hidden_states[1:]]),
        "attention": torch.stack([a.transpose(1, 2)[real] for a in found.attentions]),
        "values": scores.softmax(-1).transpose(1, 2)[real],
    }


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference of two probabilities."""
    return float((a - b).abs().max())


def unlike(a: torch.Tensor, b: torch.Tensor) -> float:
    """The share of the states' variance that is not the teacher's."""
    return float(F.mse_loss(a, b) / b.var())


def turned(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest angle of two states, as 1 − cosine."""
    return float((1 - F.cosine_similarity(a, b, dim=-1)).max())


#: Of each term: what it is about, how far apart two models are in it, and how near it brings them.
PROMISES: dict[str, tuple[str, Callable[[torch.Tensor, torch.Tensor], float], float]] = {
    "logits": ("logits", distance, 0.02),
    "hidden": ("hidden", unlike, 0.05),
    "cosine": ("hidden", turned, 0.05),
    "attention": ("attention", distance, 0.2),
    "values": ("values", distance, 0.1),
}


@cache
def teacher() -> Any:
    return tiny("bert")


@cache
def taught_by_labels() -> dict[str, torch.Tensor]:
    """The control: as many steps, from the same start, on labels alone."""
    return seen(trained(apart(teacher()), teacher(), labels=1.0))


@pytest.mark.parametrize("term", PROMISES)
def test_a_term_alone_brings_the_student_to_the_teacher(term: str) -> None:
    what, far, near = PROMISES[term]
    wanted = seen(teacher())[what]
    before = far(seen(apart(teacher()))[what], wanted)
    after = far(seen(trained(apart(teacher()), teacher(), **{term: 1.0}))[what], wanted)
    control = far(taught_by_labels()[what], wanted)
    assert after < near, (before, after, control)
    assert before > 4 * near and control > 4 * near, (before, after, control)


def test_a_narrow_student_of_fewer_layers_holds_what_the_teachers_states_say() -> None:
    """Through the projection that is learned besides, its states give those of the layers that it is matched with."""
    student = shorter(apart(teacher()), 0, 2)
    cut(student, narrower(student, hidden=16))
    control = trained(copy.deepcopy(student), teacher(), labels=1.0)
    learned = trained(student, teacher(), hidden=1.0)
    wanted = seen(teacher())["hidden"][[1, 2]]

    def left(model: Any) -> float:
        """The share of the variance that the best linear reading of the states leaves."""
        states = seen_hidden(model)
        one = torch.cat([states, torch.ones(*states.shape[:-1], 1)], -1).flatten(0, 1)
        goal = wanted.flatten(0, 1)
        return float(F.mse_loss(one @ torch.linalg.lstsq(one, goal).solution, goal) / goal.var())

    assert left(learned) < 0.5 * left(control)


def seen_hidden(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found = model(**collate(ROWS), output_hidden_states=True).hidden_states[1:]
    return torch.stack([h[collate(ROWS)["attention_mask"].bool()] for h in found])
