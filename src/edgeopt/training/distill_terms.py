"""Distillation: the losses that bring a model near its teacher, and what of a model they look at.

Queries, keys and values are what the linears write, read by hooks. So every family has them, and a model under peft,
and the attention is not run in another way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from edgeopt.models.anatomy import anatomy, part
from edgeopt.models.parts import bare
from edgeopt.tasks.base import IGNORED
from edgeopt.training.objective import ROW


def question(batch: dict[str, Any]) -> tuple[dict[str, Any], torch.Tensor]:
    """(a batch without its labels and row numbers, its labels)."""
    return {k: v for k, v in batch.items() if k not in (ROW, "labels")}, batch["labels"]


#: Parts of a layer by their place among anatomy's three.
_PARTS = {"query": 0, "key": 1, "value": 2}


@contextmanager
def recorded(model: nn.Module, what: str = "hidden") -> Iterator[list[torch.Tensor]]:
    """What each layer writes, or its query, key or value, shape (batch, tokens, width), while the block runs.

    Queries and keys are turned by their positions where the family does that. It is replaced with every pass. None
    where a layer has no such part left.
    """
    shape = anatomy(bare(model).config.model_type)
    layers = bare(model).get_submodule(shape.layers)
    found: list[Any] = [None] * len(layers)
    angles: list[Any] = [None] * len(layers)
    taken = [False] * len(layers)

    def hook(number: int) -> Callable[..., None]:
        def take(_: nn.Module, __: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) else out
            if what != "hidden" and shape.fused:
                out = out.chunk(3, -1)[_PARTS[what]]
            if shape.relative is None or not taken[number]:  # the same matrix is asked for positions afterwards
                taken[number] = True
                found[number] = out if angles[number] is None else turned(out, *angles[number])

        return take

    def note(number: int) -> Callable[..., None]:
        return lambda _, __, options: angles.__setitem__(number, options["position_embeddings"])

    source_of = None if what == "hidden" else shape.attention[0 if shape.fused else _PARTS[what]]
    sources = [layer if source_of is None else part(layer, source_of) for layer in layers]
    hooks = [source.register_forward_hook(hook(i)) for i, source in enumerate(sources) if source is not None]
    if shape.rotary and what in ("query", "key"):
        attentions = [part(layer, shape.self_attention) for layer in layers]
        hooks += [a.register_forward_pre_hook(note(i), with_kwargs=True) for i, a in enumerate(attentions)]
    hooks += [
        layer.register_forward_pre_hook(lambda _, __, i=i: taken.__setitem__(i, False))
        for i, layer in enumerate(layers)
    ]
    try:
        yield found
    finally:
        for one in hooks:
            one.remove()


def turned(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Queries or keys, shape (batch, tokens, heads·d), turned by their positions (Su et al. 2021, equation 34).

    cosines, sines: (batch or 1, tokens, d), where both halves of d are alike.
    """
    heads = states.reshape(*states.shape[:2], -1, cosines.shape[-1])
    first, second = heads.chunk(2, -1)
    found = heads * cosines.unsqueeze(2) + torch.cat((-second, first), -1) * sines.unsqueeze(2)
    return found.reshape(states.shape)


def logits_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float, *, scores: bool
) -> torch.Tensor:
    """T²·KL(teacher, student) at temperature T, the mean over rows, or over words that have a label.

    Hinton et al. 2015. Of scores and embeddings it is the mean squared distance. Logits: (rows, classes) or (rows,
    tokens, classes).
    """
    student, teacher = student.float(), teacher.float()
    if scores:
        return F.mse_loss(student, teacher) * student.shape[-1]
    if student.dim() == 3:
        words = labels != IGNORED
        student, teacher = student[:, -words.shape[1] :][words], teacher[:, -words.shape[1] :][words]
    found, wanted = (F.log_softmax(x / temperature, -1) for x in (student, teacher))
    return temperature**2 * F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def mean_logits(logits: Sequence[torch.Tensor], temperature: float, *, scores: bool) -> torch.Tensor:
    """Logits whose softmax at that temperature is the mean of several teachers' probabilities; of scores their mean."""
    if len(logits) == 1:
        return logits[0]
    all_ = torch.stack([x.float() for x in logits])
    if scores:
        return all_.mean(0)
    return temperature * (torch.logsumexp(F.log_softmax(all_ / temperature, -1), 0) - math.log(len(logits)))


