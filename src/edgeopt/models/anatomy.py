"""Where the parts of each encoder family live, by the names transformers gives them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edgeopt.support.registry import Registry

if TYPE_CHECKING:
    from torch import nn

#: Half of a layer, as a graph has it.
Block = Literal["attention", "mlp"]


class Positions(NamedTuple):
    """What a config says of relative positions.

    rows: of their table. met: rows that each token is multiplied with. projections: the linears that a layer has for
    them alone.
    """

    rows: int
    met: int
    projections: tuple[str, ...]


@dataclass(frozen=True)
class Relative:
    """A table of relative positions, whose rows meet queries and keys (He et al. 2021, disentangled attention).

    table: its name within the base. norm: a LayerNorm over its rows, where a model has it. projections: linears of a
    layer that make keys and queries of its rows, where those of tokens do not. of: what a config says of it.
    """

    table: str
    norm: str
    projections: tuple[str, ...]
    of: Callable[[Mapping[str, Any]], Positions]


@dataclass(frozen=True)
class Convolution:
    """A convolution over tokens. module, conv, norm: names within the base. size: what the config calls its width."""

    module: str
    conv: str
    norm: str
    size: str


@dataclass(frozen=True)
class Anatomy:
    """Names of the modules inside a task model of one model type; those of a layer's parts are names within the layer.

    base: attribute that holds the encoder with its embeddings. layers: prefix of the numbered layers. self_attention:
    the module that holds query, key and value. attention: those three, or the one linear that has their outputs one
    after the other. projections: the linears that write a layer's two results, of the attention and of the
    feed-forward. ffn_in, activation: the linear into the feed-forward and what follows it. gated: whether a neuron is a
    product of two, the second without the activation; ffn_in has the outputs of all the first, then of all the second.
    norms: the LayerNorms behind the two projections. pre_norm: they stand before the attention and the feed-forward
    instead, and nothing behind the sums. first_lacks: those of them that the model's first layer has not. final_norm:
    a LayerNorm behind the last layer, within the base. tables: embeddings that are added up, within the base, words
    first; a model may lack some of the others. embedding_norm: the LayerNorm behind them. embedding_projection: a
    linear from narrow embeddings to the hidden width, where a model has it, before that norm or behind it.
    position_bias: a table that adds a bias for each head to the scores of every layer, within the base. relative: a
    table of relative positions, within the base, as wide as the hidden states, of which each layer makes keys and
    queries by its own matrices for them or by further ones. behind_first: a convolution with a sum and a LayerNorm
    between the first layer and the second, within the base, where a model has it. readers: linears behind the last
    layer; the first that a model has reads the hidden states.
    positions_after: the number behind which positions are numbered, or `padding` for that of the padding token; None:
    from 0 on; `rotary`: there is no table of them, because queries and keys are turned by their positions.
    positions_if: what the config calls whether there is a table of them; nothing: there is. sizes: what the config
    calls the numbers of layers and heads, the neurons of a layer, and the hidden width. by_layer: what the
    config calls lists of one entry for each layer. biases: what the config calls whether there are biases; nothing:
    there are. takes_prefix: whether transformers' attention takes keys and values from outside, as prefix tuning gives
    them. has_decoder: whether the model is an encoder and a decoder. decodes: whether transformers has a decoder of the
    family. new: how the names of the modules end that a checkpoint lacks before it is trained for the task, where they
    do not simply stand beside the base.
    """

    base: str
    layers: str
    self_attention: str
    attention: tuple[str, str, str] | tuple[str]
    projections: tuple[str, str]
    ffn_in: str
    activation: str
    norms: tuple[str, str]
    readers: tuple[str, ...]
    tables: tuple[str, ...] = (
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
    )
    embedding_norm: str = "embeddings.LayerNorm"
    embedding_projection: str | None = None
    position_bias: str | None = None
    relative: Relative | None = None
    behind_first: Convolution | None = None
    gated: bool = False
    pre_norm: bool = False
    first_lacks: tuple[str, ...] = ()
    final_norm: str | None = None
    by_layer: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    takes_prefix: bool = False
    positions_after: Literal["padding", "rotary"] | int | None = None
    positions_if: str | None = None
    sizes: tuple[str, str, str, str] = ("num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_size")
    has_decoder: bool = False
    decodes: bool = False

    @property
    def fused(self) -> bool:
        """Whether one linear has the outputs of query, key and value."""
        return len(self.attention) == 1

    @property
    def rotary(self) -> bool:
        """Whether queries and keys are turned by their positions."""
        return self.positions_after == "rotary"

    @property
    def word_table(self) -> str:
        """How the name of the table of words ends."""
        return self.tables[0].rpartition(".")[2]

    def relative_of(self, config: Mapping[str, Any]) -> Positions:
        """The relative positions of a model of that config."""
        return Positions(0, 0, ()) if self.relative is None else self.relative.of(config)

    def has_positions(self, config: Mapping[str, Any]) -> bool:
        """Whether a model of that config has a table with a row for each position of a text."""
        return not self.rotary and (self.positions_if is None or config.get(self.positions_if) is not False)

    def stays(self, config: Mapping[str, Any], layer: int) -> bool:
        """Whether a layer must be there, be it of nothing, because of what stands behind it."""
        return self.behind_first is not None and layer == 0 and bool(config.get(self.behind_first.size))

    @property
    def per_neuron(self) -> int:
        """Rows and columns of a layer's matrices that are a neuron's."""
        return 3 if self.gated else 2

    def has_biases(self, config: Mapping[str, Any]) -> bool:
        """Whether a model of that config has biases in its layers."""
        return not self.biases or any(config.get(name) for name in self.biases)

    def block_of(self, node: str) -> Block | None:
        """The block of a layer that a node of an exported graph belongs to, by its name; None: to no layer."""
        layers = self.layers.rpartition(".")[2]
        found = re.search(rf"/{re.escape(layers)}\.\d+/(.+)", numberless(node))
        if found is None:
            return None
        attention = self.self_attention.partition(".")[0]
        writes = self.projections[0].replace(".", "/")
        return "attention" if f"{attention}/" in found[1] or found[1].startswith(f"{writes}/") else "mlp"

    def layer_of(self, parameter: str) -> int | None:
        """Number of the layer that a parameter (or module) belongs to; None for embeddings and head."""
        found = re.search(rf"(?:^|\.){re.escape(self.layers)}\.(\d+)(?:\.|$)", parameter)
        return int(found[1]) if found else None

    def is_new(self, parameter: str) -> bool:
        """Whether a parameter belongs to one of the modules of `new`."""
        return any(f".{end}." in f".{parameter}" for end in self.new)

    def part_of(self, module: str) -> str | None:
        """Name of a module within its layer, such as `output.dense`; None for what is in no layer."""
        found = re.search(rf"(?:^|\.){re.escape(self.layers)}\.\d+\.(.+)$", module)
        return found[1] if found else None


def numberless(node: str) -> str:
    """A graph's name of a node without the numbers that it gets where a module is computed more than once."""
    return re.sub(r"_\d+(?=/|$)", "", node)


