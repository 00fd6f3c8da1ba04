"""The word table in 4 bits: what onnxruntime reads is what numpy computes, and other tables stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeopt.measure.graph import weigh
from edgeopt.transforms.quantize.tables import BLOCK, ROWS, rounded, to_int4, word_tables


def gathers(*tables: np.ndarray) -> onnx.ModelProto:
    names = [f"table{i}" for i in range(len(tables))]
    nodes = [helper.make_node("Gather", [name, "ids"], [f"{name}_out"], f"/{name}") for name in names]
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["batch", "sequence", "width"])
        for name in names
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "sequence"])
    constants = [numpy_helper.from_array(t, name) for name, t in zip(names, tables, strict=True)]
    return helper.make_model(
        helper.make_graph(nodes, "g", [ids], outputs, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def test_onnxruntime_reads_what_numpy_computes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = rng.normal(size=(ROWS + 1, 2 * BLOCK)).astype(np.float32)
    words[0] = 0.0
    words[1] = np.abs(words[1])
    words[2, :BLOCK] = -0.25
    positions = rng.normal(size=(ROWS - 1, 2 * BLOCK)).astype(np.float32)
    model = gathers(words, positions)
    names = word_tables(model.graph, [])
    assert names == ["/table0"], "the table of positions is too small"
    assert word_tables(model.graph, ["/table0"]) == []
    to_int4(model, names)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "model.onnx")
    ids = np.array([[0, 1, 2, 3], [ROWS - 2, 7, 5, 1]])
    found, whole = ort.InferenceSession(tmp_path / "model.onnx").run(None, {"ids": ids})
    values, scales, zeros = rounded(words)
    expected = (
        (values.reshape(len(words), -1, BLOCK).astype(np.float32) - zeros[..., None]) * scales[..., None]
    ).reshape(words.shape)
    np.testing.assert_allclose(found, expected[ids], rtol=1e-6)
    np.testing.assert_array_equal(whole, positions[ids])
    assert not found[0, 0].any(), "zeros stay zeros"
    step = np.repeat(scales, BLOCK, 1)
    assert (np.abs(expected - words) <= 0.5001 * step).all(), "to the nearest"
    weights = weigh(tmp_path / "model.onnx")
    assert (weights.parameters, weights.int8) == (words.size + positions.size, words.size)


@pytest.mark.parametrize("shape", [(ROWS, BLOCK + 1), (ROWS - 1, BLOCK)])
def test_tables_that_are_left_alone(shape: tuple[int, int]) -> None:
    assert word_tables(gathers(np.zeros(shape, np.float32)).graph, []) == []
