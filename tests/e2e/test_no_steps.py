"""A recipe without steps gates a finished model as it is, on rows to report on alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt
from running import recipe_for

GATES = [{"metric": "accuracy", "min": 0.1}, {"metric": "size", "max_mb": 5}]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder that has validation rows and nothing else."""
    folder = tmp_path_factory.mktemp("reported")
    shutil.copy(tiny_data / "validation.jsonl", folder)
    return folder


def recipe(folder: Path, classifier: Path, rows: Path, **changes: Any) -> Path:
    return recipe_for(folder, classifier, rows, **{"baseline": None, "gates": GATES, **changes})


def test_a_finished_model_is_gated_as_it_is(tmp_path: Path, classifier: Path, reported: Path) -> None:
    file = recipe(tmp_path, classifier, reported)
    valid = edgeopt("validate", file)
    assert valid.code == 0 and "0 steps; data: 96 validation rows; There is no train split" in valid.out
    planned = edgeopt("plan", file, "--store", tmp_path / "store")
    assert planned.code == 0 and "candidate.onnx" in planned.out
    done = edgeopt(
        "apply", file, "--out", tmp_path / "run", "--store", tmp_path / "store", "--junit", tmp_path / "j.xml"
    )
    assert done.code == 0, done.out + done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["verdict"], report["task"]["leaked"], report["task"]["rows"]) == ("pass", None, 96)
    assert any("no steps, so that candidate and baseline are the same model" in note for note in report["notes"])
    assert "no train split: whether validation rows stand in it was not looked at" in done.out
    again = edgeopt("gate", tmp_path / "run", "--recipe", file)
    assert again.code == 0, again.out + again.err
    assert again.out.count("was not looked at") == 1, again.out
    assert edgeopt("gate", tmp_path / "run" / "model").code == 0


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "accuracy", "max_drop": 0.1},
        {"metric": "size", "max_ratio": 1.5},
        {"metric": "latency.p50", "max_ratio": 2.0},
    ],
)
def test_what_would_compare_it_with_itself_is_refused(
    tmp_path: Path, classifier: Path, reported: Path, gate: dict[str, Any]
) -> None:
    done = edgeopt("plan", recipe(tmp_path, classifier, reported, gates=[gate]))
    assert done.code == 2 and "compares the model with itself" in done.err and "recipe.yaml:" in done.err
    torch = {"metric": "latency.p50", "min_speedup": 0.1, "against": "torch"}
    assert edgeopt("plan", recipe(tmp_path, classifier, reported, gates=[torch])).code == 0
    assert edgeopt("plan", recipe(tmp_path, classifier, reported, gates=[gate], export="ort")).code == 0


def test_a_finished_run_without_steps_passes_no_gate_that_compares(
    tmp_path: Path, classifier: Path, reported: Path
) -> None:
    """Its own recipe may have none; another one's, and the gates of `export: auto`, meet the same model."""
    size, torch = (
        {"metric": "size", "max_ratio": 1.5},
        {"metric": "latency.p50", "min_speedup": 0.1, "against": "torch"},
    )
    auto = {"gates": [size, torch, *GATES], "export": {"format": "auto", "formats": ["onnx"]}}
    store = ("--store", tmp_path / "store")
    file = recipe(tmp_path, classifier, reported, seeds=[1, 2])
    assert edgeopt("apply", file, "--out", tmp_path / "run", *store).code == 0
    recipe(tmp_path, classifier, reported, seeds=[1, 2], gates=[size, torch, *GATES])
    found = edgeopt("gate", tmp_path / "run", "--recipe", file, "--json")
    assert found.code == 4, found.out + found.err
    first, *others = found.json["gates"]
    assert first["verdict"] == "inconclusive" and "nothing was compared" in first["reason"]
    assert [gate["verdict"] for gate in others] == ["pass"] * 3
    file = recipe(tmp_path, classifier, tiny_train(tmp_path, reported), **auto)
    assert edgeopt("apply", file, "--out", tmp_path / "auto", *store).code == 4
    gates = json.loads((tmp_path / "auto" / "report.json").read_text())["gates"]
    assert [gate["verdict"] for gate in gates] == ["inconclusive", "pass", "pass", "pass"]


def tiny_train(folder: Path, reported: Path) -> Path:
    """A folder that has the reported rows, and train."""
    made = folder / "both"
    shutil.copytree(reported, made)
    shutil.copy(reported / "validation.jsonl", made / "train.jsonl")
    return made


def test_a_model_may_have_classes_that_the_reported_rows_lack(tmp_path: Path, classifier: Path, reported: Path) -> None:
    rows = [line for line in (reported / "validation.jsonl").open() if json.loads(line)["label"] == 1]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "validation.jsonl").write_text("".join(rows))
    done = edgeopt("validate", recipe(tmp_path, classifier, tmp_path / "rows"))
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"steps": [{"id": "int8", "use": "quantize.dynamic"}]}, 0),  # reads no rows
        ({"steps": [{"id": "int8", "use": "quantize.static"}]}, 2),
        ({"steps": [{"id": "tune", "use": "finetune", "epochs": 1}]}, 2),
        ({"baseline": {"finetune": {"epochs": 1}}}, 2),
        ({"export": "auto"}, 2),
    ],
)
def test_train_is_asked_for_where_something_reads_it(
    tmp_path: Path, classifier: Path, reported: Path, changes: dict[str, Any], code: int
) -> None:
    done = edgeopt("validate", recipe(tmp_path, classifier, reported, **changes))
    assert done.code == code and ("has no train file" in done.err) == (code == 2), done.err
    files = {"data_files": {"validation": str(reported / "validation.jsonl")}}
    task = {"type": "text-classification", "dataset": files, "text": "text", "max_length": 32}
    done = edgeopt("validate", recipe(tmp_path, classifier, reported, task=task, **changes))
    assert done.code == code and ("there is no train split" in done.err) == (code == 2), done.err