def bert_like(base: str, readers: tuple[str, ...], embedding_projection: str | None = None) -> Anatomy:
    """The anatomy of a family whose layers have BERT's names, below another base."""
    return Anatomy(
        base=base,
        layers=f"{base}.encoder.layer",
        self_attention="attention.self",
        attention=("attention.self.query", "attention.self.key", "attention.self.value"),
        projections=("attention.output.dense", "output.dense"),
        ffn_in="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
        norms=("attention.output.LayerNorm", "output.LayerNorm"),
        readers=(f"{base}.pooler.dense", *readers),
        embedding_projection=embedding_projection,
        takes_prefix=True,
        decodes=True,
    )


_ROBERTA = replace(bert_like("roberta", ("classifier.dense", "classifier", "qa_outputs")), positions_after="padding")

#: Model type of an encoder and a decoder made of one encoder's checkpoint.
PAIR = "encoder-decoder"
#: Attention to the encoder, and what stands before the words' scores, in BERT's, RoBERTa's and ELECTRA's names.
_NEW_OF_PAIR = (
    "crossattention",
    "cls.predictions.transform",
    "lm_head.dense",
    "lm_head.layer_norm",
    "generator_predictions",
    "enc_to_dec_proj",
)

_OURS = {
    "bert": bert_like("bert", ("classifier", "qa_outputs")),
    "electra": bert_like(
        "electra", ("classifier.dense", "sequence_summary.summary", "classifier", "qa_outputs"), "embeddings_project"
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "data2vec-text": replace(
        bert_like("data2vec_text", ("classifier.dense", "classifier", "qa_outputs")),
        positions_after="padding",
        decodes=False,
    ),
    "distilbert": Anatomy(
        sizes=("n_layers", "n_heads", "hidden_dim", "dim"),
        base="distilbert",
        layers="distilbert.transformer.layer",
        self_attention="attention",
        attention=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        projections=("attention.out_lin", "ffn.lin2"),
        ffn_in="ffn.lin1",
        activation="ffn.activation",
        norms=("sa_layer_norm", "output_layer_norm"),
        readers=("pre_classifier", "classifier", "qa_outputs"),
        tables=("embeddings.word_embeddings", "embeddings.position_embeddings"),
    ),
    "deberta-v2": "edgeopt.models.deberta:DEBERTA_V2",
    "modernbert": "edgeopt.models.modernbert:MODERNBERT",
    "mpnet": Anatomy(
        positions_after=1,
        base="mpnet",
        layers="mpnet.encoder.layer",
        self_attention="attention.attn",
        attention=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        projections=("attention.attn.o", "output.dense"),
        ffn_in="intermediate.dense",
        activation="intermediate.intermediate_act_fn",
        norms=("attention.LayerNorm", "output.LayerNorm"),
        readers=("mpnet.pooler.dense", "classifier.dense", "classifier", "qa_outputs"),
        tables=("embeddings.word_embeddings", "embeddings.position_embeddings"),
        position_bias="encoder.relative_attention_bias",
    ),
    # both stacks' layers end in the same names, in each family that can be a decoder
    PAIR: replace(
        bert_like("encoder", ()), layers="encoder.layer", new=_NEW_OF_PAIR, takes_prefix=False, has_decoder=True
    ),
}


def _made(given: object, name: str) -> Anatomy:
    if not isinstance(given, Anatomy):
        raise TypeError(f"{given!r} is no Anatomy")
    return given


#: By the `model_type` of transformers.
FAMILIES: Registry[Anatomy] = Registry("edgeopt.families", "family", _OURS, _made)


def family(model_type: str | None) -> Anatomy | None:
    """The anatomy of a `model_type` of transformers; None for a family not described here."""
    return FAMILIES.get(model_type or "")


def anatomy(model_type: str) -> Anatomy:
    """The anatomy of a `model_type` of transformers. Raises KeyError for a family not described here."""
    return FAMILIES[model_type]


def part(module: nn.Module, name: str) -> Any:
    """The part of a module under a dotted name; None where it has none, because it was cut away or never there."""
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None
