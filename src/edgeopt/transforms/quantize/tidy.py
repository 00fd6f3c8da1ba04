"""What is asked of graphs in QDQ form, and what they have too much of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from edgeopt.export.graph_files import bare

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

#: The nodes that read a tensor, by its name.
Readers = dict[str, list["NodeProto"]]


def readers(graph: GraphProto) -> Readers:
    """The nodes that read each tensor."""
    found: Readers = {}
    for node in graph.node:
        for name in set(node.input):
            found.setdefault(name, []).append(node)
    return found


def shapes(model: ModelProto) -> dict[str, tuple[int | str, ...]]:
    """The shape of each tensor: sizes, names that equal sizes share, and "" for what is not known."""
    from onnx import shape_inference

    small = bare(model)
    del small.graph.value_info[:]  # what others inferred gives equal sizes several names
    found = shape_inference.infer_shapes(small, data_prop=True).graph
    return {
        v.name: tuple(d.dim_param or d.dim_value or "" for d in v.type.tensor_type.shape.dim)
        for v in [*found.value_info, *found.input, *found.output]
    }


def is_product(node: NodeProto, made: Mapping[str, NodeProto]) -> bool:
    """Whether a node multiplies a dequantized activation by a dequantized constant.

    made: the node that makes each tensor.
    """
    if node.op_type not in ("MatMul", "Gemm"):
        return False
    activation, weight = (made.get(name) for name in node.input[:2])
    if activation is None or weight is None or not activation.op_type == weight.op_type == "DequantizeLinear":
        return False
    return activation.input[0] in made and weight.input[0] not in made


def float_residuals(graph: GraphProto) -> None:
    """Let nothing but products read rounded activations: rounding the residual sum costs time and accuracy.

    Rows of tables stay as they are, because runtimes look up their integers.
    """
    made = {name: n for n in graph.node for name in n.output}
    quantized = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "QuantizeLinear"}
    rounded = {
        n.output[0]: quantized[n.input[0]]
        for n in graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in quantized
    }
    for node in graph.node:
        for i, name in enumerate(node.input):
            source = made.get(rounded.get(name, ""))
            looked_up = source is not None and source.op_type == "Gather"
            if name in rounded and not looked_up and not (i == 0 and is_product(node, made)):
                node.input[i] = rounded[name]


def share(model: ModelProto) -> None:
    """Keep one of all nodes that compute the same from the same.

    Exporters ask for the same shape in each attention block.
    """
    from onnx import TensorProto, numpy_helper

    graph, known = model.graph, shapes(model)
    kept = {o.name for o in graph.output}
    same: dict[str, str] = {}
    seen: dict[Any, str] = {}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            continue
        value.name = node.output[0]
        graph.initializer.append(value)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            values = numpy_helper.to_array(tensor)
            same[tensor.name] = seen.setdefault((values.shape, values.tobytes()), tensor.name)
    for node in nodes:
        if node.op_type == "Constant" and any(a.name == "value" for a in node.attribute):
            continue
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)
        shape = known.get(node.input[0], ("",)) if node.op_type == "Shape" else ("",)
        key = (
            node.op_type,
            node.domain,
            shape if all(shape) else tuple(node.input),
            tuple(sorted(a.SerializeToString() for a in node.attribute)),
        )
        if (
            len(node.output) == 1
            and node.output[0] not in kept
            and seen.setdefault(key, node.output[0]) != node.output[0]
        ):
            same[node.output[0]] = seen[key]
        else:
            graph.node.append(node)


def drop_unused(graph: GraphProto) -> None:
    """Drop nodes and constants that nothing reads."""
    used = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            used.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept[::-1])
    drop_constants(graph, {t.name for t in graph.initializer} - used)


def drop_constants(graph: GraphProto, names: Collection[str]) -> None:
    """Drop constants without copying the others, which may be gigabytes."""
    for i in reversed([i for i, t in enumerate(graph.initializer) if t.name in names]):
        del graph.initializer[i]
