"""From a file of rows and a model to a verdict: `edgeopt init`, `validate`, `apply`, and what reads the rows again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from helpers import edgeopt, write_rows

from edgeopt.recipe.yaml import parse


def test_queries_with_passages_come_to_a_verdict_on_an_embedding_model(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"query": f"good{i % 9} word{i % 7}", "passage": f"word{i}"}) + "\n" for i in range(60))
    )
    done = edgeopt("init", "rows.jsonl", "--task", "embedding", "--model", tiny_model, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    applied = edgeopt(
        "apply", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--store", tmp_path / "store", "--quiet"
    )
    assert applied.code in (0, 3, 4), applied.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [gate["metric"] for gate in report["gates"]] == ["ndcg@10", "agreement"]


def test_a_file_and_a_model_come_to_a_verdict(tmp_path: Path, tiny_model: Path) -> None:
    rows = [
        json.loads(line) for line in (write_rows(tmp_path / "rows", train=200, validation=4) / "train.jsonl").open()
    ]
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerows([["id", "body", "liked"], *([i, row["text"], row["label"]] for i, row in enumerate(rows))])
    done = edgeopt("init", "reviews.csv", "--model", tiny_model, "--max-drop", "0.1", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "length   16 tokens: 99 of 100 texts have at most" in done.out
    assert "none on size and speed: the model is so small" in done.out
    recipe = tmp_path / "recipe.yaml"
    found = parse(recipe.read_text(), recipe).data
    assert Path(tmp_path / found["model"]["id"]).resolve() == tiny_model.resolve()
    valid = edgeopt("validate", recipe)
    assert (valid.code, "40 of the 200 rows of train are the validation rows" in valid.out) == (0, True)

    cut = tmp_path / "cut.yaml"
    cut.write_text(recipe.read_text().replace("  # - {id:", "  - {id:"))
    assert [step["use"] for step in parse(cut.read_text(), cut).data["steps"]][1:3] == ["prune.fisher", "distill"]
    assert edgeopt("validate", cut).code == 0

    run, store = tmp_path / "run", tmp_path / "store"
    applied = edgeopt("apply", recipe, "--out", run, "--store", store)
    assert applied.code in (0, 4), applied.err
    report = json.loads((run / "report.json").read_text())
    assert (report["task"]["split"], report["task"]["rows"], report["task"]["leaked"]) == ("validation", 40, 0)
    assert "task.dataset.split drew them with seed 0" in " ".join(report["task"]["remarks"])
    assert [(gate["metric"], gate["bound"]) for gate in report["gates"]] == [("accuracy", 0.1)]

    other_seed = edgeopt("validate", recipe, "--set", "seed=7", "--json")
    assert other_seed.json["data"]["found"] == edgeopt("validate", recipe, "--json").json["data"]["found"]
    assert edgeopt("gate", run, "--recipe", recipe, "--set", "seed=42").code == applied.code
    assert edgeopt("bundle", run).code == 0
    assert edgeopt("bundle", "verify", run / "bundle.zip").code == 0
    (tmp_path / "reviews.csv").write_text((tmp_path / "reviews.csv").read_text().replace("good1", "good2"))
    assert edgeopt("gate", run, "--recipe", recipe).code == 2
