"""Where the parts of each encoder family live, by the names transformers gives them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Anatomy:
    """Names inside `AutoModelForSequenceClassification` of one model type.

    base: attribute that holds the encoder with its embeddings. layers: prefix of the numbered layers.
    attention: suffixes of query, key and value. head: modules that are new for a task.
    """

    base: str
    layers: str
    attention: tuple[str, str, str]
    head: tuple[str, ...]

    def layer_of(self, parameter: str) -> int | None:
        """Number of the layer that a parameter (or module) belongs to; None for embeddings and head."""
        found = re.search(rf"(?:^|\.){re.escape(self.layers)}\.(\d+)(?:\.|$)", parameter)
        return int(found[1]) if found else None


_SELF = ("attention.self.query", "attention.self.key", "attention.self.value")

FAMILIES: dict[str, Anatomy] = {
    "bert": Anatomy("bert", "bert.encoder.layer", _SELF, ("classifier",)),
    "electra": Anatomy("electra", "electra.encoder.layer", _SELF, ("classifier",)),
    "roberta": Anatomy("roberta", "roberta.encoder.layer", _SELF, ("classifier",)),
    "xlm-roberta": Anatomy("roberta", "roberta.encoder.layer", _SELF, ("classifier",)),
    "camembert": Anatomy("roberta", "roberta.encoder.layer", _SELF, ("classifier",)),
    "distilbert": Anatomy("distilbert", "distilbert.transformer.layer",
                          ("attention.q_lin", "attention.k_lin", "attention.v_lin"), ("pre_classifier", "classifier")),
    "mpnet": Anatomy("mpnet", "mpnet.encoder.layer", ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
                     ("classifier",)),
}  # fmt: skip


def anatomy(model_type: str) -> Anatomy:
    """The anatomy of a `model_type` of transformers. Raises KeyError for a family not described here."""
    return FAMILIES[model_type]
