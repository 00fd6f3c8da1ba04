"""A graph's twin: the same operators on weights of the same shapes, drawn anew.

So it takes as long and holds nothing of the model.

Two latencies that were taken at two times differ by what else the machine did. The twin is measured beside the one and
beside the other: of the two ratios to it that falls out, as between models that are measured side by side. What a
product takes does not depend on the numbers in it, as long as none is denormal; so each weight is normal with the mean
and deviation that it had.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from edgeopt.results.model import Part
from edgeopt.tasks.encode import Ids, length

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

#: What the twin is called among the latencies.
TWIN = "twin"
#: Smaller tensors are shapes, axes and single scales, which stay as they are.
_SMALL = 16
#: The graph without its weights, unpacked; all weights. Bytes.
_GRAPH, _WEIGHTS = 16_000_000, 8_000_000_000
_WEIGHTS_FILE = "twin.weights"
#: ONNX's numbers of the types that are drawn: bits of an element.
_FLOATS, _SMALL_INTS, _INT32 = {1: "<f4", 10: "<f2", 11: "<f8"}, {2: 8, 3: 8, 21: 4, 22: 4}, 6
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_GRAPHS = (5, 10)  # AttributeProto.GRAPH, GRAPHS


class Drawn(Part):
    """One tensor that is drawn anew.

    type: ONNX's number of it; of floats and 32-bit integers also what their values were like.
    """

    name: str
    type: int
    shape: list[int] = Field(max_length=8)
    mean: float = 0.0
    deviation: float = Field(0.0, ge=0)
    least: float = 0.0
    most: float = 0.0

    @field_validator("type")
    @classmethod
    def _known(cls, type: int) -> int:
        if type not in {*_FLOATS, *_SMALL_INTS, _INT32}:
            raise ValueError("a tensor of a type that is not drawn")
        return type

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes its numbers take in the file beside the graph."""
        return (
            self.size * np.dtype(_FLOATS[self.type]).itemsize
            if self.type in _FLOATS
            else math.ceil(self.size * _SMALL_INTS.get(self.type, 32) / 8)
        )


class Feed(Part):
    """What the twin is asked at one sequence of a target.

    inputs: of each its shape, and the least and the most of the numbers that it counts up, over and over.
    """

    target: str
    sequence: int | str
    inputs: dict[str, tuple[list[int], int, int]] = Field(max_length=16)

    @field_validator("inputs")
    @classmethod
    def _sane(cls, inputs: dict[str, tuple[list[int], int, int]]) -> dict[str, tuple[list[int], int, int]]:
        if any(
            not 0 < math.prod(shape) <= 1 << 24 or min(shape) < 1 or not 0 <= least <= most < 1 << 31
            for shape, least, most in inputs.values()
        ):
            raise ValueError("an input of an absurd shape")
        return inputs

    def values(self) -> dict[str, Any]:
        """The inputs as nested lists of integers, by their names."""
        return {
            name: (least + np.arange(math.prod(s)) % (most - least + 1)).reshape(s).tolist()
            for name, (s, least, most) in self.inputs.items()
        }


class Twin(Part):
    """A graph that takes as long as the model's, as a file keeps it.

    graph: the ONNX file without the weights in `tensors`, zlib in base64. feeds: what it is asked, of each target and
    sequence.
    """

    graph: str
    tensors: list[Drawn] = Field(max_length=100_000)
    feeds: list[Feed] = Field(max_length=10_000)

    @field_validator("tensors")
    @classmethod
    def _fits(cls, tensors: list[Drawn]) -> list[Drawn]:
        if any(n < 1 for t in tensors for n in t.shape) or sum(t.bytes for t in tensors) > _WEIGHTS:
            raise ValueError("weights of an absurd size")
        return tensors

    @model_validator(mode="after")
    def _of_one_graph(self) -> Twin:
        held = {t.name: (t.data_type, list(t.dims)) for t in _parsed(self.graph).graph.initializer}
        if wrong := [t.name for t in self.tensors if held.get(t.name) != (t.type, t.shape)]:
            raise ValueError(f"the twin's graph has no such tensor as {wrong[0]!r}")
        return self

    def feed(self, target: str, sequence: int | str) -> Feed | None:
        """What the twin is asked at a sequence of a target; None where it was not made for that."""
        return next((f for f in self.feeds if (f.target, f.sequence) == (target, sequence)), None)

    def write(self, folder: Path) -> Path:
        """The twin as a file, its weights beside it; the same bytes each time."""
        model, path = _parsed(self.graph), folder / "twin.onnx"
        held = {t.name: t for t in model.graph.initializer}
        with (folder / _WEIGHTS_FILE).open("wb") as file:
            for number, drawn in enumerate(self.tensors):
                start = file.tell()
                _draw(drawn, number).tofile(file)
                _refer(held[drawn.name], drawn, start)
        path.write_bytes(model.SerializeToString())
        return path


