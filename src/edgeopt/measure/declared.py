"""What a graph declares, held against what its file has, before the runtime allocates anything.

The wire format of protobuf is walked without building a message: https://protobuf.dev/programming-guides/encoding/.
Numbers of fields are those of onnx.proto. The memory that a tensor asks for is then never more than its file is large.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

from edgeopt.support.errors import InputError, bad_input

#: Bits of an element, by TensorProto.DataType.
_BITS = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    14: 64,
    15: 128,
    16: 16,
    17: 8,
    18: 8,
    19: 8,
    20: 8,
    21: 4,
    22: 4,
    23: 4,
    24: 8,
    25: 2,
    26: 2,
}
_STRING, _INT64 = 8, 7
#: Fields of TensorProto that hold values one by one.
_TYPED = (4, 5, 7, 10, 11)
#: Elements of a tensor that no file holds, because an operator makes it of a shape or of a few values.
_MOST_MADE = 1 << 28
_MADE_OF_SHAPE = (b"ConstantOfShape", b"Expand")
#: Nested graphs, and fields in all.
_DEEP, _MANY = 32, 20_000_000

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class _Wrong(Exception):
    """What is wrong with the graph, in words."""


class _Field(NamedTuple):
    """One field of a message. value: of a varint; start, end: where the bytes of the others are."""

    number: int
    wire: int
    value: int
    start: int
    end: int


def check_declared(path: Path) -> None:
    """Hold what a graph's tensors declare against what its file has.

    Raises InputError E211 where a tensor declares other than its file has, or is made so large by an operator that no
    encoder has one like it; E131 where the graph cannot be read. Tensors that stand in files beside it are
    `graph_files.files_of`'s to check.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _Reader(data).model()
    except _Wrong as error:
        raise refused(path, str(error)) from None
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise bad_input(
            "E131", f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", help="export it again"
        ) from None


