"""The loss of a whole training: against torch's own, and for what it is good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from e2e.test_training import context_for
from helpers import WORDS, classification
from transformers import TrainerCallback

from edgeopt.data import Split
from edgeopt.measure.parity import ParityRows, torch_logits
from edgeopt.models.load import load_model
from edgeopt.spec.recipe import TrainParams
from edgeopt.tasks.encode import Encoder
from edgeopt.training import train


class Gradient(TrainerCallback):  # type: ignore[misc]
    """The head's gradient in the first optimizer step."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.found = model.classifier.weight.grad.clone()


def without_dropout(folder: Path) -> Any:
    model = load_model(folder)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize(
    ("params", "weight", "smoothing"),
    [
        ({}, None, 0.0),
        ({"class_weights": {"1": 7}}, [1.0, 7.0], 0.0),
        ({"class_weights": [0.5, 3.0], "label_smoothing": 0.2}, [0.5, 3.0], 0.2),
        ({"label_smoothing": 0.2}, None, 0.2),
    ],
    ids=["plain", "weights", "weights and smoothing", "smoothing"],
)
@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_gradient_is_that_of_the_whole_batch(
    classifier: Path,
    tiny_data: Path,
    tmp_path: Path,
    params: dict[str, Any],
    weight: list[float] | None,
    smoothing: float,
    accumulation: int,
) -> None:
    """All rows in one optimizer step, as one batch or as several, against torch's loss over all rows at once."""
    context = context_for(tiny_data, tmp_path)
    encoder, gradient = Encoder(classifier, 32), Gradient()
    size = len(context.data.train) // accumulation
    given = TrainParams.model_validate(
        {"batch_size": size, "gradient_accumulation": accumulation, "max_steps": 1, "precision": "fp32", **params}
    )
    train(without_dropout(classifier), classifier, given, context, callbacks=[gradient])

    model = without_dropout(classifier)
    task = classification()
    task.names = context.data.label_names
    batch = task.collator(encoder)(task.training_rows(encoder, context.data.train, {"input_ids", "attention_mask"})[0])
    labels = batch.pop("labels")
    torch.nn.CrossEntropyLoss(weight and torch.tensor(weight), label_smoothing=smoothing)(
        model(**batch).logits, labels
    ).backward()
    assert float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)) < 1.0, (
        "the Trainer limits the gradient to 1: this test would not see its length"
    )
    torch.testing.assert_close(gradient.found, model.classifier.weight.grad, rtol=1e-4, atol=1e-7)


def lopsided(folder: Path) -> Path:
    """Rows of which one in twenty is of class 1: to guess 0 is best, unless classes count alike.

    All of class 1 hold a word that an eighth of class 0 holds too. Where classes count alike, 1 is right in all of
    class 1 and wrong in an eighth of class 0.
    """
    folder.mkdir()
    for split, many in (("train", 800), ("validation", 200)):
        rows = []
        for i in range(many):
            word = WORDS[0] if i % 20 == 0 or i % 8 == 1 else WORDS[1]
            rows.append(json.dumps({"text": word, "label": ["often", "rare"][i % 20 == 0]}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows))
    return folder


def recall(model: Any, folder: Path, split: Split, number: int) -> float:
    """The share of a class's rows that is found."""
    encoder = Encoder(folder, 32)
    logits = torch_logits(model, ParityRows(encoder, encoder.ids(split.texts))).reshape(-1, 2)[: len(split)]
    rows = np.array(split.labels) == number
    return float((logits[rows].argmax(-1) == number).mean())


@pytest.mark.parametrize(
    ("kind", "rare", "often"), [(None, 0.0, 1.0), ("balanced", 1.0, 0.87), ({"rare": 19}, 1.0, 0.87)], ids=str
)
def test_balanced_weights_find_the_rare_class(
    classifier: Path, tmp_path: Path, kind: Any, rare: float, often: float
) -> None:
    context = context_for(lopsided(tmp_path / "rows"), tmp_path)
    params = TrainParams.model_validate(
        {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "precision": "fp32", "class_weights": kind}
    )
    model = load_model(classifier)
    figures = train(model, classifier, params, context)
    assert recall(model, classifier, context.data.report, 1) == pytest.approx(rare, abs=0.05)
    assert recall(model, classifier, context.data.report, 0) == pytest.approx(often, abs=0.05)
    shown = {"balanced": {"often": pytest.approx(800 / (2 * 760)), "rare": 10.0}, None: None}.get(
        str(kind) if kind else None, {"often": 1.0, "rare": 19.0}
    )
    assert figures.get("class_weights") == shown
