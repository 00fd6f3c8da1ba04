"""How many multiply-accumulates a second this machine reaches at most.

ONNX Runtime's own products are timed, one at a time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.export.graph_files import structure_of
from edgeopt.export.session import defaults, open_session
from edgeopt.measure.rounds import Rounds
from edgeopt.measure.session_choice import Query

#: A product (m, k, n) is of an m × k and a k × n matrix. Besides the model's own one that is large enough to hide what
#: a call costs.
LARGE = (1024, 1024, 1024)
#: Of the model's weights, so many of the largest are timed.
_MOST, _ROUNDS, SECONDS = 4, 10, 2.0


def weights_of(path: Path) -> list[tuple[int, int]]:
    """Shapes (k, n) of the largest weights that a graph multiplies by, each once."""
    graph = structure_of(path).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if len(t.dims) == 2}
    found = set()
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in shapes:
            k, n = shapes[node.input[1]]
            turned = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
            found.add((n, k) if turned else (k, n))
    return sorted(found, key=lambda kn: (-kn[0] * kn[1], kn))[:_MOST]


def peaks(products: Sequence[tuple[int, int, int]], threads: int, seconds: float = SECONDS) -> dict[str, float]:
    """Multiply-accumulates a second of the quickest of these products in its best of ten rounds, by precision.

    `fp32` is MatMul, and `int8` MatMulInteger of unsigned by signed bytes, as quantized graphs compute. All are
    measured in turn.
    """
    options = defaults(threads)
    with tempfile.TemporaryDirectory() as scratch:
        queries = {
            (precision, product): _query(precision, product, options, Path(scratch) / "product.onnx")
            for product in dict.fromkeys([*products, LARGE])
            for precision in ("fp32", "int8")
        }
    named = {str(name): query for name, query in queries.items()}
    found = Rounds(list(named), [None], threads)
    found.run(named, _ROUNDS, time.monotonic() + seconds)
    best = {name: float(np.prod(name[1])) / (min(found.samples[str(name)]) / 1e3) for name in queries}
    return {precision: max(v for (p, _), v in best.items() if p == precision) for precision in ("fp32", "int8")}


def _query(precision: str, product: tuple[int, int, int], options: Mapping[str, Any], path: Path) -> Query:
    from onnx import TensorProto, helper, numpy_helper, save

    m, k, n = product
    rng = np.random.default_rng(0)
    if precision == "fp32":
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        operator, given, made = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
    else:
        a, b = rng.integers(0, 256, (m, k), np.uint8), rng.integers(-127, 128, (k, n), np.int8)
        operator, given, made = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", given, [m, k])],
        [helper.make_tensor_value_info("c", made, [m, n])],
        [numpy_helper.from_array(b, "b")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    run = partial(open_session(path, options).run, None, {"a": a})
    return lambda _: run()
