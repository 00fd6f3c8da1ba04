"""Queries and a corpus from their files to report, gates, and gates decided again."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from helpers import WORDS, edgeopt, tiny_recipe
from running import BRIEF


def files(folder: Path) -> Path:
    """Passages of eight words; a query has five of them."""
    rng = random.Random(0)
    passages = [rng.sample(WORDS, 8) for _ in range(60)]
    lines = {"passages": [{"pid": f"p{i}", "body": " ".join(words)} for i, words in enumerate(passages)]}
    for split, count in (("train", 40), ("validation", 36)):
        chosen = [rng.randrange(60) for _ in range(count)]
        queries = [rng.sample(passages[i], 5) for i in chosen]
        lines[split] = [{"q": " ".join(q), "right": [f"p{i}"]} for q, i in zip(queries, chosen, strict=True)]
    for name, rows in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def recipe(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = files(tmp_path_factory.mktemp("retrieval"))
    corpus = {"data_files": "passages.jsonl", "id": "pid", "text": "body", "relevant": "right"}
    task = {"type": "embedding", "dataset": {"path": str(folder)}, "text": "q", "corpus": corpus, "max_length": 16}
    short = {"max_steps": 2, "batch_size": 8, "precision": "fp32"}
    return tiny_recipe(
        folder,
        model={"id": str(tiny_model)},
        task={**task, "dimensions": [32, 8], "prompts": {"query": "", "passage": "word1 "}},
        baseline={"finetune": None},
        steps=[{"use": "finetune", "losses": {"contrastive": 1.0}, **short}, {"use": "quantize.dynamic"}],
        targets=[BRIEF],
        gates=[{"metric": "ndcg@10", "max_drop": 0.4}, {"metric": "recall@10", "min": 0.1}],
        seeds=[0, 1],
        export=[{"format": "onnx", "embeddings": ["int8", "binary"]}],
    )


def test_it_is_searched_gated_and_gated_again(recipe: Path) -> None:
    run, store = recipe.parent / "run", recipe.parent / "store"
    done = edgeopt("apply", recipe, "--out", run, "--store", store, "--quiet")
    assert done.code == 0, done.err
    report = json.loads((run / "report.json").read_text())
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == report["task"]["rows"] == 36 and {row["label"] for row in rows} == {1}
    assert "Queries are searched for in 60 passages." in report["task"]["remarks"]
    for side in ("baseline", "candidate"):
        values, shown = np.array([row[side] for row in rows]).mean(0), report[side]["metrics"]
        names = ["ndcg@10", "mrr@10", "recall@10", "map", "agreement"]
        assert shown == pytest.approx(dict(zip(names, [*values[:4], values[-2]], strict=True)))
        assert report[side]["extra"]["map/8"] == pytest.approx(values[7])
    assert report["baseline"]["metrics"]["ndcg@10"] > 0.5
    full, byte, bit, _ = report["stored"]
    assert [s["bytes"] for s in report["stored"]] == [128, 32, 4, 4] and full["recall"] == 1.0 > byte["low"]
    assert full["metrics"] == pytest.approx({n: report["candidate"]["metrics"][n] for n in full["metrics"]})
    assert byte["recall"] > 0.8 and byte["recall"] > bit["recall"]
    assert "Stored embeddings" in (run / "report.md").read_text()
    known = json.loads((run / "model" / "embeddings.json").read_text())
    assert len(known["int8"]["low"]) == len(known["int8"]["high"]) == known["dimensions"] == 32
    assert edgeopt("gate", run).code == 0
    graph = next(run.glob("model/onnx/*.onnx"))
    again = edgeopt("gate", graph, "--recipe", recipe, "--set", "gates=[{metric: map, min: 0.1}]", "--json")
    assert again.code == 0, again.err
    assert again.json["gates"][0]["value"] == pytest.approx(report["candidate"]["metrics"]["map"])
    bundle, rows = recipe.parent / "bundle", recipe.parent / "passages.jsonl"
    assert edgeopt("bundle", run, "--count", 8, "--out", bundle).code == 0
    assert edgeopt("bundle", "verify", bundle).code == 0
    found = [edgeopt("predict", model, rows, "--text", "body").out for model in (bundle, run)]
    assert found[0] and found[0] == found[1], "the column of the passages has their prompt"


def test_a_plan_reads_the_corpus(recipe: Path) -> None:
    assert edgeopt("plan", recipe, "--store", recipe.parent / "elsewhere").code == 0
    wrong = edgeopt("plan", recipe, "--set", "task.corpus.text=passage")
    refused = edgeopt("plan", recipe, "--set", "export=[{format: onnx}, {format: ort, embeddings: int8}]")
    assert refused.code == 2 and "only the first export takes 'embeddings'" in refused.err
    assert wrong.code == 2 and "E303" in wrong.err and "passages.jsonl:1" in wrong.err
