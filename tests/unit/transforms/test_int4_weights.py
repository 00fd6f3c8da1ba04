"""Matrices in 4 bits: their steps against a search by brute force, and graphs against numpy and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from families import logits, tiny
from onnx import TensorProto, helper, numpy_helper
from unit.transforms.test_qat import exported, observed, run

from edgeopt.models.four_bits import S4, rounded, scales
from edgeopt.transforms.quantize.int4_weights import newer, pack


def test_the_step_is_the_one_of_the_least_error() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 200)).astype(np.float32)
    rows[1] *= 100
    rows[2, 0] = 40  # an outlier, that alone is cut off
    rows[3] = 0

    def error(steps: Any) -> Any:
        return ((rounded(rows, steps) * steps[:, None] - rows) ** 2).sum(1)

    found = scales(rows)
    tried = [s * np.abs(rows).max(1).clip(1e-9) / S4 for s in np.linspace(0.4, 1.0, 400)]
    least = np.min([error(t.astype(np.float32)) for t in tried], 0)
    assert np.all(error(found) <= 1.02 * least + 1e-9)
    assert found[3] == 1.0
    assert error(found)[0] < 0.95 * error(np.abs(rows).max(1) / S4 + 1e-9)[0], "more than a step to the largest"


def test_packed_it_computes_the_same_in_half_of_the_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(-7, 8, (48, 33)).astype(np.int8)  # an odd number of columns
    given = {
        "w": values,
        "ws": rng.random(33).astype(np.float32),
        "wz": np.zeros(33, np.int8),
        "s": np.float32(0.02),
        "z": np.uint8(120),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "xq"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "xd"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "wd", axis=1),
        helper.make_node("MatMul", ["xd", "wd"], ["y"], "product"),
    ]
    shape = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 48), ("y", 33))]
    graph = helper.make_graph(
        nodes, "g", shape[:1], shape[1:], [numpy_helper.from_array(np.asarray(a), n) for n, a in given.items()]
    )
    model = newer(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))

    def answer(made: onnx.ModelProto) -> Any:
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": rng_x})[0]

    rng_x = rng.normal(size=(3, 48)).astype(np.float32)
    before = answer(model)
    pack(model, ["product"])
    onnx.checker.check_model(model, full_check=True)
    (packed,) = [t for t in model.graph.initializer if t.data_type == TensorProto.INT4]
    assert np.array_equal(numpy_helper.to_array(packed).astype(np.int8), values)
    assert len(packed.raw_data) == (values.size + 1) // 2
    assert np.array_equal(answer(model), before)


@pytest.mark.filterwarnings("ignore")
def test_trained_for_4_bits_the_graph_computes_what_torch_does_in_the_kernels_of_int8(tmp_path: Path) -> None:
    model, plain = tiny("bert"), tiny("bert")
    quantizers = observed(model, int4=True)
    path = exported(model, plain, quantizers, tmp_path)
    torch.testing.assert_close(run(path), logits(model), atol=2e-2, rtol=0)
    graph = onnx.load(str(path)).graph
    four = [t for t in graph.initializer if t.data_type == TensorProto.INT4]
    assert len(four) == 3 * 6, "every matrix of the layers, and not the head's"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = [n.op_type for n in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    integer = [n for n in nodes if n in ("MatMulIntegerToFloat", "QGemm", "DynamicQuantizeMatMul")]
    assert len(integer) == 20, sorted(nodes)
