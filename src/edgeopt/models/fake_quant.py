"""Linears and embedding tables that compute as their int8 selves will, and learn through the rounding.

Weights are signed 8 bit (or 4), symmetric, a scale for each output channel; activations and tables unsigned 8 bit,
asymmetric, a scale for each tensor. Only what a product reads is quantized, so that the sum of a residual stays in
float. A bias is a multiple of the product of both scales, as int8 kernels add it up in 32 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from edgeopt.models.anatomy import anatomy
from edgeopt.models.four_bits import S4, scales

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Largest value of a signed and of an unsigned integer of 8 bits.
S8, U8 = 127, 255


class FakeQuantize(torch.autograd.Function):
    """(clamp(round(x / s) + z, low, high) − z)·s, for integers z, low and high; s and z broadcast over x.

    Backwards, x's gradient passes where x rounds into the range, as if nothing had been rounded (straight-through;
    Esser et al. 2020, section 2.3). That of s is of their section 2.1, with their Q_N = z − low and Q_P = high − z, and
    scaled by 1/√(N·(high − low)) as in section 2.2, where N is the number of features, those of one row of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, low: int, high: int
    ) -> torch.Tensor:
        ctx.save_for_backward(x, scale, zero)
        ctx.range = low, high
        return (x.float() / scale).round_().add_(zero).clamp_(low, high).sub_(zero).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,), (x, scale, zero), (low, high) = gradients, ctx.saved_tensors, ctx.range
        least, most = low - zero, high - zero
        steps = x.float() / scale
        of_scale = None
        if ctx.needs_input_grad[1]:
            inside = (steps > least) & (steps < most)
            slope = torch.where(inside, steps.round() - steps, steps.clamp(least, most))
            of_scale = (gradient * slope).sum_to_size(scale.shape) / (x[0].numel() * (high - low)) ** 0.5
        steps.round_()
        of_x = (gradient * ((steps >= least) & (steps <= most))).to(x.dtype) if ctx.needs_input_grad[0] else None
        return of_x, of_scale, None, None, None


@dataclass
class Quantizers:
    """Which linears and tables of a model are quantized, and what all of them do now.

    linears: by name, each with the range of its input. tables: the embeddings. calibrate: nothing is quantized, and
    ranges are observed; else all is quantized, in evaluation too, so that what is measured and selected is the model in
    int8. observe: ranges are observed in training besides. real: which tokens of the batch are no padding, shape (rows,
    tokens).
    """

    linears: dict[str, tuple[FakeQuantLinear, Activation]] = field(default_factory=dict)
    tables: dict[str, FakeQuantEmbedding] = field(default_factory=dict)
    calibrate: bool = False
    observe: bool = False
    real: torch.Tensor | None = None

    @property
    def ranges(self) -> list[Activation]:
        """The range of each tensor that is quantized, once."""
        return list({id(r): r for _, r in self.linears.values()}.values())


