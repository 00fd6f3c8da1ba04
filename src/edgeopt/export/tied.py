"""A matrix that is used more than once, stored once.

Of a module that a text goes through several times torch's exporter writes the matrix as often.

A matrix that words are looked up in and that their scores are made by is written a second time, turned. In a float
graph the product reads the table through a Transpose, which runtimes compute once, when they load the file. For int8
the two are taken apart again, because a table and a product are rounded in different ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.export.graph_files import load_graph, placeholder, save_graph, structure_of
from edgeopt.models.anatomy import numberless

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

#: How the second one of two tied matrices is called, which is no parameter of its own.
TIED = "_tied"
#: How a constant is called that was computed of parameters before, and is none of its own.
KNOWN = "_known"
#: Numbers of the smallest matrix that it is worth for.
_SMALLEST = 1024


def name_known(path: Path) -> None:
    """Mark the constants that a trace has in place of what depends on no text, in place: matrices of each head."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    found = {
        node.output[0]: f"{node.output[0]}{KNOWN}"
        for node in model.graph.node
        for value in node.attribute
        if node.op_type == "Constant" and value.t.data_type == onnx.TensorProto.FLOAT and len(value.t.dims) == 3
    }
    for node in model.graph.node if found else ():
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = found.get(name, name)
    if found:
        onnx.save(model, str(path))


def tie(path: Path) -> int:
    """Store each matrix once, in place: of a module's products, and of a lookup; returns how many were stored twice."""
    graph = structure_of(path).graph
    if not _candidates(graph) and not _again(graph):
        return 0
    model = load_graph(path)
    count = _merge(model.graph) + tie_model(model)
    if count:
        save_graph(model, path)
    return count


def _again(graph: GraphProto) -> dict[str, str]:
    """Constants of products of modules that stand in a graph several times: each with that of the first time."""
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    first: dict[str, str] = {}
    found = {}
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in shapes:
            name = node.input[1]
            before = first.setdefault(numberless(node.name), name)
            if before != name and shapes[before] == shapes[name]:
                found[name] = before
    return found


def _merge(graph: GraphProto) -> int:
    """Let the products of one module read one matrix, in place; returns how many matrices went."""
    from onnx import numpy_helper

    tensors = {t.name: t for t in graph.initializer}
    same = {
        name: before
        for name, before in _again(graph).items()
        if np.array_equal(*(numpy_helper.to_array(tensors[n]) for n in (name, before)))
    }
    for node in graph.node if same else ():
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
    for i in reversed([i for i, t in enumerate(graph.initializer) if t.name in same]):
        del graph.initializer[i]
    return len(same)


def tie_model(model: ModelProto) -> int:
    """Tie the matrices of a graph whose weights are in memory, in place; returns how many were stored twice."""
    from onnx import helper, numpy_helper

    graph, found = model.graph, {}
    tensors = {t.name: t for t in graph.initializer}
    for table, turned in _candidates(graph):
        if turned not in found and np.array_equal(
            numpy_helper.to_array(tensors[table]).T, numpy_helper.to_array(tensors[turned])
        ):
            found[turned] = table
    for i in reversed([i for i, t in enumerate(graph.initializer) if t.name in found]):
        del graph.initializer[i]
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in found:
                node.input[i] = f"{found[name]}{TIED}"
    for table in dict.fromkeys(found.values()):
        graph.node.insert(0, helper.make_node("Transpose", [table], [f"{table}{TIED}"], f"{table}{TIED}", perm=[1, 0]))
    return len(found)


def untie(model: ModelProto) -> ModelProto:
    """Let each product of a tied graph read a matrix of its own again, in place; returns the graph.

    Of weights that are elsewhere there is only the shape.
    """
    from onnx import TensorProto, numpy_helper

    graph = model.graph
    tensors = {t.name: t for t in graph.initializer}
    for i, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Transpose" or not node.output[0].endswith(TIED) or node.input[0] not in tensors:
            continue
        table = tensors[node.input[0]]
        if table.data_location == TensorProto.EXTERNAL:
            graph.initializer.append(placeholder(node.output[0], table.data_type, table.dims[::-1]))
        else:
            graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(table).T), node.output[0])
            )
        del graph.node[i]
    return model


def _candidates(graph: GraphProto) -> list[tuple[str, str]]:
    """Names (table, matrix) of what may be one matrix stored twice.

    The one is looked up in, the other multiplied by, and their shapes are each other's turned.
    """
    from onnx import TensorProto

    shapes = {
        t.name: tuple(t.dims)
        for t in graph.initializer
        if t.data_type == TensorProto.FLOAT and len(t.dims) == 2 and np.prod(t.dims) >= _SMALLEST
    }
    tables = dict.fromkeys(n.input[0] for n in graph.node if n.op_type == "Gather" and n.input[0] in shapes)
    products = dict.fromkeys(n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in shapes)
    return [(table, matrix) for table in tables for matrix in products if shapes[table] == shapes[matrix][::-1]]
