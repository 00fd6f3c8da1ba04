"""Masks over a model's heads, neurons, blocks and hidden dimensions, put in by hooks: what pruning learns or scores.

A mask of ones changes nothing; any real values are allowed, and gradients reach them. For zeros and ones the masked
model computes what `slicing.cut` leaves of it:

- heads, neurons: factors of what the output projection reads. With all of a block at 0 its bias is still added and
  normed.
- mha, ffn: gate of a whole block with its norm: g·block(x) + (1 − g)·x, or x + g·block(x) where norms stand before the
  blocks. At 0 the block's input passes.
- hidden: weights of the dimensions in each LayerNorm's mean and variance, and factors of its output, and of what is
  added up unnormed; so the dimensions that are left are normed among themselves, as in a narrower model (CoFi: Xia et
  al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgeopt.models.anatomy import Anatomy, anatomy, part
from edgeopt.models.slicing import Kept, KeptLayer, last_of_embeddings, structure_of

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel


@dataclass
class Masks:
    """One mask of each kind over a model; None: no mask of that kind, which costs nothing.

    heads[i], neurons[i]: one value for each that layer i has now. mha, ffn: one value a layer. hidden: one value a
    dimension.
    """

    heads: list[torch.Tensor] | None = None
    neurons: list[torch.Tensor] | None = None
    mha: torch.Tensor | None = None
    ffn: torch.Tensor | None = None
    hidden: torch.Tensor | None = None

    def of(self, kind: str) -> torch.Tensor:
        """The masks of a kind that there is, one after the other."""
        found = getattr(self, kind)
        return torch.cat(found) if isinstance(found, list) else found

    def tensors(self) -> list[torch.Tensor]:
        """All masks that there are, kind after kind."""
        return [
            *(self.heads or ()),
            *(self.neurons or ()),
            *(t for t in (self.mha, self.ffn, self.hidden) if t is not None),
        ]


def ones(model: PreTrainedModel, *, gates: bool = True, hidden: bool = True) -> Masks:
    """Masks that change nothing; gates, hidden: with those kinds too."""
    shape = structure_of(model)
    device = next(model.parameters()).device
    count = len(shape.layers)

    def full(size: int) -> torch.Tensor:
        return torch.ones(size, device=device)

    return Masks(
        [full(x.head_count) for x in shape.layers],
        [full(x.neuron_count) for x in shape.layers],
        full(count) if gates else None,
        full(count) if gates else None,
        full(shape.hidden) if hidden else None,
    )


def kept(model: PreTrainedModel, masks: Masks) -> Kept:
    """What the masks leave, for `slicing.cut`: everything that is not exactly 0.

    A layer of two closed gates goes, unless the family must have it.
    """
    shape, config = anatomy(model.config.model_type), model.config.to_dict()

    def left(mask: torch.Tensor) -> list[int]:
        return [int(i) for i in torch.nonzero(mask.detach()).flatten()]

    layers = []
    for i, layer in enumerate(structure_of(model).layers):
        heads = (
            None
            if layer.heads is None or _closed(masks.mha, i)
            else left(masks.heads[i])
            if masks.heads
            else range(layer.head_count)
        )
        neurons = (
            None
            if layer.neurons is None or _closed(masks.ffn, i)
            else left(masks.neurons[i])
            if masks.neurons
            else range(layer.neurons)
        )
        if heads is not None or neurons is not None or shape.stays(config, i):
            layers.append(KeptLayer(i, heads, neurons))
    return Kept(layers, None if masks.hidden is None else left(masks.hidden))


def _closed(gates: torch.Tensor | None, layer: int) -> bool:
    return gates is not None and bool(gates[layer] == 0)


@contextmanager
def masked(model: PreTrainedModel, masks: Masks) -> Iterator[None]:
    """The model computes with the masks while the block runs. They may be replaced in `masks` between two passes."""
    shape = anatomy(model.config.model_type)
    size = structure_of(model).dense.head_size
    hooks: list[RemovableHandle] = []
    try:
        if masks.hidden is not None:
            for module in _narrowed_around(model.get_submodule(shape.base), shape):
                hooks.append(
                    module.register_forward_hook(lambda module, args, out: _narrowed(module, args, out, masks.hidden))
                )
        unnormed = shape.relative is not None and part(model.get_submodule(shape.base), shape.relative.norm) is None
        for number, layer in enumerate(model.get_submodule(shape.layers)):
            hooks += _layer_hooks(layer, number, shape, size, masks)
            if unnormed and masks.hidden is not None:
                hooks.append(layer.register_forward_pre_hook(_on_positions(masks), with_kwargs=True))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _narrowed_around(base: nn.Module, shape: Anatomy) -> Iterator[nn.Module]:
    """The modules outside of the layers whose outputs are as wide as the hidden states."""
    yield last_of_embeddings(base, shape)
    names = [each.norm for each in (shape.relative, shape.behind_first) if each is not None]
    for name in (*names, *([shape.final_norm] if shape.final_norm else ())):
        if (norm := part(base, name)) is not None:
            yield norm


def _on_positions(masks: Masks) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A hook that puts the hidden mask on the rows of relative positions that a layer is given."""

    def hook(_: nn.Module, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        rows = given.get("rel_embeddings")
        return args, given if rows is None else {**given, "rel_embeddings": rows * masks.hidden}

    return hook


def _layer_hooks(layer: nn.Module, number: int, shape: Anatomy, size: int, masks: Masks) -> list[RemovableHandle]:
    """Put the masks into one layer; the handles of its hooks. size: of a head."""
    blocks = _pre_norm_hooks if shape.pre_norm else _post_norm_hooks
    hooks = blocks(layer, number, shape, masks)
    attention, ffn = (part(layer, name) for name in shape.projections)
    if masks.heads is not None and isinstance(attention, nn.Linear):
        hooks.append(
            attention.register_forward_pre_hook(
                lambda _, args: (args[0] * masks.heads[number].repeat_interleave(size),)
            )
        )
    if masks.neurons is not None and isinstance(ffn, nn.Linear):
        hooks.append(ffn.register_forward_pre_hook(lambda _, args: (args[0] * masks.neurons[number],)))
    return hooks


def _post_norm_hooks(layer: nn.Module, number: int, shape: Anatomy, masks: Masks) -> list[RemovableHandle]:
    """Gates and hidden mask of a layer whose norms stand behind the sums."""
    stream: list[torch.Tensor] = []  # what goes into the next block, which a closed gate lets pass
    hooks = [layer.register_forward_pre_hook(lambda _, args: stream.__setitem__(slice(None), [args[0]]))]

    def gate(which: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
            out = _narrowed(module, args, out, masks.hidden)
            gates = getattr(masks, which)
            if gates is not None:
                out = gates[number] * out + (1 - gates[number]) * stream[0]
            stream[:] = [out]
            return out

        return hook

    for name, which in zip(shape.norms, ("mha", "ffn"), strict=True):
        norm = part(layer, name)
        if isinstance(norm, nn.LayerNorm):
            hooks.append(norm.register_forward_hook(gate(which)))
    return hooks


def _pre_norm_hooks(layer: nn.Module, number: int, shape: Anatomy, masks: Masks) -> list[RemovableHandle]:
    """Gates and hidden mask of a layer whose norms stand before the blocks: on what the blocks add."""
    hooks = [
        norm.register_forward_hook(lambda module, args, out: _narrowed(module, args, out, masks.hidden))
        for name in shape.norms
        if isinstance(norm := part(layer, name), nn.LayerNorm)
    ]

    def gate(which: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
            gates = getattr(masks, which)
            out = out if masks.hidden is None else out * masks.hidden
            return out if gates is None else gates[number] * out

        return hook

    for name, which in zip(shape.projections, ("mha", "ffn"), strict=True):
        if (projection := part(layer, name)) is not None:
            hooks.append(projection.register_forward_hook(gate(which)))
    return hooks


def _narrowed(
    module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """The output of a LayerNorm (or of the embeddings' projection) with the hidden mask on it and in its statistics."""
    if mask is None:
        return out
    if not isinstance(module, nn.LayerNorm):
        return out * mask
    x, total = args[0], mask.sum()
    mean = (x * mask).sum(-1, keepdim=True) / total
    variance = ((x - mean) ** 2 * mask).sum(-1, keepdim=True) / total
    normed = (x - mean) / torch.sqrt(variance + module.eps) * module.weight
    return (normed if module.bias is None else normed + module.bias) * mask
