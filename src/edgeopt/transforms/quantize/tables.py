"""Tables of embeddings in 4 bits.

A row is looked up and not multiplied, so that its rounding adds up with nothing; in blocks it costs about what 8 bits
with one scale for the table cost, in half of the bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.transforms.quantize.observers import Array
from edgeopt.transforms.quantize.tidy import drop_constants

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

#: Neighbors in a row that share scale and zero point.
BLOCK = 32
#: Rows that a table has at least: positions and types are few, and next to nothing of a file.
ROWS = 2048


def word_tables(graph: GraphProto, excluded: Collection[str]) -> list[str]:
    """Names of the nodes that look up rows of a table that is worth it, and can be cut into blocks."""
    sizes = {
        t.name: t.dims for t in graph.initializer if len(t.dims) == 2 and t.dims[0] >= ROWS and t.dims[1] % BLOCK == 0
    }
    return [n.name for n in graph.node if n.op_type == "Gather" and n.input[0] in sizes and n.name not in excluded]


def to_int4(model: ModelProto, names: Collection[str]) -> None:
    """Let these nodes of a float or int8 graph read their tables in 4 bits, in place.

    They become onnxruntime's GatherBlockQuantized.
    """
    from onnx import helper, numpy_helper

    if not names:
        return
    graph = model.graph
    tables = {t.name: t for t in graph.initializer}
    gone: set[str] = set()
    nodes, made = [], []
    for node in graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        table = node.input[0]
        if table not in gone:
            gone.add(table)
            values, scales, zeros = rounded(numpy_helper.to_array(tables[table]))
            made += [
                _packed(f"{table}_int4", values),
                numpy_helper.from_array(scales, f"{table}_scale"),
                _packed(f"{table}_zero_point", zeros),
            ]
        nodes.append(
            helper.make_node(
                "GatherBlockQuantized",
                [f"{table}_int4", node.input[1], f"{table}_scale", f"{table}_zero_point"],
                node.output,
                node.name,
                domain="com.microsoft",
                block_size=BLOCK,
                gather_axis=0,
                quantize_axis=1,
            )
        )
    del graph.node[:]
    graph.node.extend(nodes)
    drop_constants(graph, gone)
    graph.initializer.extend(made)
    if not any(o.domain == "com.microsoft" for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.ir_version = max(model.ir_version, 10)  # the first with numbers of 4 bits


def rounded(table: Array) -> tuple[Array, Array, Array]:
    """(values, scales, zero points) of a float table in 4 bits; a number is (value − zero point)·scale.

    The table is rows × width, and so are the values, from 0 to 15; the others are rows × width / BLOCK. Zero is a value
    of its own.
    """
    blocks = table.reshape(table.shape[0], -1, BLOCK).astype(np.float32)
    low, high = np.minimum(blocks.min(-1), 0.0), np.maximum(blocks.max(-1), 0.0)
    scales = ((high - low) / 15).astype(np.float32)
    scales[scales == 0.0] = 1.0
    zeros = np.rint(-low / scales)
    values = np.clip(np.rint(blocks / scales[..., None]) + zeros[..., None], 0, 15)
    return values.reshape(table.shape).astype(np.uint8), scales, zeros.astype(np.uint8)


def _packed(name: str, values: Array) -> TensorProto:
    from onnx import TensorProto, helper

    flat = values.ravel()
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return helper.make_tensor(name, TensorProto.UINT4, values.shape, (flat[::2] | flat[1::2] << 4).tobytes(), raw=True)
