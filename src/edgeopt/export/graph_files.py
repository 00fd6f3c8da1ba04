"""The files of a model: what copies, measures, reads or writes a graph does it here, with all of its files.

protobuf holds 2 GB at most, so that the weights of a larger ONNX graph stand in files beside it.

A file that ONNX calls external data is taken from the graph's own folder alone, whatever the graph says.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.support.errors import bad_input
from edgeopt.support.files import file_digest, key_of

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

#: Bytes of weights that are written into the graph's own file; of more than that the larger ones go into the file
#: beside it. protobuf cannot write 2 GiB, and a library that changes such a graph adds to it.
INSIDE = 1_900_000_000
#: What follows the graph's name in that of the file with its weights: optimum and transformers.js look for it.
DATA = "_data"
#: Bytes of the smallest tensor that is written beside the graph; what shapes are made of is smaller.
_SMALL = 1024
Array = np.ndarray[Any, np.dtype[Any]]


def files_of(path: Path) -> list[Path]:
    """A model's file and every other that it needs: ONNX's external data, and OpenVINO's .bin.

    Raises InputError E411 for a graph that cannot be read, or whose external data is not there or not inside its
    folder.
    """
    if path.suffix == ".xml":
        return [path, *(p for p in [path.with_suffix(".bin")] if p.exists())]
    return [path, *_beside(path, _read(path))] if path.suffix == ".onnx" else [path]


def size_of(path: Path) -> int:
    """Bytes of all files of a model."""
    return sum(p.stat().st_size for p in files_of(path))


def is_large(path: Path) -> bool:
    """Whether a model is too large for one file of a graph."""
    return size_of(path) > INSIDE


def digest_of(path: Path) -> str:
    """SHA-256 of a model's file; of one that needs more files, of all their contents, whatever those are called."""
    if len(files_of(path)) == 1:
        return file_digest(path)
    if path.suffix != ".onnx":
        return key_of({"files": [file_digest(p) for p in files_of(path)]})
    model = _read(path)
    names = {_name(p, path): str(i) for i, p in enumerate(_beside(path, model))}
    _rename(model, names)
    return key_of(
        {
            "graph": model.SerializeToString(deterministic=True).hex(),
            "files": [file_digest(path.parent / n) for n in names],
        }
    )


def copy_model(source: Path, target: Path) -> None:
    """Copy the file of a model that ONNX Runtime opens, .ort too, with all that belong to it."""
    if source.suffix == ".onnx":
        copy_graph(source, target)
    else:
        shutil.copyfile(source, target)


def copy_graph(source: Path, target: Path) -> None:
    """Copy an ONNX graph with all of its files under another name; files beside it are called after that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    model = _read(source)
    names = {
        _name(p, source): f"{target.name}{DATA}{f'_{i}' if i else ''}" for i, p in enumerate(_beside(source, model))
    }
    for name, copied in names.items():
        shutil.copyfile(source.parent / name, target.parent / copied)
    if all(name == copied for name, copied in names.items()):
        shutil.copyfile(source, target)
    else:
        _rename(model, names)
        target.write_bytes(model.SerializeToString())


def remove(path: Path) -> None:
    """Remove a model's files."""
    for each in files_of(path):
        each.unlink()


def move_graph(path: Path, folder: Path) -> None:
    """Move a graph that `save_graph` wrote, with all of its files, into another folder."""
    for each in files_of(path):
        each.rename(folder / each.name)


def settle(path: Path, target: Path) -> None:
    """Move a graph that a library wrote, as it is where all of it is in one file; else with one file beside it."""
    if len(files_of(path)) == 1 and not is_large(path):
        path.rename(target)
    else:
        save_graph(load_graph(path), target)


def structure_of(path: Path) -> ModelProto:
    """The graph without the weights that stand beside it, which `array_of` reads.

    Raises InputError E411 as `files_of`.
    """
    model = _read(path)
    _beside(path, model)
    return model


def load_graph(path: Path, *, structure: Path | None = None) -> ModelProto:
    """The graph with all of its weights in memory.

    structure: a file of the same graph with more in it, whose weights stand where those of `path` do. Raises InputError
    E411.
    """
    from onnx.external_data_helper import load_external_data_for_tensor

    model = _read(structure or path)
    _beside(path, model)
    for tensor in _tensors(model):
        if _external(tensor):
            load_external_data_for_tensor(tensor, str(path.parent))
            tensor.ClearField("data_location")  # as in a graph whose weights were never elsewhere
    return model


def save_graph(model: ModelProto, path: Path) -> None:
    """Write a graph whose weights are in memory, and leave it as it is.

    More than `INSIDE` bytes of weights are written beside.
    """
    import onnx

    beside, large = path.with_name(path.name + DATA), [t for t in model.graph.initializer if bytes_of(t) >= _SMALL]
    beside.unlink(missing_ok=True)
    if sum(map(bytes_of, large)) <= INSIDE:
        onnx.save(model, str(path))
        return
    written = bare(model, _SMALL)
    ours = {t.name: t for t in written.graph.initializer}
    with beside.open("wb") as file:
        for tensor in large:
            file.write(b"\0" * (-file.tell() % 4096))  # so that runtimes can map them into memory
            offset = file.tell()
            file.write(_raw(tensor))
            _point(ours[tensor.name], beside.name, offset, file.tell() - offset)
    onnx.save(written, str(path))


