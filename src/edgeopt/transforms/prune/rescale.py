"""What pruning left of each layer, scaled so that the layer's output is as near as can be to the dense one's.

This is the mask tuning of Kwon et al. 2022, section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from edgeopt.models.anatomy import Anatomy
    from edgeopt.models.masks import Masks

#: Damping of the least squares, and the largest factor that is believed; beyond it a layer keeps ones.
DAMP, LARGEST = 1.0, 10.0


def rescale(
    model: PreTrainedModel, masks: Masks, batches: Sequence[dict[str, Any]], tick: Callable[[int], None]
) -> None:
    """Replace the ones in the masks of heads and neurons by factors, in place, layer by layer from below.

    Each is fitted on what the layers below it, as they are then, give. The masks start as zeros and ones; batches have
    no labels.
    """
    import torch

    from edgeopt.models.anatomy import anatomy
    from edgeopt.models.masks import masked

    assert masks.heads is not None and masks.neurons is not None
    shape = anatomy(model.config.model_type)
    layers = model.eval().get_submodule(shape.layers)
    with torch.no_grad():
        of_batches = [_calls_of(model, layers, batch) for batch in batches]
        dense = [hidden for hidden, _ in of_batches]
        ours = list(dense)
        for number, layer in enumerate(layers):
            calls = [of_layers[number] for _, of_layers in of_batches]
            wanted = [_Trace(layer, shape, call, hidden).result() for call, hidden in zip(calls, dense, strict=True)]
            with masked(model, masks):
                for mask, which in ((masks.heads, 0), (masks.neurons, 1)):
                    alive = torch.nonzero(mask[number]).flatten()
                    if len(alive) and len(alive) < len(mask[number]):
                        seen = (_Trace(layer, shape, call, hidden) for call, hidden in zip(calls, ours, strict=True))
                        factors = _fit(layer, shape, which, alive, len(mask[number]), seen, wanted, calls)
                        mask[number] = mask[number].index_copy(0, alive, factors.to(mask[number]))
                traced = [_Trace(layer, shape, call, hidden).out for call, hidden in zip(calls, ours, strict=True)]
            left = [trace.out for trace in wanted]
            dense, ours = (
                [_behind(model, number, call, *states) for call, *states in zip(calls, before, after, strict=True)]
                for before, after in ((dense, left), (ours, traced))
            )
            tick(number + 1)


def fold(model: PreTrainedModel, masks: Masks) -> None:
    """Multiply the masks into the weights: the same function without them."""
    import torch

    from edgeopt.models.anatomy import anatomy, part
    from edgeopt.models.slicing import structure_of

    assert masks.heads is not None and masks.neurons is not None
    shape, size = anatomy(model.config.model_type), structure_of(model).dense.head_size
    with torch.no_grad():
        for number, layer in enumerate(model.get_submodule(shape.layers)):
            for name, factors in zip(
                shape.projections, (masks.heads[number].repeat_interleave(size), masks.neurons[number]), strict=True
            ):
                out = part(layer, name)
                if isinstance(out, torch.nn.Linear):
                    out.weight.mul_(factors)


def _behind(model: PreTrainedModel, number: int, call: _Call, before: Tensor, after: Tensor) -> Tensor:
    """What the next layer reads of what a layer read and wrote: the latter, or the sum of a convolution with it."""
    from edgeopt.models.anatomy import anatomy, part

    shape = anatomy(model.config.model_type)
    if number or shape.behind_first is None:
        return after
    between = part(model.get_submodule(shape.base), shape.behind_first.module)
    found: Tensor = after if between is None else between(before, after, call.tokens.long())
    return found


class _Call:
    """How a layer is called for one batch: its arguments besides the input, and which tokens are no padding."""

    def __init__(self, args: tuple[Any, ...], options: dict[str, Any], tokens: Tensor) -> None:
        self.args, self.options, self.tokens = args, options, tokens


def _calls_of(model: PreTrainedModel, layers: Iterable[nn.Module], batch: dict[str, Any]) -> tuple[Tensor, list[_Call]]:
    """The input of the first layer, and the call of each: some attend to other tokens than others."""
    from edgeopt.training.distill_terms import real_tokens

    found: list[_Call] = []
    first: list[Tensor] = []
    device = next(model.parameters()).device
    inputs = {k: v.to(device) for k, v in batch.items()}
    tokens = real_tokens(inputs["attention_mask"])

    def take(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        first.extend([] if first else [args[0]])
        found.append(_Call(args[1:], options, tokens))

    hooks = [layer.register_forward_pre_hook(take, with_kwargs=True) for layer in layers]
    try:
        model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return first[0], found


class _Trace:
    """One run of a layer.

    For its attention (0) and feed-forward (1): what the projection reads and writes, and what is added to that; None
    where the block is gone. out: the layer's output.
    """

    def __init__(self, layer: nn.Module, shape: Anatomy, call: _Call, hidden: Tensor) -> None:
        from torch import nn

        from edgeopt.models.anatomy import part

        self.read: list[Any] = [None, None]
        self.written: list[Any] = [None, None]
        self.added: list[Any] = [hidden, hidden]
        hooks = []
        for which in (0, 1):
            out = part(layer, shape.projections[which])
            if isinstance(out, nn.Linear):
                hooks.append(out.register_forward_pre_hook(lambda _, args, w=which: self.read.__setitem__(w, args[0])))
                hooks.append(
                    out.register_forward_hook(lambda _, __, result, w=which: self.written.__setitem__(w, result))
                )
        norm = part(layer, shape.norms[int(shape.pre_norm)])  # between the blocks
        if isinstance(norm, nn.LayerNorm) and shape.pre_norm:
            hooks.append(norm.register_forward_pre_hook(lambda _, args: self.added.__setitem__(1, args[0])))
        elif isinstance(norm, nn.LayerNorm):
            hooks.append(norm.register_forward_hook(lambda _, __, result: self.added.__setitem__(1, result)))
        result = layer(hidden, *call.args, **call.options)
        self.out = result[0] if isinstance(result, tuple) else result
        for hook in hooks:
            hook.remove()

    def result(self) -> _Trace:
        """The trace with sums alone: a dense layer's are kept for every batch at once."""
        self.summed = [None if w is None else w + a for w, a in zip(self.written, self.added, strict=True)]
        self.read, self.added, self.written = [None, None], [None, None], [None, None]
        return self


