"""What a package's own tests say.

model, ernie: folders of small models; data, grades: folders with train.jsonl and validation.jsonl.
"""

from __future__ import annotations

from pathlib import Path

from edgeopt_example.ernie import ERNIE
from edgeopt_example.flat import FlatExporter
from edgeopt_example.ordinal import OrdinalRegression
from edgeopt_example.rounding import RoundWeights

from edgeopt.step import registry
from edgeopt.testing import check_exporter, check_family, check_task, check_transform
from edgeopt.testing.build import build, step


def test_round(model: Path, data: Path, tmp_path: Path) -> None:
    state = check_transform(RoundWeights(), {"bits": 8}, model=model, data=data, work=tmp_path)
    assert state.figures["significant_bits"] == 8


def test_flat(model: Path, data: Path, tmp_path: Path) -> None:
    tune = step(registry.get("finetune"), {"max_steps": 2, "batch_size": 4}, "tune")
    # the planner added the export to ONNX
    graph = build([tune], model=model, data=data, store=tmp_path / "store").final("candidate")
    check_exporter(FlatExporter(), state=graph, work=tmp_path / "export")


def test_ordinal(model: Path, grades: Path, tmp_path: Path) -> None:
    check_task(OrdinalRegression, model=model, data=grades, work=tmp_path)


def test_ernie(ernie: Path, data: Path, tmp_path: Path) -> None:
    check_family(ERNIE, model=ernie, data=data, work=tmp_path)
