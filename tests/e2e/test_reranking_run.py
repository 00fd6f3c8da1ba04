"""A reranker through adapter, cuts, a teacher and int8, to report, gates, and gates decided again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from helpers import WORDS, edgeopt, tiny_recipe
from running import BRIEF

from edgeopt.plan import make_plan
from edgeopt.recipe.load import load_recipe
from edgeopt.run.execute import execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress

SHORT = {"batch_size": 8, "max_steps": 2, "precision": "fp32"}


def recipe(folder: Path, model: Path, steps: list[Any], **more: Any) -> Path:
    """Queries of one word with four passages of five words; those that have it are relevant."""
    rng = random.Random(0)
    for split, count in (("train", 24), ("validation", 32)):
        lines = []
        for query in range(count):
            word = rng.choice(WORDS)
            for passage in range(4):
                words = [*rng.sample([w for w in WORDS if w != word], 4), word if passage < 2 else rng.choice(WORDS)]
                rng.shuffle(words)
                row = {"query": word, "passage": " ".join(words), "relevance": int(word in words), "qid": query}
                lines.append(json.dumps(row) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines))
    task = {"type": "reranking", "dataset": {"path": str(folder)}, "text": ["query", "passage"], "max_length": 16}
    given = {"label": "relevance", "group": "qid"}
    return tiny_recipe(folder, model={"id": str(model)}, task={**task, **given}, steps=steps, **more)


def test_it_is_gated_over_queries_and_gated_again(tiny_model: Path, tmp_path: Path) -> None:
    steps = [{"use": "finetune", "losses": {"bce": 1.0}, **SHORT}, {"use": "quantize.dynamic"}]
    timed = {"metric": "throughput.qps", "min_speedup": 0.001, "target": "four"}
    gates = [{"metric": "ndcg@10", "max_drop": 0.5}, timed]
    targets = json.loads(json.dumps([BRIEF, {**BRIEF, "name": "four", "batch": 4}]))
    path = recipe(tmp_path, tiny_model, steps, baseline={"finetune": SHORT}, gates=gates, targets=targets)
    run = tmp_path / "run"
    done = edgeopt("apply", path, "--out", run, "--store", tmp_path / "store", "--quiet")
    assert (run / "report.json").is_file(), done.err
    report = json.loads((run / "report.json").read_text())
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 128 and {row["label"][1] for row in rows} == set(range(32))
    assert set(report["candidate"]["metrics"]) == {"ndcg@10", "mrr@10", "map"}
    assert "128 passages are put in order for 32 queries" in " ".join(report["notes"])
    assert " on 32 queries; drop" in report["gates"][0]["reason"]
    again = edgeopt("gate", run, "--json")
    assert [g["value"] for g in again.json["gates"]] == [g["value"] for g in report["gates"]]
    answers = edgeopt("predict", run, tmp_path / "validation.jsonl")
    assert answers.code == 0, answers.err
    assert edgeopt("bundle", run, "--out", tmp_path / "bundle").code == 0
    assert edgeopt("bundle", "verify", tmp_path / "bundle").code == 0
    assert edgeopt("predict", tmp_path / "bundle", tmp_path / "validation.jsonl").out == answers.out


def test_adapters_cuts_and_teachers_work_on_it(tiny_model: Path, tmp_path: Path) -> None:
    steps = [
        {"use": "adapter.lora", "r": 2, "losses": {"mse": 1.0}, **SHORT},
        {"use": "merge"},
        {"use": "prune.fisher", "macs": 0.8, "samples": 32},
        {"use": "distill", "losses": {"labels": 0.5, "logits": 1.0}, **SHORT},
        {"use": "quantize.static", "policy": "auto"},
    ]
    store = Store(tmp_path / "store")
    path = recipe(tmp_path, tiny_model, steps, baseline={"finetune": SHORT})
    found = execute(make_plan(load_recipe(path), store), store, Progress(show=False), Group())
    by_id = {done.step.id: done.state for done in found.chains["candidate"]}
    assert by_id["distill"].figures["train_loss"] > 0
    assert by_id["fisher"].figures["structure"]["macs"] < by_id["fisher"].figures["structure"]["dense_macs"]


def test_a_loss_of_another_task_is_told(tiny_model: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_model, [{"use": "finetune", "losses": {"cosent": 1.0}}])
    told = edgeopt("plan", path, "--store", tmp_path / "store")
    assert told.code == 2 and "has no such loss" in told.err and "losses: mse, bce" in told.err
    taught = {"use": "finetune", "losses": {"mse": 1.0}, "distill": {"teacher": str(tiny_model)}}
    told = edgeopt("plan", recipe(tmp_path, tiny_model, [taught]), "--store", tmp_path / "store")
    assert told.code == 2 and "only learns from its teacher" in told.err
