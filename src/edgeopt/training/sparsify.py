"""The objective of CoFi (Xia et al. 2022): learn which parts of a model to close while it follows its teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from edgeopt.models.hard_concrete import HardConcrete
from edgeopt.models.masks import Masks, masked
from edgeopt.results.figures import ASKED_CURVE, SPARSITY_CURVE
from edgeopt.training.follow import Follow
from edgeopt.training.teacher import Teacher

#: Learning rate of log α in a training as long as the paper's.
_RATE = 0.01
#: Least way that log α is to have before it in a training, in units of log α: twice its range, there and back. What is
#: short learns faster, up to the rate `_FASTEST`.
_WAY, _FASTEST = 20.0, 0.1
#: How fast the price follows, in its logarithm a step, and its bounds.
_GAIN, _CHEAPEST, _DEAREST = 0.1, 1e-4, 1e4
#: Points of the training at which sparsity and price are kept for the report.
_POINTS = 100


class Sparsify(Follow):
    """The loss of `Follow`, under masks that are learned, + λ(t − ŝ): for their sparsity ŝ and t asked (section 3.1).

    ŝ is what the gates are expected to give; t rises evenly from where they begin to `target` in the share `warmup`
    of the training. Of layers that are matched in every batch only those count whose attention is not closed.

    The paper's multipliers ascend by the gap ŝ − t. In short trainings that winds them up: they outgrow the other terms
    while the gates are still on their way, and the gates collapse. So the gap is closed at every step by one shift of
    all log α, which is Adam's own step where λ outweighs the rest; and λ, the price of a share of the weights, rises
    where the gates had to be shifted down, and falls where they had to be shifted up. At rest it is the multiplier that
    the paper's ascent ends at.

    rate: the learning rate of log α; None: one that suits the number of steps. multiples: what the neurons of a layer
    and the hidden dimensions are rounded to at the cut.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: Teacher,
        gates: HardConcrete,
        *,
        target: float,
        warmup: float,
        rate: float | None,
        multiples: tuple[int, int] = (1, 1),
        **follow: Any,
    ) -> None:
        super().__init__(model, teacher, **follow)
        self.gates, self.warmup, self.rate, self.multiples = gates, warmup, rate, multiples
        self.start, self.target = float(self.gates.sparsity().detach()), target
        assert self.module is not None
        self.module.gates = self.gates
        self.module.register_buffer("price", torch.ones(()))
        # in the module to be in its checkpoints; of the ramp: optimizer step, t, ŝ and λ, not a number before its time
        self.module.register_buffer("ramp", torch.full((_POINTS + 1, 4), torch.nan))
        self._masks, self._done = Masks(), (0, 1)
        # of the whole training, also where the checkpoint that is kept is an earlier one
        self._points = dict[int, list[float]]()

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        self._masks = self.gates.probabilities()  # for the hooks to have some: a loss puts its own there
        with masked(model, self._masks), super().inside(model):
            yield

    def cut(self) -> Masks:
        """What goes and what stays if the model is cut now."""
        return self.gates.binary((1 - self.target) * self.structure.dense.structure.weights, *self.multiples)

    def complete(self, step: int, steps: int) -> bool:
        return step >= self.warmup * steps

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        drawn, cut = dict(vars(self._masks)), self.cut()
        for mask in cut.tensors():
            mask.data = mask.to(next(self.gates.parameters()).data)
        vars(self._masks).update(vars(cut))
        yield
        vars(self._masks).update(drawn)

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.gates.parameters()), "weight_decay": 0.0}]

    def rates(self, steps: int) -> list[float]:
        if self.rate is None:
            self.rate = max(_RATE, min(_FASTEST, _WAY / steps))
        return [self.rate]

    @property
    def price(self) -> torch.Tensor:
        """λ, one number."""
        return cast(torch.Tensor, cast(nn.Module, self.module).price)

    @property
    def ramp(self) -> torch.Tensor:
        return cast(torch.Tensor, cast(nn.Module, self.module).ramp)

    def begun(self) -> None:
        # here, because no step may follow: a checkpoint of the last one gives way to the best, which may be an earlier
        self._points = {i: point for i, point in enumerate(self.ramp.tolist()) if not math.isnan(point[0])}

    def stepped(self) -> None:
        assert self.rate is not None
        step, steps = self._done
        asked = self.asked((step + 1) / steps)
        by = self.gates.shift(asked)
        self.price.mul_(math.exp(-_GAIN * max(-1.0, min(1.0, by / self.rate)))).clamp_(_CHEAPEST, _DEAREST)
        now = [step + 1, asked, float(self.gates.sparsity().detach()), float(self.price)]
        at = (step + 1) * _POINTS // steps
        self._points[at] = now
        self.ramp[at] = self.ramp.new_tensor(now)

    def asked(self, done: float) -> float:
        """The sparsity t that is asked for after that share of the training."""
        return self.start + (self.target - self.start) * min(1.0, done / self.warmup)

    def alive(self) -> list[int]:
        assert self._masks.mha is not None
        return torch.nonzero(self._masks.mha.detach()).flatten().tolist()

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        vars(self._masks).update(vars(self.gates.sample()))
        self._done = (step, steps)
        gap = self.asked(step / steps) - self.gates.sparsity()
        total: torch.Tensor = super().loss(model, batch, step, steps) + self.price * gap
        return total

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """By optimizer step the sparsity that was asked, what the masks gave, and the price."""
        points = [self._points[at] for at in sorted(self._points)]
        return {
            name: [(int(point[0]), round(point[i], 5)) for point in points]
            for i, name in ((1, ASKED_CURVE), (2, SPARSITY_CURVE), (3, "price"))
        }
