"""Heads and neurons that single zeros add up to, cut away so that the model computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from edgeopt.models.anatomy import anatomy, part
from edgeopt.models.slicing import Kept, KeptLayer, cut, everything, structure_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def cut_zeros(model: PreTrainedModel) -> bool:
    """Cut the neurons and heads whose output is constant or unread, in place; returns whether there were any.

    What they contributed is added to the biases. A neuron whose row of the first matrix is zero gives activation(bias)
    always; a head whose value rows are zero gives its value bias, as attention's weights add up to 1; a column of zeros
    in the matrix behind is not read.
    """
    shape, size = anatomy(model.config.model_type), structure_of(model).dense.head_size
    layers = []
    for plan, layer in zip(everything(model).layers, model.get_submodule(shape.layers), strict=True):
        heads, neurons = plan.heads, plan.neurons
        value, out = part(layer, shape.attention[2]), part(layer, shape.projections[0])
        if heads and isinstance(out, nn.Linear):
            rows = (value.weight != 0).any(1).view(-1, size).any(1) & (out.weight != 0).any(0).view(-1, size).any(1)
            _fold(out, value.bias, ~rows.repeat_interleave(size))
            heads = torch.nonzero(rows).flatten().tolist()
        first, out = part(layer, shape.ffn_in), part(layer, shape.projections[1])
        if neurons and isinstance(out, nn.Linear):
            alive = (first.weight != 0).any(1) & (out.weight != 0).any(0)
            _fold(out, layer.get_submodule(shape.activation)(first.bias), ~alive)
            neurons = torch.nonzero(alive).flatten().tolist()
        layers.append(KeptLayer(plan.number, heads, neurons))
    before = structure_of(model).weights
    cut(model, Kept(layers))
    return structure_of(model).weights < before


def _fold(out: nn.Linear, constants: torch.Tensor, dead: torch.Tensor) -> None:
    """Add to the bias of a linear what its dead inputs contribute."""
    with torch.no_grad():
        out.bias.add_(out.weight[:, dead] @ constants[dead])
