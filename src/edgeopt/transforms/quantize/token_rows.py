"""An int8 graph in the form that runtimes compute quickest: tokens as the rows of one matrix.

So a product is a Gemm with its bias inside, from where it is multiplied to where heads are told apart. What the graph
computes stays the same, but for the biases, which become 32-bit integers of a product's own scale.

ONNX Runtime has one integer kernel for a Gemm; a MatMul of three axes needs a second pass over its output for the
bias. It makes a float Gemm of a matrix MatMul with an Add, and of a Gemm whose output is read both as it is and
quantized, so neither is written. Which tensors have the same shape is what `onnx.shape_inference` proves; the others
keep their axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeopt.transforms.quantize import tidy
from edgeopt.transforms.quantize.observers import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: Operators that treat every number, or every token, by itself: they do not mind in which shape tokens come.
_TOKENWISE = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Sqrt",
    "Erf",
    "Tanh",
    "Relu",
    "Sigmoid",
    "LayerNormalization",
    "QuantizeLinear",
    "DequantizeLinear",
}


class _Matrix(NamedTuple):
    """A tensor of tokens as a matrix.

    axes: what its rows stand for, by what shape inference calls them. width: how many columns it has.
    """

    name: str
    axes: tuple[int | str, ...]
    width: int


def as_rows(model: ModelProto) -> None:
    """Rewrite a graph in QDQ form in place. Its nodes are in topological order."""
    tidy.share(model)
    tidy.float_residuals(model.graph)
    _Rows(model).rewrite()
    tidy.drop_unused(model.graph)
    del model.graph.value_info[:]  # some tensors have other shapes now


class _Rows:
    def __init__(self, model: ModelProto) -> None:
        from onnx import helper, numpy_helper

        graph = model.graph
        self.graph, self.node = graph, helper.make_node
        self.array, self.tensor = numpy_helper.to_array, numpy_helper.from_array
        self.shapes = tidy.shapes(model)
        self.constants = {t.name: t for t in graph.initializer}
        self.made = {name: n for n in graph.node for name in n.output}
        self.readers = tidy.readers(graph)
        self.products = {n.output[0] for n in graph.node if tidy.is_product(n, self.made)}
        self.nodes: list[NodeProto] = []
        self.matrices: dict[str, _Matrix] = {}
        #: Tensors that there is only the matrix of.
        self.gone: set[str] = set()
        #: Sums that a product makes by itself.
        self.done: set[str] = set()
        #: For each kind of axes their sizes, as a tensor.
        self.sizes: dict[tuple[int | str, ...], str] = {}

    def rewrite(self) -> None:
        """Put the products on matrices, node by node in the graph's order, and what needs the axes back on them."""
        for node in list(self.graph.node):
            if node.op_type == "QuantizeLinear":
                self._flatten(node.input[0], node)
            if node.output[0] in self.done:
                continue  # the bias is inside its product
            if self._multiplies(node):
                self._product(node)
            elif node.op_type in _TOKENWISE and self._moves(node):
                self._move(node)
            else:
                self._as_before(node)
        for output in self.graph.output:
            self._restore(output.name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def _multiplies(self, node: NodeProto) -> bool:
        """Whether a node multiplies a dequantized activation, that is a matrix now, by a dequantized matrix."""
        return node.output[0] in self.products and (
            len(node.input) == 2 if node.op_type == "Gemm" else node.input[0] in self.matrices
        )

    def _flatten(self, name: str, reader: NodeProto) -> None:
        """Make the matrix of what is quantized for a product."""
        second = [n for dq in self.readers.get(reader.output[0], []) for n in self.readers.get(dq.output[0], [])]
        width = next(
            (self._dims(n.input[1])[0] for n in second if n.op_type == "MatMul" and n.output[0] in self.products), None
        )
        axes = self.shapes.get(name, ())[:-1]
        if width is None or name in self.matrices or len(axes) < 2 or not all(axes):
            return
        before = self.made.get(name)
        data = before.input[0] if before is not None and before.op_type == "Reshape" else name
        self._restore(data)
        matrix = f"{name}_flat"
        self.nodes.append(
            self.node("Reshape", [data, self._constant(f"{matrix}_shape", np.array([-1, width]))], [matrix], matrix)
        )
        if axes not in self.sizes:
            self.sizes[axes] = f"{name}_axes"
            self.nodes.append(self.node("Shape", [name], [f"{name}_axes"], f"{name}_axes", end=len(axes)))
        self.matrices[name] = _Matrix(matrix, axes, width)

    def _product(self, node: NodeProto) -> None:
        """Write a product, with the bias that is added to it."""
        out, added = node.output[0], self._bias(node)
        matrix = self.matrices.get(node.input[0])
        if added is not None:
            addition, bias = added
            out = addition.output[0]
            self.done.add(out)
            node.op_type = "Gemm"
            node.input.append(bias)
        if matrix is None:  # it was a Gemm of matrices before
            node.output[0] = out
            self.nodes.append(node)
            return
        node.input[0] = matrix.name
        node.output[0] = self._moved(out, matrix.axes, self._dims(node.input[1])[1])
        self.nodes.append(node)
        if len({n.op_type == "QuantizeLinear" for n in self.readers.get(out, [])}) > 1:
            # of a Gemm that is read both as it is and quantized, onnxruntime would make a float one
            self._restore(out)
            del self.matrices[out]

    def _dims(self, dequantized: str) -> list[int]:
        """The sizes of a product's constant matrix."""
        return list(self.constants[self.made[dequantized].input[0]].dims)

    def _bias(self, node: NodeProto) -> tuple[NodeProto, str] | None:
        """The addition of a constant behind a product, and the constant dequantized from 32-bit integers.

        None where there is no such addition, or a scale so small that the integers would not do.
        """
        readers = self.readers.get(node.output[0], [])
        if len(readers) != 1 or readers[0].op_type != "Add":
            return None
        other = next((name for name in readers[0].input if name != node.output[0]), "")
        scales = [self.array(self.constants[self.made[name].input[1]]) for name in node.input[:2]]
        if (
            other not in self.constants
            or self.constants[other].dims != self.constants[self.made[node.input[1]].input[1]].dims
        ):
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.multiply(*scales).astype(np.float32)
            integers = np.rint(self.array(self.constants[other]).astype(np.float64) / scale)
        if not np.all(np.abs(integers) < 2**31):
            return None
        name = f"{node.name}_bias"
        given = [
            self._constant(f"{name}_quantized", integers, np.int32),
            self._constant(f"{name}_scale", scale, np.float32),
        ]
        self.nodes.append(self.node("DequantizeLinear", given, [name], f"{name}_DequantizeLinear", axis=0))
        return readers[0], name

    def _moves(self, node: NodeProto) -> bool:
        """Whether all that a tokenwise node reads is a matrix of the same shape, or the same for each token."""
        found = {name: self.shapes.get(name, ()) for name in node.input if name in self.matrices}
        rest = [self.constants.get(name) for name in node.input if name and name not in found]
        if not found or any(len(shape) < 3 for shape in found.values()) or len(set(found.values())) > 1 or None in rest:
            return False
        if node.op_type == "LayerNormalization" and any(a.name == "axis" and a.i != -1 for a in node.attribute):
            return False
        limit = 0 if node.op_type.endswith("uantizeLinear") else 1
        return all(len(t.dims) <= limit for t in rest if t is not None)

    def _move(self, node: NodeProto) -> None:
        like = next(self.matrices[name] for name in node.input if name in self.matrices)
        for i, name in enumerate(node.input):
            if name in self.matrices:
                node.input[i] = self.matrices[name].name
        node.output[0] = self._moved(node.output[0], like.axes, like.width)
        self.nodes.append(node)

    def _moved(self, name: str, axes: tuple[int | str, ...], width: int) -> str:
        self.matrices[name] = _Matrix(f"{name}_rows", axes, width)
        self.gone.add(name)
        return f"{name}_rows"

    def _as_before(self, node: NodeProto) -> None:
        """Write a node that needs the axes; but what is only given another shape may be a matrix as well."""
        shape = self.constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if node.op_type == "Reshape" and node.input[0] in self.gone and (shape is None or self.array(shape).all()):
            node.input[0] = self.matrices[node.input[0]].name
        for name in node.input:
            self._restore(name)
        self.nodes.append(node)

    def _restore(self, name: str) -> None:
        """Write a tensor that there is only the matrix of, with its axes."""
        if name not in self.gone:
            return
        self.gone.remove(name)
        matrix, shape = self.matrices[name], f"{name}_shape"
        width = self._constant(f"{name}_width", np.array([matrix.width]))
        self.nodes.append(self.node("Concat", [self.sizes[matrix.axes], width], [shape], shape, axis=0))
        self.nodes.append(self.node("Reshape", [matrix.name, shape], [name], f"{name}_Reshape"))

    def _constant(self, name: str, values: Array, kind: type[np.generic] = np.int64) -> str:
        self.graph.initializer.append(self.tensor(np.asarray(values).astype(kind), name))
        return name
