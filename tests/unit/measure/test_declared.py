"""Graphs whose tensors are not what the file has: refused before the runtime allocates, and whole ones are not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeopt.measure.declared import check_declared
from edgeopt.support.errors import InputError


def model() -> Any:
    """A table, a bias whose floats are listed, a constant, a branch with its own tensor, int4 weights and a shape."""
    inner = helper.make_graph(
        [helper.make_node("Identity", ["own"], ["out"])],
        "inner",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.zeros(2, np.float32), "own")],
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(3, np.float32))),
        helper.make_node("If", ["yes"], ["d"], then_branch=inner, else_branch=inner),
        helper.make_node("ConstantOfShape", ["shape"], ["e"]),
        helper.make_node("MatMul", ["x", "table"], ["logits"]),
    ]
    tensors = [
        numpy_helper.from_array(np.ones((4, 2), np.float32), "table"),
        helper.make_tensor("bias", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("four", TensorProto.INT4, [3], [1, 2, 3]),
        helper.make_tensor("half", TensorProto.FLOAT16, [3], [1.0, 2.0, 3.0]),
        numpy_helper.from_array(np.array([2, 3]), "shape"),
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.array(["a", "b"], dtype=object), "words"),
        helper.make_tensor("none", TensorProto.FLOAT, [0, 5], []),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def find(made: Any, name: str) -> Any:
    return next(t for t in made.graph.initializer if t.name == name)


def dims(name: str, *values: int) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        find(made, name).dims[:] = values

    return change


def sparse(made: Any) -> None:
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("i", TensorProto.INT64, [1], [0]),
            [1 << 40],
        )
    )


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "absurd": (dims("table", 1 << 40, 1 << 20), "declares 4611686018427387904 bytes and has 32"),
    "more than an integer holds": (dims("table", (1 << 63) - 1, (1 << 63) - 1), "and has 32"),
    "negative": (dims("table", -1, 2), "a negative dimension"),
    "one row more": (dims("table", 5, 2), "declares 40 bytes and has 32"),
    "one row less": (dims("table", 3, 2), "declares 24 bytes and has 32"),
    "listed": (dims("bias", 1 << 40), "and has 8"),
    "without values": (lambda made: find(made, "bias").ClearField("float_data"), "declares 8 bytes and has 0"),
    "of texts": (dims("words", 1 << 40), "has 2 texts"),
    "of no type": (lambda made: setattr(find(made, "table"), "data_type", 99), "unknown type"),
    "a constant": (lambda made: made.graph.node[0].attribute[0].t.dims.__setitem__(0, 1 << 50), "and has 12"),
    "in a branch": (
        lambda made: made.graph.node[1].attribute[0].g.initializer[0].dims.__setitem__(0, 1 << 50),
        "'own'",
    ),
    "made of a shape": (
        lambda made: find(made, "shape").CopyFrom(numpy_helper.from_array(np.array([1 << 30, 64]), "shape")),
        "ConstantOfShape",
    ),
    "sparse": (sparse, "a sparse tensor"),
}


def wrapped(number: int, data: bytes) -> bytes:
    """A field of protobuf that holds these bytes, at most 2^14."""
    return bytes([number << 3 | 2, len(data) & 127 | 128, len(data) >> 7]) + data


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        check_declared(path)
    assert error.value.issues[0].code == "E211"
    return error.value.issues[0].message


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_file_does_not_have_is_refused(name: str, tmp_path: Path) -> None:
    change, say = CHANGES[name]
    made = model()
    change(made)
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    assert say in refusal(tmp_path / "model.onnx")


def test_a_whole_graph_is_not(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    check_declared(tmp_path / "model.onnx")


def test_a_deep_graph_and_what_is_no_graph(tmp_path: Path) -> None:
    graph = b""
    for _ in range(40):  # onnx itself cannot write one
        graph = wrapped(1, wrapped(5, wrapped(6, graph)))  # a node's attribute's graph
    (tmp_path / "model.onnx").write_bytes(wrapped(7, graph))
    assert "nested" in refusal(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"\x3a\xff\xff\xff\xff\x0f" + b"x" * 100)
    assert "not a complete ONNX file" in refusal(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="E131"):
        check_declared(tmp_path / "model.onnx")


WHOLE = model().SerializeToString()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(cut=st.integers(0, len(WHOLE)), at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int) -> None:
    data = bytearray(WHOLE)
    data[at] = byte
    path = tmp_path_factory.getbasetemp() / "mutated.onnx"
    path.write_bytes(bytes(data[:cut]))
    with suppress(InputError):
        check_declared(path)
