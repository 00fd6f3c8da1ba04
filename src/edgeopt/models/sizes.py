"""Whether a config.json and the tensors beside it are of one model.

Sizes that differ are found before any memory is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeopt.models.anatomy import FAMILIES, PAIR, Anatomy
from edgeopt.models.structure import FIELD

Shapes = Mapping[str, Sequence[int]]
_TABLES = {
    "position_embeddings": "max_position_embeddings",
    "token_type_embeddings": "type_vocab_size",
}


def misfit(config: Mapping[str, Any], shapes: Shapes) -> str | None:
    """The first size that the config states and the tensors do not have; None where all fit, or are not stated.

    shapes: by the tensors' names. A model that was cut states its layers elsewhere, and packed weights have other
    shapes: of those only the tables are compared.
    """
    if config.get("model_type") == PAIR:
        parts = (
            (k, {n.removeprefix(f"{k}."): s for n, s in shapes.items() if n.startswith(f"{k}.")})
            for k in ("encoder", "decoder")
        )
        return next(
            (f"of the {key}: {found}" for key, inside in parts if inside and (found := misfit(config[key], inside))),
            None,
        )
    for name, have in _sizes(config, shapes, FAMILIES[str(config["model_type"])]):
        stated = config.get(name)
        if isinstance(stated, int) and stated != have:
            return f"config.json states {name} {stated}, and the weights have {have}"
    return None


def _sizes(config: Mapping[str, Any], shapes: Shapes, family: Anatomy) -> Iterator[tuple[str, int]]:
    """Names of sizes in the config, and what the tensors have."""

    def found(end: str) -> Sequence[int] | None:
        return next((s for n, s in shapes.items() if f".{n}".endswith(f".{end}.weight") and len(s) == 2), None)

    for table, name in {family.word_table: "vocab_size", **_TABLES}.items():
        shape = found(table)
        if shape is not None:
            yield name, shape[0]
    if FIELD in config or "quantization_config" in config:
        return
    layers, _, neurons, hidden = family.sizes
    numbers = re.compile(rf"(?:^|\.){re.escape(family.layers.removeprefix(f'{family.base}.'))}\.(\d+)\.")
    yield layers, len({m[1] for n in shapes if (m := numbers.search(n))})
    if (inner := found(family.ffn_in)) is not None:
        yield neurons, inner[0] // (2 if family.gated else 1)
        yield hidden, inner[1]
    if "embedding_size" in config and (words := found(family.word_table)) is not None:
        yield "embedding_size", words[1]