def refused(path: Path, why: str) -> InputError:
    """The error E211 of a graph that is not opened."""
    return bad_input("E211", f"{path} is refused: {why}", help="copy it again, or export it again")


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._count = data, 0
        self._values: dict[bytes, list[int]] = {}

    def model(self) -> None:
        for field in self._fields(0, len(self._data)):
            if field.number == 7 and field.wire == _BYTES:
                self._graph(field, 0)
            elif field.number == 25 and field.wire == _BYTES:  # functions
                self._nodes([f for f in self._in(field) if f.number == 7 and f.wire == _BYTES], 0)

    def _graph(self, graph: _Field, depth: int) -> None:
        if depth > _DEEP:
            raise _Wrong(f"graphs are nested in it deeper than {_DEEP}")
        nodes = []
        for field in self._in(graph):
            if field.wire != _BYTES:
                continue
            if field.number == 1:
                nodes.append(field)
            elif field.number == 5:
                self._tensor(field)
            elif field.number == 15:
                self._sparse(field)
        self._nodes(nodes, depth)

    def _nodes(self, nodes: list[_Field], depth: int) -> None:
        for node in nodes:
            inputs, outputs, attributes, operator = [], [], [], b""
            for field in self._in(node):
                if field.number == 1:
                    inputs.append(self._text(field))
                elif field.number == 2:
                    outputs.append(self._text(field))
                elif field.number == 4:
                    operator = self._text(field)
                elif field.number == 5 and field.wire == _BYTES:
                    attributes.append(field)
            for field in attributes:
                self._attribute(field, depth, outputs[0] if operator == b"Constant" and outputs else b"")
            if operator in _MADE_OF_SHAPE and inputs:
                shape = self._values.get(inputs[-1], [])
                if prod(max(n, 1) for n in shape) > _MOST_MADE:
                    raise _Wrong(f"its operator {operator.decode()} makes a tensor of the shape {shape[:8]}")

    def _attribute(self, attribute: _Field, depth: int, makes: bytes) -> None:
        for field in self._in(attribute):
            if field.wire == _BYTES and field.number in (5, 10):
                self._tensor(field, makes)
            elif field.wire == _BYTES and field.number in (6, 11):
                self._graph(field, depth + 1)
            elif field.wire == _BYTES and field.number in (22, 23):
                self._sparse(field)

    def _sparse(self, sparse: _Field) -> None:
        """Values and indices are in the file; the runtime makes the whole of them."""
        dims: list[int] = []
        for field in self._in(sparse):
            if field.number in (1, 2) and field.wire == _BYTES:
                self._tensor(field)
            elif field.number == 3:
                dims += self._integers(field)
        if prod(dims) > _MOST_MADE:
            raise _Wrong(f"a sparse tensor has the shape {dims[:8]}")

    def _tensor(self, tensor: _Field, name: bytes = b"") -> None:
        dims: list[int] = []
        kind, outside, have, strings = 0, False, 0, 0
        raw: _Field | None = None
        typed: list[_Field] = []
        for field in self._in(tensor):
            if field.number == 1:
                dims += self._integers(field)
            elif field.number == 2:
                kind = field.value
            elif field.number == 8:
                name = name or self._text(field)
            elif field.number == 9:
                raw = field
            elif field.number == 6:
                strings += 1
            elif field.number in _TYPED:
                typed.append(field)
                have += field.end - field.start if field.wire == _BYTES else 8
            elif field.number == 14:
                outside = field.value == 1
        what, shape = f"the tensor {name.decode(errors='replace')[:80]!r}", f"of the shape {dims[:8]}"
        if any(n >= 1 << 63 for n in dims):
            raise _Wrong(f"{what} has a negative dimension")
        elements = prod(dims)
        if kind == _STRING:
            if elements > strings:
                raise _Wrong(f"{what} {shape} has {strings} texts")
            return
        if kind not in _BITS:
            raise _Wrong(f"{what} is of an unknown type, {kind}")
        need = -(-elements * _BITS[kind] // 8)
        if outside:
            return
        if raw is not None:
            if raw.end - raw.start != need:
                raise _Wrong(f"{what} {shape} declares {need} bytes and has {raw.end - raw.start}")
        elif elements > 4 * have:  # of the smallest types four to a byte; less than one is none
            raise _Wrong(f"{what} {shape} declares {need} bytes and has {have}")
        if kind == _INT64 and elements <= 64:
            self._values[name] = self._small(raw, typed)

    def _small(self, raw: _Field | None, typed: list[_Field]) -> list[int]:
        if raw is not None:
            return [int(n) for (n,) in struct.iter_unpack("<q", self._data[raw.start : raw.end])]
        return [n for field in typed if field.number == 7 for n in self._integers(field)]

    def _integers(self, field: _Field) -> list[int]:
        """One, or packed several; not negative: what would be is 2^63 or more."""
        if field.wire != _BYTES:
            return [field.value]
        found, at = [], field.start
        while at < field.end:
            value, at = self._varint(at, field.end)
            found.append(value)
            if len(found) > 64 and field.number == 1:
                raise _Wrong("a tensor has more than 64 dimensions")
        return found

    def _text(self, field: _Field) -> bytes:
        return self._data[field.start : min(field.end, field.start + 4096)]

    def _in(self, field: _Field) -> Iterator[_Field]:
        return self._fields(field.start, field.end)

    def _fields(self, at: int, end: int) -> Iterator[_Field]:
        while at < end:
            self._count += 1
            if self._count > _MANY:
                raise _Wrong(f"it has more than {_MANY} parts")
            key, at = self._varint(at, end)
            number, wire, value, start = key >> 3, key & 7, 0, at
            if wire == _VARINT:
                value, at = self._varint(at, end)
            elif wire == _BYTES:
                size, start = self._varint(at, end)
                at = start + size
            elif wire in (_EIGHT, _FOUR):
                at += 8 if wire == _EIGHT else 4
            else:
                raise _Wrong("it is not a complete ONNX file")
            if at > end or not number:
                raise _Wrong("it is not a complete ONNX file")
            yield _Field(number, wire, value, start, at)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self._data[at]
            value |= (byte & 127) << shift
            at += 1
            if byte < 128:
                return value & (1 << 64) - 1, at
            shift += 7
        raise _Wrong("it is not a complete ONNX file")