def _fit(
    layer: nn.Module,
    shape: Anatomy,
    which: int,
    alive: Tensor,
    parts: int,
    seen: Iterable[_Trace],
    wanted: Sequence[_Trace],
    calls: Sequence[_Call],
) -> Tensor:
    """Factors of the parts that are left of a block, by least squares over all tokens.

    The parts' contributions A (tokens · width, parts) times factors should be what the dense block gave, less what is
    added to it here. A is never made, AᵀA is: of parts that are one number each, (XᵀX) ∘ (WᵀW).
    """
    import numpy as np
    import torch
    from scipy.sparse.linalg import lsmr

    out = cast("nn.Linear", layer.get_submodule(shape.projections[which]))
    size = out.in_features // parts
    weight = out.weight.view(-1, parts, size)[:, alive]
    product: Any = 0.0
    against: Any = 0.0
    for trace, target, call in zip(seen, wanted, calls, strict=True):
        tokens = call.tokens
        read = trace.read[which][tokens].view(-1, parts, size)[:, alive]
        missing = (target.summed[which] - trace.added[which])[tokens]
        missing = missing if out.bias is None else missing - out.bias
        if size == 1:
            read, flat = read[..., 0], weight[..., 0]
            product = product + ((read.T @ read) * (flat.T @ flat)).double()
            against = against + ((missing @ flat) * read).sum(0).double()
        else:
            given = torch.einsum("nps,dps->pnd", read, weight).flatten(1)
            product = product + (given @ given.T).double()
            against = against + (given @ missing.flatten()).double()
    left, right = product.cpu().numpy(), against.cpu().numpy()
    factors = 1 + lsmr(left, right - left.sum(1), damp=DAMP)[0]  # damped towards ones
    if not np.isfinite(factors).all() or abs(factors).max() > LARGEST:
        factors = np.ones_like(factors)
    return torch.from_numpy(factors)
