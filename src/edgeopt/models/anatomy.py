"""Where the parts of each encoder family live, by the names transformers gives them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Anatomy:
    """Names inside transformers' models with a head, of one model type.

    base: attribute that holds the encoder with its embeddings. layers: prefix of the numbered layers.
    attention: suffixes of query, key and value. projections: the linears that write a layer's two results, of
    the attention and of the feed-forward, as `part_of` names them. new: how the names of the modules end that a
    checkpoint lacks before it is trained for the task, where they do not simply stand beside the base.
    """

    base: str
    layers: str
    attention: tuple[str, str, str]
    projections: tuple[str, str]
    new: tuple[str, ...] = ()

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


_SELF = ("attention.self.query", "attention.self.key", "attention.self.value")
_OUT = ("attention.output.dense", "output.dense")
#: Model type of an encoder and a decoder made of one encoder's checkpoint.
PAIR = "encoder-decoder"
#: Attention to the encoder, and what stands before the words' scores, in BERT's, RoBERTa's and ELECTRA's names.
_NEW_OF_PAIR = ("crossattention", "cls.predictions.transform", "lm_head.dense", "lm_head.layer_norm", "generator_predictions", "enc_to_dec_proj")

FAMILIES: dict[str, Anatomy] = {
    "bert": Anatomy("bert", "bert.encoder.layer", _SELF, _OUT),
    "electra": Anatomy("electra", "electra.encoder.layer", _SELF, _OUT),
    "roberta": Anatomy("roberta", "roberta.encoder.layer", _SELF, _OUT),
    "xlm-roberta": Anatomy("roberta", "roberta.encoder.layer", _SELF, _OUT),
    "camembert": Anatomy("roberta", "roberta.encoder.layer", _SELF, _OUT),
    "distilbert": Anatomy("distilbert", "distilbert.transformer.layer",
                          ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
                          ("attention.out_lin", "ffn.lin2")),
    "mpnet": Anatomy("mpnet", "mpnet.encoder.layer", ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
                     ("attention.attn.o", "output.dense")),
    # both stacks' layers end in the same names, in each family that can be a decoder
    PAIR: Anatomy("encoder", "encoder.layer", _SELF, _OUT, _NEW_OF_PAIR),
}  # fmt: skip


def anatomy(model_type: str) -> Anatomy:
    """The anatomy of a `model_type` of transformers. Raises KeyError for a family not described here."""
    return FAMILIES[model_type]
