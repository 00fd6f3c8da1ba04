"""Several exports of one model, measured side by side, and `export: auto`, which keeps the fastest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e.running import BRIEF, recipe_for
from helpers import edgeopt

from edgeopt.export.exporter import exporter
from edgeopt.results.model import Report

pytestmark = pytest.mark.usefixtures("real_latency")

SHORT = {"max_steps": 2, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
STEPS = [
    {"use": "finetune", **SHORT, "max_steps": 4},
    {"id": "int8", "use": "quantize.dynamic"},
]
TARGET = {**BRIEF, "sequence": [16, "task"], "max_seconds": 2}


def applied(folder: Path, model: Path, data: Path, store: Path, **changes: Any) -> tuple[Path, Report]:
    folder.mkdir()
    given = {
        "steps": STEPS,
        "targets": [TARGET],
        "baseline": {"finetune": SHORT},
        "gates": [{"metric": "size", "max_ratio": 4}],
        **changes,
    }
    recipe = recipe_for(folder, model, data, **given)
    done = edgeopt("apply", recipe, "--out", folder / "run", "--store", store)
    assert done.code == 0, done.err
    return folder / "run", Report.model_validate_json((folder / "run" / "report.json").read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports") / "store"


def test_every_export_is_measured(tiny_model: Path, tiny_data: Path, tmp_path: Path, store: Path) -> None:
    """The first, which need not be onnx, is the candidate; an exported file answers as its graph does."""
    formats = ["openvino", "onnx", "ort"]
    exports = [{"format": f, "options": {"padding": "buckets"} if f == "openvino" else {}} for f in formats]
    out, report = applied(tmp_path / "all", tiny_model, tiny_data, store, export=exports)
    assert report.exports[0].lengths == [32]
    assert [e.name for e in report.exports] == formats
    assert [e.subject for e in report.exports] == ["candidate", "onnx", "ort"]
    assert not report.chosen_by_speed
    assert (report.candidate.artifact, report.exports[2].figures.artifact) == (
        "model/openvino_model.xml",
        "model-ort/model.ort",
    )
    for each in report.exports:
        assert each.max_abs_diff is not None and each.max_abs_diff < 0.05
        assert each.figures.starts is not None and each.figures.size_bytes > 0
        assert {m.sequence for m in report.latency if m.subject == each.subject} == {16, "task"}
        assert (out / each.figures.artifact).is_file()
    assert report.exports[1].max_abs_diff == 0.0
    xml = out / "model" / "openvino_model.xml"
    assert report.candidate.size_bytes == xml.stat().st_size + xml.with_suffix(".bin").stat().st_size
    assert "INFERENCE_NUM_THREADS" in json.loads((out / "model" / "session.json").read_text())["openvino_model.xml"]
    assert answered_by_the_card(out, tiny_data) == pytest.approx(
        json.loads((out / "predictions.jsonl").read_text().splitlines()[0])["candidate"], abs=1e-3
    )
    for page in ("report.md", "report.html"):
        assert "required_operators" not in (out / page).read_text() and "openvino" in (out / page).read_text()


def answered_by_the_card(out: Path, data: Path) -> list[float]:
    """The logits of the first row, by the lines of the model card pasted into a program."""
    lines = (out / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    row = json.loads((data / "validation.jsonl").read_text().splitlines()[0])
    program = lines.replace("A first text.", row["text"]) + "\nprint(*logits)\n"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=out / "model", capture_output=True, text=True, check=True
    )
    return [float(v) for v in done.stdout.split()[-2:]]


def answer(module: str, task: dict[str, Any]) -> Any:
    """What the measuring processes would: p50s by subject and length, and three starts."""
    if module.endswith("cold_worker"):
        return {name: [{"ms": 1.0, "peak_bytes": 10_000_000}] * 3 for name in task["graphs"]}
    same = {"device": "cpu", "session": {"threads": 1}, "gain": None}
    wobble = [1 + 0.001 * (n % 7 - 3) for n in range(64)]
    return [
        {**same, "runtime": "onnxruntime", "subject": name, "sequence": sequence, "samples": [ms * w for w in wobble]}
        for name in [*task["graphs"], "baseline-torch"]
        for sequence, ms in zip(
            [16, "task"],
            P50.get(name, (9.0, 9.0)) if task["torch"] is None else LATER.get(name, (9.0, 9.0)),
            strict=True,
        )
    ]


#: Milliseconds at 16 tokens and at the rows' own lengths. Quickest at 16 is openvino, over both buckets: √(3·1) <
#: √(2·2).
P50 = {
    "baseline": (8.0, 8.0),
    "onnx": (4.0, 3.0),
    "openvino": (2.0, 2.0),
    "openvino buckets": (3.0, 1.0),
    "ort": (0.5, 0.5),
}


#: The same in the report's own rounds, where the one that was lucky when it was chosen no longer is.
LATER = {**P50, "openvino": (2.0, 2.0), "openvino buckets": (3.0, 1.5)}


def test_auto_keeps_the_fastest(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the geometric mean over the target's lengths; what is listed besides is measured and never chosen."""
    monkeypatch.setattr("edgeopt.measure.latency.run_worker", answer)
    formats = {"format": "auto", "formats": ["onnx", "openvino"]}
    out, report = applied(tmp_path / "auto", tiny_model, tiny_data, store, export=[formats, {"format": "ort"}])
    assert [e.name for e in report.exports] == ["onnx", "openvino", "openvino buckets", "openvino max_length", "ort"]
    assert [e.subject for e in report.exports] == ["onnx", "openvino", "candidate", "openvino max_length", "ort"]
    assert report.chosen_by_speed
    # of rounds that chose nothing
    assert [m.p50_ms for m in report.latency if m.subject == "candidate"] == pytest.approx([3.0, 1.5])
    assert report.candidate.artifact == "model/openvino_model.xml" and (out / report.candidate.artifact).is_file()
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["model", "model-ort"]
    assert json.loads((out / "model" / "session.json").read_text()) == {"openvino_model.xml": {"threads": 1}}
    said = (out / "report.md").read_text()
    assert (
        "`export: auto` kept openvino buckets" in said
        and "0.667× [0.667×, 0.667×] as fast as openvino on brief, 16 tokens" in said
        and "as fast as ort" not in said
    )
    again = edgeopt("gate", out)
    assert again.code == 0, again.err


