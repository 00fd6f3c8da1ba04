"""What stands in a layer where a block was cut away, so that transformers' own forward runs on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Bias(nn.Module):
    """A linear of no inputs: what is left is its bias, shape (out_features,), which broadcasts over rows and tokens."""

    in_features = 0

    def __init__(self, bias: nn.Parameter) -> None:
        super().__init__()
        self.bias = bias

    @property
    def out_features(self) -> int:
        return len(self.bias)

    def forward(self, _: Any) -> torch.Tensor:
        return self.bias


class NoHeads(nn.Module):
    """Self-attention without heads: gives on what its output projection reads or, where that is inside it, writes."""

    def __init__(self, projection: str | None = None, bias: Bias | None = None) -> None:
        super().__init__()
        self.projection = projection
        if projection is not None:
            self.add_module(projection, bias)

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, None]:
        return (hidden if self.projection is None else self.get_submodule(self.projection)(hidden)), None


class Pass(nn.Module):
    """An attention block that is gone, norm and all: its input."""

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, None]:
        return hidden, None


class Nothing(nn.Module):
    """A block whose input is added and normed outside it, where the norm is gone too: adds nothing."""

    def __init__(self, *, tuple_: bool) -> None:
        super().__init__()
        self.tuple = tuple_

    def forward(self, *_: Any, **__: Any) -> Any:
        return (0.0, None) if self.tuple else 0.0


class Residual(nn.Module):
    """The output of a feed-forward that is gone, norm and all: what would have been added to it."""

    def forward(self, _: Any, residual: torch.Tensor) -> torch.Tensor:
        return residual
