"""MUC, B³ and CEAFe by other ways than the code's: over links, over mentions, over all alignments.

Slow, for a few mentions.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import permutations

Clusters = Collection[frozenset[int]]
#: recall's numerator and denominator, precision's
Sums = tuple[float, float, float, float]


def muc(key: Clusters, response: Clusters) -> Sums:
    """Sums of MUC: a spanning tree of a cluster has a link less than mentions.

    Those that are missing join the components that are left.
    """

    def links(clusters: Clusters, others: Clusters) -> tuple[float, float]:
        right = sum(len(c) - _components(c, others) for c in clusters)
        return right, sum(len(c) - 1 for c in clusters)

    return (*links(key, response), *links(response, key))


def _components(mentions: frozenset[int], clusters: Clusters) -> int:
    components = [{m} for m in mentions]
    for a in mentions:
        for b in mentions:
            if any({a, b} <= c for c in clusters):
                joined = [c for c in components if a in c or b in c]
                components = [c for c in components if c not in joined] + [set.union(*joined)]
    return len(components)


def b_cubed(key: Clusters, response: Clusters) -> Sums:
    def shares(clusters: Clusters, others: Clusters) -> tuple[float, float]:
        mentions = {m for c in clusters for m in c}
        mine = {m: next(c for c in clusters if m in c) for m in mentions}
        other = {m: next((c for c in others if m in c), frozenset()) for m in mentions}
        return sum(len(mine[m] & other[m]) / len(mine[m]) for m in mentions), len(mentions)

    return (*shares(key, response), *shares(response, key))


def ceaf_e(key: Clusters, response: Clusters) -> Sums:
    few, many = sorted((list(key), list(response)), key=len)
    best = max(
        sum(2 * len(a & b) / (len(a) + len(b)) for a, b in zip(few, chosen, strict=True))
        for chosen in permutations(many, len(few))
    )
    return best, len(key), best, len(response)


def f1(sums: Sums) -> float:
    recall, precision = (a / b if b else 0.0 for a, b in (sums[:2], sums[2:]))
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def conll_f1(documents: Collection[tuple[Clusters, Clusters]]) -> float:
    """(key, response) of each document; the counts are added up over documents."""
    total = 0.0
    for metric in (muc, b_cubed, ceaf_e):
        sums = [metric(*d) for d in documents]
        total += f1(tuple(map(sum, zip(*sums, strict=True))))  # type: ignore[arg-type]
    return total / 3
