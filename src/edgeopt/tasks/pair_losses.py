"""Losses on embeddings of pairs: of in-batch negatives, and of the cosine against a label.

They are those of sentence-transformers: MultipleNegativesRankingLoss (van den Oord et al. 2018), CoSENTLoss (Su 2022)
and CosineSimilarityLoss; over several dimensions MatryoshkaLoss (Kusupati et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeopt.spec.recipe import EmbeddingLosses
from edgeopt.tasks.losses import LabelLoss

if TYPE_CHECKING:
    import torch


class PairLoss(LabelLoss):
    """The weighted sum of the losses that a recipe names, each a mean over the rows of a batch.

    Rows of a batch are compared with one another, so a batch in parts is not the whole. dimensions: for each number the
    losses of so many first numbers of an embedding are added; empty: all numbers. low, high: the least label and the
    most, for the loss that takes them from 0 to 1.
    """

    def __init__(
        self, spec: EmbeddingLosses, dimensions: Sequence[int] = (), low: float = 0.0, high: float = 1.0
    ) -> None:
        self.spec, self.dimensions, self.low, self.high = spec, tuple(dimensions), low, high

    def total(self, batches: Sequence[Any]) -> torch.Tensor:
        import torch

        return torch.tensor(float(sum(len(b["labels"]) for b in batches)), device=batches[0]["labels"].device)

    def summed(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of the rows, times their number. logits: embeddings, (rows, texts, width)."""
        import torch

        width = logits.shape[-1]
        parts = [self._of(logits[..., :size], labels) for size in self.dimensions or (width,)]
        return torch.stack(parts).sum() * len(labels)

    def _of(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn import functional as F

        found, spec = F.normalize(embeddings, dim=-1), self.spec
        terms = []
        if spec.contrastive:
            terms.append(spec.contrastive * contrastive(found, spec.scale))
        if spec.cosent or spec.cosine:
            cosines, labels = (found[:, 0] * found[:, 1]).sum(-1), labels.reshape(-1).float()
            if spec.cosent:
                terms.append(spec.cosent * cosent(cosines, labels, spec.scale))
            if spec.cosine:
                wanted = (labels - self.low) / ((self.high - self.low) or 1.0)
                terms.append(spec.cosine * F.mse_loss(cosines, wanted))
        return torch.stack(terms).sum()


def contrastive(embeddings: torch.Tensor, scale: float) -> torch.Tensor:
    """How badly each anchor is told from the other rows' positives, and from all negatives. (rows, texts, width)."""
    import torch
    from torch.nn import functional as F

    anchors, others = embeddings[:, 0], embeddings[:, 1:].transpose(0, 1).reshape(-1, embeddings.shape[-1])
    return F.cross_entropy(scale * anchors @ others.T, torch.arange(len(anchors), device=anchors.device))


def cosent(cosines: torch.Tensor, labels: torch.Tensor, scale: float) -> torch.Tensor:
    """log(1 + Σ exp(scale · (sᵢ − sⱼ))) over the pairs of rows of which the second has the higher label."""
    import torch

    apart = scale * (cosines[:, None] - cosines[None, :])
    wrong = apart[labels[:, None] < labels[None, :]]
    return torch.logsumexp(torch.cat([wrong.new_zeros(1), wrong]), 0)
