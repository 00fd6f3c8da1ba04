"""What `plan --cost` tells of the trainings of a recipe, before any of them runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from edgeopt import api
from edgeopt.cli.costs import lines
from edgeopt.models.cost import Pass, Rows, flops
from edgeopt.plan import cost
from edgeopt.plan.cost import Costs, Speed, TrainingCost

TRAINED = {"max_steps": 3, "batch_size": 4, "precision": "fp32"}


def task(data: Path, **keys: Any) -> dict[str, Any]:
    given = {"type": "text-classification", "dataset": {"path": str(data)}, "text": "text", "max_length": 24}
    return {**given, **keys}


def found(
    model: Path, data: Path, store: Path, *steps: dict[str, Any], of: dict[str, Any] | None = None
) -> dict[str, TrainingCost]:
    recipe = {
        "edgeopt": 1,
        "name": "cost",
        "model": {"id": str(model)},
        **(of or {"task": task(data)}),
        "baseline": {"finetune": TRAINED},
        "steps": [{**TRAINED, **step} if step["use"] not in ("merge", "prune.layers") else step for step in steps],
    }
    made = api.plan(recipe, store=store, cost=True).costs
    assert made is not None
    assert not made.unknown
    return {".".join(filter(None, (each.step.chain, each.step.id, each.at))): each for each in made.trainings}


def test_a_step_is_counted_by_what_goes_through_which_model(
    tiny_electra: Path, tiny_data: Path, tmp_path: Path
) -> None:
    made = found(
        tiny_electra,
        tiny_data,
        tmp_path,
        {"use": "adapter.lora", "id": "adapt", "gradient_accumulation": 2},
        {"use": "merge"},
        {"use": "prune.layers", "keep": [0]},
        {"use": "distill"},
        {"use": "prune.cofi", "id": "cut", "sparsity": 0.5, "recover": TRAINED},
    )
    baseline, adapt, distill = (made[name] for name in ("baseline.finetune", "candidate.adapt", "candidate.distill"))
    config = json.loads((tiny_electra / "config.json").read_text())
    rows = len((tiny_data / "train.jsonl").read_text().splitlines())
    assert (baseline.rows, baseline.steps, baseline.most) == (4, 3, False)
    assert 2 < baseline.tokens < 24
    expected = flops(Pass("main", config, "all"), Rows(4, baseline.tokens))
    assert baseline.flops == pytest.approx(expected.total)
    assert baseline.flops < adapt.flops < 2 * baseline.flops
    assert adapt.passes[0].held is not None
    assert adapt.passes[0].held.gradients == 0.0
    assert distill.most  # of a model that was cut, no more than of the whole one is known
    assert [each.part for each in distill.passes] == ["main", "teacher"]
    assert distill.passes[1].before == pytest.approx(expected.forward / 4 * rows)
    assert [each.part for each in made["candidate.cut"].passes] == ["main", "teacher"]
    student = {"use": "distill", "student": {"last": 1}}
    small, whole = (
        found(tiny_electra, tiny_data, tmp_path, step)["candidate.distill"] for step in (student, {"use": "distill"})
    )
    assert small.most  # of a student that is a part of the model, no more than of the whole one is known
    assert not whole.most
    assert (baseline.seconds, baseline.why) == (None, "not measured here")
    told = "\n".join(lines(Costs(list(made.values()), [])))
    assert "main: at most" in told
    assert "teacher: each row once, before the training" in told


def test_a_step_is_a_batch_of_rows_however_many_sequences_each_has(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """Steps and FLOPs are those of rows; a row has as many sequences as go through the model for it."""
    config, rows = (
        json.loads((tiny_model / "config.json").read_text()),
        64 * [{"text": "word1 word2", "choices": ["good1", "bad2 word3", "word4"], "label": "A"}],
    )
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    count = len((tiny_data / "train.jsonl").read_text().splitlines())
    pair = {"text": ["text", "pair"]}
    choices = task(tmp_path, type="multiple-choice", choices="choices")
    several = {
        "one": task(tiny_data),
        "two": task(tiny_data, head="bi-encoder", **pair),
        "near": task(tiny_data, type="text-regression", label="score", head="cosine", **pair),
    }
    windows = task(tiny_data, max_length=8, long_text="window", stride=2)
    turns, wide = {"method": "round-robin"}, {"method": "uniform", "steps_per_epoch": 5}
    step: dict[str, Any] = {"use": "finetune", "id": "tune", "max_steps": None, "epochs": 2}
    for of, more, steps, sequences in (
        ({"task": choices}, {}, 2 * 64 / 4, 3),
        ({"task": task(tiny_data)}, {"keep_best": True}, None, 1),
        ({"task": windows}, {}, None, 1),
        ({"tasks": several}, {}, 2 * math.ceil(3 * count / 4), 5 / 3),
        ({"tasks": several}, {"sampling": turns}, 2 * math.ceil(math.ceil(3 * count / 4) / 3) * 3, 5 / 3),
        ({"tasks": several}, {"sampling": wide, "gradient_accumulation": 3}, 10, 5 / 3),
    ):
        made = found(tiny_model, tiny_data, tmp_path / "store", {**step, **more}, of=of)["candidate.tune"]
        assert made.sequences == pytest.approx(sequences)
        expected = flops(Pass("main", config, "all"), Rows(made.rows * sequences, made.tokens))
        assert made.flops == pytest.approx(expected.total)
        if steps is not None:
            assert made.steps == steps
        elif of["task"] is windows:
            assert made.steps is not None and made.steps > 2 * math.ceil(count / 4)
        else:
            assert made.steps is not None and made.steps < 2 * math.ceil(count / 4)
    assert f"12 rows of 1.67 sequences of {made.tokens:.0f} tokens a step, 10 optimizer steps" in "\n".join(
        lines(Costs([made], []))
    )


def test_a_model_that_is_not_made_yet_has_the_words_of_its_tokenizer(tiny_electra: Path, tiny_data: Path) -> None:
    texts, weights = str(tiny_data / "train.jsonl"), []
    for tokenizer in (str(tiny_electra), {"train": {"vocab": 500, "files": texts}}, {"train": {"files": texts}}):
        recipe = {
            "edgeopt": 1,
            "name": "begun",
            "model": {"config": "electra-small", "tokenizer": tokenizer},
            "task": {"type": "text-classification", "dataset": {"path": str(tiny_data)}, "text": "text"},
            "baseline": {"finetune": TRAINED},
            "steps": [{"use": "finetune", **TRAINED}],
        }
        made = api.plan(recipe, cost=True).costs
        assert made is not None
        held = made.trainings[0].passes[0].held
        assert held is not None
        weights.append(held.parameters)
    assert weights[2] - weights[1] == 4 * 128 * (30_522 - 500)
    assert weights[0] < weights[1]


def test_text_that_is_not_in_tokens_yet_has_the_length_that_is_asked_for(
    tiny_electra: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "speeds", lambda store: [Speed(1e9, 4e4, "pretrain.rtd 0")])
    keys = {"use": "pretrain.rtd", "corpus": {"path": str(tiny_data)}, "max_length": 16}
    joint, frozen, offline = (
        found(tiny_electra, tiny_data, tmp_path, {**keys, **more}, {"use": "finetune"})["candidate.rtd"]
        for more in ({}, {"auxiliary": str(tiny_electra)}, {"auxiliary": str(tiny_electra), "offline": True})
    )
    assert joint.tokens == 16
    assert joint.passes[0].step == frozen.passes[0].step == offline.passes[0].step
    assert joint.passes[1].step.backward > frozen.passes[1].step.backward == 0.0 < frozen.passes[1].step.forward
    assert offline.passes[1].held is None
    assert offline.passes[1].before == pytest.approx(3 * frozen.passes[1].step.forward)
    assert joint.seconds == pytest.approx(3 * joint.flops / 1e9)
    assert offline.seconds == pytest.approx(frozen.seconds)
