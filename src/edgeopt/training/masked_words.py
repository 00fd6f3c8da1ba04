"""The objective of masked language modeling, and how well a model guesses words of texts that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.training.masking import IGNORED
from edgeopt.training.objective import ROW, Objective

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

#: How often a training looks at the held-out rows.
_LOOKS = 10


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


class MaskedWords(Objective):
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
        labels = batch["labels"]
        self.picked.positions = chosen = labels != IGNORED
        try:
            asked = {name: value for name, value in batch.items() if name not in ("labels", ROW)}
            return model(**asked).logits.squeeze(0).float(), labels[chosen]
        finally:
            self.picked.positions = None


class HeldOut(TrainerCallback):  # type: ignore[misc]
    """Says, some ten times in a training, how well the model guesses words of rows that it is not trained on.

    rows: all of them are looked at, each time with the same tokens hidden.
    """

    def __init__(
        self, objective: MaskedWords, rows: Sequence[dict[str, Any]], collate: Callable[..., Any], batch: int
    ) -> None:
        self.objective, self.rows, self.collate, self.batch = objective, rows, collate, batch
        self.found: list[tuple[int, dict[str, float]]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if state.global_step == 0:
            self._look(state, given["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        every = max(1, state.max_steps // _LOOKS)
        if state.global_step % every == 0 or state.global_step == state.max_steps:
            self._look(state, given["model"])

    def _look(self, state: TrainerState, model: PreTrainedModel) -> None:
        if self.rows and state.is_world_process_zero:
            state.log_history.append({"step": state.global_step, **self.measure(model)})

    @torch.no_grad()
    def measure(self, model: PreTrainedModel) -> dict[str, float]:
        """Mean cross-entropy of the hidden tokens of all rows, and the share of them that is guessed."""
        training, loss, right, count = model.training, 0.0, 0, 0
        model.eval()
        for at in range(0, len(self.rows), self.batch):
            batch = self.collate(self.rows[at : at + self.batch])
            batch = {name: value.to(model.device) for name, value in batch.items()}
            scores, wanted = self.objective.scores(model, batch)
            loss += float(F.cross_entropy(scores, wanted, reduction="sum"))
            right += int((scores.argmax(-1) == wanted).sum())
            count += len(wanted)
        model.train(training)
        return {"eval_held_out_loss": loss / max(count, 1), "eval_held_out_accuracy": right / max(count, 1)}
