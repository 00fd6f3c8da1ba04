"""Surgery: heads, neurons, hidden dimensions, blocks and layers cut out of a model, and such a model built again.

A model that was cut keeps the dense shape in its config, and `edgeopt_structure` besides, from which its class makes
the shapes before weights are loaded. transformers' own forward runs on it unpatched.

The masks of `masks.py` and the cuts here compute the same: what was learned with masks is cut away, and the outputs
stay.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from edgeopt.models.anatomy import Anatomy, anatomy, part
from edgeopt.models.removed import Bias, NoHeads, NoNeurons, Nothing, Pass, Residual
from edgeopt.models.source import CONFIG
from edgeopt.models.structure import FIELD, Layer, Structure, of_config

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class KeptLayer:
    """What stays of the layer that is `number` now: positions among its heads and its neurons.

    None instead of positions: the whole block goes.
    """

    number: int
    heads: Sequence[int] | None
    neurons: Sequence[int] | None


@dataclass(frozen=True)
class Kept:
    """The layers that stay, and of the residual stream's dimensions these positions; None: all."""

    layers: Sequence[KeptLayer]
    hidden: Sequence[int] | None = None


def structure_of(model: PreTrainedModel) -> Structure:
    """The shape of a model: as it was cut, or as its config has it."""
    return of_config(model.config.to_dict())


def everything(model: PreTrainedModel) -> Kept:
    """A choice that keeps the model as it is."""
    layers = structure_of(model).layers
    return Kept(
        [
            KeptLayer(
                i, None if x.heads is None else range(x.head_count), None if x.neurons is None else range(x.neurons)
            )
            for i, x in enumerate(layers)
        ]
    )


def cut(model: PreTrainedModel, kept: Kept) -> None:
    """Cut all that is not kept out of the model, in place, and note its new shape in its config.

    A block that lost all heads or neurons still adds its bias and is normed; one that is None lets its input pass.
    """
    old = structure_of(model)
    layers = []
    for layer in kept.layers:
        was = old.layers[layer.number]
        heads = None if layer.heads is None or was.heads is None else tuple(was.heads[i] for i in layer.heads)
        layers.append(
            Layer(was.origin, heads, None if layer.neurons is None or was.neurons is None else len(layer.neurons))
        )
    new = Structure(tuple(layers), old.hidden if kept.hidden is None else len(kept.hidden), old.dense)
    _cut(model, kept, new)
    setattr(model.config, FIELD, new.as_json())
    take_layers(model.config, [layer.number for layer in kept.layers])


def take_layers(config: PreTrainedConfig, numbers: Sequence[int]) -> None:
    """Let a config say that these layers of its model are all, in place."""
    for name in anatomy(config.model_type).by_layer:
        entries = getattr(config, name)
        setattr(config, name, [entries[n] for n in numbers])
    config.num_hidden_layers = len(numbers)


def keep_layers(model: PreTrainedModel, numbers: Collection[int]) -> None:
    """Drop the layers that have none of these numbers, in place; the order is the model's."""
    cut(model, Kept([x for x in everything(model).layers if x.number in numbers]))


