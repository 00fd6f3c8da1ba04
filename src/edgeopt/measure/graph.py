"""What an ONNX file holds: weights, non-zeros, int8 weights, bytes."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from edgeopt.export.graph_files import array_of, size_of, structure_of
from edgeopt.export.tied import KNOWN, TIED


@dataclass(frozen=True)
class Weights:
    """Counts over the graph's weights. parameters: all; int8: those stored in 8 bits or 4."""

    parameters: int
    nonzero: int
    int8: int
    bytes: int

    @property
    def precision(self) -> str:
        """`int8` where more than a tenth of the weights are stored in 8 bits or 4, else `fp32`."""
        return "int8" if self.int8 > self.parameters / 10 else "fp32"


#: Inputs of these operators that are scales and zero points, not weights
_SCALES = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
}


def weigh(path: Path) -> Weights:
    """Count the initializers that are weights: not scales, zero points, shapes or indices; tied ones once.

    What was computed of weights before a graph was traced is none.
    """
    import numpy as np
    from onnx import TensorProto

    model = structure_of(path)
    skip = {node.input[i] for node in model.graph.node for i in _SCALES.get(node.op_type, ()) if i < len(node.input)}
    # dynamic quantization multiplies by the weight's scale in a Mul of its own, named after the weight
    skip |= {i.name for i in model.graph.initializer if i.name.endswith(("_scale", "_zero_point"))}
    # a quantized product's bias is a 32-bit integer with a scale of its own
    biases = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    eights = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4}
    total = nonzero = int8 = 0
    for tensor in model.graph.initializer:
        weight = tensor.data_type in floats | eights or tensor.name in biases
        if tensor.name in skip or not weight or not tensor.dims or TIED in tensor.name or KNOWN in tensor.name:
            continue
        values = array_of(tensor, path.parent)
        total += values.size
        nonzero += int(np.count_nonzero(values))
        int8 += values.size if tensor.data_type in eights else 0
    return Weights(total, nonzero, int8, size_of(path))


def mixes_batches(path: Path) -> bool:
    """Whether what a query gets depends on what shares its batch: dynamic quantization scales by all that is in it.

    Of an .onnx or an .ort file, in which operators stand by their names.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b"DynamicQuantize") >= 0
