"""What a tracker is told of a run: parameters by key path, metrics, curves by step, verdict and gates, seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from bundles import make_run
from helpers import seal_run
from report_sample import seeds

from edgeopt.results.sealed import Run, open_run
from edgeopt.track.record import KEY, LOCK_TAG, flat, gate_name, record_of, seed_records
from edgeopt.training.loop import curves


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Run:
    """A run of three seeds, one step of which has curves, and a metric that is no number."""
    folder = make_run(tmp_path_factory.mktemp("made"), tiny_data)
    report = json.loads((folder / "report.json").read_text())
    report["steps"][1]["figures"]["curves"] = {"loss": [[10, 0.7], [20, 0.5]], "eval_accuracy": [[20, 0.8]]}
    report["seeds"] = json.loads(seeds().model_dump_json())
    report["candidate"]["extra"] = {"precision": math.nan}
    (folder / "report.json").write_text(json.dumps(report))
    return open_run(seal_run(folder))


def test_parameters_are_the_recipe_by_its_key_paths(run: Run) -> None:
    params = record_of(run).params
    assert params["task.max_length"] == "16" and params["task.text"] == "text"
    assert params["targets.brief.sequence"] == '[16, "task"]' and params["targets.brief.threads"] == "1"
    steps = {"steps": [{"id": "adapt", "use": "adapter.lora", "r": 8, "alpha": None}], "gates": []}
    assert dict(flat(steps)) == {
        "steps.adapt.id": "adapt",
        "steps.adapt.use": "adapter.lora",
        "steps.adapt.r": "8",
        "gates": "[]",
    }


def test_metrics_are_of_both_models_with_times_and_bounds(run: Run) -> None:
    found, report = record_of(run).metrics, run.report
    assert found["candidate/accuracy"] == report.candidate.metrics["accuracy"]
    assert found["baseline/size_mb"] == report.baseline.size_bytes / 1e6
    place = report.latency[0]
    assert found[f"latency/{place.target}/{place.sequence}/candidate/p50_ms"] == place.p50_ms
    assert {"difference/accuracy", "difference/accuracy_low", "steps/candidate/adapt/train_seconds"} <= set(found)
    assert "candidate/precision" not in found and all(map(math.isfinite, found.values()))


def test_curves_have_their_steps(run: Run) -> None:
    assert record_of(run).curves == {
        "train/candidate/adapt/loss": [(10, 0.7), (20, 0.5)],
        "train/candidate/adapt/eval_accuracy": [(20, 0.8)],
    }


def test_tags_have_the_verdict_every_gate_and_the_lock(run: Run) -> None:
    found, report = record_of(run), run.report
    assert report.seal is not None and found.key == report.seal.content and KEY not in found.tags
    assert found.tags[LOCK_TAG] == report.seal.files["recipe.lock"] and found.tags["edgeopt.verdict"] == "pass"
    assert len({gate_name(gate) for gate in report.gates}) == len(report.gates)
    assert all(found.tags[gate_name(gate)].startswith(f"{gate.verdict}: ") for gate in report.gates)
    assert [path.name for path in found.files] == ["report.json", "recipe.lock"]


def test_each_seed_is_a_record_below_the_run(run: Run) -> None:
    parent = record_of(run, "cell")
    found = seed_records(run, parent)
    assert [each.name for each in found] == ["cell seed 1", "cell seed 2", "cell seed 3"]
    assert found[1].metrics["candidate/accuracy"] == 0.8282 and found[1].params == {"seed": "2"}
    assert len({parent.key, *(each.key for each in found)}) == 4


def test_a_curve_is_what_was_logged_thinned_to_its_last_point() -> None:
    history = [{"loss": 1 / n, "learning_rate": 0.1, "step": n, "epoch": 1.0} for n in range(1, 1001)]
    history.append({"grad_norm": math.inf, "step": 1000})
    history.append({"eval_loss": 0.3, "eval_f1": 0.9, "eval_runtime": 2.0, "eval_samples_per_second": 5, "step": 1000})
    found = curves(history)
    assert set(found) == {"loss", "eval_loss", "eval_f1"} and found["eval_f1"] == [(1000, 0.9)]
    assert len(found["loss"]) == 200 and found["loss"][-1] == (1000, 0.001) and found["loss"][0] == (5, 0.2)
    assert curves([]) == {}