class Activation(nn.Module):
    """Quantizes a tensor in the range that it was seen to have.

    learned: the width of the range is a parameter that starts at the range seen, and moves at so many times the rate of
    the weights; 0: it is not.
    """

    low: torch.Tensor
    high: torch.Tensor
    frozen: torch.Tensor

    def __init__(self, quantizers: Quantizers, *, learned: float) -> None:
        super().__init__()
        self.quantizers = quantizers
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))
        self.register_buffer("frozen", torch.tensor(False))
        #: The learned change, in units of a share `learned` of the range: so one rate fits tensors of any size, decay
        #: leads back to the range seen, and Adam, whose steps do not follow the size of gradients, takes steps of that
        #: share.
        self.growth = nn.Parameter(torch.zeros(())) if learned else None
        self.learned = learned
        self._seen: list[torch.Tensor] = []

    def grid(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and zero point; 0 is always in range."""
        scale, zero = _between(self.low, self.high)
        if self.growth is not None:
            scale = (scale * torch.where(self.frozen, 1.0, 1 + self.learned * self.growth)).clamp(
                min=torch.finfo().tiny
            )
        return scale, zero

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.quantizers.calibrate or (self.training and self.quantizers.observe):
            self._see(x.detach())
        return x if self.quantizers.calibrate else quantize(x, *self.grid(), 0, U8)

    def _see(self, x: torch.Tensor) -> None:
        real = self.quantizers.real
        if real is not None and x.dim() == 3 and x.shape[:2] == real.shape:
            x = x[real]
        self._seen.append(torch.stack(torch.aminmax(x)).float())

    def average(self, share: float) -> None:
        """Move the range by that share of the way to what was seen since the last call; the first time, all of it."""
        if self._seen and not self.frozen:
            seen = torch.stack(self._seen)
            for ours, new in ((self.low, seen[:, 0].amin()), (self.high, seen[:, 1].amax())):
                ours.copy_(torch.where(ours.isinf(), new, ours + share * (new - ours)))
        self._seen.clear()

    def freeze(self) -> None:
        """Keep the range as it is now, whatever is seen or learned afterwards."""
        if not self.frozen:
            if self.growth is not None:
                with torch.no_grad():
                    self.low *= 1 + self.learned * self.growth
                    self.high *= 1 + self.learned * self.growth
            self.frozen.fill_(True)


def quantize(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Round x to integers low…high of that scale and zero point, and back to floats; gradients pass through."""
    out: torch.Tensor = FakeQuantize.apply(x, scale, zero, low, high)  # type: ignore[no-untyped-call]
    return out


def _between(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of unsigned integers for that range and 0."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / U8
    scale = torch.where(scale > 0, scale, 1.0)
    return scale, (-low / scale).round()


class FakeQuantLinear(nn.Linear):
    """A linear whose weight and bias, and whose input where it has an `input_range` of its own, are quantized.

    read: the range of its input, its own or not, in a tuple because it is not a part of this module. most: the
    largest integer of a weight. reach: in 4 bits, the share of each channel's largest weight that it stands for.
    """

    quantizers: Quantizers
    input_range: Activation | None
    read: tuple[Activation]
    most: int = S8
    reach: torch.Tensor

    def in_four_bits(self) -> None:
        """Keep the weight in 4 bits from now on, each channel cut off where that costs least."""
        rows = self.weight.detach().cpu().numpy()
        largest = torch.from_numpy(rows).abs().amax(1)
        steps = torch.from_numpy(scales(rows))
        self.most = S4
        reach = torch.where(largest > 0, steps * S4 / largest, 1.0).unsqueeze(1).to(self.weight.device)
        # a buffer, to go with the weight to a GPU; in no file, because it follows from the weights at the start
        self.register_buffer("reach", reach, persistent=False)

    def grid(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The weight's scales, shape (out_features, 1), and zero point. A channel of zeros has scale 1."""
        largest = self.weight.detach().abs().amax(1, keepdim=True)
        scale = (largest * self.reach if self.most == S4 else largest) / self.most
        return torch.where(scale > 0, scale, 1.0), torch.zeros_like(scale[:1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.input_range is not None:
            x = self.input_range(x)
        if self.quantizers.calibrate:
            return super().forward(x)
        if not self.training:
            return self._in_integers(x)
        return F.linear(
            x,
            quantize(self.weight, *self.grid(), -self.most, self.most),
            None if self.bias is None else self._rounded_bias(),
        )

    def _unit(self) -> torch.Tensor:
        """What an integer of each output's sum stands for, shape (out_features,)."""
        return self.grid()[0].flatten() * self.read[0].grid()[0]

    def _in_integers(self, x: torch.Tensor) -> torch.Tensor:
        """The linear of x as int8 kernels compute it: integers are summed up, and scaled last.

        The sum has no error where float32 holds all the integers (up to 2²⁴). So what is rounded behind it is rounded
        as in the graph but for few values.
        """
        (weights, _), step, scale = self.grid(), self.read[0].grid()[0], self._unit()
        bias = None if self.bias is None else (self.bias / scale).round()
        return F.linear((x / step).round(), (self.weight / weights).round().clamp(-self.most, self.most), bias) * scale

    def _rounded_bias(self) -> torch.Tensor:
        """The bias in whole units of the output's sum; its gradient is that of the bias itself."""
        with torch.no_grad():
            scale = self._unit()
            change = (self.bias / scale).round() * scale - self.bias
        return self.bias + change


class FakeQuantEmbedding(nn.Embedding):
    """A table whose rows are quantized, all with one scale."""

    quantizers: Quantizers

    def grid(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The one scale of the whole table, and its zero point."""
        return _between(*torch.aminmax(self.weight.detach()))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = super().forward(ids)
        return rows if self.quantizers.calibrate else quantize(rows, *self.grid(), 0, U8)


def fake_quantized(
    model: PreTrainedModel, wanted: Callable[[str], bool], *, learned: float = 0.0, int4: bool = False
) -> Quantizers:
    """Turn the linears and embedding tables that are wanted, by their names in a graph, into quantized ones, in place.

    They keep names and parameters. Query, key and value, which read the same, share one range, with the relative
    positions that the same matrices read. What reads positions alone stays as it is, because no graph has it. learned:
    as of an Activation. int4: the weights of the layers have 4 bits.
    """
    found, shape = Quantizers(), anatomy(model.config.model_type)
    tables = {f"{shape.base}.{name}" for name in shape.tables}
    modules: list[tuple[str, Any]] = [
        (n, m)
        for n, m in model.named_modules()
        if wanted(graph_name(n)) and not (shape.relative and shape.part_of(n) in shape.relative.projections)
    ]
    for name, module in modules:
        if issubclass(type(module), nn.Linear):
            module.__class__ = FakeQuantLinear
            module.quantizers, module.input_range = found, Activation(found, learned=learned)
            module.read = (module.input_range,)
            if int4 and shape.block_of(f"{graph_name(name)}/") is not None:
                module.in_four_bits()
            found.linears[name] = module, module.input_range
        elif name in tables:
            module.__class__ = FakeQuantEmbedding
            module.quantizers = found
            found.tables[name] = module
    for number, layer in enumerate(() if shape.fused else model.get_submodule(shape.layers)):
        three = [name for x in shape.attention if (name := f"{shape.layers}.{number}.{x}") in found.linears]
        if three:
            attention, shared = layer.get_submodule(shape.self_attention), found.linears[three[0]][1]
            attention.input_range = shared
            attention.register_forward_pre_hook(_quantize_input, with_kwargs=True)
            for name in three:
                linear, _ = found.linears[name]
                linear.input_range, linear.read, found.linears[name] = None, (shared,), (linear, shared)

    def note_padding(_: nn.Module, args: tuple[object, ...], options: dict[str, Any]) -> None:
        mask = options.get("attention_mask")
        found.real = None if mask is None else mask.reshape(-1, mask.shape[-1]).bool()

    model.register_forward_pre_hook(note_padding, with_kwargs=True)
    return found


def _quantize_input(attention: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    read = {name: options[name] for name in ("hidden_states", "rel_embeddings") if options.get(name) is not None}
    args = (attention.input_range(args[0]), *args[1:]) if args else args
    return args, {**options, **{name: attention.input_range(states) for name, states in read.items()}}


def graph_name(module: str) -> str:
    """A module's name as those of its nodes in an exported graph have it: `/bert/encoder/layer.0/output/dense`."""
    return "/" + re.sub(r"\.(?!\d)", "/", module)
