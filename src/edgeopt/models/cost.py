"""What a training step computes and holds, by formula. Pure numbers, no torch.

FLOPs are those of matrix products, two for each multiply-accumulate: of the layers, of a projection of the embeddings,
and of a head that guesses words or detects. What weights and inputs need for their gradients costs as much again each.
Norms, activation functions, dropout, the optimizer and a task's head are left out: together some percent.

Memory is float32. Of activations, what autograd keeps of layers with dropout, whose attention keeps its matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from edgeopt.models.anatomy import family
from edgeopt.models.structure import of_config

#: What is trained of a model: all of it; what is added to it, so that gradients pass through its matrices; nothing.
Trained = Literal["all", "added", "none"]
#: What stands behind the layers: scores of all words, of the guessed tokens alone; or a score of each token.
Head = Literal["words", "detection", ""]
#: Bytes that autograd keeps of a layer: for each token and dimension, token and neuron, and pair of tokens in a head.
_KEPT_WIDTH, _KEPT_NEURON, _KEPT_PAIR = 40, 8, 12
#: The same of embeddings and head for each token and dimension, and for each guessed token and word.
_KEPT_AROUND, _KEPT_WORD = 20, 4


class Flops(NamedTuple):
    """FLOPs of the pass through a model, and of the way back."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        return self.forward + self.backward

    def times(self, factor: float) -> Flops:
        return Flops(self.forward * factor, self.backward * factor)


class Memory(NamedTuple):
    """Bytes, by what is in them."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return sum(self)


@dataclass(frozen=True)
class Rows:
    """Rows that go through a model: how many, tokens of each, and how many of these are guessed."""

    count: float
    tokens: float
    guessed: float = 0.0


@dataclass(frozen=True)
class Pass:
    """A model that the rows of a step go through. part: `main`, `auxiliary` or `teacher`.

    config: as its config.json says. once: whether each row goes through it once, before the training. task: whose rows
    alone go through it, where there are several.
    """

    part: str
    config: Mapping[str, Any]
    trained: Trained
    head: Head = ""
    once: bool = False
    recomputed: bool = False
    shares_embeddings: bool = False
    task: str | None = None


def flops(model: Pass, rows: Rows) -> Flops:
    """FLOPs of rows that go through a model, and back where something is trained.

    Raises ValueError for an unknown shape.
    """
    products, pairs = _macs(model, rows)
    forward = 2.0 * rows.count * (products + pairs)
    if model.trained == "none":
        return Flops(forward, 0.0)
    back = 2 * forward if model.trained == "all" else 2.0 * rows.count * (products + 2 * pairs)
    return Flops(forward, back + (forward if model.recomputed else 0.0))


def _macs(model: Pass, rows: Rows) -> tuple[float, float]:
    """Multiply-accumulates of a row: of inputs with weights, and of tokens with each other."""
    structure = of_config(dict(model.config))
    tokens, width = rows.tokens, structure.hidden
    dense = structure.dense
    pairs = sum(tokens * (2 * tokens + dense.met) * layer.head_count * dense.head_size for layer in structure.layers)
    products = tokens * structure.weights
    narrow = _embedding(model.config, width)
    if narrow != width:
        products += tokens * narrow * width
    if model.head == "words":
        products += rows.guessed * (width * narrow + narrow * _words(model.config))
    if model.head == "detection":
        products += tokens * (width * width + width)
    return products, pairs


def parameters(model: Pass) -> float:
    """How many there are, but for a task's head. Raises ValueError for an unknown shape."""
    config, structure = model.config, of_config(dict(model.config))
    width, size, shape = structure.hidden, structure.dense.head_size, family(config.get("model_type"))
    narrow = _embedding(config, width)
    positions, biased = shape is None or shape.has_positions(config), shape is None or shape.has_biases(config)
    tables = ("max_position_embeddings", "type_vocab_size") if positions else ("type_vocab_size",)
    rows = _words(config) + sum(_number(config, name) for name in tables)
    norm = 1 + int(biased)  # vectors of a LayerNorm
    found = 0 if model.shares_embeddings else rows * narrow + norm * narrow
    if narrow != width:
        found += narrow * width + width
    for layer in structure.layers:
        heads, neurons = layer.head_count * size, layer.neuron_count
        found += 2 * norm * width
        if biased:
            found += 3 * heads + width + (structure.dense.per_neuron - 1) * neurons + width
    found += structure.weights
    if shape is not None:
        found += norm * width * ((shape.final_norm is not None) - len(shape.first_lacks))
        found += shape.relative_of(config).rows * width
    if model.head == "words":
        found += width * narrow + norm * narrow + int(biased) * narrow + _words(config)
    if model.head == "detection":
        found += width * width + width + width + 1
    return float(found)


def memory(model: Pass, rows: Rows) -> Memory:
    """What a model holds while rows go through it, rows of one batch on one device."""
    known = 4 * parameters(model)
    if model.trained == "none":
        return Memory(known, 0.0, 0.0, 0.0)
    trained = known if model.trained == "all" else 0.0
    return Memory(known, trained, 2 * trained, activations(model, rows))


def activations(model: Pass, rows: Rows) -> float:
    """Bytes that are kept for the way back."""
    structure = of_config(dict(model.config))
    tokens, width = rows.tokens, structure.hidden
    layers = [
        _KEPT_WIDTH * tokens * width
        + _KEPT_NEURON * tokens * layer.neuron_count * (structure.dense.per_neuron - 1)
        + _KEPT_PAIR * tokens**2 * layer.head_count
        for layer in structure.layers
    ]
    inside = max(layers, default=0.0) + 4 * tokens * width * len(layers) if model.recomputed else sum(layers)
    around = _KEPT_AROUND * tokens * width
    if model.head == "words":
        around += _KEPT_WORD * rows.guessed * _words(model.config)
    return rows.count * (inside + around)


def generator_sizes(heads: int, hidden: int, neurons: int, width: float) -> tuple[int, int, int]:
    """Heads, hidden width and neurons of a generator that is so much narrower than the model beside it."""
    fewer = max(1, round(heads * width))
    return fewer, fewer * max(1, round(hidden * width / fewer)), max(1, round(neurons * width))


def generator_config(config: Mapping[str, Any], width: float) -> dict[str, Any]:
    """The config of an ELECTRA's generator."""
    names = ("num_attention_heads", "hidden_size", "intermediate_size")
    heads, hidden, neurons = (int(config[name]) for name in names)
    return {**config, **dict(zip(names, generator_sizes(heads, hidden, neurons, width), strict=True))}


def _number(config: Mapping[str, Any], name: str) -> int:
    found = config.get(name)
    return found if isinstance(found, int) else 0


def _words(config: Mapping[str, Any]) -> int:
    if not isinstance(config.get("vocab_size"), int):
        raise ValueError("the config states no vocab_size")
    return _number(config, "vocab_size")


def _embedding(config: Mapping[str, Any], width: int) -> int:
    return _number(config, "embedding_size") or width
