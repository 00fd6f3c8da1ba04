"""`edgeopt diff`, over two run folders that are written here."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt, seal_run, tiny_task
from report_sample import gates, latency, sample_report, step

from edgeopt.results.changes import changes
from edgeopt.results.model import Report
from edgeopt.spec.recipe import ModelSpec, TaskSpec
from edgeopt.statistics.bounds import paired_proportions

ROWS = 40
#: Rows that each candidate answers wrongly: the second gains rows 0 to 2 and loses rows 10 to 17.
WRONG_FIRST, WRONG_SECOND = {0, 1, 2, 3}, {3, *range(10, 18)}


def lock_of(report: Report, **changed: Any) -> dict[str, Any]:
    resolved = {
        "name": report.recipe.name,
        "model": ModelSpec.model_validate({"id": "model"}).model_dump(mode="json"),
        "task": TaskSpec.model_validate(tiny_task("data", type=report.task.type)).model_dump(mode="json"),
        "steps": [{"id": "int8", "use": "quantize.static", "calibration": {"samples": 64}}],
        "targets": [{"name": "cpu"}],
        "gates": [],
    }
    lock = {
        "lock": 1,
        "edgeopt": "0.1.0",
        "recipe": {"digest": report.recipe.digest, "resolved": resolved},
        "model": "m" * 64,
        "data": {"train": "t" * 64, "report": "r" * 64},
        "packages": {},
        "steps": {},
    }
    return {**lock, **changed}


def write(folder: Path, report: Report, wrong: set[int], lock: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    report = report.model_copy(update={"task": report.task.model_copy(update={"rows": ROWS})})
    (folder / "report.json").write_text(report.model_dump_json())
    (folder / "recipe.lock").write_text(json.dumps(lock or lock_of(report)))
    lines = []
    for i in range(ROWS):
        label = i % 2
        right = [0.0, 1.0] if label else [1.0, 0.0]
        lines.append(
            json.dumps(
                {"index": i, "label": label, "baseline": right, "candidate": right[::-1] if i in wrong else right}
            )
        )
    (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    return seal_run(folder)


def second() -> Report:
    """The sample with another calibration, a step more, another package, other times, a gate less and a failed one."""
    first = sample_report()
    kept = [s for s in first.steps if s.id != "prune"]
    kept[-1] = kept[-1].model_copy(update={"key": "f" * 64})
    kept[1] = kept[1].model_copy(update={"digest": "e" * 64})
    drop, speed, _ = gates()
    return sample_report(
        verdict="fail",
        steps=[*kept, step("bias", "quantize.bias", "candidate", 1.0, 23_000_000)],
        environment={**first.environment, "packages": {"onnxruntime": "1.32.0", "torch": "2.8.0"}},
        candidate=first.candidate.model_copy(
            update={"size_bytes": 20_000_000, "metrics": {"accuracy": 31 / 40, "f1": 0.8}}
        ),
        latency=[latency("candidate", 4.26, 5, None), *first.latency[1:]],
        gates=[drop.model_copy(update={"verdict": "fail", "value": 0.125}), speed],
    )


def write_both(folder: Path) -> list[Path]:
    other = second()
    lock = copy.deepcopy(lock_of(other))
    lock["recipe"]["resolved"]["steps"] = [
        {"id": "int8", "use": "quantize.static", "calibration": {"samples": 128}},
        {"id": "bias", "use": "quantize.bias"},
    ]
    return [write(folder / "a", sample_report(), WRONG_FIRST), write(folder / "b", other, WRONG_SECOND, lock)]


def test_what_changed_and_what_it_did(tmp_path: Path) -> None:
    done = edgeopt("diff", *write_both(tmp_path), "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["runs"] == [{"name": "a", "verdict": "pass"}, {"name": "b", "verdict": "fail"}]
    assert found["recipe"] == [
        {"at": "steps.int8.calibration.samples", "old": 64, "new": 128},
        {"at": "steps.bias", "old": None, "new": {"id": "bias", "use": "quantize.bias"}},
    ]
    assert found["inputs"] == []
    assert found["environment"] == [{"at": "packages.onnxruntime", "old": "1.31.1", "new": "1.32.0"}]
    assert {s["id"]: s["state"] for s in found["steps"]} == {
        "finetune": "same",
        "adapt": "other bytes",
        "merge": "same",
        "prune": "only in the first",
        "lower": "same",
        "int8": "changed",
        "bias": "only in the second",
    }
    figures = {(f["of"], f["name"]): f for f in found["figures"]}
    size, p50 = figures["candidate", "exported_bytes"], figures["candidate", "p50_milliseconds"]
    assert (size["first"], size["second"], size["low"]) == (23_014_208, 20_000_000, None)
    assert (p50["first"], p50["second"], p50["low"]) == (8.52, 4.26, None)
    assert ("baseline", "accuracy") not in figures  # the same in both
    assert [(g["first"]["verdict"], g["second"] and g["second"]["verdict"]) for g in found["gates"]] == [
        ("pass", "fail"),
        ("pass", "pass"),
        ("pass", None),
    ]


def test_bounds_are_those_of_the_paired_rows(tmp_path: Path) -> None:
    found = edgeopt("diff", *write_both(tmp_path), "--json").json
    accuracy = next(f for f in found["figures"] if f["name"] == "accuracy")
    expected = paired_proportions(3, 8, ROWS, 0.95)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((expected.low, expected.high))
    assert expected.value == pytest.approx(-5 / 40) and accuracy["low"] < -5 / 40 < accuracy["high"]
    assert found["unpaired"] is None and found["predictions_that_differ"] == 11


def test_text_says_what_is_the_same_and_that_latencies_are_not_paired(tmp_path: Path) -> None:
    done = edgeopt("diff", *write_both(tmp_path))
    assert done.code == 0, done.err
    for expected in [
        "steps.int8.calibration.samples",
        "Model and rows: the same",
        "1.15× smaller",
        "2.00× shorter",
        "not side by side",
        "11 of 40 predictions of the candidates differ",
        "fail: 12.50 points, drop ≤ 2.00 points",
        "verdict: pass → fail",
    ]:
        assert expected in " ".join(done.out.split()), expected


@pytest.mark.parametrize(
    ("lock", "task", "reason"),
    [
        ({"data": {"train": "t" * 64, "report": "x" * 64}}, {}, "they were measured on different rows"),
        ({"data": None}, {}, "they were measured on different rows"),
        ({}, {"labels": ["no", "yes"]}, "their classes differ"),
        ({}, {"type": "text-regression"}, "their tasks differ"),
    ],
)
def test_other_rows_are_not_paired(tmp_path: Path, lock: dict[str, Any], task: dict[str, Any], reason: str) -> None:
    first = sample_report()
    other = sample_report(task=first.task.model_copy(update=task))
    runs = write(tmp_path / "a", first, WRONG_FIRST), write(tmp_path / "b", other, WRONG_SECOND, lock_of(other, **lock))
    found = edgeopt("diff", *runs, "--json").json
    assert found["unpaired"] == reason and all(f["low"] is None for f in found["figures"])
    assert f"no bounds: {reason}" in edgeopt("diff", *runs).out


def test_without_a_place_or_gates_in_common(tmp_path: Path) -> None:
    other = sample_report(latency=[latency("candidate", 4, 5, None, target="phone")], speedups=[], gates=[])
    runs = write(tmp_path / "a", sample_report(gates=[]), WRONG_FIRST), write(tmp_path / "b", other, WRONG_FIRST)
    done = edgeopt("diff", *runs)
    assert (
        "latencies are not shown" in done.out and "p50" not in done.out and "verdict: no gates → no gates" in done.out
    )


def test_the_same_run_twice(tmp_path: Path) -> None:
    run = write(tmp_path / "a", sample_report(), WRONG_FIRST)
    found = edgeopt("diff", run, run / "report.json", "--json").json
    assert found["recipe"] == found["inputs"] == found["environment"] == [] and {
        s["state"] for s in found["steps"]
    } == {"same"}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def _other_recipe(path: Path) -> None:
    path.write_text(json.dumps(lock_of(second()) | {"recipe": {"digest": "other", "resolved": {}}}))


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("report.json", Path.unlink, "there is no report at"),
        ("recipe.lock", _other_recipe, "another recipe"),
        ("predictions.jsonl", _cut, "is not JSON"),
        ("predictions.jsonl", lambda path: path.write_text(""), "is empty"),
        (
            "predictions.jsonl",
            lambda path: path.write_text(path.read_text().split("\n", 1)[1]),
            "row 1 stands where row 0 should",
        ),
    ],
)
def test_what_is_no_whole_run_is_refused(tmp_path: Path, name: str, damage: Any, said: str) -> None:
    first, other = write_both(tmp_path)
    damage(other / name)
    if (other / "report.json").exists():
        seal_run(other)  # what a change without that gives is in test_sealed.py
    done = edgeopt("diff", first, other)
    assert done.code == 2 and done.out == "" and "E115" in done.err and said in done.err


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            [{"id": "a", "x": 1}, {"id": "b"}],
            [{"id": "b"}, {"id": "a", "x": 2}],
            [("s: order", ["a", "b"], ["b", "a"]), ("s.a.x", 1, 2)],
        ),
        ([{"use": "quantize.static"}], [], [("s.static", {"use": "quantize.static"}, None)]),
        ([{"metric": "size"}], [{"metric": "size"}, {"metric": "f1"}], [("s.1", None, {"metric": "f1"})]),
        ([1, 2], [2, 1], [("s", [1, 2], [2, 1])]),
        ([], [1], [("s", [], [1])]),
        ({"a": {"b": None}}, {"a": {}}, []),
        ({"a": {"b": 1}}, {"a": None}, [("s.a", {"b": 1}, None)]),
    ],
)
def test_changes(old: Any, new: Any, expected: list[tuple[str, Any, Any]]) -> None:
    assert [tuple(change) for change in changes(old, new, "s")] == expected
