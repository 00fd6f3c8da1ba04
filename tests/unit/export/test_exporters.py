"""The built-in exporters: what they write, how queries are padded, what is listed, and what a plan refuses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import edgeopt, tiny_recipe, tiny_task

from edgeopt.export.exporter import ExportInput, exporter, exporter_names, unfit
from edgeopt.export.padding import lengths_of, padded
from edgeopt.export.session import QUIET, onnx_query, save_optimized
from edgeopt.models.files import GRAPH
from edgeopt.step import registry
from edgeopt.store.facts import Fact, facts
from edgeopt.support import host
from edgeopt.testing.build import build, step, steps_towards
from edgeopt.testing.exporters import exact_query
from edgeopt_exporters.ort_biases import float_biases


@pytest.fixture(scope="module")
def int8(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportInput:
    made = build(
        steps_towards(facts(Fact.TRAINED_HEAD, Fact.INT8)),
        model=tiny_model,
        data=tiny_data,
        store=tmp_path_factory.mktemp("exporters"),
    )
    return ExportInput(made.final("candidate"), made.lowered("candidate"), made.torch_state("candidate"), 64)


def write(name: str, given: ExportInput, folder: Path, **options: Any) -> Path:
    made = exporter(name)
    folder.mkdir()
    return folder / made.write(given, folder, {**made.known_options, **options}).artifact


@pytest.mark.parametrize(
    ("padding", "longest", "expected"),
    [
        ("dynamic", 128, []),
        ("max_length", 100, [100]),
        ("buckets", 128, [32, 64, 128]),
        ("buckets", 100, [32, 64, 100]),
        ("buckets", 16, [16]),
    ],
)
def test_lengths(padding: str, longest: int, expected: list[int]) -> None:
    assert lengths_of(padding, longest) == expected


def test_each_text_is_padded_to_the_next_length_and_answered_by_itself() -> None:
    seen: list[tuple[int, ...]] = []

    def run(feed: Mapping[str, Any]) -> Any:
        seen.append(feed["input_ids"].shape)
        hidden = feed["input_ids"] * feed["attention_mask"]
        return hidden.sum(axis=1, keepdims=True)

    ids = np.array([[5, 6, 7], [8, 9, 0]])
    answer = padded(run, [4, 8])({"input_ids": ids, "attention_mask": np.array([[1, 1, 1], [1, 1, 0]])})
    assert answer.tolist() == [[18], [17]]
    assert seen == [(1, 4), (1, 4)]
    tokens = padded(lambda feed: feed["input_ids"][..., None], [4])({"input_ids": ids})
    assert tokens.tolist() == ids[..., None].tolist()  # an output a token: those of padding are gone
    with pytest.raises(ValueError, match="3 tokens, and the file takes 2"):
        padded(run, [2])({"input_ids": ids, "attention_mask": ids})


def test_transformers_js_finds_its_files(int8: ExportInput, tmp_path: Path) -> None:
    artifact = write("transformers-js", int8, tmp_path / "js", dtypes=["int8", "q8"], fp32=True)
    names = sorted(p.relative_to(tmp_path / "js").as_posix() for p in (tmp_path / "js").rglob("*") if p.is_file())
    assert artifact.name == "model_int8.onnx"
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} < set(names)
    assert [n for n in names if n.startswith("onnx/")] == [
        "onnx/model.onnx",
        "onnx/model_int8.onnx",
        "onnx/model_quantized.onnx",
    ]
    assert json.loads((tmp_path / "js" / "config.json").read_text())["transformers.js_config"] == {"dtype": "int8"}
    assert (tmp_path / "js" / "onnx" / "model.onnx").read_bytes() == (int8.fp32.folder / GRAPH).read_bytes()  # type: ignore[union-attr]


def test_ort_adds_biases_in_float(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Logits are those of the graph, whose biases are integers of a product's scale, but for what that rounds."""
    static = step(registry.get("quantize.static"), {"calibration": {"samples": 8}}, "int8")
    made = build([*steps_towards(facts(Fact.TRAINED_HEAD)), static], model=tiny_model, data=tiny_data, store=tmp_path)
    int8, optimized, rng = (
        ExportInput(made.final("candidate"), None),
        tmp_path / "optimized.onnx",
        np.random.default_rng(0),
    )
    save_optimized(int8.state.folder / GRAPH, {"disabled_optimizers": ["NchwcTransformer"]}, optimized)
    before = onnx.load(optimized)
    biased = [n for n in before.graph.node if n.op_type == "QGemm" and len(n.input) == 7]
    assert len(biased) > 4
    float_biases(optimized)
    after = onnx.load(optimized)
    products = {n.output[0]: n for n in after.graph.node if n.op_type == "MatMulIntegerToFloat"}
    assert set(products) == {n.output[0] for n in biased}
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in after.graph.initializer}
    plain = {t.name: onnx.numpy_helper.to_array(t) for t in before.graph.initializer}
    for old in biased:
        new = products[old.output[0]]
        assert tensors[new.input[6]] == pytest.approx(
            plain[old.input[6]] * plain[old.input[1]].astype(float) * plain[old.input[4]], rel=1e-6
        )
        assert sorted(tensors[new.input[1]].ravel()) == sorted(plain[old.input[3]].ravel())
    assert set(tensors) <= {name for n in after.graph.node for name in n.input}  # nothing is kept twice
    artifact = write("ort", int8, tmp_path / "ort")
    feeds = [
        {
            "input_ids": rng.integers(5, 90, (2, n)),
            "attention_mask": np.ones((2, n), np.int64),
            "token_type_ids": np.zeros((2, n), np.int64),
        }
        for n in (3, 17, 40)
    ]
    for feed in feeds:
        assert onnx_query(artifact, {})(feed) == pytest.approx(
            onnx_query(int8.state.folder / GRAPH, {})(feed), abs=0.02
        )


