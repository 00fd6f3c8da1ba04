"""Distillation with rows that have no labels, as steps and as a run: what is in keys, lock, plan and report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e.running import recipe_for
from helpers import WORDS, edgeopt, write_rows
from safetensors.numpy import load_file

from edgeopt.step import registry
from edgeopt.store.store import State
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 3, "batch_size": 16, "learning_rate": 1e-3, "precision": "fp32"}


def write(path: Path, texts: list[str], **more: Any) -> str:
    path.write_text("".join(json.dumps({"text": text, **more}) + "\n" for text in texts))
    return str(path)


def texts(count: int, start: int = 0) -> list[str]:
    return [
        f"{WORDS[i % 95]} {WORDS[(i * 7 + 3) % 95]} {WORDS[(i * 11 + 5) % 95]}" for i in range(start, start + count)
    ]


def unlabelled(path: str) -> dict[str, Any]:
    return {"unlabelled": {"dataset": {"data_files": {"train": path}}}}


@pytest.fixture
def steady(tiny_model: Path, tmp_path: Path) -> Path:
    """Without dropout, so that batches that are cut otherwise learn the same."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(
        json.dumps({**config, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    )
    return model


def small(model: Path, data: Path, store: Path, **more: Any) -> State:
    params = {**SHORT, "teacher": "baseline", **more}
    done = build([step(registry.get("distill"), params, "small")], model=model, data=data, store=store)
    return next(d.state for d in done.chains["candidate"] if d.step.id == "small")


def weights(state: State) -> dict[str, Any]:
    return dict(load_file(state.folder / "model.safetensors"))


def test_a_step_learns_from_texts_alone(steady: Path, tmp_path: Path) -> None:
    """A step's key is that of the texts; labels that they have change nothing, nor does a cache, nor accumulation.

    All rows are in each optimizer step, in one batch of 16 or in four of 4, with class weights.
    """
    data, store = write_rows(tmp_path / "data", train=10, validation=8), tmp_path / "store"
    path = write(tmp_path / "plain.jsonl", texts(6))
    terms = {"losses": {"labels": 1.0, "logits": 1.0}, **unlabelled(path)}
    weighted = {"class_weights": {"1": 5.0}, **terms}
    one = small(steady, data, store, **weighted)
    assert one.figures["unlabelled"] == {"source": "plain.jsonl", "rows": 6, "left_out": 0}
    assert [s["rows"] for s in one.figures["sources"]] == [10, 6]
    assert one.figures["train_rows"] == 16
    live = small(steady, data, store, **weighted, cache_gb=0.0)
    four = small(steady, data, store, **weighted, batch_size=4, gradient_accumulation=4)
    assert (one.figures["teacher"]["cached_bytes"] > 0, live.figures["teacher"]["cached_bytes"]) == (True, 0)
    for name, values in weights(one).items():
        np.testing.assert_allclose(values, weights(live)[name], atol=2e-5, err_msg=name)
        np.testing.assert_allclose(values, weights(four)[name], atol=2e-5, err_msg=name)


def test_the_key_follows_the_texts_and_labels_are_not_read(tiny_model: Path, tmp_path: Path) -> None:
    data, store = write_rows(tmp_path / "data", train=10, validation=8), tmp_path / "store"
    plain = small(tiny_model, data, store, **unlabelled(write(tmp_path / "plain.jsonl", texts(6))))
    labeled = small(
        tiny_model, data, store, **unlabelled(write(tmp_path / "labeled.jsonl", texts(6), label="nonsense"))
    )
    assert plain.key == labeled.key
    assert len(plain.manifest["parts"]["data"]["unlabelled"]) == 1
    assert "unlabelled" not in plain.manifest["parts"]["params"]
    more = small(tiny_model, data, store, **unlabelled(write(tmp_path / "more.jsonl", texts(7))))
    assert more.key != plain.key
    alone = small(tiny_model, data, store)
    assert alone.key not in (plain.key, more.key)
    assert alone.digest != plain.digest, "what the teacher says of the texts is learned"


def test_a_run_says_what_it_learned_from(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    reported = [
        json.loads(line)["text"].upper() for line in (tiny_data / "validation.jsonl").read_text().splitlines()[:3]
    ]
    path = write(tmp_path / "texts.jsonl", [*texts(20), *reported])
    steps = [
        {
            "id": "small",
            "use": "distill",
            **SHORT,
            "student": {"last": 1},
            "sampling": {"method": "uniform", "steps_per_epoch": 1},
            **unlabelled(path),
        },
        {"id": "int8", "use": "quantize.dynamic"},
    ]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps, baseline={"finetune": SHORT})
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    figures = next(s["figures"] for s in report["steps"] if s["id"] == "small")
    assert [s["drawn"] for s in figures["sources"]] == [[8, 8, 8], [8, 8, 8]]
    note = (
        "Step 'small' also learned from its teacher on 20 rows of texts.jsonl without labels; 3 more are in "
        "validation, or held out"
    )
    assert any(n.startswith(note) for n in report["notes"])
    assert "unlabelled.0" in json.loads((tmp_path / "run" / "recipe.lock").read_text())["data"]
    write(tmp_path / "texts.jsonl", texts(21))
    plan = edgeopt("plan", recipe, "--store", tmp_path / "store")
    assert (
        "data: 256 train + 21 of texts.jsonl without labels (0 that validation has too left out) and 96 "
        "validation rows" in plan.out
    )
    (line,) = (line for line in plan.out.splitlines() if line.startswith("candidate.small"))
    assert "the rows without labels changed" in line
    (found,) = edgeopt("plan", recipe, "--store", tmp_path / "store", "--json").json["unlabelled"]
    assert (found["rows"], found["left_out"]) == (21, 0)
