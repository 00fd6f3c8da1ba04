"""A training on several tasks: rows of all their sequences, and the loss of each task on its own rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.tasks.base import Values
from edgeopt.tasks.encode import Encoder, Features, Ids
from edgeopt.tasks.losses import LabelLoss
from edgeopt.tasks.several.losses import PartLoss, SeveralLosses
from edgeopt.tasks.several.parts import Parts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgeopt.spec.recipe import Training
    from edgeopt.tasks.split import Split


class Trains(Parts):
    """Gives a training a query a row, of all its sequences and with the number of its task."""

    def training_rows(
        self, encoder: Encoder, split: Split, accepted: Collection[str]
    ) -> tuple[list[dict[str, Any]], Features]:
        """One query a row, of all its sequences, with the number of its task."""
        features = self.encode(encoder, split.texts)
        found: list[list[Ids]] = [[] for _ in split.texts]
        for row, ids in zip(features.rows, features.ids, strict=True):
            found[row].append(ids)
        rows = []
        for sequences, label in zip(found, split.labels, strict=True):
            whole = {n: v.tolist() for n, v in encoder.pad(sequences).items()} if len(sequences) > 1 else sequences[0]
            rows.append({**{n: v for n, v in whole.items() if n in accepted}, "tasks": label[0], "labels": label})
        return rows, Features(rows, list(range(len(rows))))

    def collator(self, encoder: Encoder) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        """A function that makes a batch of rows: where one has two sequences all get two, and a head reads its own."""
        import torch

        plain = super().collator(encoder)

        def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
            texts = max(_texts(row) for row in rows)
            batch = plain(rows if texts == 1 else [_as_several(row, texts) for row in rows])
            return {**batch, "tasks": torch.tensor([row["tasks"] for row in rows])}

        return collate

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return np.array(labels, dtype=np.float32)

    def class_numbers(self, labels: Sequence[Any]) -> Sequence[int]:
        return ()

    def training_loss(
        self, params: Training, weights: Sequence[float] | None, labels: Sequence[Any]
    ) -> LabelLoss | None:
        return self._losses(labels, params.label_smoothing)

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        return self._losses((), smoothing)

    def mean_loss(self, model: PreTrainedModel, batch: dict[str, Any], labels: Sequence[Any]) -> torch.Tensor:
        return self._losses(labels, 0.0)({"logits": model(**batch).logits}, batch["labels"])

    def _losses(self, labels: Sequence[Any], smoothing: float) -> SeveralLosses:
        """The loss of each task on its own rows. labels: of all rows, by which cosines know the range of scores."""
        found = []
        for number, (head, part) in enumerate(zip(self.task_heads, self.listed, strict=True)):
            scores = [label for task, label in labels if task == number]
            low, high = (min(scores, default=0.0), max(scores, default=1.0)) if head.kind == "cosine" else (0.0, 1.0)
            loss = part.label_loss(None, smoothing if part.has_classes else 0.0)
            found.append(PartLoss(loss, self.specs[head.name].weight, head.outputs, part.has_classes, low, high))
        return SeveralLosses(found)


def _texts(row: Mapping[str, Any]) -> int:
    """Sequences of a row of a training."""
    ids = row["input_ids"]
    return len(ids) if isinstance(ids[0], list) else 1


def _as_several(row: dict[str, Any], texts: int) -> dict[str, Any]:
    """A row with as many sequences, the last ones copies that no head reads."""
    if _texts(row) == texts:
        return row
    return {k: [v] * texts if isinstance(v, list) else v for k, v in row.items()}
