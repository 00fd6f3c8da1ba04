"""What an ONNX file holds: weights, non-zeros, int8 weights, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weights:
    """Counts over the graph's weights. parameters: all; int8: those stored in 8 bits or 4."""

    parameters: int
    nonzero: int
    int8: int
    bytes: int

    @property
    def precision(self) -> str:
        return "int8" if self.int8 > self.parameters / 10 else "fp32"


#: Inputs of these operators that are scales and zero points, not weights
_SCALES = {"QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "MatMulInteger": (2, 3), "DynamicQuantizeMatMul": (2, 3)}


def weigh(path: Path) -> Weights:
    """Count the initialisers that are weights: not scales, zero points, shapes or indices."""
    import numpy as np
    import onnx
    from onnx import TensorProto, numpy_helper

    model = onnx.load(str(path))
    skip = {node.input[i] for node in model.graph.node for i in _SCALES.get(node.op_type, ()) if i < len(node.input)}
    # dynamic quantisation multiplies by the weight's scale in a Mul of its own, named after the weight
    skip |= {i.name for i in model.graph.initializer if i.name.endswith(("_scale", "_zero_point"))}
    # a quantised product's bias is a 32-bit integer with a scale of its own
    biases = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    floats, eights = {TensorProto.FLOAT, TensorProto.FLOAT16}, {TensorProto.INT8, TensorProto.UINT8, TensorProto.UINT4}
    total = nonzero = int8 = 0
    for tensor in model.graph.initializer:
        weight = tensor.data_type in floats | eights or tensor.name in biases
        if tensor.name in skip or not weight or not tensor.dims:
            continue
        values = numpy_helper.to_array(tensor)
        total += values.size
        nonzero += int(np.count_nonzero(values))
        int8 += values.size if tensor.data_type in eights else 0
    return Weights(total, nonzero, int8, bytes_of(path))


def bytes_of(path: Path) -> int:
    """Size of a model's file with those of its weights: ONNX's external data, and OpenVINO's .bin of the same name."""
    more = [*path.parent.glob(f"{path.name}*data*"), *(p for p in [path.with_suffix(".bin")] if path.suffix == ".xml" and p.exists())]
    return path.stat().st_size + sum(p.stat().st_size for p in more)
