"""Gates that learn whether to be 0 or 1: the hard concrete distribution over a model's masks.

The distribution is that of Louizos et al. 2018; the gates are CoFi's (Xia et al. 2022, section 3.1 and appendix A).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import torch
from torch import nn

from edgeopt.models.masks import Masks
from edgeopt.models.structure import Dense, Structure

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
#: Bounds of log α: beyond them a gate would hardly learn any more.
LEAST, MOST = math.log(0.01), math.log(100)
#: A lower bound for trainings that are too short for a closed gate to come back.
LEAST_SHORT = math.log(0.001)
#: Bounds of what is drawn, so that its logit is a number.
_EDGE = 1e-6
#: The kinds of gates.
KINDS = ("neurons", "heads", "hidden", "ffn", "mha")
#: log α at the start, as in the authors' code: neurons in the middle, where gradients are largest; what weighs more,
#: open.
_START = {"neurons": 0.0}
#: A number that moves log α from any bound beyond the other, and halvings of the bracket of both signs: to a millionth.
_FAR, _HALVINGS = 15.0, 25


class HardConcrete(nn.Module):
    """log α of a gate for each head, neuron, block and hidden dimension that a structure has now.

    kinds: those that are learned; what is of another kind stays as it is. least: the lower bound of log α. At that of
    the paper a closed gate still opens in 5 of 100 draws, so that it may come back; together such gates are a twentieth
    of the model, which is felt where little more than that is to stay.
    """

    def __init__(self, structure: Structure, kinds: Collection[str] = KINDS, least: float = LEAST) -> None:
        super().__init__()
        self.structure, self.least = structure, least
        self.split = {
            "heads": [x.head_count for x in structure.layers],
            "neurons": [x.neuron_count for x in structure.layers],
        }
        layers = len(structure.layers)
        self.sizes = {"hidden": structure.hidden, "ffn": layers, "mha": layers}
        self.sizes |= {kind: sum(counts) for kind, counts in self.split.items()}
        self.log_alpha = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.full((self.sizes[kind],), _START.get(kind, MOST)))
                for kind in KINDS
                if kind in kinds
            }
        )

    @torch.no_grad()
    def rank(self, importance: Mapping[str, torch.Tensor], sparsity: float) -> None:
        """Start from what is known of heads and neurons: log α = log(importance / weights) + a number.

        So a threshold on log α keeps what is worth most for its weights. The number is the one that lets a share of
        `sparsity` of the weights be expected to go at first; other kinds start open. importance: of each head and each
        neuron, layer after layer.
        """
        dense = self.structure.dense
        size = {"heads": dense.per_head * dense.head_size, "neurons": dense.per_neuron}
        for kind, alpha in self.log_alpha.items():
            if kind in importance:
                alpha.copy_((importance[kind].double() / size[kind]).clamp_min(1e-30).log())
            else:
                alpha.fill_(MOST)
        ranked = torch.cat([alpha for kind, alpha in self.log_alpha.items() if kind in importance])
        for kind in importance:
            self.log_alpha[kind].sub_(ranked.median())
        self.shift(sparsity, importance)

    def sample(self) -> Masks:
        """Gates drawn by torch's generator: in 0…1, a share of them 0 and another 1, with gradients to log α."""
        drawn = {kind: sampled(alpha) for kind, alpha in self.log_alpha.items()}
        hidden = drawn.get("hidden")
        if hidden is not None and not bool((hidden > 0).any()):  # nothing can be normed among no dimensions
            best = self.log_alpha["hidden"].argmax()
            drawn["hidden"] = nn.functional.one_hot(best, self.structure.hidden).to(hidden)
        return self._masks(drawn)

    def probabilities(self) -> Masks:
        """The probability, of each gate, that a sample of it is not 0."""
        return self._masks({kind: open_probability(alpha) for kind, alpha in self.log_alpha.items()})

    def sparsity(self) -> torch.Tensor:
        """Share of the dense model's weights that is expected to be gone, shape ()."""
        return 1 - weights_left(self.probabilities(), self.structure.dense) / self.structure.dense.structure.weights

    def clamp(self) -> None:
        """Bring log α back within its bounds, which every optimizer step must be followed by."""
        with torch.no_grad():
            for alpha in self.log_alpha.values():
                alpha.clamp_(self.least, MOST)

    @torch.no_grad()
    def shift(self, sparsity: float, kinds: Collection[str] = KINDS) -> float:
        """Bring the expected sparsity to that share, as near as it goes, by adding one number to every log α.

        kinds: those that it is added to. Returns the number. It is how far the gates were from what is asked of them,
        in units of log α.
        """
        dense = self.structure.dense.structure.weights

        def left(by: float) -> float:
            moved = {kind: a + by if kind in kinds else a for kind, a in self.log_alpha.items()}
            chances = {kind: open_probability(a.clamp(self.least, MOST)) for kind, a in moved.items()}
            return float(weights_left(self._masks(chances), self.structure.dense))

        by = least(lambda by: left(by) >= (1 - sparsity) * dense)
        for kind, alpha in self.log_alpha.items():
            if kind in kinds:
                alpha.add_(by)
        self.clamp()
        return by

    @torch.no_grad()
    def binary(self, weights: float, neurons: int = 1, hidden: int = 1) -> Masks:
        """Zeros and ones that leave as nearly as can be so many weights, and some in any case.

        Of each layer and kind as many gates stay open as are expected to be, those of the highest log α, as the
        authors' code cuts (Xia et al. 2022, `L0Module._deterministic_z`); but a gate that is as closed as it may be
        counts for nothing. Rounding moves the size; one number added to every log α brings it back, first with all
        kinds, then with the blocks and the hidden dimensions as they are, then with the heads as they are too.

        neurons, hidden: multiples that each layer's neurons and the hidden dimensions are rounded to.
        """
        fixed: dict[str, torch.Tensor] = {}

        def masks(by: float) -> Masks:
            values = {kind: alpha.detach().cpu() for kind, alpha in self.log_alpha.items()}
            chances = {kind: self._beyond_least(alpha.double() + by) for kind, alpha in values.items()}
            open_ = {kind: chance.round() for kind, chance in chances.items() if kind in ("ffn", "mha")}
            if "hidden" in chances:
                open_["hidden"] = _highest(values["hidden"], float(chances["hidden"].sum()), hidden, least=hidden)
            for kind, multiple in (("heads", 1), ("neurons", neurons)):
                if kind in chances:
                    counts = [float(c.sum()) for c in torch.split(chances[kind], self.split[kind])]
                    layers = torch.split(values[kind], self.split[kind])
                    open_[kind] = torch.cat([_highest(a, n, multiple) for a, n in zip(layers, counts, strict=True)])
            return self._masks({**open_, **fixed})

        def nearest() -> Masks:
            def left(by: float) -> float:
                return float(weights_left(masks(by), self.structure.dense))

            enough = least(lambda by: left(by) >= max(weights, 1))
            fewer = enough - 2 * _FAR / 2**_HALVINGS
            below = left(fewer)
            return masks(fewer if below > 0 and weights - below < left(enough) - weights else enough)

        for kinds in (("ffn", "mha", "hidden"), ("heads",), ()):
            found = nearest()
            fixed.update({kind: found.of(kind) for kind in kinds})
        return found

    def _beyond_least(self, alpha: torch.Tensor) -> torch.Tensor:
        """The chance to be open, of which none is left at the lower bound."""
        floor = open_probability(alpha.new_tensor(self.least))
        return ((open_probability(alpha) - floor) / (1 - floor)).clamp_min(0)

    def _masks(self, values: Mapping[str, torch.Tensor]) -> Masks:
        """Masks of every kind; ones where a kind is not learned."""
        like = next(iter(values.values()))
        whole = {kind: values.get(kind, like.new_ones(size)) for kind, size in self.sizes.items()}
        heads, neurons = (list(torch.split(whole[kind], self.split[kind])) for kind in ("heads", "neurons"))
        return Masks(heads, neurons, whole["mha"], whole["ffn"], whole["hidden"])


