"""Graphs whose weights stand in files beside them: read, written and copied as one, and from their own folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeopt.export import graph_files
from edgeopt.export.graph_files import (
    array_of,
    bare,
    copy_graph,
    digest_of,
    files_of,
    load_graph,
    remove,
    save_graph,
    settle,
    size_of,
    structure_of,
)
from edgeopt.export.session import open_session, save_optimized
from edgeopt.measure.graph import weigh
from edgeopt.support.errors import InputError

FEED = {"x": np.ones((2, 64), np.float32)}


def graph(seed: int = 0) -> Any:
    """The graph of tanh(x · w + b) · v: 24 kB of weights."""
    rng = np.random.default_rng(seed)
    weights = {"w": rng.standard_normal((64, 64)), "b": rng.standard_normal(64), "v": rng.standard_normal((64, 32))}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["a"]),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", width])
        for n, width in (("x", 64), ("logits", 32))
    ]
    made = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph whose two matrices are in model.onnx_data."""
    monkeypatch.setattr(graph_files, "INSIDE", 10_000)
    save_graph(graph(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_graph_is_written_and_read_with_all_of_its_files(beside: Path, tmp_path: Path) -> None:
    model = graph()
    assert [p.name for p in files_of(beside)] == ["model.onnx", "model.onnx_data"]
    assert beside.stat().st_size < 1000 and size_of(beside) == sum(p.stat().st_size for p in tmp_path.iterdir()) > 4 * (
        64 * 64 + 64 * 32
    )
    assert load_graph(beside) == model
    save_graph(model, tmp_path / "again.onnx")
    assert model == graph(), "what is written stays as it is"
    found = structure_of(beside)
    assert all(
        np.array_equal(array_of(a, tmp_path), numpy_helper.to_array(b))
        for a, b in zip(found.graph.initializer, model.graph.initializer, strict=True)
    )
    assert weigh(beside) == weigh_of(model, size_of(beside))
    (expected,) = ReferenceEvaluator(model).run(None, FEED)
    np.testing.assert_allclose(open_session(beside).run(None, FEED)[0], expected, rtol=1e-5)
    remove(beside)
    assert not list(tmp_path.glob("model.onnx*"))


def weigh_of(model: Any, size: int) -> Any:
    from edgeopt.measure.graph import Weights

    arrays = [numpy_helper.to_array(t) for t in model.graph.initializer]
    return Weights(sum(a.size for a in arrays), sum(int(np.count_nonzero(a)) for a in arrays), 0, size)


def test_a_small_graph_is_one_file_as_before_and_leaves_no_weights_behind(
    beside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_files, "INSIDE", 100_000)
    save_graph(graph(), beside)
    assert beside.read_bytes() == graph().SerializeToString() and files_of(beside) == [beside]
    assert not beside.with_name("model.onnx_data").exists()


def test_a_copy_has_its_own_weights_and_the_same_digest(beside: Path, tmp_path: Path) -> None:
    copy_graph(beside, tmp_path / "onnx" / "model_quantized.onnx")
    copy_graph(beside, tmp_path / "onnx" / "model.onnx")
    copied = tmp_path / "onnx" / "model_quantized.onnx"
    assert [p.name for p in files_of(copied)] == ["model_quantized.onnx", "model_quantized.onnx_data"]
    assert digest_of(copied) == digest_of(beside) == digest_of(tmp_path / "onnx" / "model.onnx")
    assert load_graph(copied) == graph()
    with copied.with_name("model_quantized.onnx_data").open("r+b") as file:
        file.write(b"\1")
    assert digest_of(copied) != digest_of(beside), (
        "a changed weight is another model, though the graph's own file is the same"
    )


def test_files_for_each_tensor_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors in files of their own, as torch writes them above 2 GB; and a graph in one file is moved as it is."""
    (tmp_path / "torch").mkdir()
    onnx.save(
        graph(),
        tmp_path / "torch" / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )
    assert len(files_of(tmp_path / "torch" / "model.onnx")) == 4
    monkeypatch.setattr(graph_files, "INSIDE", 10_000)
    settle(tmp_path / "torch" / "model.onnx", tmp_path / "model.onnx")
    assert [p.name for p in files_of(tmp_path / "model.onnx")] == ["model.onnx", "model.onnx_data"] and load_graph(
        tmp_path / "model.onnx"
    ) == graph()
    monkeypatch.undo()
    onnx.save(graph(), tmp_path / "torch" / "one.onnx")
    before = (tmp_path / "torch" / "one.onnx").read_bytes()
    settle(tmp_path / "torch" / "one.onnx", tmp_path / "one.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == before


def test_shapes_need_no_weights() -> None:
    small = bare(graph(), 1024)
    assert [len(t.raw_data) for t in small.graph.initializer] == [0, 4 * 64, 0] and len(
        small.SerializeToString()
    ) < 1200
    inferred = onnx.shape_inference.infer_shapes(small).graph.value_info
    assert inferred == onnx.shape_inference.infer_shapes(graph()).graph.value_info and len(inferred) == 3


def test_the_optimized_graph_has_its_weights_beside_it_too(beside: Path) -> None:
    saved = beside.with_name("optimized.onnx")
    options = save_optimized(beside, {}, saved)
    assert [p.name for p in files_of(saved)] == ["optimized.onnx", "optimized.onnx_data"]
    np.testing.assert_allclose(
        open_session(saved, options).run(None, FEED)[0], open_session(beside).run(None, FEED)[0], rtol=1e-5
    )


def point(key: str, value: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        model = structure_of(path)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == key:
                    entry.value = value
        path.write_bytes(model.SerializeToString())

    return change


def linked(path: Path) -> None:
    data = path.with_name("model.onnx_data")
    data.rename(path.parent.parent / "elsewhere")
    data.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    "change",
    [
        point("location", "../model/model.onnx_data"),
        point("location", "/etc/passwd"),
        point("location", ""),
        point("location", "gone"),
        point("location", "*/_ORT_MEM_ADDR_/*"),
        point("offset", "-8"),
        point("offset", "4096000"),
        point("length", "8"),
        point("length", "x"),
        linked,
        lambda path: path.with_name("model.onnx_data").write_bytes(b"short"),
        lambda path: path.write_bytes(b"no graph"),
    ],
)
def test_weights_from_elsewhere_or_not_whole_are_refused(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_files, "INSIDE", 10_000)
    path = tmp_path / "model" / "model.onnx"
    path.parent.mkdir()
    save_graph(graph(), path)
    change(path)
    for read in (
        files_of,
        size_of,
        digest_of,
        structure_of,
        load_graph,
        weigh,
        lambda p: copy_graph(p, tmp_path / "copy.onnx"),
    ):
        with pytest.raises(InputError) as caught:
            read(path)
        assert caught.value.issues[0].code == "E411"
    assert not list(tmp_path.glob("copy*"))
