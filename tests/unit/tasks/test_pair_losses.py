"""Losses on pairs against what sentence-transformers 5.7.0 gave for the same numbers."""

from __future__ import annotations

from typing import Any

import pytest

from edgeopt.spec.recipe import EmbeddingLosses
from edgeopt.tasks.pair_losses import PairLoss

torch = pytest.importorskip("torch")
#: Embeddings of four rows of three texts, and labels of the first two.
X = (torch.arange(4 * 3 * 6).reshape(4, 3, 6).float() * 0.37).sin()
Y = torch.tensor([0.1, 0.9, 0.4, 0.4])


@pytest.mark.parametrize(
    ("name", "texts", "dimensions", "expected"),
    [
        ("contrastive", 2, (), 12.149871826171875),
        ("contrastive", 3, (), 22.103334426879883),
        ("cosent", 2, (), 7.174473762512207),
        ("cosine", 2, (), 1.3816301822662354),
        # MatryoshkaLoss adds the losses of the first numbers
        ("cosent", 2, (6, 3, 2), 7.174473762512207 + 26.65416145324707 + 29.60735321044922),
        ("contrastive", 2, (6, 3), 12.149871826171875 + 18.967567443847656),
    ],
)
def test_losses_are_those_of_sentence_transformers(
    name: str, texts: int, dimensions: tuple[int, ...], expected: float
) -> None:
    loss = PairLoss(EmbeddingLosses.model_validate({name: 1.0}), dimensions)
    assert float(loss({"logits": X[:, :texts]}, Y)) == pytest.approx(expected, rel=1e-5)


def test_terms_are_added_with_their_weights_and_labels_brought_to_one() -> None:
    both = PairLoss(EmbeddingLosses(cosent=0.5, cosine=2.0), low=0.0, high=5.0)
    expected = 0.5 * 7.174473762512207 + 2 * 1.3816301822662354
    assert float(both({"logits": X[:, :2]}, 5 * Y)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_of_a_batch_in_parts_are_those_of_the_whole(dropout: float) -> None:
    from edgeopt.training.gradient_cache import Cached

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = torch.nn.Embedding(50, 8), torch.nn.Dropout(dropout)
            self.sizes: list[int] = []

        def forward(self, input_ids: Any) -> Any:
            self.sizes.append(len(input_ids))
            return type("Out", (), {"logits": self.drop(self.table(input_ids)).mean(2)})

    torch.manual_seed(0)
    model, loss = Model(), PairLoss(EmbeddingLosses(contrastive=1.0))
    batch = {"input_ids": torch.randint(0, 50, (10, 2, 5)), "labels": torch.zeros(10)}
    found = []
    for rows in (4, 10):
        model.zero_grad()
        torch.manual_seed(1)
        value = Cached(loss, rows).loss(model, dict(batch), 0, 1)
        (value * 0.5).backward()
        found.append((float(value.detach()), model.table.weight.grad.clone()))
    assert model.sizes == [4, 4, 2, 4, 4, 2, 10, 10]
    if not dropout:  # of another number of rows other numbers are dropped
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
        assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
    torch.manual_seed(1)
    model.zero_grad()
    (loss({"logits": model(batch["input_ids"]).logits}, batch["labels"]) * 0.5).backward()
    assert torch.allclose(found[1][1], model.table.weight.grad, atol=1e-6)
