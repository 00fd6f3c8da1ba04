"""How well a model that is trained on plain text does on text that it is not trained on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.results.figures import HELD_OUT
from edgeopt.spec.recipe import BATCH
from edgeopt.training.objective import Objective

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

#: How often a training looks at the held-out rows.
_LOOKS = 10


class OnText(Objective):
    """An objective on plain text, which can also say how well a model does."""

    @abstractmethod
    def tally(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, float]:
        """Sums over the tokens of a batch, by name."""

    @abstractmethod
    def shares(self, sums: Mapping[str, float]) -> dict[str, float]:
        """What the sums over all batches come to: a `loss` and more, by name."""


class HeldOut(TrainerCallback):  # type: ignore[misc]
    """Says, some ten times in a training, how well the model does on rows that it is not trained on.

    rows: all of them are looked at, each time with the same tokens hidden. collate: makes such batches.
    """

    def __init__(self, objective: OnText, rows: Sequence[dict[str, Any]], collate: Callable[..., Any]) -> None:
        self.objective, self.rows, self.collate = objective, rows, collate

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
        """The objective's rates over all rows; neither the model nor torch's generator is changed."""
        training = model.training
        sums: dict[str, float] = {}
        model.eval()
        for at in range(0, len(self.rows), BATCH):
            rows = self.collate(self.rows[at : at + BATCH])
            batch = {name: values.to(model.device) for name, values in rows.items()}
            for name, value in self.objective.tally(model, batch).items():
                sums[name] = sums.get(name, 0.0) + value
        model.train(training)
        return {f"{HELD_OUT}{name}": value for name, value in self.objective.shares(sums).items()}
