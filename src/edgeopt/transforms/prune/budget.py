"""How many heads and neurons each layer keeps within a budget: numbers alone, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeopt.models.structure import Structure, macs_of, weights_of

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Costs:
    """What each layer costs by what it keeps, in any unit.

    heads[i][h]: what layer i's attention costs with h heads; neurons[i][f] likewise its feed-forward.
    """

    heads: list[Array]
    neurons: list[Array]

    def total(self, heads: Sequence[int], neurons: Sequence[int]) -> float:
        """The cost of a choice of counts, of heads and neurons for each layer."""
        return float(
            sum(c[h] for c, h in zip(self.heads, heads, strict=True))
            + sum(c[f] for c, f in zip(self.neurons, neurons, strict=True))
        )

    @property
    def dense(self) -> float:
        """The cost of keeping everything."""
        return self.total([len(c) - 1 for c in self.heads], [len(c) - 1 for c in self.neurons])


def least_left(costs: Costs, multiple: int) -> float:
    """The least that the layers cost of which anything is left: a head, or a multiple of neurons. inf: nothing is."""
    nothing = costs.total([0] * len(costs.heads), [0] * len(costs.neurons))
    heads = [float(c[1] - c[0]) for c in costs.heads if len(c) > 1]
    neurons = [float(c[min(multiple, len(c) - 1)] - c[0]) for c in costs.neurons if len(c) > 1]
    return nothing + min(heads + neurons, default=np.inf)


def counted(structure: Structure, tokens: int | None) -> Costs:
    """Costs in multiply-accumulates for a text of that many tokens; None: in weights."""

    def cost(heads: int, neurons: int) -> int:
        return weights_of(structure, heads, neurons) if tokens is None else macs_of(structure, heads, neurons, tokens)

    return Costs(
        [np.array([float(cost(h, 0)) for h in range(x.head_count + 1)]) for x in structure.layers],
        [np.array([float(cost(0, f)) for f in range(x.neuron_count + 1)]) for x in structure.layers],
    )


def choose(
    heads: list[Array], neurons: list[Array], costs: Costs, allowed: float, multiple: int
) -> tuple[list[int], list[int]] | None:
    """Heads and neurons of each layer whose importance together is greatest at a cost of at most `allowed`.

    None where even the least costs more. heads[i], neurons[i]: importance of each. Every number of heads is tried, the
    most important of all layers first, and the rest of the budget filled with neurons, likewise (Kwon et al. 2022,
    section 4.1). Neurons come in blocks of `multiple`, the most important of a layer together, so that the counts are
    whole multiples where it has that many.
    """
    head_order = _ranked([sorted(layer.tolist(), reverse=True) for layer in heads])
    blocks = [
        np.add.reduceat(np.sort(layer)[::-1], np.arange(0, len(layer), multiple)) if len(layer) else layer
        for layer in neurons
    ]
    sizes = [[min(multiple, len(layer) - start) for start in range(0, len(layer), multiple)] for layer in neurons]
    block_order = _ranked(
        [[b / n for b, n in zip(layer, size, strict=True)] for layer, size in zip(blocks, sizes, strict=True)]
    )

    counts, filled = [0] * len(neurons), [[0] * len(neurons)]
    spent, gained = [costs.total([0] * len(heads), counts)], [0.0]
    for layer, block in block_order:
        before = costs.neurons[layer][counts[layer]]
        counts[layer] += sizes[layer][block]
        spent.append(spent[-1] + costs.neurons[layer][counts[layer]] - before)
        gained.append(gained[-1] + float(blocks[layer][block]))
        filled.append(list(counts))

    best: tuple[float, list[int], list[int]] | None = None
    chosen, importance, extra = [0] * len(heads), 0.0, 0.0
    for layer, rank in [(-1, -1), *head_order]:
        if layer >= 0:
            extra += costs.heads[layer][chosen[layer] + 1] - costs.heads[layer][chosen[layer]]
            chosen[layer] += 1
            importance += float(np.sort(heads[layer])[::-1][rank])
        fits = int(np.searchsorted(spent, allowed - extra + 1e-9 * costs.dense, side="right")) - 1
        if fits < 0:
            break
        if best is None or importance + gained[fits] > best[0]:
            best = importance + gained[fits], list(chosen), filled[fits]
    return None if best is None else (best[1], best[2])


def _ranked(falling: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """(layer, position) of values that fall within each layer, the greatest of all first."""
    places = [(-value, layer, rank) for layer, values in enumerate(falling) for rank, value in enumerate(values)]
    return [(layer, rank) for _, layer, rank in sorted(places)]
