"""From ranges to a graph in QDQ form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.export.graph_files import bare, load_graph, save_graph
from edgeopt.export.tied import untie
from edgeopt.transforms.quantize.int4_weights import matrices, newer, pack, round_to
from edgeopt.transforms.quantize.observers import Array, Range
from edgeopt.transforms.quantize.scope import OPERATORS, weighted
from edgeopt.transforms.quantize.tables import to_int4
from edgeopt.transforms.quantize.token_rows import as_rows

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Format:
    """How the numbers of an int8 graph are written.

    symmetric: activations have their zero in the middle. reduce_range: weights in 7 bits. wide: activations in 16 bits.
    int4: nodes that look up rows of tables in 4 bits. int4_weights: nodes that multiply by matrices in 4 bits.
    """

    symmetric: bool = False
    reduce_range: bool = False
    wide: Sequence[str] = ()
    int4: Sequence[str] = ()
    int4_weights: Sequence[str] = ()


def load(path: Path) -> ModelProto:
    """The graph as the quantizer needs it: with its weights, tied ones apart, and with the shapes of its tensors.

    The shapes are inferred without the weights.
    """
    from onnx import shape_inference
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    model = untie(load_graph(path))
    inferred = shape_inference.infer_shapes(bare(model)).graph
    for ours, found in ((model.graph.value_info, inferred.value_info), (model.graph.output, inferred.output)):
        del ours[:]
        ours.extend(found)
    add_infer_metadata(model)
    return model


def quantize(model: ModelProto, ranges: Mapping[str, Range], excluded: Sequence[str], form: Format, path: Path) -> None:
    """Write the model, which is used up, with int8 products and tables.

    Only products with constant weights are quantized and their outputs stay float, because quantizing all operators,
    onnxruntime's default, costs most of the accuracy; nothing but products reads rounded activations.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import update_opset_version

    constant = {n.name for n in weighted(model.graph)}
    # the QDQ quantizer does not know MatMulConstBOnly
    left_out = [
        *excluded,
        *form.int4,
        *(n.name for n in model.graph.node if n.op_type == "MatMul" and n.name not in constant),
    ]
    overrides = {name: [{"quant_type": QuantType.QUInt16}] for name in form.wide}
    floats = matrices(model.graph, {*form.int4_weights} - {*left_out})
    if floats:
        model = newer(model)
    own = update_opset_version(model, QuantType.QInt8, QuantType.QUInt8, tensor_quant_overrides=overrides)
    data = {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        own,
        True,
        form.reduce_range,
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, data),
        [],
        left_out,
        OPERATORS,
        {
            "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
            "ActivationSymmetric": form.symmetric,
            **({"TensorQuantOverrides": overrides} if overrides else {}),
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made = quantizer.model.model
    int4_weights = round_to(made.graph, floats)
    as_rows(made)
    pack(made, int4_weights)
    to_int4(made, [name for name in form.int4 if name not in excluded])
    save_graph(made, path)


def dequantized(path: Path) -> dict[str, Array]:
    """The matrices of the products as a quantized graph has them, by the name of the product's node."""
    from onnx import numpy_helper

    graph = load_graph(path).graph
    constants = {t.name: t for t in graph.initializer}
    constants |= {
        n.output[0]: constants[n.input[0]] for n in graph.node if n.op_type == "Cast" and n.input[0] in constants
    }
    scales = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants}
    found = {}
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in scales:
            dq = scales[node.input[1]]
            values, scale, zero = (numpy_helper.to_array(constants[name]).astype(np.float32) for name in dq.input)
            axis = next((a.i for a in dq.attribute if a.name == "axis"), 1)
            if scale.ndim:
                shape = [1] * values.ndim
                shape[axis] = -1
                scale, zero = scale.reshape(shape), zero.reshape(shape)
            found[node.name] = (values - zero) * scale
    return found