def class_for(auto: type[PreTrainedModel], folder: Path) -> type[PreTrainedModel]:
    """The class whose `from_pretrained` reads the folder.

    It is `auto` (a class, or one of transformers' Auto classes), or for a model that was cut a subclass of the right
    one that makes the shapes first.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if FIELD not in config:
        return auto
    from transformers import AutoConfig

    mapping = getattr(auto, "_model_mapping", None)
    dense: Any = auto
    if mapping is not None:
        dense = mapping[type(AutoConfig.from_pretrained(folder, local_files_only=True))]
    return _cut_class(dense)


@functools.cache
def _cut_class(cls: type[PreTrainedModel]) -> type[PreTrainedModel]:
    def __init__(self: PreTrainedModel, config: PreTrainedConfig, *args: Any, **options: Any) -> None:
        cls.__init__(self, config, *args, **options)
        structure = Structure.from_json(getattr(config, FIELD))
        layers = [
            KeptLayer(
                i, None if x.heads is None else range(x.head_count), None if x.neurons is None else range(x.neurons)
            )
            for i, x in enumerate(structure.layers)
        ]
        if structure.layers[0].origin > 0:
            _complete(self)
        _cut(self, Kept(layers, range(structure.hidden)), structure)

    return type(
        cls.__name__, (cls,), {"__init__": __init__, "uncut": cls, "__module__": cls.__module__, "__doc__": cls.__doc__}
    )


def _complete(model: PreTrainedModel) -> None:
    """Give the first layer the norms that it only lacks because it is the first, where another stood before it."""
    shape = anatomy(model.config.model_type)
    first = model.get_submodule(shape.layers)[0]
    there = [name for name in shape.norms if name not in shape.first_lacks]
    for name in shape.first_lacks:
        _put(first, name, copy.deepcopy(first.get_submodule(there[0])))


def _cut(model: PreTrainedModel, kept: Kept, structure: Structure) -> None:
    shape = anatomy(model.config.model_type)
    parent, _, child = shape.layers.rpartition(".")
    stack = model.get_submodule(shape.layers)
    setattr(model.get_submodule(parent), child, nn.ModuleList([stack[layer.number] for layer in kept.layers]))
    for module, layer, result in zip(model.get_submodule(shape.layers), kept.layers, structure.layers, strict=True):
        _cut_attention(module, shape, layer.heads, structure.dense.head_size)
        _cut_ffn(module, shape, layer.neurons)
        _choose_bias(module, shape, result.heads)
    if kept.hidden is not None and len(kept.hidden) < _width(model, shape):
        _cut_hidden(model, shape, kept.hidden)


def _cut_attention(layer: nn.Module, shape: Anatomy, heads: Sequence[int] | None, size: int) -> None:
    inside, _, projection = shape.projections[0].rpartition(".")
    attention, out = part(layer, shape.self_attention), part(layer, shape.projections[0])
    if heads is None:
        if shape.norms[0].startswith("attention."):
            layer.attention = Pass()
        else:
            _put(layer, shape.self_attention, Nothing(tuple_=True))
            _put(layer, shape.norms[0], nn.Identity())
    elif isinstance(out, nn.Linear) and not heads:
        bias = Bias(out)
        if shape.pre_norm:
            _put(layer, shape.norms[0], nn.Identity())  # nothing reads it
        if inside == shape.self_attention:
            _put(layer, shape.self_attention, NoHeads(projection, bias))
        else:
            _put(layer, shape.self_attention, NoHeads())
            _put(layer, shape.projections[0], bias)
    elif isinstance(out, nn.Linear):
        rows = [h * size + i for h in heads for i in range(size)]
        for name in read_by_heads(shape):
            _take(part(layer, name), rows=repeated(rows, out.in_features, 3 if shape.fused else 1))
        _take(out, columns=rows)
        for name, value in (("num_attention_heads", len(heads)), ("n_heads", len(heads)), ("all_head_size", len(rows))):
            if hasattr(attention, name):
                setattr(attention, name, value)


def _cut_ffn(layer: nn.Module, shape: Anatomy, neurons: Sequence[int] | None) -> None:
    ffn, _, projection = shape.projections[1].rpartition(".")
    out = part(layer, shape.projections[1])
    if neurons is None:
        if shape.norms[1].startswith("output."):
            layer.intermediate, layer.output = nn.Identity(), Residual()
        else:
            _put(layer, ffn, Nothing(tuple_=False))
            _put(layer, shape.norms[1], nn.Identity())
    elif isinstance(out, nn.Linear) and not neurons and shape.gated:
        _put(layer, ffn, NoNeurons(projection, Bias(out)))
        _put(layer, shape.norms[1], nn.Identity())  # nothing reads it
    elif isinstance(out, nn.Linear) and not neurons:
        _put(layer, shape.ffn_in if shape.ffn_in.startswith("ffn.") else "intermediate", nn.Identity())
        _put(layer, shape.projections[1], Bias(out))
    elif isinstance(out, nn.Linear):
        _take(layer.get_submodule(shape.ffn_in), rows=repeated(neurons, out.in_features, 2 if shape.gated else 1))
        _take(out, columns=neurons)


def read_by_heads(shape: Anatomy) -> tuple[str, ...]:
    """Names of the linears that write queries, keys and values, of tokens and of positions; a model may lack some."""
    return (*shape.attention, *(shape.relative.projections if shape.relative else ()))


def repeated(rows: Sequence[int], width: int, times: int) -> list[int]:
    """The rows of each of so many matrices of that many rows that stand one below the other."""
    return [number * width + row for number in range(times) for row in rows]


def _choose_bias(layer: nn.Module, shape: Anatomy, heads: tuple[int, ...] | None) -> None:
    """Where scores get a bias for each head of the dense layer, those of the heads that are left."""
    attention = part(layer, shape.self_attention)
    if shape.position_bias is None or not heads or not hasattr(attention, "num_attention_heads"):
        return
    if not hasattr(attention, "heads_left"):
        attention.register_forward_pre_hook(_left)
    attention.heads_left = list(heads)


def _left(attention: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    hidden, mask, bias, *more = args
    return (hidden, mask, bias if bias is None else bias[:, attention.heads_left], *more)


def _cut_hidden(model: PreTrainedModel, shape: Anatomy, hidden: Sequence[int]) -> None:
    base = model.get_submodule(shape.base)
    projection = None if shape.embedding_projection is None else part(base, shape.embedding_projection)
    if last_of_embeddings(base, shape) is base.get_submodule(shape.embedding_norm):
        _take_norm(base.get_submodule(shape.embedding_norm), hidden)
    if projection is not None:
        _take(projection, rows=hidden)
    for name in shape.tables if projection is None else ():
        _take_table(part(base, name), hidden)
    if shape.final_norm is not None:
        _take_norm(base.get_submodule(shape.final_norm), hidden)
    if shape.relative is not None:
        _take_table(part(base, shape.relative.table), hidden)
        _take_norm(part(base, shape.relative.norm), hidden)
    if shape.behind_first is not None:
        _take_convolution(part(base, shape.behind_first.conv), hidden)
        _take_norm(part(base, shape.behind_first.norm), hidden)
    for layer in model.get_submodule(shape.layers):
        for name in (*read_by_heads(shape), shape.ffn_in):
            _take(part(layer, name), columns=hidden)
        for name in shape.projections:
            _take(part(layer, name), rows=hidden)
        for name in shape.norms:
            _take_norm(part(layer, name), hidden)
    reader = next((r for name in shape.readers if isinstance(r := part(model, name), nn.Linear)), None)
    if reader is None:
        raise ValueError(f"nothing is known to read the hidden states of {type(model).__name__}")
    _take(reader, columns=hidden)


def last_of_embeddings(base: nn.Module, shape: Anatomy) -> nn.Module:
    """The module whose output goes into the first layer: the embeddings' norm, or a projection behind it."""
    norm = part(base, shape.embedding_norm)
    projection = None if shape.embedding_projection is None else part(base, shape.embedding_projection)
    behind = projection is not None and norm.normalized_shape[0] != projection.out_features  # whose sides differ
    found: Any = projection if behind else norm
    return cast("nn.Module", found)