def bare(model: ModelProto, smallest: int = 1 << 16) -> ModelProto:
    """A copy of a graph without the weights of so many bytes or more, which only keep name, type and shape.

    It is for what asks for shapes, and could not take 2 GB.
    """
    import onnx

    made = onnx.ModelProto()
    _copy_fields(model, made, "graph")
    _copy_fields(model.graph, made.graph, "initializer")
    for tensor in model.graph.initializer:
        if bytes_of(tensor) < smallest:
            made.graph.initializer.add().CopyFrom(tensor)
        else:
            made.graph.initializer.append(placeholder(tensor.name, tensor.data_type, tensor.dims))
    return made


def placeholder(name: str, data_type: int, dims: Iterable[int]) -> TensorProto:
    """A tensor without its numbers, which are nowhere."""
    from onnx import TensorProto

    made = TensorProto(name=name, data_type=data_type, dims=dims)
    _point(made, "absent", 0, bytes_of(made))
    return made


def array_of(tensor: TensorProto, folder: Path) -> Array:
    """The numbers of a tensor, read from its file where they stand in one: none are kept in memory.

    folder: the graph's.
    """
    from onnx import helper, numpy_helper

    if not _external(tensor):
        return np.asarray(numpy_helper.to_array(tensor))
    at = {e.key: e.value for e in tensor.external_data}
    kind, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
    if kind.itemsize * math.prod(shape) != bytes_of(tensor) or not math.prod(shape):  # two numbers a byte
        return np.asarray(numpy_helper.to_array(tensor, str(folder)))
    return np.memmap(folder / at["location"], kind, "r", int(at.get("offset", 0)), shape)


def bytes_of(tensor: TensorProto) -> int:
    """Bytes that a tensor's numbers take in a file."""
    from onnx import TensorProto, helper

    count = int(math.prod(tensor.dims))
    if tensor.data_type in (TensorProto.UINT4, TensorProto.INT4):
        return (count + 1) // 2
    return (
        0
        if tensor.data_type == TensorProto.STRING
        else count * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    )


def _read(path: Path) -> ModelProto:
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # protobuf's, which have no base of their own
        raise _unreadable(path, " ".join(str(error).split())[:200]) from None


def _beside(path: Path, model: ModelProto) -> list[Path]:
    """The files of a graph's external data, each once, in the order in which the graph names them."""
    found = dict[str, Path]()
    for tensor in filter(_external, _tensors(model)):
        at = {e.key: e.value for e in tensor.external_data}
        name = at.get("location", "")
        file = found.setdefault(name, path.parent / name)
        if not _plain(name) or not file.is_file() or file.resolve() != path.parent.resolve() / name:
            raise _unreadable(
                path, f"the weights of {tensor.name!r} are to be in {name!r}, which is not a file in its folder"
            )
        offset, length = (int(v) if (v := at.get(k, "0")).isdecimal() else -1 for k in ("offset", "length"))
        size = bytes_of(tensor)
        if min(offset, length) < 0 or length not in (0, size) or offset + size > file.stat().st_size:
            raise _unreadable(path, f"{name} has not the weights of {tensor.name!r} that are to be in it")
    return list(found.values())


def _name(beside: Path, path: Path) -> str:
    return beside.relative_to(path.parent).as_posix()


def _plain(name: str) -> bool:
    """Whether that is the path of a file inside the folder, on every system."""
    return not any(part in ("", ".", "..") for part in name.split("/")) and not any(c in name for c in "\\:\0")


def _unreadable(path: Path, why: str) -> Exception:
    return bad_input(
        "E411",
        f"{path} is not a complete ONNX graph: {why}",
        help="export or copy it again, with every file that belongs to it",
    )


def _external(tensor: TensorProto) -> bool:
    from onnx import TensorProto

    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _point(tensor: TensorProto, name: str, offset: int, length: int) -> None:
    """Let the numbers of a tensor stand in a file."""
    from onnx import TensorProto

    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _raw(tensor: TensorProto) -> bytes:
    from onnx import numpy_helper

    return bytes(tensor.raw_data) if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = names[entry.value]


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model: constants of the graph, of its nodes, of the graphs inside them, and of functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (t for t in (attribute.t, *attribute.tensors) if t.data_type)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (t for t in (sparse.values, sparse.indices) if t.data_type)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)


def _copy_fields(source: ModelProto | GraphProto, target: ModelProto | GraphProto, but: str) -> None:
    """Copy all fields of a message into an empty one of its kind, but for the one of that name."""
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