def least(enough: Callable[[float], bool]) -> float:
    """The least number, up to 15 to either side of 0, from which on it is enough; by halving."""
    low, high = -_FAR, _FAR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _highest(alpha: torch.Tensor, count: float, multiple: int, least: int = 0) -> torch.Tensor:
    """A mask of as many ones as is the multiple nearest to `count`, for the highest log α; all of them count as one."""
    kept = round(count)
    if kept < len(alpha):
        kept = max(least, min(len(alpha), (kept + multiple // 2) // multiple * multiple))
    result = torch.zeros(len(alpha), dtype=torch.float64)
    result[torch.sort(alpha, descending=True, stable=True).indices[:kept]] = 1
    return result


def sampled(alpha: torch.Tensor) -> torch.Tensor:
    """A draw for each log α: s = σ((logit u + log α)/β), stretched to γ…ζ and cut to 0…1."""
    u = torch.empty_like(alpha).uniform_(_EDGE, 1 - _EDGE)
    s = torch.sigmoid((torch.logit(u) + alpha) / BETA)
    return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def open_probability(alpha: torch.Tensor) -> torch.Tensor:
    """P(z > 0) = σ(log α − β·log(−γ/ζ)) of a draw z for each log α."""
    return torch.sigmoid(alpha - BETA * math.log(-GAMMA / ZETA))


def weights_left(masks: Masks, dense: Dense) -> torch.Tensor:
    """Number of weights in the layers' matrices that whole masks leave, shape ().

    Of probabilities it is the expected number, where gates are drawn apart; of zeros and ones the number itself. What
    stands behind a closed gate does not count.
    """
    assert (
        masks.heads and masks.neurons and masks.mha is not None and masks.ffn is not None and masks.hidden is not None
    )
    heads, neurons = (torch.stack([t.sum() for t in tensors]) for tensors in (masks.heads, masks.neurons))
    of_heads = dense.per_head * dense.head_size * (masks.mha * heads).sum()
    return masks.hidden.sum() * (of_heads + dense.per_neuron * (masks.ffn * neurons).sum())
