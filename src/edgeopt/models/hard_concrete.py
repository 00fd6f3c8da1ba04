"""Gates that learn whether to be 0 or 1: the hard concrete distribution over a model's masks.

The distribution is that of Louizos et al. 2018; the gates are CoFi's (Xia et al. 2022, section 3.1 and appendix A).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import nn

from edgeopt.models.masks import Masks
from edgeopt.models.structure import Structure

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
#: Bounds of log α: beyond them a gate would hardly learn any more.
LEAST, MOST = math.log(0.01), math.log(100)
#: Bounds of what is drawn, so that its logit is a number.
_EDGE = 1e-6
#: The kinds of gates. Of equal ones the first kind closes first: single neurons before whole blocks.
_KINDS = ("neurons", "heads", "hidden", "ffn", "mha")


class HardConcrete(nn.Module):
    """log α of a gate for each head, neuron, block and hidden dimension that a structure has now, all nearly open."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        self.split = {
            "heads": [x.head_count for x in structure.layers],
            "neurons": [x.neuron_count for x in structure.layers],
        }
        sizes = {**{kind: sum(counts) for kind, counts in self.split.items()}, "hidden": structure.hidden}
        self.log_alpha = nn.ParameterDict(
            {kind: nn.Parameter(torch.full((sizes.get(kind, len(structure.layers)),), MOST)) for kind in _KINDS}
        )

    def sample(self) -> Masks:
        """Gates drawn by torch's generator: in 0…1, a share of them 0 and another 1, with gradients to log α."""
        drawn = {kind: sampled(alpha) for kind, alpha in self.log_alpha.items()}
        if not bool((drawn["hidden"] > 0).any()):  # nothing can be normed among no dimensions
            drawn["hidden"] = nn.functional.one_hot(self.log_alpha["hidden"].argmax(), self.structure.hidden).to(
                drawn["hidden"]
            )
        return self._masks(drawn)

    def probabilities(self) -> Masks:
        """The probability, of each gate, that a sample of it is not 0."""
        return self._masks({kind: open_probability(alpha) for kind, alpha in self.log_alpha.items()})

    def sparsity(self) -> torch.Tensor:
        """Share of the dense model's weights that is expected to be gone, shape ()."""
        return (
            1
            - weights_left(self.probabilities(), self.structure.dense.head_size)
            / self.structure.dense.structure.weights
        )

    def clamp(self) -> None:
        """Bring log α back within its bounds, which every optimizer step must be followed by."""
        with torch.no_grad():
            for alpha in self.log_alpha.values():
                alpha.clamp_(LEAST, MOST)

    def binary(self, weights: float, neurons: int = 1, hidden: int = 1) -> Masks:
        """Zeros and ones that leave as nearly as can be so many weights, and some in any case.

        What has the lowest log α is closed. One threshold for every kind, found by bisection; of equal ones the kinds'
        order and position decide.

        neurons, hidden: multiples that each layer's neurons and the hidden dimensions are rounded to, at the threshold;
        the hidden ones first, and then another threshold for the rest makes up for it.
        """
        values = [self.log_alpha[kind].detach().cpu() for kind in _KINDS]
        order = torch.sort(torch.cat(values), stable=True).indices

        def without(count: int) -> dict[str, torch.Tensor]:
            gates = torch.ones(len(order), dtype=torch.float64)
            gates[order[:count]] = 0
            return dict(zip(_KINDS, torch.split(gates, [len(v) for v in values]), strict=True))

        def nearest(masks: Callable[[int], Masks]) -> Masks:
            def left(count: int) -> float:
                return float(weights_left(masks(count), self.structure.dense.head_size))

            enough = bisect_left(range(len(order) + 1), -weights, key=lambda count: -left(count))
            best = enough == 0 or (left(enough) > 0 and weights - left(enough) <= left(enough - 1) - weights)
            return masks(enough if best else enough - 1)

        first = nearest(lambda count: self._masks(without(count)))
        assert first.hidden is not None
        width = self._rounded(first.hidden, self.log_alpha["hidden"], hidden, least=hidden)

        def in_multiples(count: int) -> Masks:
            found = self._masks({**without(count), "hidden": width})
            assert found.neurons is not None
            alphas = torch.split(self.log_alpha["neurons"], self.split["neurons"])
            found.neurons = [
                self._rounded(mask, alpha, neurons) for mask, alpha in zip(found.neurons, alphas, strict=True)
            ]
            return found

        return first if neurons == hidden == 1 else nearest(in_multiples)

    def _rounded(self, mask: torch.Tensor, alpha: torch.Tensor, multiple: int, least: int = 0) -> torch.Tensor:
        """A mask of as many ones as is the nearest multiple, for the highest log α; all of them count as one."""
        count = int(mask.sum())
        if count < len(mask):
            count = max(least, min(len(mask), (count + multiple // 2) // multiple * multiple))
        result = torch.zeros_like(mask)
        result[torch.sort(alpha.detach().cpu(), descending=True, stable=True).indices[:count]] = 1
        return result

    def _masks(self, values: dict[str, torch.Tensor]) -> Masks:
        heads, neurons = (list(torch.split(values[kind], self.split[kind])) for kind in ("heads", "neurons"))
        return Masks(heads, neurons, values["mha"], values["ffn"], values["hidden"])


def sampled(alpha: torch.Tensor) -> torch.Tensor:
    """A draw for each log α: s = σ((logit u + log α)/β), stretched to γ…ζ and cut to 0…1."""
    u = torch.empty_like(alpha).uniform_(_EDGE, 1 - _EDGE)
    s = torch.sigmoid((torch.logit(u) + alpha) / BETA)
    return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def open_probability(alpha: torch.Tensor) -> torch.Tensor:
    """P(z > 0) = σ(log α − β·log(−γ/ζ)) of a draw z for each log α."""
    return torch.sigmoid(alpha - BETA * math.log(-GAMMA / ZETA))


def weights_left(masks: Masks, head_size: int) -> torch.Tensor:
    """Number of weights in the layers' matrices that whole masks leave, shape ().

    Of probabilities it is the expected number, where gates are drawn apart; of zeros and ones the number itself. What
    stands behind a closed gate does not count.
    """
    assert (
        masks.heads and masks.neurons and masks.mha is not None and masks.ffn is not None and masks.hidden is not None
    )
    heads, neurons = (torch.stack([t.sum() for t in tensors]) for tensors in (masks.heads, masks.neurons))
    return masks.hidden.sum() * (4 * head_size * (masks.mha * heads).sum() + 2 * (masks.ffn * neurons).sum())