def _width(model: PreTrainedModel, shape: Anatomy) -> int:
    base = model.get_submodule(shape.base)
    projection = None if shape.embedding_projection is None else part(base, shape.embedding_projection)
    return int(base.get_submodule(shape.tables[0]).embedding_dim if projection is None else projection.out_features)


def _take(module: nn.Module | None, *, rows: Sequence[int] | None = None, columns: Sequence[int] | None = None) -> None:
    """Keep rows (outputs) and columns (inputs) of a linear; what is none is left alone, but a Bias has rows."""
    if isinstance(module, nn.Linear):
        if rows is not None:
            module.weight, module.out_features = _chosen(module.weight, 0, rows), len(rows)
        if columns is not None:
            module.weight, module.in_features = _chosen(module.weight, 1, columns), len(columns)
    if rows is not None and isinstance(module, nn.Linear | Bias) and module.bias is not None:
        module.bias = _chosen(module.bias, 0, rows)
    if rows is not None and isinstance(module, Bias):
        module.out_features = len(rows)


def _take_table(table: nn.Module | None, dimensions: Sequence[int]) -> None:
    if isinstance(table, nn.Embedding):
        table.weight, table.embedding_dim = _chosen(table.weight, 1, dimensions), len(dimensions)


def _take_convolution(conv: nn.Module | None, dimensions: Sequence[int]) -> None:
    if isinstance(conv, nn.Conv1d):
        conv.weight = _chosen(_chosen(conv.weight, 0, dimensions), 1, dimensions)
        conv.bias = None if conv.bias is None else _chosen(conv.bias, 0, dimensions)
        conv.in_channels = conv.out_channels = len(dimensions)


def _take_norm(norm: nn.Module | None, dimensions: Sequence[int]) -> None:
    if isinstance(norm, nn.LayerNorm):
        norm.weight = _chosen(norm.weight, 0, dimensions)
        norm.bias = None if norm.bias is None else _chosen(norm.bias, 0, dimensions)
        norm.normalized_shape = (len(dimensions),)


def _chosen(parameter: torch.Tensor, axis: int, positions: Sequence[int]) -> nn.Parameter:
    index = torch.tensor(list(positions), dtype=torch.long, device=parameter.device)
    return nn.Parameter(parameter.detach().index_select(axis, index).contiguous(), parameter.requires_grad)


def _put(layer: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(layer.get_submodule(parent), child, module)