def test_auto_leaves_out_what_cannot_be_converted(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> Any:
        raise RuntimeError("no such operator")

    monkeypatch.setattr("edgeopt.measure.latency.run_worker", answer)
    monkeypatch.setattr(type(exporter("openvino")), "write", fail)
    _, report = applied(
        tmp_path / "left", tiny_model, tiny_data, store, export=[{"format": "auto", "formats": ["openvino", "onnx"]}]
    )
    assert [(e.name, e.subject) for e in report.exports] == [("onnx", "candidate")]
    assert (
        "`export: auto` left openvino out: exporter 'openvino' cannot convert the model: no such operator."
        in report.notes
    )
    named = recipe_for(
        tmp_path,
        tiny_model,
        tiny_data,
        steps=STEPS,
        targets=[TARGET],
        baseline={"finetune": SHORT},
        export=[{"format": "openvino"}],
    )
    done = edgeopt("apply", named, "--out", tmp_path / "run", "--store", store)
    assert done.code == 3 and "E410" in done.err and "no such operator" in done.err
    assert not (tmp_path / "run").exists()


def test_auto_keeps_one_that_holds_the_gates(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of OpenVINO's file makes it larger than the graph: quicker, and out."""
    monkeypatch.setattr("edgeopt.measure.latency.run_worker", answer)
    formats = {"format": "auto", "formats": ["onnx", "openvino"]}
    _, report = applied(
        tmp_path / "gated", tiny_model, tiny_data, store, export=[formats], gates=[{"metric": "size", "max_ratio": 1}]
    )
    assert {e.name: e.verdict for e in report.exports if e.format == "openvino"} == dict.fromkeys(
        ("openvino", "openvino buckets", "openvino max_length"), "fail"
    )
    assert [e.name for e in report.exports if e.subject == "candidate"] == ["onnx"]
