"""An exported float graph with given scales written into it, in QDQ form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.export.graph_files import load_graph, save_graph
from edgeopt.models.anatomy import numberless
from edgeopt.transforms.quantize.int4_weights import newer, pack
from edgeopt.transforms.quantize.observers import Array
from edgeopt.transforms.quantize.token_rows import as_rows

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


@dataclass(frozen=True)
class Integers:
    """A tensor in 8 bits, which stands for (values − zero)·scale.

    scale: float32, of no axis, or of one entry for each row of values. int4: whether 4 bits hold the values.
    """

    values: Array
    scale: Array
    zero: Array
    int4: bool = False


@dataclass(frozen=True)
class Grid:
    """The grid that an activation is rounded to: a float32 scale and a uint8 zero point."""

    scale: Array
    zero: Array


def write_qdq(path: Path, linears: dict[str, tuple[Integers, Grid]], tables: dict[str, Integers]) -> None:
    """Write trained integers and scales into an exported float graph, in place.

    linears: weights (outputs × inputs) and the grids of their inputs, by the names of their modules in the graph;
    tables: embeddings. Raises KeyError where the graph has no such product.

    A product gets DequantizeLinear on both inputs and none behind it, as onnxruntime's quantizer writes it, but nothing
    else reads the dequantized input. A Gemm's bias is added apart, until `as_rows` makes integers of all. Of a table
    the rows are dequantized that were looked up.
    """
    model = load_graph(path)
    four = [name for name, (weight, _) in linears.items() if weight.int4]
    if four:
        model = newer(model)
    made = _Graph(model.graph)
    for name in sorted(linears, key=made.position):
        made.linear(name, *linears[name])
    for name, table in tables.items():
        made.table(name, table)
    made.place()
    as_rows(model)
    pack(model, [made.product(name) for name in four])
    save_graph(model, path)


class _Graph:
    def __init__(self, graph: GraphProto) -> None:
        from onnx import helper, numpy_helper

        self.graph, self.node, self.tensor = graph, helper.make_node, numpy_helper.from_array
        self.nodes = {n.name: n for n in graph.node}
        self.order = {name: i for i, name in enumerate(self.nodes)}
        self.read: dict[tuple[str, bytes, bytes], str] = {}
        #: New nodes, each with the node that it stands before or behind.
        self.before: dict[str, list[NodeProto]] = {}
        self.behind: dict[str, list[NodeProto]] = {}

    def position(self, name: str) -> int:
        """The place of a module's product among the nodes of the graph."""
        return self.order[self.product(name)]

    def product(self, name: str) -> str:
        """The name of a module's product."""
        return str(self._named(name, "MatMul", "Gemm").name)

    def linear(self, name: str, weight: Integers, grid: Grid) -> None:
        """Let the products of a module, of which one may have several, read integers on both sides, its bias apart."""
        first = self._named(name, "MatMul", "Gemm")
        transposed = first.op_type == "MatMul"
        values = weight.values.T if transposed else weight.values
        stored = self._store(first.name, "weight", np.ascontiguousarray(values), weight.scale, weight.zero)
        self._before(first, "DequantizeLinear", stored, f"{first.name}_weight", axis=int(transposed))
        for node in (first, *self._again(first)):
            node.input[0], node.input[1] = self._activation(node, grid), f"{first.name}_weight"
            if len(node.input) == 3:
                bias = node.input.pop()
                out, node.output[0] = node.output[0], f"{node.name}_product"
                self.behind[node.name] = [self.node("Add", [f"{node.name}_product", bias], [out], f"{node.name}_bias")]

    def table(self, name: str, table: Integers) -> None:
        """Let the lookup of an embedding read integers, and dequantize the rows that were looked up."""
        node = self._named(name, "Gather")
        stored = self._store(node.name, "table", table.values, table.scale, table.zero)
        out, rows = node.output[0], f"{node.name}_rows"
        node.input[0], node.output[0] = stored[0], rows
        self.behind[node.name] = [self.node("DequantizeLinear", [rows, *stored[1:]], [out], f"{rows}_DequantizeLinear")]

    def place(self) -> None:
        """Put the new nodes in their places."""
        nodes = [
            new for n in self.graph.node for new in (*self.before.get(n.name, []), n, *self.behind.get(n.name, []))
        ]
        del self.graph.node[:]
        self.graph.node.extend(nodes)

    def _named(self, name: str, *operators: str) -> NodeProto:
        found = next((n for end in operators if (n := self.nodes.get(f"{name}/{end}")) is not None), None)
        if found is None:
            raise KeyError(f"the graph has no {' or '.join(operators)} of {name}")
        return found

    def _again(self, first: NodeProto) -> list[NodeProto]:
        """The other products of the same module: it stands in the model several times, or reads several things."""
        same = [node for name, node in self.nodes.items() if numberless(name) == first.name and node is not first]
        return [node for node in same if node.op_type == first.op_type]

    def _activation(self, node: NodeProto, grid: Grid) -> str:
        """The quantized and dequantized input of a node; what several read in the same way is made once."""
        source = node.input[0]
        key = (source, grid.scale.tobytes(), grid.zero.tobytes())
        if key not in self.read:
            self.read[key] = f"{node.name}_input"
            names = self._store(node.name, "input", None, grid.scale, grid.zero)
            self._before(node, "QuantizeLinear", [source, *names], f"{node.name}_input_quantized")
            self._before(node, "DequantizeLinear", [f"{node.name}_input_quantized", *names], self.read[key])
        return self.read[key]

    def _before(self, node: NodeProto, operator: str, inputs: Iterable[str], output: str, **attributes: Any) -> None:
        self.before.setdefault(node.name, []).append(
            self.node(operator, list(inputs), [output], f"{output}_{operator}", **attributes)
        )

    def _store(self, node: str, part: str, values: Array | None, scale: Array, zero: Array) -> list[str]:
        """Write constants into the graph, and return their names, those of the values first."""
        parts = {"quantized": values, "scale": scale, "zero_point": zero}
        names = {f"{node}_{part}_{end}": array for end, array in parts.items() if array is not None}
        self.graph.initializer.extend(self.tensor(array, name) for name, array in names.items())
        return list(names)
