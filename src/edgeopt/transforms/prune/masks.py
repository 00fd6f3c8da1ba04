"""Which weights go: scores of single weights, rows or columns, and 0/1 masks of exact counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: The axis of a weight, shape (outputs, inputs), that a row or column runs along.
_ALONG = {"row": 1, "column": 0}


def scores(
    weights: list[torch.Tensor], granularity: str, criterion: str, generator: torch.Generator
) -> list[torch.Tensor]:
    """Scores of the weights of each matrix: one for each weight, in its matrix's shape, or one for each row or column.

    That of a row or column is the mean of the absolute values (l1) or the root of the mean of the squares (l2), which
    also compares those of different lengths. Random ones are 0 where everything is zero already, so that pruning twice
    adds up.
    """
    import torch

    found = []
    for weight in weights:
        values = weight.detach().abs()
        if granularity != "unstructured":
            axis = _ALONG[granularity]
            values = (values**2).mean(axis).sqrt() if criterion == "l2" else values.mean(axis)
        found.append(torch.rand(values.shape, generator=generator) * (values != 0) if criterion == "random" else values)
    return found


def masks(
    scores: list[torch.Tensor],
    weights: list[torch.Tensor],
    amount: float,
    scope: str,
    granularity: str = "unstructured",
) -> list[torch.Tensor]:
    """0/1 masks of the weights' shapes. The lowest scores go; ties go in order of position.

    layer: of each matrix, round(amount·n) of its n weights, rows or columns, as torch.nn.utils.prune counts. global: of
    all matrices together, the amount of all weights; of rows and columns as many as are within it.
    """
    import torch

    if scope == "layer":
        kept = [_without(s, round(amount * s.numel())) for s in scores]
    else:
        flat = torch.cat([s.reshape(-1) for s in scores])
        lengths = torch.cat(
            [torch.full((s.numel(),), w.numel() // s.numel()) for s, w in zip(scores, weights, strict=True)]
        )
        allowed = amount * int(lengths.sum())
        gone = (
            round(allowed) if granularity == "unstructured" else int((lengths[_order(flat)].cumsum(0) <= allowed).sum())
        )
        parts = torch.split(_without(flat, gone), [s.numel() for s in scores])
        kept = [part.reshape(s.shape) for part, s in zip(parts, scores, strict=True)]
    if granularity != "unstructured":
        kept = [k.unsqueeze(_ALONG[granularity]).expand_as(w) for k, w in zip(kept, weights, strict=True)]
    return kept


def _without(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Ones in the scores' shape, zeros at the `count` lowest."""
    import torch

    keep = torch.ones(scores.numel())
    keep[_order(scores.reshape(-1))[:count]] = 0
    return keep.reshape(scores.shape)


def _order(scores: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.sort(scores, stable=True).indices
