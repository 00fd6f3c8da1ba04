"""What stands in a layer where a block was cut away, so that transformers' own forward runs on."""

from __future__ import annotations

import torch
from torch import nn


class Bias(nn.Module):
    """A linear of no inputs: what is left is its bias, shape (out_features,), which broadcasts over rows and tokens.

    Of a linear without one nothing is left.
    """

    in_features = 0

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.bias = linear.out_features, linear.bias

    def forward(self, _: object) -> torch.Tensor | float:
        return 0.0 if self.bias is None else self.bias


class NoHeads(nn.Module):
    """Self-attention without heads: gives its input on or, with the output projection inside, what that writes."""

    def __init__(self, projection: str | None = None, bias: Bias | None = None) -> None:
        super().__init__()
        self.projection = projection
        if projection is not None:
            self.add_module(projection, bias)

    def forward(self, hidden: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        return (hidden if self.projection is None else self.get_submodule(self.projection)(hidden)), None


class NoNeurons(nn.Module):
    """A gated feed-forward without neurons: what its output projection, which stays inside, writes."""

    def __init__(self, projection: str, bias: Bias) -> None:
        super().__init__()
        self.projection = projection
        self.add_module(projection, bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.get_submodule(self.projection)(hidden)
        return out


class Pass(nn.Module):
    """An attention block that is gone, norm and all: its input."""

    def forward(self, hidden: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        return hidden, None


class Nothing(nn.Module):
    """A block that is gone, where its input is added and normed outside it: adds nothing, and the norm is gone too.

    tuple_: whether the block's answer is a tuple of two, as an attention's is.
    """

    def __init__(self, *, tuple_: bool) -> None:
        super().__init__()
        self.tuple = tuple_

    def forward(self, *_: object, **__: object) -> float | tuple[float, None]:
        return (0.0, None) if self.tuple else 0.0


class Residual(nn.Module):
    """The output of a feed-forward that is gone, norm and all: what would have been added to it."""

    def forward(self, _: object, residual: torch.Tensor) -> torch.Tensor:
        return residual
