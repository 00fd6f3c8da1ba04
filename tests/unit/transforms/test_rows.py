"""An int8 graph in rows against the graph as onnxruntime's quantizer writes it, computed without any optimization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from families import FAMILIES, inputs, tiny, traced
from onnx import TensorProto, helper, numpy_helper

from edgeopt.models.anatomy import anatomy
from edgeopt.models.known import positions_known
from edgeopt.transforms.quantize import qdq, tidy
from edgeopt.transforms.quantize.calibrate import activations, observe
from edgeopt.transforms.quantize.observers import MinMax
from edgeopt.transforms.quantize.scope import Scope, excluded
from edgeopt.transforms.quantize.token_rows import as_rows

FEED = {name: values.numpy() for name, values in inputs().items()}


def quantized(family: str, folder: Path, monkeypatch: pytest.MonkeyPatch, scope: Scope = "all") -> Any:
    """A tiny model in int8 before `as_rows`."""
    model = tiny(family)
    model.set_attn_implementation("eager")
    positions_known(model, model)
    traced(model, folder / "float.onnx", names=("input_ids", "attention_mask"))
    graph = qdq.load(folder / "float.onnx")
    left_out = excluded(graph.graph, scope, anatomy(model.config.model_type))
    seen = {name: MinMax() for name in activations(graph.graph, left_out)}
    observe(graph, {name: [each] for name, each in seen.items()}, lambda: iter([FEED]), folder)
    with monkeypatch.context() as patch:
        patch.setattr(qdq, "as_rows", lambda model: None)
        qdq.quantize(
            graph, {name: each.range() for name, each in seen.items()}, left_out, qdq.Format(), folder / "int8.onnx"
        )
    return onnx.load(str(folder / "int8.onnx"))


def run(model: Any, feed: dict[str, Any], *, optimized: Path | None = None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    else:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)[
        0
    ]


def round_biases(graph: Any) -> None:
    """Make what is added to each product a multiple of its scale.

    In int8 the smallest difference may round on to a large one.
    """
    constants = {t.name: t for t in graph.initializer}
    made = {name: n for n in graph.node for name in n.output}
    for node in graph.node:
        product = next((made[name] for name in node.input if name in made and made[name].op_type == "MatMul"), None)
        bias = next((constants[name] for name in node.input if name in constants), None)
        if node.op_type == "Add" and bias is not None and product is not None and tidy.is_product(product, made):
            scales = [numpy_helper.to_array(constants[made[name].input[1]]) for name in product.input]
            scale = scales[0] * scales[1]
            bias.CopyFrom(
                numpy_helper.from_array(
                    (np.rint(numpy_helper.to_array(bias) / scale) * scale).astype(np.float32), bias.name
                )
            )


def copy(model: Any) -> Any:
    own = onnx.ModelProto()
    own.CopyFrom(model)
    return own


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_compute_the_same(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = quantized(family, tmp_path, monkeypatch)
    made = copy(before)
    as_rows(made)
    onnx.checker.check_model(made, full_check=True)
    tidy.float_residuals(before.graph)
    round_biases(before.graph)
    short = {name: values[:1, :4] for name, values in FEED.items()}
    for feed in (FEED, short):
        np.testing.assert_allclose(run(made, feed), run(before, feed), atol=1e-6)
    run(made, FEED, optimized=tmp_path / "optimized.onnx")
    operators = [n.op_type for n in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    layers = 12 if family.startswith("modernbert") else 18  # whose queries, keys and values are of one matrix
    # and the head's first, and DeBERTa's projection of narrow embeddings
    without_bias = {"modernbert": 12 + 1, "modernbert-biased": 1, "deberta-v2-apart": 1}.get(family, 0)
    assert operators.count("QGemm") == layers + 2 + (family in ("electra", "deberta-v2-apart")) - without_bias, (
        "two in the head, and ELECTRA projects its narrow embeddings"
    )
    assert operators.count("MatMulIntegerToFloat") == without_bias
    assert "Gemm" not in operators
    if family != "mpnet":  # whose shapes are not all found
        # ModernBERT's sums are not quantized, and keep their axes, as DeBERTa's do that are masked
        more = 20 if family.startswith(("modernbert", "deberta")) else 5
        assert (
            sum(n.op_type == "Reshape" for n in made.graph.node)
            <= sum(n.op_type == "Reshape" for n in before.graph.node) + more
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scope", ["mlp", "attention"])
def test_a_part_in_int8(scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = quantized("bert", tmp_path, monkeypatch, scope)
    made = copy(before)
    as_rows(made)
    tidy.float_residuals(before.graph)
    round_biases(before.graph)
    np.testing.assert_allclose(run(made, FEED), run(before, FEED), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_only_products_read_rounded_activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = quantized("bert", tmp_path, monkeypatch)
    as_rows(made)
    from_activation = {n.output[0] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    rounded = {
        n.output[0] for n in made.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in from_activation
    }
    readers = [n for n in made.graph.node if rounded & set(n.input) and "embeddings" not in n.name]
    assert len(readers) == 20 and {n.op_type for n in readers} == {"Gemm"}


def product(bias: float, scale: float) -> Any:
    """(x·I + b) for x of shape (batch, sequence, 2), its weight's scale given."""
    constants = {
        "one": np.float32(0.01),
        "zero": np.uint8(128),
        "w": np.eye(2, dtype=np.int8) * 100,
        "s": np.full(2, scale, np.float32),
        "z": np.zeros(2, np.int8),
        "b": np.full(2, bias, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"], "d"),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], "v", axis=1),
        helper.make_node("MatMul", ["d", "v"], ["p"], "p"),
        helper.make_node("Add", ["b", "p"], ["y"], "y"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "sequence", 2]) for name in ("x", "y")]
    graph = helper.make_graph(
        nodes, "product", ends[:1], ends[1:], [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("bias", "scale", "operator"), [(0.5, 0.01, "Gemm"), (0.5, 1e-12, "MatMul"), (0.5, 0.0, "MatMul")]
)
def test_a_bias_that_does_not_fit_is_added(bias: float, scale: float, operator: str) -> None:
    """By hand: 1 is 100 steps of 0.01; where the integer of the bias would be beyond 32 bits, it stays a float."""
    model = product(bias, scale)
    as_rows(model)
    assert [n.op_type for n in model.graph.node if n.op_type in ("Gemm", "MatMul")] == [operator]
    x = np.array([[[1, 0], [0, -1], [0.5, 0.5]]], np.float32)
    np.testing.assert_allclose(run(model, {"x": x}), x * 100 * scale + bias, atol=1e-5)


def test_what_is_computed_twice_is_kept_once() -> None:
    nodes = [
        helper.make_node("Constant", [], [f"c{i}"], f"c{i}", value=numpy_helper.from_array(np.array([1])))
        for i in range(2)
    ]
    nodes += [helper.make_node("Unsqueeze", ["x", f"c{i}"], [f"u{i}"], f"u{i}") for i in range(2)]
    nodes += [helper.make_node("Add", ["u0", "u1"], ["y"], "y")]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "twice", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    tidy.share(model)
    tidy.drop_unused(model.graph)
    assert [n.op_type for n in model.graph.node] == ["Unsqueeze", "Add"] and len(model.graph.initializer) == 1
    assert run(model, {"x": np.array([3.0], np.float32)}).tolist() == [[6.0]]


def test_long_values_of_a_slice_stay_apart() -> None:
    """Both begin alike for longer than tables show."""
    from edgeopt.data.slice_columns import _named

    one, other = (f"https://example.org/{'long/' * 12}{name}" for name in ("english", "german"))
    assert len({_named(one), _named(other), _named(one[:60])}) == 3
    assert all(len(_named(v)) <= 60 for v in (one, other)) and _named("short") == "short"
