"""Biases of int8 products in float, as another kernel of ONNX Runtime takes them.

A QGemm copies its bias, of 32-bit integers, to every row of the product before it multiplies, on one thread. The kernel
that MatMulInteger becomes, MatMulIntegerToFloat, adds a float one to the sums as it scales them, on every thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.export.graph_files import load_graph, save_graph
from edgeopt.transforms.quantize.observers import Array
from edgeopt.transforms.quantize.tidy import drop_unused

if TYPE_CHECKING:
    from onnx import TensorProto


def float_biases(path: Path) -> None:
    """Rewrite the products with a bias and a float result, in place, of a graph that the runtime has optimized."""
    from onnx import helper, numpy_helper

    model = load_graph(path)
    graph, constants = model.graph, {t.name: t for t in model.graph.initializer}
    made: dict[str, TensorProto] = {}

    def constant(name: str, values: Array) -> str:
        made[name] = numpy_helper.from_array(values, name)
        return name

    for node in graph.node:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type != "QGemm" or len(node.input) != 7 or options.get("transA") or options.get("alpha", 1.0) != 1.0:
            continue
        data, scale, zero, weight, weight_scale, weight_zero, bias = node.input
        if not constants.keys() >= {scale, weight, weight_scale, weight_zero, bias}:
            continue
        step, steps, integers = (numpy_helper.to_array(constants[name]) for name in (scale, weight_scale, bias))
        if options.get("transB"):
            weight = constant(f"{weight}_transposed", np.ascontiguousarray(numpy_helper.to_array(constants[weight]).T))
        added = constant(f"{node.output[0]}_bias", (integers * (step.astype(float) * steps)).astype(np.float32))
        inputs = [data, weight, scale, weight_scale, zero, weight_zero, added]
        node.CopyFrom(
            helper.make_node("MatMulIntegerToFloat", inputs, list(node.output), node.name, domain="com.microsoft")
        )
    graph.initializer.extend(made.values())
    drop_unused(graph)
    save_graph(model, path)
