"""The conformance test check_exporter: does the exported file behave like the graph that it was made from?"""

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
    """Export the state with each variant of the exporter, and run the exported files.

    fp32, torch: as in `ExportInput`. The default of fp32 is the state itself. Returns what the default variant
    exported. Raises AssertionError if a check fails.

    The checks:

    - The state has the facts that the exporter requires, and none that it forbids.
    - The exporter writes only into its own folder, and does not change the state.
    - The artifact and tokenizer.json exist.
    - Exporting twice gives the same bytes. The artifact of an exporter that is not `reproducible` may differ.
    - The logits agree with those of the state's graph within the tolerance. For an exporter that converts the torch
      model, they agree with the graph of `fp32`. This holds for rows of several lengths, on all processors and on one
      thread.
    - The exported file answers a batch of several rows.

    The logits of a graph may be those of ONNX Runtime or those with exact sums. The two differ on processors without an
    int8 dot product: there ONNX Runtime adds products of bytes in 16 bits, which overflow. See its documentation of
    `reduce_range`.
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
    """The graph's first output, computed without fusions and with exact sums of integer products, on any processor.

    QDQ nodes then compute in float. MatMulInteger becomes a product of doubles, which are exact up to 2^53. work: the
    folder for the rewritten graph.
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
