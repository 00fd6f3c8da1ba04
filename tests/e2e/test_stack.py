"""Cut, zeroed, recovered and quantized by one recipe: each step's work is still there in the graph that is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
import quick
from e2e.running import TRAINING, Applied, recipe_for
from helpers import edgeopt
from onnx import numpy_helper

from edgeopt.results.model import Report

STEPS = [
    {"id": "tune", "use": "finetune", **TRAINING},
    {"id": "cut", "use": "prune.fisher", "macs": 0.5, "multiple": 8, "samples": 64},
    {"id": "zero", "use": "prune.magnitude", "amount": 0.4, "scope": "layer"},
    {"id": "recover", "use": "distill", **TRAINING, "epochs": 1, "teacher": "tune", "losses": {"labels": 0.5}},
    {"id": "int8", "use": "quantize.static", "calibration": {"samples": 16}},
]


ANSWER = quick.answer


def uneven(module: str, task: dict[str, Any]) -> Any:
    """Made-up latencies of which a round is nothing like the next, so that only the same rounds' medians agree."""
    found, rng = ANSWER(module, task), np.random.default_rng(0)
    for each in found if isinstance(found, list) else ():
        each["samples"] = [ms * rng.lognormal(0.0, 0.3) for ms in each["samples"]]
    return found


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Applied:
    work = tmp_path_factory.mktemp("stack")
    recipe = recipe_for(work, tiny_model, tiny_data, steps=STEPS)
    with patch.object(quick, "answer", uneven):
        done = edgeopt("apply", recipe, "--out", work / "run", "--store", work / "store")
    assert done.code == 0, done.err
    return Applied(recipe, work / "run", work / "store", done)


@pytest.fixture(scope="module")
def report(applied: Applied) -> Report:
    return Report.model_validate_json((applied.out / "report.json").read_text())


def test_the_shipped_graph_has_the_cut_shapes_and_the_zeros(applied: Applied, report: Report) -> None:
    structure = next(s.figures["structure"] for s in report.steps if s.id == "cut")
    model = onnx.load(applied.out / report.candidate.artifact)
    matrices = [
        numpy_helper.to_array(i)
        for i in model.graph.initializer
        if len(i.dims) == 2 and i.data_type == onnx.TensorProto.INT8
    ]
    hidden, size = structure["hidden"], structure["dense"]["head_size"]
    inside = [m for m in matrices if hidden in m.shape and m.shape != (hidden, hidden)]
    for heads, neurons in zip(structure["heads"], structure["neurons"], strict=True):
        if neurons and neurons != hidden:
            assert (hidden, neurons) in [m.shape for m in inside] and (neurons, hidden) in [m.shape for m in inside]
        if heads and heads * size != hidden:
            assert [m.shape for m in matrices].count((hidden, heads * size)) >= 3  # query, key and value
    linear = [
        m
        for m in matrices
        if m.shape[0] in {hidden, *structure["neurons"], *(h * size for h in structure["heads"])} and min(m.shape) > 2
    ]
    assert np.mean(np.concatenate([(m == 0).ravel() for m in linear])) >= 0.3
    assert structure["macs"] <= 0.5 * structure["dense_macs"]
    assert report.candidate.parameters < report.baseline.parameters


def test_what_cutting_and_int8_bring_is_told_apart(applied: Applied, report: Report) -> None:
    parts = {(s.of, s.against): s for s in report.speedups if s.sequence == 16}
    assert {m.subject for m in report.latency} == {"candidate", "candidate-fp32", "baseline", "baseline-torch"}
    product = parts["candidate-fp32", "baseline"].ratio * parts["candidate", "candidate-fp32"].ratio
    assert product == pytest.approx(parts["candidate", "baseline"].ratio, rel=1e-6)  # of the same rounds' medians
    for name in ("report.md", "report.html"):
        assert "Where the speed comes from" in (applied.out / name).read_text()