def twin_of(path: Path, feeds: Mapping[tuple[str, int | str], Mapping[str, Any]]) -> Twin:
    """The twin of a graph. feeds: by target and sequence one that the graph is asked."""
    import onnx
    from onnx import numpy_helper

    model, drawn = onnx.load(str(path)), []
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL or tensor.data_type not in {*_FLOATS, *_SMALL_INTS, _INT32}:
            continue
        more: dict[str, float] = {}
        if tensor.data_type not in _SMALL_INTS:
            values = numpy_helper.to_array(tensor).astype(np.float64)
            more = {
                "mean": float(values.mean()),
                "deviation": float(values.std()),
                "least": float(values.min()),
                "most": float(values.max()),
            }
        drawn.append(Drawn(name=tensor.name, type=tensor.data_type, shape=list(tensor.dims), **more))
        _empty(tensor)
    for field in ("doc_string", "producer_name", "producer_version"):
        model.ClearField(field)
    del model.metadata_props[:]
    return Twin(
        graph=base64.b64encode(zlib.compress(model.SerializeToString(), 9)).decode(),
        tensors=drawn,
        feeds=[
            Feed(
                target=target,
                sequence=sequence,
                inputs={n: (list(a.shape), int(a.min()), int(a.max())) for n, a in feed.items()},
            )
            for (target, sequence), feed in feeds.items()
        ],
    )


def typical(rows: list[Ids]) -> Ids:
    """The query of middle length."""
    return sorted(rows, key=length)[len(rows) // 2]


def _draw(drawn: Drawn, number: int) -> np.ndarray[Any, np.dtype[Any]]:
    rng = np.random.default_rng(number)
    if drawn.type in _SMALL_INTS:
        return rng.integers(0, 256, drawn.bytes, np.uint8)
    if drawn.type == _INT32:
        return rng.integers(int(drawn.least), int(drawn.most), drawn.size, np.int32, endpoint=True)
    values = rng.standard_normal(drawn.size, np.float32) * np.float32(drawn.deviation) + np.float32(drawn.mean)
    return values.clip(drawn.least, drawn.most).astype(_FLOATS[drawn.type])


def _empty(tensor: TensorProto) -> None:
    for field in (
        "raw_data",
        "float_data",
        "int32_data",
        "int64_data",
        "double_data",
        "uint64_data",
        "external_data",
        "data_location",
    ):
        tensor.ClearField(field)


def _refer(tensor: TensorProto, drawn: Drawn, start: int) -> None:
    """Let a tensor be those bytes of the file beside the graph."""
    from onnx import TensorProto

    _empty(tensor)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", _WEIGHTS_FILE), ("offset", start), ("length", drawn.bytes)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def _parsed(graph: str) -> ModelProto:
    """The ONNX graph of a twin's text.

    Raises ValueError where it is none, holds one graph inside another, operators that are not ONNX's or the runtime's,
    or names files.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import ModelProto, TensorProto

    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(base64.b64decode(graph, validate=True), _GRAPH)
        model = ModelProto.FromString(plain)
    except (ValueError, zlib.error, DecodeError):
        raise ValueError("the twin's graph cannot be read") from None
    if unpacking.unconsumed_tail or not model.graph.node:
        raise ValueError("the twin's graph cannot be read")
    if model.functions or any(
        node.domain not in _DOMAINS or any(a.type in _GRAPHS for a in node.attribute) for node in model.graph.node
    ):
        raise ValueError("the twin's graph has operators that a model for a device has not")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ValueError("the twin's graph names a file")
    return model
