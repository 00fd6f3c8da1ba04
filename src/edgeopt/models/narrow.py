"""A narrower model: which dimensions, heads and neurons of a model stay, by their weights or by their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from edgeopt.models.anatomy import anatomy, part
from edgeopt.models.slicing import Kept, KeptLayer, read_by_heads, structure_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Choice = Literal["norm", "first"]


def narrower(
    model: PreTrainedModel,
    *,
    hidden: int | None = None,
    heads: int | None = None,
    neurons: int | None = None,
    by: Choice = "norm",
) -> Kept:
    """Choose, for `slicing.cut`, what stays of a model that is to have such sizes.

    hidden: dimensions of the residual stream; heads, neurons: in each layer; None: all. by: the largest L2 norms of
    everything that reads or writes them, of equal ones the first; or the first. Raises ValueError where a layer has
    fewer.
    """
    structure, shape = structure_of(model), anatomy(model.config.model_type)
    size = structure.dense.head_size
    layers, stream = [], torch.zeros(structure.hidden)
    for number, (layer, module) in enumerate(zip(structure.layers, model.get_submodule(shape.layers), strict=True)):
        made = [m for name in read_by_heads(shape) if (m := part(module, name)) is not None]
        first, writes = part(module, shape.ffn_in), [part(module, name) for name in shape.projections]
        reads = [m for m in (*made, first) if hasattr(m, "weight")]
        stream += sum((_squares(m, 0) for m in reads), torch.zeros(structure.hidden))
        stream += sum((_squares(m, 1) for m in writes if hasattr(m, "weight")), torch.zeros(structure.hidden))
        kept_heads: Sequence[int] | None = None if layer.heads is None else range(layer.head_count)
        if heads is not None and kept_heads is not None:
            norms = (
                (sum(_outputs(m, 3 if shape.fused else 1) for m in made) + _squares(writes[0], 0))
                .reshape(-1, size)
                .sum(1)
                if kept_heads
                else torch.zeros(0)
            )
            kept_heads = _chosen(norms, heads, by, f"layer {number} has {{}} heads")
        kept_neurons: Sequence[int] | None = None if layer.neurons is None else range(layer.neurons)
        if neurons is not None and kept_neurons is not None:
            inputs = 2 if shape.gated else 1
            norms = _outputs(first, inputs) + _squares(writes[1], 0) if kept_neurons else torch.zeros(0)
            kept_neurons = _chosen(norms, neurons, by, f"layer {number} has {{}} neurons")
        layers.append(KeptLayer(number, kept_heads, kept_neurons))
    return Kept(layers, None if hidden is None else _chosen(stream, hidden, by, "the model has {} hidden dimensions"))


def _squares(linear: nn.Linear, axis: int) -> torch.Tensor:
    """Sums of a linear's squared weights, shape (outputs, inputs), over an axis: for each input (0) or output (1)."""
    found: torch.Tensor = (linear.weight.detach().float() ** 2).sum(axis)
    return found


def _outputs(linear: nn.Linear, times: int) -> torch.Tensor:
    """Those sums for each output, over the outputs of so many matrices that stand one below the other."""
    return _squares(linear, 1).view(times, -1).sum(0)


def _chosen(norms: torch.Tensor, count: int, by: Choice, has: str) -> list[int]:
    if count > len(norms):
        raise ValueError(f"{has.format(len(norms))}, fewer than {count}")
    if by == "first":
        return list(range(count))
    return sorted(torch.sort(norms, descending=True, stable=True).indices[:count].tolist())
