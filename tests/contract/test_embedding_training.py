"""An embedding model trained: on pairs, towards a teacher on plain texts, adapted, pruned, and still an embedder."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import WORDS, edgeopt, tiny_recipe

from edgeopt.plan import make_plan
from edgeopt.recipe.load import load_recipe
from edgeopt.run.execute import Executed, execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress

SHORT = {"batch_size": 8, "learning_rate": 3e-3, "precision": "fp32"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts of six words each, and the share of words that they have in common."""
    folder, rng = tmp_path_factory.mktemp("pairs"), random.Random(0)
    for split, count in (("train", 96), ("validation", 64)):
        rows = []
        for _ in range(count):
            first, same = rng.sample(WORDS, 6), rng.randint(0, 6)
            second = [*first[:same], *rng.sample([w for w in WORDS if w not in first], 6 - same)]
            rng.shuffle(second)
            rows.append({"a": " ".join(first), "b": " ".join(second), "score": same})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def applied(folder: Path, model: Path, data: Path, steps: list[Any], finetune: Any = None, **task: Any) -> Executed:
    given = {"type": "embedding", "dataset": {"path": str(data)}, "max_length": 16, **task}
    recipe = tiny_recipe(folder, model={"id": str(model)}, task=given, steps=steps, baseline={"finetune": finetune})
    store = Store(folder / "store")
    return execute(make_plan(load_recipe(recipe), store), store, Progress(show=False), Group())


def test_it_learns_is_adapted_and_pruned(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """Cosent with Matryoshka, LoRA on contrastive losses in parts, merge, both prunings, and a distillation."""
    steps = [
        {"use": "finetune", "losses": {"cosent": 1.0, "cosine": 0.5}, "epochs": 6, "keep_best": True, **SHORT},
        {"use": "adapter.lora", "r": 2, "losses": {"contrastive": 1.0, "mini_batch_size": 3}, "max_steps": 2, **SHORT},
        {"use": "merge"},
        {"use": "prune.fisher", "macs": 0.8, "samples": 64},
        {"use": "prune.magnitude", "amount": 0.1},
        {"use": "distill", "losses": {"labels": 0.5, "logits": 1.0}, "max_steps": 2, **SHORT},
    ]
    task = {"text": ["a", "b"], "label": "score", "dimensions": [32, 8]}
    found = applied(tmp_path, tiny_model, pairs, steps, {**SHORT, "max_steps": 2}, **task)
    by_id = {done.step.id: done.state for done in found.chains["candidate"]}
    curve = by_id["finetune"].figures["curves"]
    assert by_id["finetune"].figures["selection"]["metric"] == "spearman"
    best = max(value for _, value in curve["eval_spearman"])
    assert best > curve["eval_spearman"][0][1] and best > 0.5, curve
    assert by_id["lora"].figures["optimizer_steps"] == 2
    assert by_id["distill"].figures["train_loss"] > 0
    config = json.loads((by_id["onnx"].folder / "config.json").read_text())
    assert config["edgeopt_embedding"]["dimensions"] == 32 and "edgeopt_structure" in config


def test_plain_texts_are_learned_from_a_teacher_of_another_width(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The student has a dense layer, so that a linear layer is learned from its embeddings to the teacher's."""
    student = tmp_path / "student"
    narrowed(tiny_model, student)
    step = {"use": "distill", "teacher": str(tiny_model), "epochs": 3, **SHORT}
    found = applied(tmp_path, student, pairs, [step], text="a")
    (done,) = [d for d in found.chains["candidate"] if d.step.id == "distill"]
    losses = [value for _, value in done.state.figures["curves"]["loss"]]
    assert losses[-1] < losses[0]
    assert json.loads((done.state.folder / "config.json").read_text())["edgeopt_embedding"]["dense"][0]["outputs"] == 8


def narrowed(model: Path, folder: Path) -> None:
    """A folder of sentence-transformers: the model and a dense layer of 8 outputs."""
    import shutil

    from safetensors.numpy import save_file

    shutil.copytree(model, folder)
    kinds = ("Transformer", "Pooling", "Dense")
    modules = [{"idx": i, "path": f"{i}_{k}" if i else "", "type": f"models.{k}"} for i, k in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    for name, config in (
        ("1_Pooling", {"pooling_mode": "mean"}),
        ("2_Dense", {"in_features": 32, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}),
    ):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    weights = {"linear.weight": rng.normal(size=(8, 32)) / 6, "linear.bias": np.zeros(8)}
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, folder / "2_Dense" / "model.safetensors")


@pytest.mark.parametrize(
    ("steps", "task", "why"),
    [
        ([{"use": "finetune"}], {"text": "a"}, "texts without a pair say nothing to learn"),
        ([{"use": "prune.fisher", "macs": 0.5}], {"text": "a"}, "needs pairs"),
        ([{"use": "prune.cofi", "sparsity": 0.5}], {"text": ["a", "b"]}, "prune.cofi does not work for embedding"),
        ([{"use": "distill", "student": {"hidden": 16}}], {"text": "a"}, "would give embeddings of another width"),
        ([{"use": "finetune", "losses": {"cosent": 1.0}}], {"text": ["a", "b"]}, "need labels"),
        ([{"use": "finetune", "losses": {"cosine": 0.0}}], {"text": ["a", "b"]}, "nothing is learned"),
        ([{"use": "distill", "keep_best": True}], {"text": "a"}, "nothing that a checkpoint is selected by"),
        (
            [{"use": "finetune", "losses": {"contrastive": 1.0}}],
            {"type": "text-classification", "text": "a", "label": "score"},
            "no losses on pairs",
        ),
        ([], {"type": "text-classification", "text": ["a", "b", "a"], "label": "score"}, "reads two at most"),
    ],
)
def test_what_cannot_be_learned_is_said_before_anything_is_computed(
    tiny_model: Path, pairs: Path, tmp_path: Path, steps: list[Any], task: dict[str, Any], why: str
) -> None:
    given = {"type": "embedding", "dataset": {"path": str(pairs)}, "max_length": 16, **task}
    recipe = tiny_recipe(tmp_path, model={"id": str(tiny_model)}, task=given, steps=steps, baseline={})
    done = edgeopt("plan", recipe, "--store", tmp_path / "store")
    assert done.code == 2 and why in " ".join(done.err.split()), done.err


def test_layers_are_dropped_and_a_training_through_the_rounding_is_an_embedder(
    tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    steps = [
        {"use": "finetune", "losses": {"cosent": 1.0}, "max_steps": 4, **SHORT},
        {"use": "prune.layers", "keep": [1]},
        {"use": "quantize.qat", "max_steps": 2, "batch_size": 8},
    ]
    task = {"text": ["a", "b"], "label": "score"}
    found = applied(tmp_path, tiny_model, pairs, steps, {**SHORT, "max_steps": 2}, **task)
    by_id = {done.step.id: done.state for done in found.chains["candidate"]}
    assert by_id["layers"].figures["structure"]["macs"] < by_id["layers"].figures["structure"]["dense_macs"]
    assert found.lowered("candidate").figures["parity"]["max_abs_diff"] < 0.2
