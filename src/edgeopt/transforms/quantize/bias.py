"""Bias correction: what rounding the weights shifts on average is taken off the bias.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.transforms.quantize.observers import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def correct(model: ModelProto, dequantized: Mapping[str, Array], means: Mapping[str, Array]) -> int:
    """Add E[x](W - Wq) to the biases of the float model, in place; returns how many biases those are.

    dequantized: the matrix Wq of each product's node. means: E[x], the mean of each channel, by the name of the
    activation. The bias of a MatMul is the constant that is added to its output and to nothing else; one without stays
    as it is.
    """
    from onnx import numpy_helper

    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    count = 0
    for node in list(graph.node):
        if node.name not in dequantized or node.input[0] not in means:
            continue
        error = numpy_helper.to_array(constants[node.input[1]]).astype(np.float64) - dequantized[node.name]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        shift = means[node.input[0]] @ (error.T if transposed else error)
        holder, place = _bias(node, readers, constants)
        if holder is None:
            continue
        bias = numpy_helper.to_array(constants[holder.input[place]])
        name = f"{node.name}/corrected_bias"
        graph.initializer.append(numpy_helper.from_array((bias + shift).astype(np.float32), name))
        holder.input[place] = name
        count += 1
    return count


def _bias(
    node: NodeProto, readers: Mapping[str, list[NodeProto]], constants: Mapping[str, TensorProto]
) -> tuple[NodeProto | None, int]:
    """The node that adds the bias and which of its inputs it is; None where there is none."""
    if node.op_type == "Gemm":
        return (node, 2) if len(node.input) > 2 and node.input[2] in constants else (None, 0)
    after = readers.get(node.output[0], [])
    if len(after) == 1 and after[0].op_type == "Add":
        for place, name in enumerate(after[0].input):
            if name in constants and len(constants[name].dims) == 1:
                return after[0], place
    return None, 0
