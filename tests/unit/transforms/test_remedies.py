"""Remedies against rounding, on graphs where it hurts for a reason that is planted: what they promise, on other rows.

A graph is a LayerNorm, a product with a bias, and the residual that is added to it, as each block of an encoder begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeopt.models.anatomy import anatomy
from edgeopt.support.progress import Progress
from edgeopt.transforms.quantize.build import Builder, Remedies

WIDTH, TOKENS = 32, 16
Array = np.ndarray[Any, Any]


def graph(path: Path, gamma: Array, beta: Array, weight: Array) -> Path:
    """A graph of logits = LayerNorm(x) W + b + LayerNorm(x), written to the path."""
    rng = np.random.default_rng(5)
    constants = {"gamma": gamma, "beta": beta, "weight": weight, "bias": rng.standard_normal(WIDTH)}
    shape = [1, "tokens", WIDTH]
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["h"], name="norm", axis=-1),
        helper.make_node("MatMul", ["h", "weight"], ["product"], name="product"),
        helper.make_node("Add", ["product", "bias"], ["sum"], name="bias_add"),
        helper.make_node("Add", ["sum", "h"], ["logits"], name="residual"),
    ]
    made = helper.make_graph(
        nodes,
        "planted",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [1, "tokens"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def rows(seed: int, count: int = 24) -> list[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    mask = np.ones((1, TOKENS), np.int64)
    return [
        {"x": rng.standard_normal((1, TOKENS, WIDTH)).astype(np.float32), "attention_mask": mask} for _ in range(count)
    ]


def run(path: Path, given: list[dict[str, Array]]) -> Array:
    """What the graph says: as it is written, not as kernels of processors without VNNI would add it up in 16 bits."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options)
    names = [i.name for i in session.get_inputs()]
    return np.concatenate([session.run(["logits"], {k: row[k] for k in names})[0] for row in given])


def errors(floats: Path, scratch: Path, remedies: Remedies) -> Array:
    """What int8 with these remedies adds to the logits of rows that were not calibrated on."""
    builder = Builder(
        floats,
        "all",
        anatomy("bert"),
        rows=lambda: iter(rows(0)),
        count=24,
        methods=["minmax"],
        percentile=None,
        channels=True,
        symmetric=False,
        reduce_range=False,
        wide=[],
        word_table="int8",
        weights="int8",
        scratch=scratch,
        progress=Progress(show=False),
    )
    builder.build(remedies, scratch / "int8.onnx")
    found: Array = run(scratch / "int8.onnx", rows(1)) - run(floats, rows(1))
    return found


def rms(error: Array) -> float:
    return float((error**2).mean() ** 0.5)


@pytest.mark.parametrize("outlying", [[], [3], [3, 17, 30]], ids=str)
def test_smoothing_takes_what_outlying_channels_cost(outlying: list[int], tmp_path: Path) -> None:
    """Channels that are eighty times as wide take the range from all others; the weights that they meet are small."""
    rng = np.random.default_rng(0)
    gamma, beta, weight = np.ones(WIDTH), 0.1 * rng.standard_normal(WIDTH), rng.standard_normal((WIDTH, WIDTH))
    gamma[outlying] *= 80
    weight[outlying] /= 80
    floats = graph(tmp_path / "float.onnx", gamma, beta, weight)
    plain, smoothed = (rms(errors(floats, tmp_path, Remedies(alpha=alpha))) for alpha in (None, 0.5))
    np.testing.assert_allclose(run(tmp_path / "smoothed-0.5.onnx", rows(1)), run(floats, rows(1)), atol=1e-4)
    if outlying:
        assert smoothed < plain / 10
    else:
        assert smoothed == pytest.approx(plain, rel=0.5), "where nothing is planted there is nothing to gain"


@pytest.mark.parametrize(("mean", "planted"), [(2.0, True), (0.0, False)])
def test_bias_correction_takes_the_shift_of_rounding_and_no_more(mean: float, planted: bool, tmp_path: Path) -> None:
    """Weights that are all rounded down, met by activations that are never zero on average, shift every output."""
    rng = np.random.default_rng(0)
    integers = rng.integers(-100, 100, (WIDTH, WIDTH)) + 0.4
    integers[0] = 127  # so that a scale is 0.01 exactly
    floats = graph(tmp_path / "float.onnx", np.ones(WIDTH), np.full(WIDTH, mean), 0.01 * integers)
    plain, corrected = (errors(floats, tmp_path, Remedies(bias=bias)) for bias in (False, True))
    shift, left = (np.abs(e.mean((0, 1))).mean() for e in (plain, corrected))
    if planted:
        expected = mean * 0.004 * (WIDTH - 1)
        assert shift == pytest.approx(expected, rel=0.1)
        assert left < shift / 10
        np.testing.assert_allclose(corrected.std((0, 1)), plain.std((0, 1)), rtol=0.05)
    else:
        assert shift < 0.02 and left < 0.02
