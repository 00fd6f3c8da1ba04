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


def _modernbert(layers: int, hidden: int, neurons: int) -> Shape:
    """ModernBERT's shapes (Warner et al. 2024, table 4), and Ettin's (Weller et al. 2025): heads of 64 dimensions."""
    return {
        "model_type": "modernbert",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": hidden // 64,
        "intermediate_size": neurons,
    }


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
    "modernbert-small": _modernbert(4, 256, 384),
    "ettin-17m": _modernbert(7, 256, 384),
    "ettin-32m": _modernbert(10, 384, 576),
    "ettin-68m": _modernbert(19, 512, 768),
    "modernbert-base": _modernbert(22, 768, 1152),
    "modernbert-large": _modernbert(28, 1024, 2624),
}
_NEEDED = ("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
_KEYS = (*_NEEDED, "max_position_embeddings", "initializer_range")
_BERTS = (
    *_KEYS,
    "embedding_size",
    "type_vocab_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
)
_MODERNBERTS = (
    *_KEYS,
    "hidden_activation",
    "local_attention",
    "global_attn_every_n_layers",
    "embedding_dropout",
    "attention_dropout",
    "mlp_dropout",
    "attention_bias",
    "mlp_bias",
    "norm_bias",
    "norm_eps",
    "classifier_pooling",
)
#: Families of which all sizes have these names, and which are trained on plain text alone: what an explicit shape of
#: each may say, besides `like`. Whatever else transformers' configs have keeps its default.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "bert": _BERTS,
    "electra": _BERTS,
    "roberta": _BERTS,
    "modernbert": _MODERNBERTS,
}
#: Tokens of the longest text, where the shape does not say.
_LONGEST = {"roberta": 514, "modernbert": 8192}
_COUNTS = (
    *_NEEDED[1:],
    "embedding_size",
    "max_position_embeddings",
    "type_vocab_size",
    "local_attention",
    "global_attn_every_n_layers",
)


def shape_of(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """The config of a shape, without a vocabulary. Raises ValueError with what is wrong and how to mend it."""
    if isinstance(given, str):
        if given not in SHAPES:
            raise ValueError(f"there is no shape '{given}': {meant(given, SHAPES, 'shapes')}")
        shape = SHAPES[given]
        return {**shape, "max_position_embeddings": _LONGEST.get(shape["model_type"], 512)}
    rest = dict(given)
    start = shape_of(name) if isinstance(name := rest.pop("like", {}), str) else {}
    family = str({**start, **rest}.get("model_type"))
    known = FAMILIES.get(family, _BERTS)
    if unknown := [key for key in rest if key not in known]:
        of = f" of {family}" if family in FAMILIES else ""
        raise ValueError(f"a shape{of} has no key '{unknown[0]}': {meant(unknown[0], ('like', *known), 'keys')}")
    shape = {**start, **rest}
    shape.setdefault("max_position_embeddings", _LONGEST.get(family, 512))
    if missing := [key for key in _NEEDED if key not in shape]:
        raise ValueError(f"the shape lacks {', '.join(missing)}; or start from a name, as in {{like: bert-small}}")
    _check(shape)
    return shape


def _check(shape: Shape) -> None:
    if shape["model_type"] not in FAMILIES:
        raise ValueError(f"model_type {shape['model_type']!r} cannot be begun from nothing: {', '.join(FAMILIES)} can")
    for key, value in shape.items():
        if key in _COUNTS and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"'{key}' must be a whole number of at least 1")
    if shape["hidden_size"] % shape["num_attention_heads"]:
        raise ValueError(
            f"'hidden_size' is {shape['hidden_size']}, which {shape['num_attention_heads']} heads do not divide"
        )
