"""A package outside edgeopt with a plugin of each kind: checked by the tests for authors, and used by recipes.

The recipes go from training to gate.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import plugins
import pytest
from contract.kinds import write_kind
from helpers import WORDS, edgeopt, tiny_task
from running import recipe_for
from sklearn.metrics import cohen_kappa_score

from edgeopt.plugins import Classification, Values, bert_like
from edgeopt.spec.tasks import TASKS
from edgeopt.step import registry
from edgeopt.testing import check_exporter, check_family, check_task
from edgeopt.testing.build import build, step

_WORDS = [[w for w in WORDS if w.startswith(kind)][:10] for kind in ("bad", "word", "good")]
_QUICK = {"max_steps": 128, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with plugins.example(tmp_path_factory.mktemp("site")):
        yield


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with bad words alone (0), with plain words (1) and with good words (2)."""
    folder, rng = tmp_path_factory.mktemp("grades"), random.Random(0)
    for split, count in (("train", 96), ("validation", 48)):
        rows = []
        for i in range(count):
            rows.append({"text": " ".join(rng.sample(_WORDS[i % 3], 5)), "label": i % 3})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def ernie(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A bare ERNIE of two layers, with the tokenizer of the tiny BERT."""
    import shutil

    import torch
    from transformers import ErnieConfig, ErnieModel

    folder = tmp_path_factory.mktemp("ernie") / "model"
    torch.manual_seed(0)
    bert = json.loads((tiny_model / "config.json").read_text())
    sizes = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    )
    ErnieModel(ErnieConfig(**{name: bert[name] for name in sizes})).save_pretrained(folder)
    for path in tiny_model.glob("tokenizer*"):
        shutil.copyfile(path, folder / path.name)
    return folder


def test_one_recipe_uses_task_family_transform_and_exporter(tmp_path: Path, ernie: Path, grades: Path) -> None:
    steps = [{"use": "finetune", **_QUICK}, {"use": "weights.round", "bits": 10}, {"use": "quantize.dynamic"}]
    gates = [
        {"metric": "quadratic_kappa", "max_drop": 0.9},
        {"metric": "closeness", "min": 0.5},
        {"metric": "size", "max_ratio": 0.9},
    ]
    task = tiny_task(
        grades, type="ordinal-regression", metrics=["quadratic_kappa", "accuracy", "within_one", "closeness"]
    )
    recipe = recipe_for(
        tmp_path,
        ernie,
        grades,
        task=task,
        baseline={"finetune": _QUICK},
        steps=steps,
        export=[{"format": "flat"}, {"format": "onnx"}],
        gates=gates,
    )
    done = edgeopt("apply", recipe, "--store", tmp_path / "store", "--out", tmp_path / "run")
    assert done.code == 0, done.out + done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    metrics = report["candidate"]["metrics"]
    assert report["task"]["type"] == "ordinal-regression" and set(metrics) == {*task["metrics"]}
    assert (
        metrics["quadratic_kappa"] > 0.5
        and 0 < metrics["closeness"] <= 1
        and metrics["within_one"] >= metrics["accuracy"]
    )
    assert [g["verdict"] for g in report["gates"]] == ["pass", "pass", "pass"]
    assert (tmp_path / "run" / "model" / "labels.txt").read_text() == "above 0\nabove 1\n"
    _by_scikit_learn(tmp_path / "run", metrics)
    gated = edgeopt("gate", tmp_path / "run")
    assert gated.code == 0 and "quadratic_kappa" in gated.out, gated.err
    for command in ("report", "diff"):
        shown = edgeopt(command, tmp_path / "run", *([tmp_path / "run"] if command == "diff" else []))
        assert shown.code == 0, shown.err


def _by_scikit_learn(run: Path, metrics: dict[str, float]) -> None:
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "label" in row]
    truth, found = np.array([r["label"] for r in rows]), np.array([sum(x > 0 for x in r["candidate"]) for r in rows])
    assert metrics["quadratic_kappa"] == pytest.approx(cohen_kappa_score(truth, found, weights="quadratic"))
    assert metrics["closeness"] == pytest.approx(1 - np.abs(truth - found).mean() / 2) and metrics[
        "accuracy"
    ] == pytest.approx((truth == found).mean())


def test_distillation_weights_and_unlabelled_rows_go_by_the_tasks_own_loss(
    tmp_path: Path, tiny_model: Path, grades: Path
) -> None:
    unlabelled = {"dataset": {"path": str(grades)}}
    distill = {"teacher": "baseline", "losses": {"labels": 0.5, "logits": 1.0}, "unlabelled": unlabelled}
    quick = {**_QUICK, "max_steps": 4}
    steps = [{"use": "finetune", **quick, "distill": distill, "class_weights": "balanced", "label_smoothing": 0.1}]
    recipe = recipe_for(
        tmp_path,
        tiny_model,
        grades,
        task=tiny_task(grades, type="ordinal-regression"),
        baseline={"finetune": quick},
        steps=steps,
    )
    done = edgeopt("apply", recipe, "--store", tmp_path / "store", "--out", tmp_path / "run")
    assert done.code == 0, done.err


def test_classes_without_an_order_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    for split in ("train", "validation"):
        rows = [{"text": f"word{i}", "label": name} for i, name in enumerate(["low", "high"] * 4)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = recipe_for(
        tmp_path, tiny_model, tmp_path, task=tiny_task(tmp_path, type="ordinal-regression"), steps=[{"use": "finetune"}]
    )
    done = edgeopt("validate", recipe)
    assert (
        done.code == 2
        and "error[E304]: classes with names have no order: high, low" in done.err
        and "task.labels" in done.err
    )
    assert edgeopt("validate", recipe, "--set", "task.labels=[low, high]").code == 0


@pytest.mark.parametrize("check", ["test_round", "test_flat", "test_ordinal", "test_ernie"])
def test_the_packages_own_tests_pass(
    check: str, tmp_path: Path, tiny_model: Path, tiny_data: Path, grades: Path, ernie: Path
) -> None:
    import checks

    given = {"model": tiny_model, "data": tiny_data, "grades": grades, "ernie": ernie, "tmp_path": tmp_path}
    function = getattr(checks, check)
    function(**{name: given[name] for name in inspect.signature(function).parameters})
    assert "task-under-test" not in TASKS


@pytest.mark.parametrize("task", ["text-classification", "text-regression", "reranking", "multi-label-classification"])
def test_edgeopts_own_tasks_pass(task: str, tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    pairs = {"text": ["text", "pair"], "label": "label"}
    keys: dict[str, Any] = {"text-regression": {"label": "score"}, "reranking": pairs}.get(task, {})
    data = tiny_data
    if task == "multi-label-classification":
        data = tmp_path / "rows"
        data.mkdir()
        write_kind(task, data)
    check_task(TASKS[task], model=tiny_model, data=data, work=tmp_path, keys=keys)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for tasks whose training is the same."""
    return tmp_path_factory.mktemp("shared")


class _Unbounded(Classification):
    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        return 2 * super().measure(metric, labels, outputs)


class _Ordered(Classification):
    known_metrics = default_metrics = ("accuracy",)

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        return float(labels[0] == self.predict(outputs)[0])


class _Blind(Classification):
    def sound(self, labels: Values, outputs: Values) -> Values:
        return np.ones(len(labels), dtype=bool)


class _Forgetful(Classification):
    def plain_label(self, label: Any) -> int:
        return 0


class _OtherLoss(Classification):
    def label_loss(self, weights: Any = None, smoothing: float = 0.0) -> Any:
        return super().label_loss(weights or [1.0, 3.0], 0.3)


class _Wordless(Classification):
    default_metrics: ClassVar[tuple[str, ...]] = ()


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (_Unbounded, "the metric .* of the task task-under-test is .*, and must be between 0 and 1"),
        (_Ordered, "accuracy depends on the order of the rows|bounds of accuracy"),
        (_Blind, "`sound` does not find"),
        (_Forgetful, "labels are others when they are read back"),
        (_OtherLoss, "label_loss gives"),
        (_Wordless, "default_metrics of _Wordless must be"),
    ],
)
def test_a_broken_task_fails(
    task: type[Classification], said: str, shared: Path, tiny_model: Path, tiny_data: Path
) -> None:
    with pytest.raises(AssertionError, match=said):
        check_task(task, model=tiny_model, data=tiny_data, work=shared)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": "ernie.encoder.layers"}, "states num_hidden_layers 2, and the weights have 0"),
        ({"ffn_in": "ffn.dense"}, "ffn_in: ffn.dense is not there"),
        (
            {"norms": ("attention.output.dense", "output.LayerNorm")},
            "norms: attention.output.dense is a Linear and no LayerNorm",
        ),
        ({"readers": ("head",)}, "readers: none of head is there"),
        ({"positions_after": 3}, "is answered too"),
        (
            {"sizes": ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")},
            "states hidden_size 32, and the weights have 64",
        ),
        (
            {"attention": ("attention.self.value", "attention.self.value", "attention.self.value")},
            "a model that was cut cannot be computed",
        ),
    ],
)
def test_a_broken_family_fails(change: dict[str, Any], said: str, tmp_path: Path, ernie: Path, tiny_data: Path) -> None:
    broken = dataclasses.replace(bert_like("ernie", readers=("classifier",)), **change)
    with pytest.raises(AssertionError, match=said):
        check_family(broken, model=ernie, data=tiny_data, work=tmp_path)


def test_a_broken_exporter_fails(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    from edgeopt_example.flat import FlatExporter

    tune = step(registry.get("finetune"), {"max_steps": 2, "batch_size": 4}, "tune")
    graph = build([tune], model=tiny_model, data=tiny_data, store=tmp_path / "store").final("candidate")

    class Forgets(FlatExporter):
        def write(self, given: Any, folder: Path, options: Any) -> Any:
            made = super().write(given, folder, options)
            (folder / "tokenizer.json").unlink()
            return made

    with pytest.raises(AssertionError, match=r"no tokenizer\.json"):
        check_exporter(Forgets(), state=graph, work=tmp_path)
