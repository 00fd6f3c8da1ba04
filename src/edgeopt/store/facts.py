"""What is true of a state."""

from __future__ import annotations

import enum


class Fact(enum.StrEnum):
    """Something true of a model state; the value is how it reads in a message."""

    TORCH = "torch module"
    ONNX = "ONNX graph"
    TRAINED_HEAD = "trained head"
    ADAPTER = "unmerged adapter"
    GRAPH_ADAPTER = "in-graph adapter"
    NF4 = "NF4 base"
    SPARSE = "pruned zeros"
    INT8 = "int8 weights"
    UNEVEN = "uneven layers"


Facts = frozenset[Fact]


def facts(*given: Fact) -> Facts:
    """These facts as a set."""
    return frozenset(given)
