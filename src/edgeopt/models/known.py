"""What no text changes, computed once before a model is traced: keys and queries of relative positions.

A layer makes them of a table by its own matrices. In a graph those products would be computed for each text, in int8 at
least, and a table of 512 rows costs more than a text of 100 tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from edgeopt.models.anatomy import anatomy, part
from edgeopt.models.parts import bare
from edgeopt.models.slicing import read_by_heads

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def positions_known(traced: PreTrainedModel, model: PreTrainedModel) -> bool:
    """Let the layers of a model that is to be traced know what they make of positions, in place; whether they do.

    model: the one that says what that is: the same, or its quantized self.
    """
    shape = anatomy(bare(model).config.model_type)
    if shape.relative is None:
        return False
    stacks = [bare(each).get_submodule(shape.layers) for each in (traced, model)]
    above = bare(model).get_submodule(shape.layers.rpartition(".")[0])
    for ours, theirs in zip(*stacks, strict=True):
        attention = part(ours, shape.self_attention)
        if hasattr(attention, "disentangled_attention_bias"):
            made = _made(theirs, above, [name for name in read_by_heads(shape) if part(theirs, name) is not None])
            _know(attention, {part(ours, name): value for name, value in made.items()})
    return True


@torch.no_grad()
def _made(layer: nn.Module, above: Any, names: list[str]) -> dict[str, torch.Tensor]:
    """What a layer's linears make of positions, by their names. above: the stack of layers, which has the table."""
    found: dict[str, torch.Tensor] = {}
    table = above.get_rel_embedding()
    if table is None:
        return found

    def take(name: str) -> Callable[..., None]:
        return lambda _, args, out: found.update({name: out} if len(args[0][0]) == len(table) else {})

    hooks = [part(layer, name).register_forward_hook(take(name)) for name in names]
    hidden = torch.zeros(1, 1, table.shape[-1])
    layer(hidden, torch.ones(1, 1, 1, 1), relative_pos=above.get_rel_pos(hidden), rel_embeddings=table)
    for hook in hooks:
        hook.remove()
    return found


def _know(attention: Any, made: dict[nn.Module, torch.Tensor]) -> None:
    """Let linears answer with what they made of positions while an attention asks for that."""
    asked = [False]
    bias = attention.disentangled_attention_bias

    def within(*args: Any, **options: Any) -> Any:
        asked[0] = True
        try:
            return bias(*args, **options)
        finally:
            asked[0] = False

    attention.disentangled_attention_bias = within
    for linear, value in made.items():
        linear.forward = _answer(linear.forward, asked, value)


def _answer(forward: Callable[..., Any], asked: list[bool], value: torch.Tensor) -> Callable[..., Any]:
    return lambda states: value if asked[0] else forward(states)
