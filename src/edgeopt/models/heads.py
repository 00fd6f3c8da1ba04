"""Which heads stand on a shared encoder, as config.json holds them. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeopt.models.source import CONFIG
from edgeopt.spec.recipe import HeadKind

#: The field of config.json that holds them.
FIELD = "edgeopt_heads"
#: How the name of its model's class ends.
CLASS = "ForSeveralTasks"


@dataclass(frozen=True)
class Head:
    """The head of one task: how it reads a row, and the numbers that it answers a row with."""

    name: str
    kind: HeadKind
    outputs: int

    @property
    def texts(self) -> int:
        """Sequences that a row is read as."""
        return 1 if self.kind == "pair" else 2

    def width(self, hidden: int) -> int:
        """Numbers that it gives for one sequence, of a model of that width.

        A linear layer over two embeddings is the sum of two parts. Each text gets both: what it adds as the first text,
        and what it adds as the second. For a cosine each text gets its embedding, of length 1.
        """
        return {"pair": self.outputs, "bi-encoder": 2 * self.outputs, "cosine": hidden}[self.kind]


def has_heads(folder: Path) -> bool:
    """Whether the model of a state is a shared encoder."""
    return FIELD in json.loads((folder / CONFIG).read_text(encoding="utf-8"))


def heads_of(config: Mapping[str, Any]) -> tuple[Head, ...]:
    """The heads of a config, in the order of their numbers. Raises TypeError where it is damaged."""
    return tuple(Head(**head) for head in config.get(FIELD, ()))


def as_json(heads: Sequence[Head]) -> list[dict[str, Any]]:
    """Plain data for config.json, of which `heads_of` makes the heads again."""
    return [asdict(head) for head in heads]


def combined(kind: HeadKind, outputs: int, first: Any, second: Any) -> Any:
    """A row's answer of what a head gave for its two texts, as arrays or tensors whose last axis is its width."""
    if kind == "cosine":
        return (first * second).sum(-1)[..., None]
    return first[..., :outputs] + second[..., outputs:]
