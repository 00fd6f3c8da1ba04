"""After a step: what the facts say is looked for in the files themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeopt.models.adapter_files import STAY, method_of
from edgeopt.models.files import GRAPH
from edgeopt.models.source import CONFIG, WEIGHTS, family_of
from edgeopt.models.structure import FIELD
from edgeopt.results.figures import FIGURES, told
from edgeopt.store.facts import Fact, Facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.support.reading import first_wrong

#: Zeros that a later step may fill: rounding of counts, not weights.
_SLACK = 5e-3


def observe_facts(folder: Path, facts: Facts, before: State, figures: dict[str, Any]) -> None:
    """Raises StepError E403 where a fact is not true of the folder. Writes the sparsity it measured into `figures`.

    Looked for are files that must or must not be there, int8 in the graph or none, zeros that are there and that are
    still zeros; each fact whether it is declared or not. Three cannot be: no file says that a head was trained; layers
    of other widths and zeros may be there undeclared, as dropping layers leaves the ones and a trained model may have
    the others.
    """
    torch_there = (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file()
    method = method_of(folder)
    found = {
        Fact.TORCH: torch_there,
        Fact.ONNX: (folder / GRAPH).is_file(),
        Fact.ADAPTER: method is not None and method not in STAY,
        Fact.GRAPH_ADAPTER: method in STAY,
        Fact.NF4: torch_there and "quantization_config" in json.loads((folder / CONFIG).read_text(encoding="utf-8")),
        Fact.INT8: _int8_in(folder),
    }
    for fact, there in found.items():
        if there != (fact in facts):
            raise step_failed("E403", f"the step {'left no' if not there else 'left an undeclared'} {fact}")
    if Fact.UNEVEN in facts and _shape(folder) is None:
        raise step_failed("E403", "the step left a model of even layers")
    if Fact.SPARSE in facts:
        # zeros may be cut away, not filled
        measured, cut = (
            sparsity_of(folder, facts),
            _shape(folder) != _shape(before.folder),
        )
        expected = float(told(before.figures).get("sparsity", 0.0)) if Fact.SPARSE in before.facts else 0.0
        if measured < expected - _SLACK and not cut:
            raise step_failed("E403", f"the zeros did not survive: {expected:.3f} before, {measured:.3f} after")
        if measured == 0.0 and Fact.SPARSE not in before.facts and not cut:
            raise step_failed("E403", "the step left no pruned zeros")
        told(figures)["sparsity"] = round(measured, 6)


def observe_told(figures: Mapping[str, Any]) -> None:
    """Raise StepError E403 where a figure that reports show by name is not of the form that they show."""
    try:
        FIGURES.validate_python(figures)
    except ValidationError as error:
        help = "keep what is the transform's own under another name: edgeopt.results.figures has those that are taken"
        raise step_failed(
            "E403", f"the step told what no report can show: figures.{first_wrong(error)}", help=help
        ) from None


def _int8_in(folder: Path) -> bool:
    """Whether a weight of the graph is int8: one is enough, as a scope may be as narrow as a single matrix."""
    from edgeopt.measure.graph import weigh

    return (folder / GRAPH).is_file() and weigh(folder / GRAPH).int8 > 0


def _shape(folder: Path) -> object:
    """What was cut out of the model, as its config has it; None where nothing was."""
    if not (folder / CONFIG).is_file():
        return None
    return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(FIELD)


def sparsity_of(folder: Path, facts: Facts) -> float:
    """Share of zeros in the weights of the encoder's linear layers."""
    if Fact.TORCH in facts:
        from edgeopt.models.load import load_model
        from edgeopt.models.parts import prunable

        weights = [m.weight for _, m in prunable(load_model(folder))]
        return float(sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights))
    return graph_sparsity(folder / GRAPH)


def graph_sparsity(path: Path) -> float:
    """Share of zeros in a graph's constant right-hand matrices of the products inside numbered layers."""
    import numpy as np

    from edgeopt.export.graph_files import array_of, structure_of

    graph, family = structure_of(path).graph, family_of(path.parent)
    constants = {t.name: t for t in graph.initializer}
    producers = {n.output[0]: n for n in graph.node}
    zeros = total = 0
    for node in graph.node:
        if (
            node.op_type not in ("MatMul", "MatMulInteger", "Gemm")
            or family.block_of(node.name) is None
            or "/bottleneck/" in node.name
        ):
            continue
        name = node.input[1]
        while name in producers and producers[name].op_type in ("DequantizeLinear", "QuantizeLinear", "Transpose"):
            name = producers[name].input[0]
        if name in constants:
            values = array_of(constants[name], path.parent)
            if values.ndim == 2:
                zeros += int(np.count_nonzero(values == 0))
                total += values.size
    return zeros / total if total else 0.0
