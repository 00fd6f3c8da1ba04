"""Adam as ELECTRA has it: its moments are not corrected for beginning at zero, and weights decay apart from them.

Kingma & Ba's correction makes the first moments as large as later ones. Without it the first steps are larger in the
second moment's place: about three times the rate. ELECTRA and BERT were trained so (Clark et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

#: ELECTRA's.
EPSILON = 1e-6


class UncorrectedAdam(Optimizer):
    """m ← β1·m + (1 − β1)·g, v ← β2·v + (1 − β2)·g², w ← w − lr·(m / (√v + ε) + decay·w)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = EPSILON,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._update(weights, group)
        return loss

    def _update(self, weights: list[torch.Tensor], group: dict[str, Any]) -> None:
        (keep, keep_square), gradients = group["betas"], [p.grad for p in weights if p.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] |= {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        firsts, seconds = ([self.state[p][name] for p in weights] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(firsts, gradients, 1 - keep)
        torch._foreach_mul_(seconds, keep_square)
        torch._foreach_addcmul_(seconds, gradients, gradients, 1 - keep_square)
        roots = torch._foreach_sqrt(seconds)
        torch._foreach_add_(roots, group["eps"])
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(weights, firsts, roots, -group["lr"])
