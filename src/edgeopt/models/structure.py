"""The shape of an encoder whose layers need not be alike, and what it costs. Pure numbers, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgeopt.models.anatomy import Anatomy, family

#: The field of config.json that holds a structure.
FIELD = "edgeopt_structure"


@dataclass(frozen=True)
class Layer:
    """What is left of a layer.

    origin: its number in the dense model. heads: numbers, in the dense layer, of the attention heads that are left.
    neurons: how many of the feed-forward's are left. A block of nothing (an empty tuple, 0) still adds its bias and is
    normed; a block that is None is gone, and its input passes through.
    """

    origin: int
    heads: tuple[int, ...] | None
    neurons: int | None

    @property
    def head_count(self) -> int:
        return len(self.heads or ())

    @property
    def neuron_count(self) -> int:
        return self.neurons or 0


@dataclass(frozen=True)
class Dense:
    """The model as it was before anything was cut.

    head_size: the width of a head. per_neuron: rows and columns of a layer's matrices that are a neuron's. per_head:
    matrices that a head has rows or columns of. met: rows of a table of positions that each token is multiplied with.
    """

    layers: int
    heads: int
    head_size: int
    neurons: int
    hidden: int
    per_neuron: int = 2
    per_head: int = 4
    met: int = 0

    @property
    def structure(self) -> Structure:
        """The structure of the model from which nothing was cut."""
        layer = tuple(range(self.heads))
        return Structure(tuple(Layer(i, layer, self.neurons) for i in range(self.layers)), self.hidden, self)


@dataclass(frozen=True)
class Structure:
    """What is left of a dense encoder; hidden is the width of the residual stream, the same in every layer."""

    layers: tuple[Layer, ...]
    hidden: int
    dense: Dense

    @property
    def weights(self) -> int:
        """Weights in the matrices of the layers: what sparsity is a share of. No biases, norms, embeddings or head."""
        return sum(weights_of(self, layer.head_count, layer.neuron_count) for layer in self.layers)

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates of the layers for one text of that many tokens.

        For each layer 4ndh + 2n²h for heads of h dimensions together, 2ndf for f neurons, or 3ndf where they are gated;
        n tokens, d hidden. Where tokens meet the rows of a table of positions, as many times nh as there are rows. What
        does not depend on the text is not counted, and neither are embeddings, norms and head.
        """
        return sum(macs_of(self, layer.head_count, layer.neuron_count, tokens) for layer in self.layers)

    def as_json(self) -> dict[str, Any]:
        """Plain data for config.json, of which `from_json` makes it again."""
        layers = [
            {"origin": x.origin, "heads": None if x.heads is None else list(x.heads), "neurons": x.neurons}
            for x in self.layers
        ]
        dense = {name: value for name, value in vars(self.dense).items() if value != getattr(Dense, name, None)}
        return {"hidden": self.hidden, "layers": layers, "dense": dense}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Structure:
        """The structure that `as_json` wrote. Raises ValueError where the data is no structure."""
        try:
            dense, hidden = Dense(**data["dense"]), data["hidden"]
            layers = tuple(
                Layer(x["origin"], None if x["heads"] is None else tuple(x["heads"]), x["neurons"])
                for x in data["layers"]
            )
            sizes = [hidden, *(x.neuron_count for x in layers)]
            sound = (
                0 < hidden <= dense.hidden
                and dense.per_neuron in (2, 3)
                and dense.per_head in (4, 5, 6)
                and type(dense.met) is int
                and dense.met >= 0
                and all(type(n) is int and n >= 0 for n in sizes)
                and all(x.neuron_count <= dense.neurons for x in layers)
            )
            sound = (
                sound
                and all(h in range(dense.heads) for x in layers for h in x.heads or ())
                and all(x.origin in range(dense.layers) for x in layers)
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a structure: {error!r}") from None
        if not sound:
            raise ValueError("not a structure: a size is out of range")
        return cls(layers, hidden, dense)


def weights_of(structure: Structure, heads: int, neurons: int) -> int:
    """Weights in the matrices of one layer of that many heads and neurons."""
    of_neurons = structure.dense.per_neuron * neurons
    of_heads = structure.dense.per_head * heads * structure.dense.head_size
    return structure.hidden * of_heads + structure.hidden * of_neurons


def macs_of(structure: Structure, heads: int, neurons: int, tokens: int) -> int:
    """Multiply-accumulates of one layer of that many heads and neurons, for one text."""
    wide = heads * structure.dense.head_size
    of_neurons = structure.dense.per_neuron * neurons
    met = structure.dense.met + 2 * tokens
    return 4 * tokens * structure.hidden * wide + tokens * met * wide + tokens * structure.hidden * of_neurons


def of_config(config: dict[str, Any]) -> Structure:
    """The structure that a config.json states, or that of a model that was never cut.

    Raises ValueError where it states no shape.
    """
    if FIELD in config:
        return Structure.from_json(config[FIELD])
    known = family(config.get("model_type"))
    names = known.sizes if known else Anatomy.sizes
    layers, heads, neurons, hidden = (config.get(name) for name in names)
    if not (
        isinstance(layers, int)
        and isinstance(heads, int)
        and isinstance(neurons, int)
        and isinstance(hidden, int)
        and heads > 0
    ):
        raise ValueError(f"the config states no {', '.join(names)}")
    dense = Dense(layers, heads, hidden // heads, neurons, hidden)
    if known:
        found = known.relative_of(config)
        dense = replace(dense, per_neuron=known.per_neuron, per_head=4 + len(found.projections), met=found.met)
    return dense.structure


def survival(structure: Structure) -> dict[str, list[Any]]:
    """For each layer of the dense model how many heads are left, which, and how many neurons: 0 or [] for what is gone.

    Lists by the names heads, head_numbers and neurons, one item for each layer.
    """
    left = {layer.origin: layer for layer in structure.layers}
    layers = [left.get(i, Layer(i, None, None)) for i in range(structure.dense.layers)]
    return {
        "heads": [layer.head_count for layer in layers],
        "head_numbers": [list(layer.heads or ()) for layer in layers],
        "neurons": [layer.neuron_count for layer in layers],
    }
