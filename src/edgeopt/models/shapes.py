"""Shapes of models that are begun from nothing: by name, or number by number in the words of transformers' configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeopt.support.words import meant

Shape = Mapping[str, Any]


def _bert(layers: int, hidden: int) -> Shape:
    """BERT's shapes (Devlin et al. 2019; Turc et al. 2019): heads of 64 dimensions, four times as many neurons."""
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
    }


def _electra(layers: int, hidden: int, embedding: int) -> Shape:
    """ELECTRA's discriminators (Clark et al. 2020)."""
    return {**_bert(layers, hidden), "model_type": "electra", "embedding_size": embedding}


SHAPES: Mapping[str, Shape] = {
    "bert-tiny": _bert(2, 128),
    "bert-mini": _bert(4, 256),
    "bert-small": _bert(4, 512),
    "bert-medium": _bert(8, 512),
    "bert-base": _bert(12, 768),
    "bert-large": _bert(24, 1024),
    "electra-small": _electra(12, 256, 128),
    "electra-base": _electra(12, 768, 768),
    "electra-large": _electra(24, 1024, 1024),
}
#: What an explicit shape may say, besides `like`. Whatever else transformers' configs have keeps its default.
KEYS = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "embedding_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
    "initializer_range",
)
_NEEDED = ("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
#: Families of which all sizes have these names, and which are trained on plain text alone.
FAMILIES = ("bert", "electra", "roberta")


def shape_of(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """The config of a shape, without a vocabulary. Raises ValueError with what is wrong and how to mend it."""
    if isinstance(given, str):
        if given not in SHAPES:
            raise ValueError(f"there is no shape '{given}': {meant(given, SHAPES, 'shapes')}")
        return {**SHAPES[given], "max_position_embeddings": 512}
    rest = dict(given)
    start = shape_of(name) if isinstance(name := rest.pop("like", {}), str) else {}
    if unknown := [key for key in rest if key not in KEYS]:
        raise ValueError(f"a shape has no key '{unknown[0]}': {meant(unknown[0], ('like', *KEYS), 'keys')}")
    shape = {**start, **rest}
    shape.setdefault("max_position_embeddings", 514 if shape.get("model_type") == "roberta" else 512)
    if missing := [key for key in _NEEDED if key not in shape]:
        raise ValueError(f"the shape lacks {', '.join(missing)}; or start from a name, as in {{like: bert-small}}")
    _check(shape)
    return shape


def _check(shape: Shape) -> None:
    if shape["model_type"] not in FAMILIES:
        raise ValueError(f"model_type {shape['model_type']!r} cannot be begun from nothing: {', '.join(FAMILIES)} can")
    for key, value in shape.items():
        if key in (*_NEEDED[1:], "embedding_size", "max_position_embeddings", "type_vocab_size") and (
            not isinstance(value, int) or isinstance(value, bool) or value < 1
        ):
            raise ValueError(f"'{key}' must be a whole number of at least 1")
    if shape["hidden_size"] % shape["num_attention_heads"]:
        raise ValueError(
            f"'hidden_size' is {shape['hidden_size']}, which {shape['num_attention_heads']} heads do not divide"
        )
