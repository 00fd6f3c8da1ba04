"""Coreference from files of documents to a report whose gates can be decided again."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import coref_reference as reference
import numpy as np
import pytest
from helpers import WORDS, edgeopt
from running import TRAINING, recipe_for

from edgeopt import Run
from edgeopt.data import load_data
from edgeopt.spec.recipe import TaskSpec

_GOOD, _BAD, _PLAIN = ([w for w in WORDS if w.startswith(kind)] for kind in ("good", "bad", "word"))


def document(rng: random.Random, number: int) -> str:
    """Good words are all of entity 0, each bad one is of its own: two mentions are the same where both are good."""
    lines = [f"#begin document (made/{number}); part 000"]
    for entity in range(1, rng.randint(7, 10)):
        words = [(w, "-") for w in rng.choices(_PLAIN, k=rng.randint(1, 3))]
        words.append((rng.choice(_GOOD), "(0)") if rng.random() < 0.65 else (rng.choice(_BAD), f"({entity})"))
        rng.shuffle(words)
        lines += [f"made/{number} 0 {i} {word} XX - {mention}" for i, (word, mention) in enumerate(words)]
        lines.append("")
    return "\n".join([*lines, "#end document", ""])


def write_documents(folder: Path, train: int, validation: int) -> Path:
    folder.mkdir()
    rng = random.Random(0)
    for split, count in (("train", train), ("validation", validation)):
        (folder / f"{split}.conll").write_text("".join(document(rng, i) for i in range(count)))
    return folder


def task_over(data: Path) -> dict[str, Any]:
    pairs = {"max_antecedents": 4, "window": 3}
    return {
        "type": "coreference",
        "dataset": {"path": str(data)},
        "text": "sentences",
        "pairs": pairs,
        "max_length": 24,
        "metrics": ["conll_f1", "f1", "accuracy"],
    }


@pytest.fixture(scope="module")
def applied(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coreference")
    data = write_documents(folder / "data", train=16, validation=12)
    tuning = {**TRAINING, "batch_size": 16, "epochs": 8, "learning_rate": 3e-3, "keep_best": True}
    lora = {"use": "adapter.lora", "r": 4, "max_steps": 8, "learning_rate": 1e-3, "precision": "fp32"}
    steps = [
        {"use": "finetune", **tuning},
        lora,
        {"use": "merge"},
        {"use": "quantize.static", "calibration": {"samples": 16}},
    ]
    gates = [
        {"metric": "conll_f1", "max_drop": 0.5},
        {"metric": "f1", "max_drop_relative": 0.5},
        {"metric": "conll_f1", "min": 0.3},
    ]
    recipe = recipe_for(
        folder, tiny_model, data, task=task_over(data), steps=steps, gates=gates, baseline={"finetune": tuning}
    )
    done = edgeopt("apply", recipe, "--out", folder / "run", "--store", folder / "store", "--quiet")
    assert done.code == 0, done.err
    return folder


def predictions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "predictions.jsonl").read_text().splitlines()]


def test_it_learns_and_its_metrics_are_those_of_the_predictions(applied: Path) -> None:
    report = json.loads((applied / "run" / "report.json").read_text())
    rows = predictions(applied)
    assert report["task"]["rows"] == len(rows)
    assert report["task"]["labels"] == ["no", "yes"]
    assert report["baseline"]["metrics"]["conll_f1"] > 0.8
    assert any("gold mentions" in note and "12 here" in note for note in report["notes"])
    for subject in ("baseline", "candidate"):
        documents = []
        for number in range(12):
            pairs = [(r["label"], r[subject][1] - r[subject][0]) for r in rows if r["label"][1] == number]
            gold = {m: e for (_, _, a, b, ea, eb), _ in pairs for m, e in ((a, ea), (b, eb))}
            heads: dict[int, int] = {}
            for mention in sorted(gold):
                links = [(score, b) for (_, _, a, b, _, _), score in pairs if a == mention and score > 0]
                heads[mention] = heads[max(links)[1]] if links else mention
            documents.append((_clusters(gold), _clusters(heads)))
        assert report[subject]["metrics"]["conll_f1"] == pytest.approx(reference.conll_f1(documents))
        right = np.mean([int(np.argmax(r[subject])) == r["label"][0] for r in rows])
        assert report[subject]["metrics"]["accuracy"] == pytest.approx(right)


def _clusters(cluster_of: dict[int, int]) -> list[frozenset[int]]:
    found = [frozenset(m for m, c in cluster_of.items() if c == cluster) for cluster in set(cluster_of.values())]
    return [c for c in found if len(c) > 1]


def test_a_program_and_a_file_ask_it(applied: Path, tmp_path: Path) -> None:
    """About pairs of sentences with a marked mention each, as the task makes them of documents."""
    task = TaskSpec.model_validate(task_over(applied / "data"))
    pairs = load_data(task, applied).report.texts
    measured = [row["candidate"] for row in predictions(applied)]
    told = Run(applied / "run").predict(pairs, batch_size=1)
    rows = "".join(json.dumps({"earlier": one, "later": other}) + "\n" for one, other in pairs)
    (tmp_path / "pairs.jsonl").write_text(rows)
    done = edgeopt("predict", applied / "run", tmp_path / "pairs.jsonl", "--batch-size", 1)
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(r["prediction"], r["logits"]) for r in found] == [(p.label, p.logits.tolist()) for p in told]
    assert len(told) == len(measured)
    np.testing.assert_allclose([one.logits for one in told], measured, atol=1e-4)
    assert {one.label for one in told} <= {"no", "yes"}


def test_its_gates_decided_again_are_the_same(applied: Path) -> None:
    done = edgeopt("gate", applied / "run", "--json")
    report = json.loads((applied / "run" / "report.json").read_text())
    assert done.code == 0
    assert len(done.json["gates"]) == 3
    # the line belongs to the recipe, which `gate` without --recipe does not read
    assert [{**g, "line": None} for g in done.json["gates"]] == [{**g, "line": None} for g in report["gates"]]


def test_the_lines_of_the_model_card_serve_it(applied: Path) -> None:
    model = applied / "run" / "model"
    card = (model / "README.md").read_text()
    assert "between square brackets" in card and "ORTModelForSequenceClassification" in card
    program = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    # each sentence has one mention, and the first pair is that of the first two
    sentences = (applied / "data" / "validation.conll").read_text().split("\n", 1)[1].split("\n\n")[:2]
    columns = [[line.split() for line in sentence.splitlines()] for sentence in sentences]
    first, second = (" ".join(c[3] if c[-1] == "-" else f"[ {c[3]} ]" for c in sentence) for sentence in columns)
    program = program.replace('"A first text."', repr(first)).replace('"A second text."', repr(second))
    done = subprocess.run(
        [sys.executable, "-c", program + "\nprint(json.dumps(logits.tolist()))"],
        cwd=model,
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose(
        json.loads(done.stdout.splitlines()[-1]), predictions(applied)[0]["candidate"], atol=0.05
    )
    assert done.stdout.splitlines()[0] in ("no", "yes")


@pytest.mark.parametrize("step", [{"use": "adapter.prompt"}, {"use": "adapter.prefix"}])
def test_virtual_tokens_have_a_place_there(step: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    data = write_documents(tmp_path / "data", train=2, validation=2)
    done = edgeopt("validate", recipe_for(tmp_path, tiny_model, data, task=task_over(data), steps=[step]))
    assert done.code == 0, done.err
