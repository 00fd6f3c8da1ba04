"""Callbacks of transformers' Trainer: progress, checkpoints, epochs for the sampler, pruned zeros."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.support.errors import step_failed
from edgeopt.support.progress import Bar

if TYPE_CHECKING:
    import torch

    from edgeopt.training.feed import Epochs
    from edgeopt.training.objective import Objective

COMPLETE = "complete"
#: Optimizer steps from one question to the next whether several processes are to save.
_TOGETHER = 10


class ShowProgress(TrainerCallback):  # type: ignore[misc]
    """Show loss, examples a second and time left, and stop at once when the loss is no longer a number."""

    def __init__(self, bar: Bar, rows_a_step: int) -> None:
        self.bar, self.rows_a_step = bar, rows_a_step
        self.loss: float | None = None
        self.started, self.first = time.monotonic(), 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started, self.first = time.monotonic(), state.global_step
        self.bar.total = state.max_steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        elapsed = max(time.monotonic() - self.started, 1e-9)
        rate = (state.global_step - self.first) * self.rows_a_step / elapsed
        loss = "" if self.loss is None else f"loss {self.loss:.3f} "
        self.bar.update(state.global_step, f"{loss}{rate:.0f} examples/s")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.loss = float(logs["loss"])
            if not math.isfinite(self.loss):
                raise step_failed(
                    "E407",
                    f"training diverged: the loss is {self.loss} at optimizer step {state.global_step}",
                    help="lower learning_rate, raise warmup_ratio, or set precision: fp32",
                )


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Save when the last save is old enough, and mark each save that is whole."""

    def __init__(self, every_seconds: float) -> None:
        self.every = every_seconds
        self.saved = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step < state.max_steps and self._due(args, state.global_step):
            control.should_save = True

    def _due(self, args: TrainingArguments, step: int) -> bool:
        old = time.monotonic() - self.saved >= self.every
        if args.world_size == 1:
            return old
        # clocks of several processes differ, and a save is a collective act: the first one's counts, asked now and then
        return step % _TOGETHER == 0 and _first_says(old, args.device)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.saved = time.monotonic()
        if args.world_size > 1:
            wait_for_all()  # each writes the state of its generators
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


def _first_says(what: bool, device: torch.device) -> bool:
    """What the first process says, in all of them."""
    import torch
    import torch.distributed as dist

    said = torch.tensor([what], dtype=torch.uint8, device=device)
    dist.broadcast(said, src=0)
    return bool(said.item())


def wait_for_all() -> None:
    """Go on when every process has come here."""
    import torch.distributed as dist

    dist.barrier()


class StopEarly(TrainerCallback):  # type: ignore[misc]
    """Stop when so many evaluations in a row have not been better than the best one.

    transformers' own counts anew when training resumes. Here all follows from the state, which is in the checkpoints:
    one that was written when it was time to stop stops at once.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_training_stop |= self._since_best(args, state) >= self.patience

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **_: Any,
    ) -> None:
        value = metrics[f"eval_{args.metric_for_best_model}"]
        better = state.best_metric is None or (
            value > state.best_metric if args.greater_is_better else value < state.best_metric
        )
        if not better and self._since_best(args, state) >= self.patience:
            control.should_training_stop = True

    def _since_best(self, args: TrainingArguments, state: TrainerState) -> int:
        """Evaluations behind the best one; none where no checkpoint may be the best yet."""
        name = f"eval_{args.metric_for_best_model}"
        best = state.best_global_step
        return sum(name in entry and entry["step"] > best for entry in state.log_history) if best else 0


class FollowEpoch(TrainerCallback):  # type: ignore[misc]
    """Tell the sampler, and what else asks, the epoch. accelerate does not, for the batches that resuming skips."""

    def __init__(self, followers: Sequence[Epochs]) -> None:
        self.followers = followers

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for each in self.followers:
            each.set_epoch(math.floor((state.epoch or 0.0) + 1e-9))


class Stepped(TrainerCallback):  # type: ignore[misc]
    """Tell an objective that the training begins, and that an optimizer step was taken."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.objective.begun()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.objective.stepped()


class KeepZeros(TrainerCallback):  # type: ignore[misc]
    """Put pruned weights back to zero after every optimizer step."""

    def __init__(self, masks: Mapping[torch.Tensor, torch.Tensor]) -> None:
        self.masks = masks

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        import torch

        with torch.no_grad():
            for parameter, mask in self.masks.items():
                parameter.mul_(mask.to(parameter.device))
