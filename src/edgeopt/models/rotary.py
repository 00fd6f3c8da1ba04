"""Rotary positions in an order of ours, so that equal models give equal graphs.

transformers makes the angles of each kind of layer in the order of a set of words, which differs from process to
process, and with it the names and the order of a traced graph's nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def in_order(model: nn.Module) -> None:
    """Make the angles of all kinds of layers when the first are asked for, sorted by their names, in place."""
    for module in model.modules():
        if isinstance(kinds := getattr(module, "rope_type", None), dict):
            module.forward = _at_once(module.forward, sorted(kinds))


def _at_once(forward: Callable[..., Any], kinds: list[str]) -> Callable[..., Any]:
    of: Any = None
    made: dict[str, Any] = {}

    def answer(x: Any, position_ids: Any, layer_type: str) -> Any:
        nonlocal of
        if of is not position_ids:
            of = position_ids
            made.update({kind: forward(x, position_ids, kind) for kind in kinds})
        return made[layer_type]

    return answer
