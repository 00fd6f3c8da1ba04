"""Matrices of products in 4 bits, in graphs in QDQ form.

The file holds 4 bits. A Cast makes 8 of them, which ONNX Runtime does once, when it opens the file. So the products run
in the same integer kernels as in int8, and as fast; and no sum overflows on a processor without int8 dot products.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.models.four_bits import rounded, scales
from edgeopt.transforms.quantize.observers import Array
from edgeopt.transforms.quantize.scope import weighted
from edgeopt.transforms.quantize.tidy import drop_constants

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

#: The first opset whose Cast reads 4 bits, and the first format of files that has them.
_OPSET, _IR = 21, 10


def newer(model: ModelProto) -> ModelProto:
    """The graph in an opset that knows 4 bits."""
    from onnx import version_converter

    if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) < _OPSET:
        model = version_converter.convert_version(model, _OPSET)
    model.ir_version = max(model.ir_version, _IR)
    return model


def matrices(graph: GraphProto, names: Collection[str]) -> dict[str, Array]:
    """The float matrices of these nodes, which are to be in 4 bits, by the names of their products."""
    from onnx import numpy_helper

    constants = {t.name: t for t in graph.initializer}
    wanted = [n for n in weighted(graph) if n.op_type != "Gather" and n.name in names]
    return {n.name: numpy_helper.to_array(constants[n.input[1]]) for n in wanted}


def round_to(graph: GraphProto, floats: Mapping[str, Array]) -> list[str]:
    """Put the integers of 4 bits, in 8, in the place of a quantized graph's own; the names of the products.

    floats: what they are made of, by the names of the products in the float graph.
    """
    from onnx import numpy_helper

    constants, made = {t.name: t for t in graph.initializer}, {n.output[0]: n for n in graph.node}
    done = []
    for node in graph.node:
        matrix = floats.get(node.name, floats.get(node.name.removesuffix("_MatMul")))
        if matrix is None or node.op_type not in ("MatMul", "Gemm"):
            continue
        dequantize = made[node.input[1]]
        rows = matrix.T if _axis(dequantize) else matrix
        steps = scales(rows)
        values = rounded(rows, steps).astype(np.int8)
        for name, array in zip(dequantize.input, (values.T if _axis(dequantize) else values, steps), strict=False):
            constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
        done.append(node.name)
    return done


def pack(model: ModelProto, products: Collection[str]) -> None:
    """Store the matrices of these products in 4 bits, in place. Their integers are at most 7."""
    from onnx import TensorProto, helper, numpy_helper

    if not products:
        return
    graph = model.graph
    constants, made = {t.name: t for t in graph.initializer}, {name: n for n in graph.node for name in n.output}
    dequantize = {id(n): n for p in graph.node if p.name in products for n in [made[p.input[1]]]}
    packed = {n.input[0]: f"{n.input[0]}_int4" for n in dequantize.values()}
    casts: dict[str, NodeProto] = {
        name: helper.make_node("Cast", [four], [f"{name}_int8"], f"{name}_Cast", to=TensorProto.INT8)
        for name, four in packed.items()
    }
    for name, four in packed.items():
        graph.initializer.append(_int4(four, numpy_helper.to_array(constants[name])))
    nodes, placed = list(graph.node), set()
    del graph.node[:]
    for node in nodes:
        name = node.input[0] if node.input else ""
        if node.op_type == "DequantizeLinear" and name in packed:
            if name not in placed:
                placed.add(name)
                graph.node.append(casts[name])
            node.input[0] = casts[name].output[0]
        graph.node.append(node)
    drop_constants(graph, packed)


def _axis(dequantize: NodeProto) -> int:
    return next((a.i for a in dequantize.attribute if a.name == "axis"), 1)


def _int4(name: str, values: Array) -> TensorProto:
    from onnx import TensorProto, helper

    flat = np.append(values.ravel(), np.zeros(values.size % 2, np.int8)).astype(np.uint8) & 15
    return helper.make_tensor(name, TensorProto.INT4, values.shape, (flat[::2] | flat[1::2] << 4).tobytes(), raw=True)
