"""The conformance test check_exporter: does what an exporter wrote behave like the graph it was given?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.export.exporter import Exported, Exporter, ExportInput, Query
from edgeopt.export.session import QUIET, onnx_query
from edgeopt.models.files import GRAPH
from edgeopt.store.store import State
from edgeopt.support.files import file_digest
from edgeopt.tasks.encode import Encoder
from edgeopt.testing.failing import failing

#: Largest difference of a logit that another runtime may make of the same graph.
TOLERANCE = 1e-3
_DOUBLE, _INT32 = 11, 6  # TensorProto.DataType
_TEXTS = [
    ("a",),
    ("the film is good , and the cast is better",),
    ("not one minute of it is worth the price of a ticket " * 3,),
]
_LENGTH = 32


@failing
def check_exporter(
    exporter: Exporter,
    *,
    state: State,
    work: Path,
    fp32: State | None = None,
    torch: State | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write the state with the exporter, in each of its variants, and run what was written.

    Raises AssertionError. fp32, torch: as in `ExportInput`; fp32 is the state itself where it is not given.

    Checked: it declares facts that the state has; it writes into its folder alone and leaves the state as it was; the
    artifact and tokenizer.json are there; two writes give the same bytes (but for the artifact of one that is not
    `reproducible`); its logits are those of the state's graph (of that of `fp32`, where it converts the torch model)
    within the tolerance, for rows of several lengths, on all processors and on one thread; and a batch of several rows
    is answered. Logits of a graph are what ONNX Runtime gives, or what the graph says without rounding of sums: they
    are two things where the processor has no int8 dot product, as there ONNX Runtime adds products of bytes in 16 bits,
    which overflow (its own documentation of `reduce_range`). Returns what the default variant gave.
    """
    assert exporter.requires <= state.facts, (
        f"{exporter.name} needs {sorted(exporter.requires - state.facts)}, which this state lacks"
    )
    assert not exporter.forbids & state.facts, (
        f"{exporter.name} cannot take {sorted(exporter.forbids & state.facts)}, which this state has"
    )
    given = ExportInput(state, fp32 or state, torch, _LENGTH)
    reference = (fp32 or state) if exporter.source == "torch" else state
    found = [
        _check_variant(exporter, given, reference, work / (name or "default"), options, tolerance)
        for name, options in exporter.variants().items()
    ]
    return found[0]


def _check_variant(
    exporter: Exporter, given: ExportInput, reference: State, work: Path, options: dict[str, Any], tolerance: float
) -> Exported:
    before = _digests(given.state.folder)
    folders = [work / "a", work / "b"]
    for folder in folders:
        folder.mkdir(parents=True)
    exported, _ = (exporter.write(given, folder, {**exporter.known_options, **options}) for folder in folders)
    assert _digests(given.state.folder) == before, f"{exporter.name} changed the state it was given"
    assert (folders[0] / exported.artifact).is_file(), f"{exported.artifact} was not written"
    assert (folders[0] / "tokenizer.json").is_file(), "the folder has no tokenizer.json: nothing can feed the model"
    first, second = map(_digests, folders)
    differ = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    allowed = set() if exporter.reproducible else {exported.artifact.as_posix()}
    assert differ <= allowed, f"two writes of the same state differ in {', '.join(sorted(differ))}"
    encoder, expected = Encoder(folders[0], _LENGTH), onnx_query(reference.folder / GRAPH, QUIET)
    exact, rows = exact_query(reference.folder / GRAPH, work), encoder.ids(_TEXTS)
    for threads in (None, 1):
        query = exporter.open(folders[0] / exported.artifact, {**exported.settings, **exporter.defaults(threads)})
        for feed in (encoder.pad([row]) for row in rows):
            found = query(feed)
            difference, other = (float(np.abs(found - each(feed)).max()) for each in (expected, exact))
            assert min(difference, other) <= tolerance, (
                f"{exporter.name} differs from ONNX Runtime by {difference:.2g} in a logit, "
                f"and from exact sums by {other:.2g}"
            )
        batch = encoder.pad(rows)
        assert query(batch).shape == expected(batch).shape, f"{exporter.name} does not answer a batch of {len(rows)}"
    return exported


def exact_query(graph: Path, work: Path) -> Query:
    """The graph's first output where nothing is fused and products of integers are summed exactly, on any processor.

    QDQ nodes compute in float then, and MatMulInteger is written as a product of doubles, which hold sums of up to
    2^53. work: the folder that such a graph is written into.
    """
    import onnx
    from onnx import helper

    model = onnx.load(graph)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            nodes.append(node)
            continue
        made = node.output[0]
        sides = [(f"{made}/{i}", node.input[i], node.input[i + 2] if len(node.input) > i + 2 else "") for i in (0, 1)]
        for name, given, zero in sides:
            nodes.append(helper.make_node("Cast", [given], [f"{name}/double" if zero else name], to=_DOUBLE))
            if zero:
                nodes.append(helper.make_node("Cast", [zero], [f"{name}/zero"], to=_DOUBLE))
                nodes.append(helper.make_node("Sub", [f"{name}/double", f"{name}/zero"], [name]))
        nodes.append(helper.make_node("MatMul", [name for name, *_ in sides], [f"{made}/double"]))
        nodes.append(helper.make_node("Cast", [f"{made}/double"], [made], to=_INT32))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, work / "exact.onnx")
    return onnx_query(work / "exact.onnx", {**QUIET, "graph_optimization_level": "ORT_DISABLE_ALL"})


def _digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
