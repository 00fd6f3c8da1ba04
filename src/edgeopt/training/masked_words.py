"""The objective of masked language modeling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from edgeopt.tasks.base import IGNORED
from edgeopt.training.distill_terms import question
from edgeopt.training.held_out import OnText

if TYPE_CHECKING:
    from torch import nn


class Picked:
    """Lets a model's head see the positions that are asked for alone: the scores of all words cost the most there."""

    def __init__(self) -> None:
        self.positions: torch.Tensor | None = None

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """While the block runs, what the encoder gives has the picked positions, in one row."""
        base: nn.Module = getattr(model, str(model.base_model_prefix))
        handle = base.register_forward_hook(self._pick)
        try:
            yield
        finally:
            handle.remove()

    def _pick(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if self.positions is not None:
            output["last_hidden_state"] = output["last_hidden_state"][self.positions].unsqueeze(0)
        return output


class MaskedWords(OnText):
    """Cross-entropy of the hidden tokens, each counting the same over the batches of an optimizer step."""

    def __init__(self) -> None:
        self.picked = Picked()

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        with self.picked.inside(model):
            yield

    def weight(self, batches: Sequence[dict[str, Any]]) -> torch.Tensor | None:
        return torch.stack([(batch["labels"] != IGNORED).sum() for batch in batches]).sum().float()

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        scores, wanted = self.scores(model, batch)
        weight = torch.tensor(float(len(wanted))) if self.mean_weight is None else self.mean_weight
        return F.cross_entropy(scores, wanted, reduction="sum") / weight.clamp(min=1.0).to(scores.device)

    def scores(self, model: nn.Module, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """(scores of all words, the word) for each hidden token of a batch."""
        asked, labels = question(batch)
        self.picked.positions = chosen = labels != IGNORED
        try:
            return model(**asked).logits.squeeze(0).float(), labels[chosen]
        finally:
            self.picked.positions = None

    def tally(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, float]:
        scores, wanted = self.scores(model, batch)
        loss = float(F.cross_entropy(scores, wanted, reduction="sum"))
        return {"loss": loss, "right": float((scores.argmax(-1) == wanted).sum()), "count": len(wanted)}

    def shares(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {name: sums[of] / max(sums["count"], 1) for name, of in (("loss", "loss"), ("accuracy", "right"))}
