"""A graph's twin: computes the same operators on the same shapes, holds nothing of the model, and can do no harm."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from edgeopt.export.session import onnx_query
from edgeopt.measure.twin import Twin, twin_of, typical

TABLE = np.random.default_rng(0).normal(3.0, 0.5, (40, 32)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).integers(-127, 128, (32, 4), np.int8)


def saved(path: Path, *more: Any) -> Path:
    """A graph of ids: a row of a table each, times 8-bit weights with scales of their own."""
    given = {"table": TABLE, "weights": WEIGHTS, "scale": np.full(4, 0.02, np.float32), "zero": np.zeros(4, np.int8)}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["float"], axis=1),
        helper.make_node("MatMul", ["rows", "float"], ["logits"]),
        *more,
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes, "sample", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in given.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def twin(tmp_path: Path) -> Twin:
    return twin_of(saved(tmp_path / "model.onnx"), {("here", 8): {"input_ids": np.array([[5, 39, 7, 7, 7, 7, 7, 7]])}})


def test_a_twin_computes_the_same_on_weights_of_its_own(twin: Twin, tmp_path: Path) -> None:
    path = twin.write(tmp_path)
    feed = twin.feed("here", 8)
    assert feed is not None and feed.values() == {"input_ids": [[5, 6, 7, 8, 9, 10, 11, 12]]}
    assert onnx_query(path, {})({k: np.array(v) for k, v in feed.values().items()}).shape == (1, 8, 4)
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}
    assert [n.op_type for n in onnx.load(str(path)).graph.node] == ["Gather", "DequantizeLinear", "MatMul"]
    assert (
        held["table"].shape == TABLE.shape
        and held["table"].mean() == pytest.approx(3.0, abs=0.1)
        and held["table"].std() == pytest.approx(0.5, abs=0.1)
    )
    assert not np.isclose(held["table"], TABLE).all(1).any() and (held["weights"] == WEIGHTS).mean() < 0.1
    assert (held["scale"] == np.float32(0.02)).all()  # few numbers stay as they are: shapes, axes, scales
    assert twin.feed("here", 16) is None and twin.feed("there", 8) is None


def test_a_twin_is_the_same_each_time_and_small(twin: Twin, tmp_path: Path) -> None:
    again = Twin.model_validate_json(twin.model_dump_json())
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, each in zip(folders, (twin, again), strict=True):
        folder.mkdir()
        each.write(folder)
    assert all((folders[0] / p.name).read_bytes() == p.read_bytes() for p in folders[1].iterdir())
    assert TABLE.tobytes()[:64] not in zlib.decompress(base64.b64decode(twin.graph))


def packed(model: Any) -> str:
    return base64.b64encode(zlib.compress(model.SerializeToString())).decode()


def test_a_twin_that_would_do_harm_is_refused(twin: Twin, tmp_path: Path) -> None:
    given = twin.model_dump(mode="json")
    huge = [{**given["tensors"][0], "shape": [1 << 40, 1 << 20]}]
    inside = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "inside", [], [])
    loop = packed(onnx.load(str(saved(tmp_path / "loop.onnx", helper.make_node("Loop", ["", ""], ["z"], body=inside)))))
    outside = onnx.ModelProto.FromString(zlib.decompress(base64.b64decode(given["graph"])))
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    bomb = base64.b64encode(zlib.compress(bytes(20_000_000))).decode()
    feed = {"target": "here", "sequence": 8, "inputs": {"input_ids": ([1 << 30, 1 << 30], 0, 1)}}
    other = [{**given["tensors"][0], "name": "other"}]
    for harm in (
        {"tensors": huge},
        {"tensors": other},
        {"graph": loop},
        {"graph": packed(outside)},
        {"graph": bomb},
        {"graph": "?"},
        {"feeds": [feed]},
    ):
        with pytest.raises(ValidationError):
            Twin.model_validate({**given, **harm})


def test_the_typical_query_is_of_middle_length() -> None:
    assert typical([{"input_ids": [1] * n} for n in (9, 2, 5)]) == {"input_ids": [1] * 5}
