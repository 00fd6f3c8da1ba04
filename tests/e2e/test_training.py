"""The training loop against what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from e2e.running import recipe_for
from helpers import edgeopt

from edgeopt import Run
from edgeopt.data import load_data
from edgeopt.models.anatomy import anatomy
from edgeopt.models.load import load_model
from edgeopt.models.parts import prunable
from edgeopt.spec.recipe import TaskSpec, TrainParams
from edgeopt.step.transform import StepContext
from edgeopt.support.progress import Progress
from edgeopt.training import train
from edgeopt.training.optimizer import parameter_groups
from edgeopt.training.sampler import LengthGroupedSampler


def context_for(data: Path, work: Path, **task: Any) -> StepContext:
    spec = TaskSpec.model_validate(
        {"type": "text-classification", "text": "text", "dataset": {"path": str(data)}, "max_length": 32, **task}
    )
    return StepContext(spec, load_data(spec, data), work / "out", work, 3, Progress(show=False))


def test_sampler_gives_every_row_once_and_depends_on_seed_and_epoch_alone() -> None:
    lengths = list(np.random.default_rng(0).integers(3, 60, 333))
    sampler = LengthGroupedSampler(lengths, 8, seed=5)
    first = list(sampler)
    assert sorted(first) == list(range(333))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(LengthGroupedSampler(lengths, 8, seed=6)) != first
    batches = [first[i : i + 8] for i in range(0, 333, 8)]
    padding = sum(max(lengths[i] for i in b) * len(b) - sum(lengths[i] for i in b) for b in batches)
    shuffled = np.random.default_rng(1).permutation(333)
    unsorted = sum(
        max(lengths[i] for i in b) * len(b) - sum(lengths[i] for i in b)
        for b in (shuffled[i : i + 8] for i in range(0, 333, 8))
    )
    assert padding < unsorted / 4
    assert max(lengths) in [lengths[i] for i in batches[0]]


def test_layerwise_decay_rates(classifier: Path) -> None:
    model = load_model(classifier)
    decayed = {n for n, p in model.named_parameters() if p.ndim > 1}
    groups = parameter_groups(
        model, decayed, learning_rate=1e-3, weight_decay=0.1, layer_decay=0.5, anatomy=anatomy("bert"), layers=2
    )
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    named = dict(model.named_parameters())
    expected = {
        "classifier.weight": 1e-3,
        "bert.pooler.dense.weight": 1e-3,
        "bert.encoder.layer.1.output.dense.weight": 5e-4,
        "bert.encoder.layer.0.output.dense.weight": 2.5e-4,
        "bert.embeddings.word_embeddings.weight": 1.25e-4,
    }
    for name, value in expected.items():
        assert rate[id(named[name])] == pytest.approx(value), name
    assert decay[id(named["classifier.weight"])] == 0.1
    assert decay[id(named["classifier.bias"])] == 0.0
    assert len(rate) == len(named)


def test_zeros_stay_zero_while_the_rest_learns(classifier: Path, tiny_data: Path, tmp_path: Path) -> None:
    model = load_model(classifier)
    for _, module in prunable(model):
        module.weight.data[:, ::3] = 0
    before = {n: m.weight.detach().clone() for n, m in prunable(model)}
    train(
        model,
        classifier,
        TrainParams(epochs=1, batch_size=8, learning_rate=1e-3, precision="fp32"),
        context_for(tiny_data, tmp_path),
        keep_zeros=True,
    )
    for name, module in prunable(model):
        assert (module.weight[:, ::3] == 0).all()
        assert not torch.equal(module.weight, before[name])


def test_what_was_trained_in_bfloat16_computes_in_float32_afterwards(
    classifier: Path, tiny_data: Path, tmp_path: Path
) -> None:
    model, fresh = load_model(classifier), load_model(classifier)
    train(
        model,
        classifier,
        TrainParams(max_steps=2, epochs=1, batch_size=8, precision="bf16"),
        context_for(tiny_data, tmp_path),
    )
    fresh.load_state_dict(model.state_dict())
    ids = torch.arange(5, 25).reshape(2, 10)
    with torch.no_grad():
        assert torch.equal(model.eval()(ids).logits, fresh.eval()(ids).logits)


def test_selection_rows_are_never_trained_on_and_the_best_checkpoint_is_kept(
    classifier: Path, tiny_data: Path, tmp_path: Path
) -> None:
    context = context_for(tiny_data, tmp_path, selection=0.25)
    rest, selection = context.data.carve(0.25)
    assert not set(rest.texts) & set(selection.texts) or len(set(context.data.train.texts)) < len(context.data.train)
    assert len(rest) + len(selection) == len(context.data.train)
    assert sorted(set(selection.labels)) == [0, 1]
    calibration = context.data.calibration(1000, 0.25, seed=1)
    assert set(calibration.texts) <= set(rest.texts)
    params = TrainParams(epochs=4, batch_size=8, learning_rate=3e-3, precision="fp32", keep_best=True)
    model = load_model(classifier)
    figures = train(model, classifier, params, context)
    assert figures["train_rows"] == len(rest)
    from edgeopt.measure.parity import ParityRows, torch_logits
    from edgeopt.tasks import task_of
    from edgeopt.tasks.encode import Encoder

    encoder = Encoder(classifier, 32)
    logits = torch_logits(model, ParityRows(encoder, encoder.ids(selection.texts))).reshape(-1, 2)[: len(selection)]
    task = task_of(context.task, context.data.label_names)
    assert task.metrics(np.array(selection.labels), logits)["accuracy"] == pytest.approx(
        figures["selection"]["value"], abs=1e-4
    )


def test_early_stopping_stops(classifier: Path, tiny_data: Path, tmp_path: Path) -> None:
    params = TrainParams.model_validate(
        {"epochs": 30, "batch_size": 32, "learning_rate": 1e-9, "precision": "fp32", "early_stopping": {"patience": 1}}
    )
    figures = train(load_model(classifier), classifier, params, context_for(tiny_data, tmp_path))
    assert figures["optimizer_steps"] <= 3 * 8


@pytest.mark.parametrize(
    "extra",
    [
        {"gradient_accumulation": 2},
        {"gradient_checkpointing": True},
        {"schedule": "cosine", "max_steps": 3},
        {"precision": "bf16"},
    ],
)
def test_options_train(classifier: Path, tiny_data: Path, tmp_path: Path, extra: dict[str, Any]) -> None:
    model = load_model(classifier)
    before = model.classifier.weight.detach().clone()
    figures = train(
        model,
        classifier,
        TrainParams.model_validate({"epochs": 1, "batch_size": 8, **extra}),
        context_for(tiny_data, tmp_path),
    )
    rows, batch = figures["train_rows"], 8 * extra.get("gradient_accumulation", 1)
    assert figures["optimizer_steps"] == extra.get("max_steps", -(-rows // batch))
    assert not torch.equal(model.classifier.weight, before)
    assert model.classifier.weight.dtype == torch.float32


def test_a_loss_that_is_no_number_ends_the_step(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    steps = [
        {"id": "wild", "use": "finetune", "epochs": 20, "learning_rate": 0.99, "warmup_ratio": 0.0, "batch_size": 2}
    ]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps)
    from edgeopt.training.callbacks import ShowProgress

    with pytest.MonkeyPatch.context() as patched:
        whole = ShowProgress.on_log

        def diverge(self: ShowProgress, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            whole(self, args, state, control, logs={"loss": float("nan")}, **more)

        patched.setattr(ShowProgress, "on_log", diverge)
        done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 3
    assert "error[E407]" in done.err
    assert "learning_rate" in done.err


def test_a_regression_end_to_end(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    task = {
        "type": "text-regression",
        "dataset": {"path": str(tiny_data)},
        "text": ["text", "pair"],
        "label": "score",
        "max_length": 32,
    }
    steps: list[dict[str, Any]] = [
        {"id": "ft", "use": "finetune", "epochs": 2, "batch_size": 8},
        {"id": "int8", "use": "quantize.dynamic"},
    ]
    recipe = recipe_for(
        tmp_path, tiny_model, tiny_data, steps=steps, task=task, gates=[{"metric": "pearson", "min": -0.99}]
    )
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert set(report["candidate"]["metrics"]) == {"pearson", "spearman"}
    assert report["task"]["labels"] == []
    import scipy.stats

    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    expected = scipy.stats.pearsonr([r["label"] for r in rows], [r["candidate"][0] for r in rows]).statistic
    assert report["candidate"]["metrics"]["pearson"] == pytest.approx(expected)
    asked = [json.loads(line) for line in (tiny_data / "validation.jsonl").read_text().splitlines()]
    told = Run(tmp_path / "run").predict([(row["text"], row["pair"]) for row in asked], batch_size=1)
    assert [one.label for one in told] == pytest.approx([row["candidate"][0] for row in rows], abs=1e-4)
    assert {one.probability for one in told} == {None}
