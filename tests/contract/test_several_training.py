"""Several tasks on one encoder: the model, its training, what adapts and prunes it, and the graph made of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.cutting import cut_at
from helpers import tiny_recipe

from edgeopt.plan import make_plan
from edgeopt.recipe.load import load_recipe
from edgeopt.run.execute import Executed, execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError
from edgeopt.support.progress import Progress

SHORT = {"batch_size": 8, "learning_rate": 3e-3, "precision": "fp32"}
TRAINED = {"use": "finetune", "max_steps": 6, **SHORT}


def turns(steps: int) -> dict[str, Any]:
    return {**SHORT, "max_steps": steps, "sampling": {"method": "round-robin"}}


def tasks(data: Path) -> dict[str, Any]:
    def task(type: str, **keys: Any) -> dict[str, Any]:
        return {"type": type, "dataset": {"path": str(data)}, "max_length": 16, **keys}

    return {
        "mood": task("text-classification", text="text"),
        "both": task("text-classification", text=["text", "pair"], head="bi-encoder"),
        "alike": task("text-regression", text=["text", "pair"], label="score", head="cosine"),
    }


def applied(
    folder: Path, model: Path, data: Path, steps: list[Any], store: Path | None = None, **changes: Any
) -> Executed:
    whole = {"model": {"id": str(model)}, "task": None, "tasks": {**tasks(data), **changes}, "steps": steps}
    recipe = tiny_recipe(folder, **whole, baseline={"finetune": {**SHORT, "max_steps": 6}})
    kept = Store(store or folder / "store")
    return execute(make_plan(load_recipe(recipe), kept), kept, Progress(show=False), Group())


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return applied(tmp_path_factory.mktemp("several"), tiny_model, tiny_data, [TRAINED])


def state_of(found: Executed, step: str, chain: Any = "candidate") -> Path:
    return next(done.state.folder for done in found.chains[chain] if done.step.id == step)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def asked(found: Executed) -> tuple[Any, Any, Any, Any]:
    """The task, the trained model, an encoder, and six rows of each task."""
    from edgeopt.models.load import load_model
    from edgeopt.tasks import task_of
    from edgeopt.tasks.encode import Encoder

    folder, data = state_of(found, "finetune", "baseline"), found.data
    spec = load_recipe(folder.parents[2] / "recipe.yaml").head.task
    rows = data.report.take([i + 32 * task for task in range(3) for i in range(6)], "report")
    return task_of(spec, data.label_names), load_model(folder), Encoder(folder, 16), rows


def test_rows_of_a_training_get_what_queries_of_a_graph_come_to(trained: Executed) -> None:
    """Mixed or of one task, a batch of rows gives what is gathered of all sequences that are asked one by one."""
    import torch

    from edgeopt.models.load import takes

    task, model, encoder, rows = asked(trained)
    features = task.encode(encoder, rows.texts)
    assert len(features.ids) == 6 + 2 * 12

    def ask(ids: Any) -> np.ndarray:
        with torch.no_grad():
            feed = {name: torch.from_numpy(values) for name, values in encoder.pad([ids]).items()}
            return np.asarray(model(**feed).logits[0])

    served = task.gather([ask(ids) for ids in features.ids], features)
    batch, _ = task.training_rows(encoder, rows, takes(model))
    collate = task.collator(encoder)
    with torch.no_grad():
        whole = {k: v for k, v in collate(batch).items() if k != "labels"}
        apart = [{k: v for k, v in collate(batch[i : i + 6]).items() if k != "labels"} for i in (0, 6, 12)]
        assert np.allclose(model(**whole).logits.numpy(), served, atol=1e-5)
        assert np.allclose(np.concatenate([model(**each).logits.numpy() for each in apart]), served, atol=1e-5)


def test_a_batch_of_one_task_leaves_the_other_heads_as_they_are(trained: Executed) -> None:
    from edgeopt.models.load import takes

    task, model, encoder, rows = asked(trained)
    batch, _ = task.training_rows(encoder, rows, takes(model))
    task.mean_loss(model.train(), task.collator(encoder)(batch[:6]), rows.labels).backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert not any("logits_mood" in name or "logits_both" in name for name in moved)
    assert any(name.startswith("bert.encoder") for name in moved)


def test_the_loss_is_each_tasks_own_by_weight(trained: Executed) -> None:
    import torch
    from torch.nn import functional as F

    from edgeopt.tasks.losses import SquaredError, WeightedCrossEntropy
    from edgeopt.tasks.several.losses import PartLoss, SeveralLosses

    loss = SeveralLosses(
        [
            PartLoss(SquaredError(), 1.0, 1, classes=False, low=1.0, high=5.0),
            PartLoss(WeightedCrossEntropy(None, 0.0), 3.0, 2, classes=True),
        ]
    )
    logits = torch.tensor([[0.0, 0.2, 0.0], [1.0, 0.5, -0.5], [1.0, 2.0, 1.0], [0.0, 0.9, 0.0]])
    labels = torch.tensor([[0.0, 2.0], [1.0, 1.0], [1.0, 0.0], [0.0, 5.0]])
    scores = F.mse_loss(logits[[0, 3], 1], torch.tensor([0.25, 1.0]))
    classes = F.cross_entropy(logits[[1, 2], 1:], torch.tensor([1, 0]))
    expected = (2 * scores + 2 * 3.0 * classes) / 4
    assert torch.isclose(loss({"logits": logits}, labels), expected)
    halves = [{"labels": labels[:2]}, {"labels": labels[2:]}]
    assert loss.total(halves) == 4


def test_a_trained_state_begins_another_recipe_and_no_other_tasks(
    trained: Executed, tiny_data: Path, tmp_path: Path
) -> None:
    folder = state_of(trained, "finetune", "baseline")
    again = applied(tmp_path, folder, tiny_data, [])
    before, after = weights(folder), weights(state_of(again, "load"))
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    given = tasks(tiny_data)
    given["mood"]["text"] = ["text", "pair"]
    given["mood"]["head"] = "bi-encoder"
    recipe = tiny_recipe(tmp_path, model={"id": str(folder)}, task=None, tasks=given, steps=[], baseline={})
    store = Store(tmp_path / "other")
    with pytest.raises(InputError, match="E316"):
        execute(make_plan(load_recipe(recipe), store), store, Progress(show=False), Group())


def test_a_training_that_was_cut_goes_on_to_the_same_bytes(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {"use": "finetune", **SHORT, "max_steps": 10, "sampling": {"method": "annealed", "steps_per_epoch": 5}}
    whole = applied(tmp_path, tiny_model, tiny_data, [step], tmp_path / "whole")
    with cut_at(monkeypatch, 7, of=10):
        applied(tmp_path, tiny_model, tiny_data, [step], tmp_path / "cut")
    resumed = applied(tmp_path, tiny_model, tiny_data, [step], tmp_path / "cut")
    before, after = (weights(state_of(found, "finetune")) for found in (whole, resumed))
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_it_is_adapted_frozen_and_pruned(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    """LoRA and merge, heads alone, dropout, a pruning of heads and neurons, one of layers, and zeros that stay."""
    steps = [
        {"use": "adapter.lora", "r": 2, "max_steps": 3, **SHORT},
        {"use": "merge"},
        {"use": "finetune", "id": "heads", "freeze": "encoder", "dropout": 0.0, **turns(6)},
        {"use": "prune.fisher", "macs": 0.8, "samples": 64},
        {"use": "prune.layers", "keep": [1]},
        {"use": "prune.magnitude", "amount": 0.1, "recover": {"max_steps": 2, **SHORT}},
        {"use": "quantize.dynamic"},
    ]
    alike = {**tasks(tiny_data)["alike"], "head": "pair"}
    found = applied(tmp_path, tiny_model, tiny_data, steps, alike=alike)
    before, after = weights(state_of(found, "merge")), weights(state_of(found, "heads"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and all(name.startswith("heads.") for name in changed)
    assert {name.split(".")[1] for name in changed} == {"logits_alike", "logits_both", "logits_mood"}
    assert found.final("candidate").folder.joinpath("model.onnx").is_file()


def test_a_pair_head_begins_with_the_checkpoints_pooler(trained: Executed, tiny_model: Path) -> None:
    pooler = weights(tiny_model)["pooler.dense.weight"]
    assert np.array_equal(weights(state_of(trained, "load", "baseline"))["heads.logits_mood.dense.weight"], pooler)


def test_text_may_be_read_before_the_tasks(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    """The encoder that all tasks begin with is the one that read, and a pair head still begins with the pooler."""
    text = {"use": "pretrain.mlm", "corpus": {"path": str(tiny_data)}, "max_length": 16, "max_steps": 2, **SHORT}
    found = applied(tmp_path, tiny_model, tiny_data, [text, {**TRAINED, "max_steps": 2}])
    read, begun = (weights(state_of(found, step)) for step in ("mlm", "load"))
    encoder = [name for name in begun if not name.startswith("heads.")]
    assert len(encoder) > 20
    assert all(np.array_equal(begun[name], read[name]) for name in encoder)
    pooler = weights(tiny_model)["pooler.dense.weight"]
    assert np.array_equal(begun["heads.logits_mood.dense.weight"], pooler)


def test_other_rows_of_one_task_are_another_training(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    from edgeopt.plan.keys import key_parts

    other = tmp_path / "data"
    shutil.copytree(tiny_data, other)
    lines = (other / "train.jsonl").read_text().splitlines()
    (other / "train.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    keys = []
    for mood, weight in ((tiny_data, 1.0), (other, 1.0), (tiny_data, 2.0)):
        given = tasks(tiny_data)
        given["mood"] |= {"dataset": {"path": str(mood)}, "weight": weight}
        recipe = tiny_recipe(tmp_path, model={"id": str(tiny_model)}, task=None, tasks=given, steps=[TRAINED])
        plan = make_plan(load_recipe(recipe), Store(tmp_path / "store"))
        assert plan.data is not None
        keys.append(key_parts(plan.chains["baseline"][1], "digest", plan, plan.data.key("train")))
    assert keys[0] != keys[1] and keys[0] != keys[2]


def test_a_frozen_encoder_and_a_head_without_weights_learn_nothing(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    step = {"use": "finetune", "freeze": "encoder", "max_steps": 3, **SHORT}
    with pytest.raises(InputError, match="nothing to learn for alike"):
        applied(tmp_path, tiny_model, tiny_data, [step])
