"""SmoothQuant (Xiao et al. 2023, section 4): outlying channels of activations are evened out.

They are made smaller and the weights' rows that they meet larger, which changes nothing in float and much in int8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.transforms.quantize.observers import Array
from edgeopt.transforms.quantize.scope import weighted
from edgeopt.transforms.quantize.tidy import drop_constants

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


def smooth(model: ModelProto, largest: Mapping[str, Array], excluded: Sequence[str], alpha: float) -> int:
    """Smooth the products behind each LayerNorm, in place; returns how many LayerNorms those are.

    largest: for each activation the largest magnitude of each channel. s = max|X|^alpha / max|W|^(1 - alpha), the
    weights' maximum over all products that read X. 1/s is folded into the LayerNorm; whatever else reads its output,
    such as the residual of a post-norm encoder, reads it through a product with s.
    """
    from onnx import helper

    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    products = [n for n in weighted(graph) if n.op_type != "Gather" and n.name not in excluded]
    count = 0
    for norm in [n for n in graph.node if n.op_type == "LayerNormalization"]:
        output = norm.output[0]
        mine = [n for n in products if n.input[0] == output]
        if not mine or output not in largest or any(name not in constants for name in norm.input[1:]):
            continue
        count += 1
        weights = np.max([_rows(_array(constants[n.input[1]]), n) for n in mine], axis=0)
        scale = factors(largest[output], weights, alpha)
        for place in range(1, len(norm.input)):
            norm.input[place] = _add(
                graph, f"{norm.name}/smoothed_{place}", _array(constants[norm.input[place]]) / scale
            )
        for node in mine:
            weight = _array(constants[node.input[1]])
            node.input[1] = _add(
                graph, f"{node.name}/smoothed", weight * (scale if _transposed(node) else scale[:, None])
            )
        others = [n for n in graph.node if output in n.input and n not in mine]
        if others or output in {o.name for o in graph.output}:
            restored = f"{output}_restored"
            for node in others:
                for place in [i for i, name in enumerate(node.input) if name == output]:
                    node.input[place] = restored
            name = f"{norm.name}/restore"
            node = helper.make_node("Mul", [output, _add(graph, f"{name}/scale", scale)], [restored], name=name)
            graph.node.insert(list(graph.node).index(norm) + 1, node)
    used = {name for n in graph.node for name in n.input}
    drop_constants(graph, {t.name for t in graph.initializer} - used)
    return count


def factors(activations: Array, weights: Array, alpha: float) -> Array:
    """The factor s of each channel; 1 for one that is always zero on either side."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = activations.astype(np.float64) ** alpha / weights.astype(np.float64) ** (1 - alpha)
    return np.where((activations > 0) & (weights > 0), np.maximum(found, 1e-5), 1.0).astype(np.float32)


def _rows(weight: Array, node: NodeProto) -> Array:
    """The largest magnitude of the weights that each input channel is multiplied by."""
    found: Array = np.abs(weight).max(0 if _transposed(node) else 1)
    return found


def _transposed(node: NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _array(tensor: TensorProto) -> Array:
    from onnx import numpy_helper

    found: Array = numpy_helper.to_array(tensor)
    return found


def _add(graph: GraphProto, name: str, values: Array) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name))
    return name
