"""Slices, flips and rows that would settle a gate, from a recipe to the report and to gates decided again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.running import Applied, recipe_for
from helpers import edgeopt, tiny_task

TOPICS = ("film", "food", "none")


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Applied:
    work = tmp_path_factory.mktemp("slices")
    (work / "data").mkdir()
    for split in ("train", "validation"):
        rows = [json.loads(line) for line in (tiny_data / f"{split}.jsonl").read_text().splitlines()]
        topics = [TOPICS[0 if i < 50 else 1] if i < 90 else None for i in range(len(rows))]
        lines = (json.dumps({**row, "topic": topic}) + "\n" for row, topic in zip(rows, topics, strict=True))
        (work / "data" / f"{split}.jsonl").write_text("".join(lines))
    recipe = recipe_for(
        work,
        tiny_model,
        work / "data",
        task=tiny_task(work / "data", max_length=32, slices=["topic"]),
        diagnostics={"flips": 2},
        baseline={"finetune": {"epochs": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}},
        steps=[
            {
                "id": "tune",
                "use": "finetune",
                "max_steps": 12,
                "batch_size": 8,
                "learning_rate": 1e-3,
                "precision": "fp32",
            }
        ],
        gates=[{"metric": "accuracy", "max_drop": 0.01}, {"metric": "accuracy", "max_drop": 0.3, "slice": "worst"}],
    )
    done = edgeopt("apply", recipe, "--out", work / "run", "--store", work / "store")
    assert done.code in (0, 1, 4), done.err
    return Applied(recipe, work / "run", work / "store", done)


@pytest.fixture(scope="module")
def report(applied: Applied) -> Any:
    return json.loads((applied.out / "report.json").read_text())


def test_slices_are_those_of_the_rows(applied: Applied, report: Any) -> None:
    rows = [json.loads(line) for line in (applied.out / "predictions.jsonl").read_text().splitlines()]
    found = {(s["grouping"], s["name"]): s for s in report["slices"]["slices"]}
    assert [s["rows"] for g, s in found.items() if g[0] == "topic"] == [50, 40, 6]
    assert found["topic", "none"]["delta"] is None
    assert (
        sum(s["rows"] for g, s in found.items() if g[0] == "length")
        == 96
        == sum(s["rows"] for g, s in found.items() if g[0] == "label")
    )
    film = [r for r in rows if r["slices"]["topic"] == "film"]
    right = {k: sum(r[k].index(max(r[k])) == r["label"] for r in film) / 50 for k in ("baseline", "candidate")}
    assert found["topic", "film"]["delta"] == pytest.approx(right["candidate"] - right["baseline"])


def test_flips_are_counted_and_listed_with_their_texts(applied: Applied, report: Any) -> None:
    rows = [json.loads(line) for line in (applied.out / "predictions.jsonl").read_text().splitlines()]
    texts = [
        json.loads(line)["text"] for line in (applied.out.parent / "data" / "validation.jsonl").read_text().splitlines()
    ]
    answers = [
        (r["label"], r["baseline"].index(max(r["baseline"])), r["candidate"].index(max(r["candidate"]))) for r in rows
    ]
    agreement = report["agreement"]
    assert agreement["lost"] == sum(b == label != c for label, b, c in answers)
    assert agreement["gained"] == sum(c == label != b for label, b, c in answers)
    assert len(agreement["negative"]) == min(2, agreement["lost"])
    for flip in agreement["negative"]:
        assert flip["texts"] == [texts[flip["row"]]]
    page, markdown = (applied.out / "report.html").read_text(), (applied.out / "report.md").read_text()
    for heading in ("Agreement with the baseline", "Slices"):
        assert heading in page and f"## {heading}" in markdown


def test_gates_on_slices_are_decided_again(applied: Applied, report: Any, tmp_path: Path) -> None:
    again = edgeopt("gate", applied.out, "--json").json["gates"]
    assert [(g["verdict"], g["value"], g["high"], g["rows_needed"]) for g in again] == [
        (g["verdict"], g["value"], g["high"], g["rows_needed"]) for g in report["gates"]
    ]
    other = yaml.safe_load(applied.recipe.read_text())
    other["task"]["slices"] = ["topic", "genre"]
    other["gates"] = [{"metric": "accuracy", "max_drop": 0.3, "slice": s} for s in ("topic", "length", "label")]
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(other))
    assert [g["slice"] for g in edgeopt("gate", applied.out, "--recipe", path, "--json").json["gates"]] == [
        "topic",
        "length",
        "label",
    ]
    other["gates"] = [{"metric": "accuracy", "max_drop": 0.3, "slice": "genre"}]
    path.write_text(yaml.safe_dump(other))
    refused = edgeopt("gate", applied.out, "--recipe", path)
    assert refused.code == 2 and "E118" in refused.err and "slices by genre" in refused.err