def evenly(count: int, parts: int) -> list[int]:
    """The layers, of `count`, at which each of `parts` equal parts is over, the last layer always.

    Of twelve in six parts they are 1, 3, 5, 7, 9 and 11.
    """
    return sorted({math.ceil(count * k / parts) - 1 for k in range(1, parts + 1)})


def layer_loss(
    students: Sequence[torch.Tensor],
    teachers: Sequence[torch.Tensor],
    tokens: torch.Tensor,
    transform: nn.Module,
    alive: Sequence[int] | None,
) -> torch.Tensor:
    """Sum over the teacher's layers of their mean squared distance to the student's that match them.

    Layers are matched (Xia et al. 2022, section 3.2) so that the distances together are the least there is, later ones
    never to earlier layers, and only to layers that are alive.

    tokens: the attention mask, whose last axis is the tokens; padding counts for nothing. transform: from the student's
    width to the teacher's. alive: numbers of layers of the student, empty: all; None: each layer of the student is
    matched already, with the teacher's in its place.
    """
    real = real_tokens(tokens)
    able = list(alive or range(len(students)))
    wanted = [flat(t, real) for t in teachers]
    chosen = able if alive is None else nearest([flat(students[i], real) for i in able], wanted, transform)
    return torch.stack(
        [F.mse_loss(transform(flat(students[able[i]], real)), t) for i, t in zip(chosen, wanted, strict=True)]
    ).sum()


def real_tokens(mask: torch.Tensor) -> torch.Tensor:
    """Which tokens are no padding, shape (texts, tokens); a choice is a text. mask: its last axis is the tokens."""
    return mask.reshape(-1, mask.shape[-1]).bool()


def flat(states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The states of the real tokens, one after the other, out of states (texts, tokens, width).

    Virtual tokens, which stand before the others, are left out.
    """
    return states[:, -real.shape[1] :][real].float()


def padded(states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """States (texts, tokens, width) out of those of the real tokens, with zeros at the padding: `flat` undone."""
    out = states.new_zeros(*real.shape, states.shape[-1])
    out[real] = states
    return out


@torch.no_grad()
def nearest(students: Sequence[torch.Tensor], teachers: Sequence[torch.Tensor], transform: nn.Module) -> list[int]:
    """The number of the student's state that each of the teacher's states is matched with.

    The squared distances together are the least there is, where numbers never go back.
    """
    return monotone([[float(F.mse_loss(s, t)) for s in (transform(x) for x in students)] for t in teachers])


def cosine_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The mean over tokens of 1 − cosine of their states (Sanh et al. 2019, section 3). Shapes: (tokens, width)."""
    return 1 - F.cosine_similarity(student, teacher, dim=-1).mean()


def relation(a: torch.Tensor, b: torch.Tensor, real: torch.Tensor, heads: int) -> torch.Tensor:
    """How each real token relates to the others: log softmax(ABᵀ/√d), shape (texts, heads, tokens, tokens).

    Of query and key it is the attention, of value and value how values relate (Wang et al. 2020, section 3.2). a, b:
    (texts, tokens, heads·d).
    """
    texts, tokens, width = a.shape
    one, other = (x.float().reshape(texts, tokens, heads, width // heads).transpose(1, 2) for x in (a, b))
    scores = one @ other.transpose(2, 3) / math.sqrt(width // heads)
    return F.log_softmax(scores.masked_fill(~real[:, None, None, :], torch.finfo(scores.dtype).min), -1)


def relation_loss(student: torch.Tensor, teacher: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """KL(teacher, student) of the relations that `relation` gives, the mean over heads and real tokens."""
    each = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)  # (texts, heads, tokens)
    return each.transpose(1, 2)[real].mean()


def monotone(costs: Sequence[Sequence[float]]) -> list[int]:
    """A column for each row, never before that of the row above, at the least sum of costs; of equal ones the first."""
    best: list[tuple[float, list[int]]] = [(0.0, [])] * len(costs[0])
    for row in costs:
        ways: list[tuple[float, list[int]]] = []
        for column, cost in enumerate(row):
            total, path = min(best[: column + 1], key=lambda way: way[0])
            ways.append((total + cost, [*path, column]))
        best = ways
    return min(best, key=lambda way: way[0])[1]
