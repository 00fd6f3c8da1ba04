"""What quantizing one part alone costs, measured: which nodes are better left in float."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edgeopt.models.anatomy import Anatomy


class Sensitive(NamedTuple):
    """A block or node, and the KL of the logits when it alone is int8."""

    name: str
    kl: float


class Ranking(NamedTuple):
    """What each part costs alone in int8, worst first. nodes: of the blocks that could hold one of the worst."""

    blocks: list[Sensitive]
    nodes: list[Sensitive]


def block_of(name: str, family: Anatomy) -> str:
    """The block that a node belongs to: attention or feed-forward part of a layer, the embeddings, or the head."""
    layer, block = re.match(r"(.*?\.\d+)/", name), family.block_of(name)
    if layer and block:
        return f"{layer[1]}/{block}"
    return "embeddings" if "embeddings" in name else "head"


def rank(
    names: Sequence[str],
    alone: Callable[[Sequence[str]], float],
    family: Anatomy,
    *,
    worst: int | None = None,
    above: float | None = None,
) -> Ranking:
    """Measure each block, then each node of the blocks that can hold one of the `worst` or one `above` a KL.

    A node alone is taken to cost no more than its block. alone: the KL when these nodes are int8 and no others.
    """
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(block_of(name, family), []).append(name)
    found = sorted((Sensitive(block, alone(nodes)) for block, nodes in blocks.items()), key=lambda s: -s.kl)
    nodes: list[Sensitive] = []
    for block, kl in found:
        if above is not None and kl <= above:
            break
        if worst is not None and len(nodes) >= worst and nodes[worst - 1].kl >= kl:
            break
        members = blocks[block]
        nodes += [Sensitive(name, kl if len(members) == 1 else alone([name])) for name in members]
        nodes.sort(key=lambda s: -s.kl)
    return Ranking(found, nodes)