def test_the_operators_of_a_reduced_build_are_those_of_the_optimized_graph(int8: ExportInput, tmp_path: Path) -> None:
    write("ort", int8, tmp_path / "ort")
    listed = Counter[tuple[str, str]]()
    for line in (tmp_path / "ort" / "required_operators.config").read_text().splitlines():
        domain, _, names = line.split(";")
        listed.update((domain.replace("ai.onnx.ml", ""), n) for n in names.split(","))
    save_optimized(int8.state.folder / GRAPH, {}, tmp_path / "optimized.onnx")
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    assert set(listed) == {(n.domain or "ai.onnx", n.op_type) for n in nodes}
    assert set(listed.values()) == {1}


def test_leaving_an_optimizer_out_changes_the_ort_file(int8: ExportInput, tmp_path: Path) -> None:
    write("ort", int8, tmp_path / "all")
    write("ort", int8, tmp_path / "some", disabled_optimizers=["SkipLayerNormFusion"])
    both = [(tmp_path / n / "required_operators.config").read_text() for n in ("all", "some")]
    assert ["SkipLayerNormalization" in text for text in both] == [True, False]


def test_openvino_keeps_the_integers(int8: ExportInput, tmp_path: Path) -> None:
    import openvino

    model = openvino.Core().read_model(write("openvino", int8, tmp_path / "ov"))
    held = Counter[str]()
    for operation in model.get_ops():
        if operation.get_type_name() == "Constant":
            held[operation.get_element_type().get_type_name()] += int(np.prod(list(operation.shape)))
    graph = onnx.load(int8.state.folder / GRAPH).graph
    integers = sum(
        int(np.prod(t.dims))
        for t in graph.initializer
        if t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and len(t.dims) == 2
    )
    assert held["i8"] + held["u8"] >= integers > 0
    assert held["f32"] < integers


def test_exact_sums_are_exact_on_any_processor(tmp_path: Path) -> None:
    """255 · 127 twice is more than 16 bits hold, in which a processor without an int8 dot product adds them."""
    given, weights = (
        np.array([[255, 255, 200, 3]], np.uint8),
        np.array([[127, 1], [127, -128], [127, 5], [-90, 0]], np.int8),
    )
    zeros = {"z": np.array(3, np.uint8), "zw": np.array(-1, np.int8)}
    tensors = [onnx.numpy_helper.from_array(a, n) for n, a in {"w": weights, **zeros}.items()]
    nodes = [
        onnx.helper.make_node("MatMulInteger", ["a", "w", *zeros], ["s"]),
        onnx.helper.make_node("Cast", ["s"], ["logits"], to=onnx.TensorProto.FLOAT),
    ]
    io = [
        onnx.helper.make_tensor_value_info(n, t, s)
        for n, t, s in (("a", onnx.TensorProto.UINT8, [1, 4]), ("logits", onnx.TensorProto.FLOAT, [1, 2]))
    ]
    graph = onnx.helper.make_graph(nodes, "g", io[:1], io[1:], tensors)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "m.onnx",
    )
    assert (
        exact_query(tmp_path / "m.onnx", tmp_path)({"a": given}).tolist()
        == ((given.astype(int) - 3) @ (weights.astype(int) + 1)).tolist()
    )


def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = host.installed
    monkeypatch.setattr(host, "installed", lambda name: None if name == "openvino" else installed(name))


def test_the_list_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without_openvino(monkeypatch)
    listed = {e["name"]: e for e in edgeopt("exporters", "--json").json}
    assert list(listed) == exporter_names()
    assert (listed["openvino"]["missing"], listed["openvino"]["install"]) == (
        ["openvino"],
        "pip install '.[openvino]' in the checkout of edgeopt",
    )
    assert (listed["onnx"]["missing"], listed["onnx"]["install"]) == ([], None)
    shown = edgeopt("exporters")
    assert shown.code == 0
    assert "transformers-js" in shown.out and ".[openvino]" in " ".join(shown.out.split())


def test_a_plan_refuses_a_format_whose_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    without_openvino(monkeypatch)
    recipe = tiny_recipe(
        tmp_path,
        model={"id": str(tiny_model)},
        task=tiny_task(tiny_data),
        export=[{"format": "onnx"}, {"format": "openvino"}],
    )
    done = edgeopt("plan", recipe, "--store", tmp_path / "store")
    line = next(i for i, text in enumerate(recipe.read_text().splitlines(), 1) if "openvino" in text)
    assert done.code == 2
    assert "E206" in done.err and f"recipe.yaml:{line}" in done.err and "pip install '.[openvino]'" in done.err


def test_onnxruntime_alone_answers_several_rows_at_once() -> None:
    assert exporter("ort").for_rows(3) == ({**QUIET, "intra_op_num_threads": 1}, 3)
    assert exporter("openvino").for_rows(3) == (exporter("openvino").defaults(None), 1)


def test_what_does_not_fit_an_exporter() -> None:
    made, graph = exporter("openvino"), facts(Fact.ONNX)
    assert unfit(made, {}, graph, "summarization", flat=False, float_graph=True) is None
    assert "fixed shapes" in str(
        unfit(made, {"padding": "buckets"}, graph, "summarization", flat=False, float_graph=True)
    )
    assert "needs ONNX graph" in str(unfit(made, {}, frozenset(), "text-classification", flat=True, float_graph=True))
