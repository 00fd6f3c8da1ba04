"""Which products and tables become int8: by block, or by patterns over the names of the graph's nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from edgeopt.models.anatomy import Anatomy, numberless
from edgeopt.spec.recipe import Strict
from edgeopt.support.errors import bad_input
from edgeopt.support.words import closest

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

#: Operators whose constant weights become int8; Gather holds the embedding tables.
OPERATORS = ["MatMul", "Gemm", "Gather"]
Pattern = Annotated[str, Field(min_length=1)]


class Patterns(Strict):
    """Parts of the model, as the graph names them: `layer.3`, `layer.*/output`, `query`, `embeddings`, `pooler`.

    A family with other names has others: ModernBERT `layers.3`, `layers.*/mlp`, `Wqkv`. An error lists them.

    A pattern matches whole parts of a name between slashes, and `*` any letters within one.
    """

    include: list[Pattern] = Field(default=[], description="quantize only these; default: all")
    exclude: list[Pattern] = Field(default=[], description="these not")

    @model_validator(mode="after")
    def _one_at_least(self) -> Patterns:
        if not self.include and not self.exclude:
            raise ValueError("give 'include' or 'exclude'")
        return self


Block = Literal["all", "mlp", "attention"]
Scope = Block | Patterns
#: How the word table is stored.
WordTable = Literal["int8", "int4"]
WORD_TABLE = (
    "format of the word table, if the scope includes it; int4: blocks of 32 with one scale each, half the "
    "bytes, only read by onnxruntime"
)
#: How the matrices of the layers are stored.
Weights = Literal["int8", "int4"]
INT4 = (
    "format of the layers' matrices; int4: half of their bytes, as fast as int8, read by runtimes of ONNX opset 21, "
    "and much less exact"
)
SCOPE = "all: embeddings and head, too; mlp or attention: only those blocks; or patterns, see the table below"


def in_block(name: str, block: Block, family: Anatomy) -> bool:
    """Whether a node or module, by its name in the graph, is to be quantized."""
    return block == "all" or family.block_of(name) == block


def matches(pattern: str, name: str) -> bool:
    """Whether the parts of a pattern match consecutive parts of a name, be it of a module's second time."""
    wanted = pattern.strip("/").split("/")
    for each in dict.fromkeys((name, numberless(name))):
        parts = each.strip("/").split("/")
        if any(all(map(fnmatchcase, parts[i:], wanted)) for i in range(len(parts) - len(wanted) + 1)):
            return True
    return False


def matching(patterns: Iterable[str], names: Sequence[str], key: str) -> set[str]:
    """Those of the names that a pattern matches.

    Raises InputError E106 for a pattern that matches none, and names parts that it may have meant. key: where the
    patterns stand in the step.
    """
    found: set[str] = set()
    for pattern in patterns:
        hits = {name for name in names if matches(pattern, name)}
        if not hits:
            parts = sorted({part for name in names for part in name.strip("/").split("/")})
            near = closest(pattern.strip("/").split("/")[-1], parts)
            guess = f"did you mean '{near}'? " if near else ""
            raise bad_input(
                "E106",
                f"'{key}': the pattern '{pattern}' matches nothing in the graph",
                help=f"{guess}parts of its names: {', '.join(parts[:60])}",
            )
        found |= hits
    return found


def weighted(graph: GraphProto) -> list[NodeProto]:
    """The nodes that have a constant matrix or table to quantize."""
    from onnx import TensorProto

    constants = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    place = {"MatMul": 1, "Gemm": 1, "Gather": 0}
    return [n for n in graph.node if n.op_type in OPERATORS and n.input[place[n.op_type]] in constants]


def excluded(graph: GraphProto, scope: Scope, family: Anatomy) -> list[str]:
    """Names of the nodes that stay in float: those outside the scope.

    Embeddings and head belong to "all". Raises InputError E106 where a pattern matches nothing or nothing is left.
    """
    if scope == "all":
        return []
    names = [n.name for n in weighted(graph)]
    if isinstance(scope, Patterns):
        inside = matching(scope.include, names, "scope.include") if scope.include else set(names)
        inside -= matching(scope.exclude, names, "scope.exclude")
        if not inside:
            raise bad_input("E106", "'scope': what is excluded leaves nothing to quantize", help="exclude less")
    else:
        inside = {name for name in names if in_block(name, scope, family)}
    return [n.name for n in graph.node if n.op_type in OPERATORS and n.name not in inside]
