"""Parameter groups: weight decay where it belongs, and a rate that falls layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim.lr_scheduler import LambdaLR

    from edgeopt.models.anatomy import Anatomy


def parameter_groups(
    model: nn.Module,
    decayed: set[str],
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float | None,
    anatomy: Anatomy,
    layers: int,
    vector_rate: float | None = None,
    extra: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The parameter groups that AdamW is given.

    With `layer_decay` d, layer i of n learns at rate·d^(n−i), the embeddings at rate·d^(n+1), and what is new for the
    task at the full rate (Clark et al. 2020, ELECTRA, appendix B). vector_rate: that of biases and norms, where it is
    another. extra: groups that come last as they are; what is in
    them is in no other.
    """
    apart = {id(p) for group in extra for p in group["params"]}
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or id(parameter) in apart:
            continue
        scale = 1.0 if layer_decay is None else layer_decay ** _depth(name, anatomy, layers)
        rate = learning_rate if vector_rate is None or parameter.dim() != 1 else vector_rate
        key = (rate * scale, name in decayed)
        group = groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": weight_decay if key[1] else 0.0})
        group["params"].append(parameter)
    return [*groups.values(), *extra]


def constant_rates(scheduler: LambdaLR, last: int) -> None:
    """Let the rates of so many of the last groups stay what they are. scheduler: a LambdaLR before its first step."""
    count = len(scheduler.lr_lambdas)
    for i in range(count - last, count):
        scheduler.lr_lambdas[i] = _unchanged
        scheduler.optimizer.param_groups[i]["lr"] = scheduler.base_lrs[i]


def _unchanged(_: int) -> float:
    return 1.0


def _depth(name: str, anatomy: Anatomy, layers: int) -> int:
    """Layers between a parameter and the head: 0 for the head, n + 1 for the embeddings."""
    if anatomy.is_new(name):
        return 0
    number = anatomy.layer_of(name)
    if number is not None:
        return layers - number
    return layers + 1 if ".embeddings" in f".{name}" else 0
