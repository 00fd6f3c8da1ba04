"""Class weights against scikit-learn and the paper's formula, and the loss against torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from edgeopt.spec.recipe import TrainParams
from edgeopt.tasks.losses import WeightedCrossEntropy
from edgeopt.training.weights import class_weights

LABELS = [0] * 90 + [1] * 9 + [2]
CLASSES = ["often", "seldom", "rare"]


def weights(labels: list[int] = LABELS, classes: list[str] = CLASSES, **params: Any) -> list[float] | None:
    return class_weights(TrainParams.model_validate(params), labels, classes)


def test_balanced_is_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    assert weights(class_weights="balanced") == pytest.approx(
        compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    )


def test_effective_number_by_hand() -> None:
    """β = .9: (1 − β)/(1 − β^n) is .1/(1 − .9^90), .1/(1 − .9^9) and 1, brought to a mean of 1."""
    raw = [0.1 / (1 - 0.9**90), 0.1 / (1 - 0.9**9), 1.0]
    found = weights(class_weights="effective-number", effective_beta=0.9)
    assert found == pytest.approx([3 * r / sum(raw) for r in raw])


def test_given_weights_and_classes_without_rows() -> None:
    assert weights() is None
    assert weights(class_weights={"rare": 4}) == [1.0, 1.0, 4.0]
    assert weights(class_weights=[1, 2, 3]) == [1, 2, 3]
    assert weights([0, 0, 0, 1], class_weights="balanced") == pytest.approx([2 / 3, 2.0, 1.0])
    assert weights([0, 0, 1, 1], class_weights="effective-number") == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("weight", [None, [1.0, 5.0, 0.5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_torchs_over_whole_and_cut_batches(weight: list[float] | None, smoothing: float) -> None:
    logits, labels = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0] * 3)
    labels[5] = -100
    loss = WeightedCrossEntropy(weight, smoothing)
    expected = torch.nn.CrossEntropyLoss(weight and torch.tensor(weight), label_smoothing=smoothing)(logits, labels)
    assert float(loss({"logits": logits}, labels)) == pytest.approx(float(expected), rel=1e-6)
    total = loss.total([{"labels": labels[:3]}, {"labels": labels[3:]}])
    parts = [loss((logits[s],), labels[s], total) for s in (slice(0, 3), slice(3, 12))]
    assert float(sum(parts)) == pytest.approx(float(expected), rel=1e-6)


def test_smoothing_alone_is_transformers_own() -> None:
    from transformers.trainer_pt_utils import LabelSmoother

    logits, labels = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2] * 3)
    own = LabelSmoother(epsilon=0.3)({"logits": logits}, labels)
    assert float(WeightedCrossEntropy(None, 0.3)({"logits": logits}, labels)) == pytest.approx(float(own), rel=1e-6)
