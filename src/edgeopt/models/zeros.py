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
    always, and times the other factor's bias where it is gated and that one's row is zero too; a head whose value rows
    are zero gives its value bias, as attention's weights add up to 1; a column of zeros in the matrix behind is not
    read.
    """
    shape, size = anatomy(model.config.model_type), structure_of(model).dense.head_size
    layers = []
    for plan, layer in zip(everything(model).layers, model.get_submodule(shape.layers), strict=True):
        heads, neurons = plan.heads, plan.neurons
        value, out = part(layer, shape.attention[-1]), part(layer, shape.projections[0])
        if heads and isinstance(out, nn.Linear):
            matrix, bias = _parts(value, 3 if shape.fused else 1)[-1]
            rows = (matrix != 0).any(1).view(-1, size).any(1) & (out.weight != 0).any(0).view(-1, size).any(1)
            _fold(out, bias, ~rows.repeat_interleave(size))
            heads = torch.nonzero(rows).flatten().tolist()
        first, out = part(layer, shape.ffn_in), part(layer, shape.projections[1])
        if neurons and isinstance(out, nn.Linear):
            factors = _parts(first, 2 if shape.gated else 1)
            constants, constant = _constants(factors, layer.get_submodule(shape.activation))
            alive = ~constant & (out.weight != 0).any(0)
            _fold(out, constants, ~alive)
            neurons = torch.nonzero(alive).flatten().tolist()
        layers.append(KeptLayer(plan.number, heads, neurons))
    before = structure_of(model).weights
    cut(model, Kept(layers))
    return structure_of(model).weights < before


def _parts(linear: nn.Linear, times: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weight and bias of each of so many linears whose outputs one has, one after the other."""
    bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    return list(zip(linear.weight.chunk(times), bias.chunk(times), strict=True))


def _constants(factors: list[tuple[torch.Tensor, torch.Tensor]], activation: nn.Module) -> tuple[torch.Tensor, ...]:
    """What neurons give that are always the same, and which are: those of whose factors each is, or one is always 0."""
    values = [bias if number else activation(bias) for number, (_, bias) in enumerate(factors)]
    fixed = torch.stack([(weight == 0).all(1) for weight, _ in factors])
    nothing = (fixed & (torch.stack(values) == 0)).any(0)
    return torch.stack(values).prod(0) * ~nothing, fixed.all(0) | nothing


def _fold(out: nn.Linear, constants: torch.Tensor, dead: torch.Tensor) -> None:
    """Add to the bias of a linear what its dead inputs contribute."""
    if out.bias is None:  # then nothing else in the block has one, and dead inputs are 0
        return
    with torch.no_grad():
        out.bias.add_(out.weight[:, dead] @ constants[dead])
