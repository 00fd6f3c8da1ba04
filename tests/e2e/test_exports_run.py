"""Several exports of one model, measured side by side, and `export: auto`, which keeps the fastest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import pytest
from e2e.running import BRIEF, recipe_for
from helpers import edgeopt

from edgeopt.report.model import Report

SHORT = {"max_steps": 2, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
STEPS = [
    {"use": "finetune", **SHORT, "max_steps": 4},
    {"id": "int8", "use": "quantize.dynamic"},
]
TARGET = {**BRIEF, "sequence": [16, "task"], "max_seconds": 2}


def applied(folder: Path, model: Path, data: Path, store: Path, **changes: Any) -> tuple[Path, Report]:
    folder.mkdir()
    recipe = recipe_for(folder, model, data, steps=STEPS, targets=[TARGET], baseline={"finetune": SHORT}, gates=[{"metric": "size", "max_ratio": 4}], **changes)
    done = edgeopt("apply", recipe, "--out", folder / "run", "--store", store)
    assert done.code == 0, done.err
    return folder / "run", Report.model_validate_json((folder / "run" / "report.json").read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports") / "store"


def test_every_export_is_measured(tiny_model: Path, tiny_data: Path, tmp_path: Path, store: Path) -> None:
    """The first, which need not be onnx, is the candidate; an exported file answers as its graph does."""
    formats = ["openvino", "onnx", "ort", "transformers-js"]
    exports = [{"format": f, "options": {"padding": "buckets"} if f == "openvino" else {}} for f in formats]
    out, report = applied(tmp_path / "all", tiny_model, tiny_data, store, export=exports)
    assert report.exports[0].lengths == [32]
    assert [e.name for e in report.exports] == formats
    assert [e.subject for e in report.exports] == ["candidate", "onnx", "ort", "transformers-js"]
    assert not report.chosen_by_speed
    assert (report.candidate.artifact, report.exports[2].figures.artifact) == ("model/openvino_model.xml", "model-ort/model.ort")
    for each in report.exports:
        assert each.max_abs_diff is not None and each.max_abs_diff < 0.05
        assert each.figures.starts is not None and each.figures.size_bytes > 0
        assert {m.sequence for m in report.latency if m.subject == each.subject} == {16, "task"}
        assert (out / each.figures.artifact).is_file()
    assert report.exports[1].max_abs_diff == 0.0
    xml = out / "model" / "openvino_model.xml"
    assert report.candidate.size_bytes == xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    assert "INFERENCE_NUM_THREADS" in json.loads((out / "model" / "session.json").read_text())["openvino_model.xml"]
    assert answered_by_the_card(out, tiny_data) == pytest.approx(json.loads((out / "predictions.jsonl").read_text().splitlines()[0])["candidate"], abs=1e-3)
    for page in ("report.md", "report.html"):
        assert "transformers-js" in (out / page).read_text()


def answered_by_the_card(out: Path, data: Path) -> list[float]:
    """The logits of the first row, by the lines of the model card pasted into a program."""
    lines = (out / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    row = json.loads((data / "validation.jsonl").read_text().splitlines()[0])
    program = lines.replace("A first text.", row["text"]) + "\nprint(*logits)\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=out / "model", capture_output=True, text=True, check=True)
    return [float(v) for v in done.stdout.split()[-2:]]


def test_auto_keeps_the_fastest(tiny_model: Path, tiny_data: Path, tmp_path: Path, store: Path) -> None:
    formats = {"format": "auto", "formats": ["onnx", "openvino"]}
    out, report = applied(tmp_path / "auto", tiny_model, tiny_data, store, export=[formats, {"format": "ort"}])
    names = ["onnx", "openvino", "openvino buckets", "openvino max_length", "ort"]
    assert [e.name for e in report.exports] == names
    assert report.exports[2].lengths == [32] and report.exports[0].lengths is None
    p50 = {e.name: geometric_mean([m.p50_ms for m in report.latency if m.subject == e.subject]) for e in report.exports if e.format != "ort"}
    (kept,) = [e for e in report.exports if e.subject == "candidate"]
    assert kept.name == min(p50, key=lambda name: p50[name])
    assert report.chosen_by_speed
    assert (out / report.candidate.artifact).is_file() and report.candidate.artifact.startswith("model/")
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["model", "model-ort"]
    assert f"`export: auto` kept {kept.name}" in (out / "report.md").read_text()
    again = edgeopt("gate", out)
    assert again.code == 0, again.err
