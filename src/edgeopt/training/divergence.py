"""Says of a training on plain text that its loss rose far above the lowest it had come to: it diverged.

A loss that is no number ends a training (`callbacks.ShowProgress`). This one goes on: what becomes of it is often what
one wants to see, and a loss may come down again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.results.figures import Divergence, Told

if TYPE_CHECKING:
    from edgeopt.support.progress import Progress

#: Logged losses that are averaged; each is a mean over 10 optimizer steps.
_WINDOW = 5
#: How far is far: a share of the lowest loss, and a multiple of the noise. The mean of 5 has less than half of the
#: noise, and the lowest of thousands of means and the highest are each four of its standard errors away.
_FAR, _SURE = 0.1, 4.0
#: Steps from one logged loss to the next that tell the noise.
_NOISE = 50


@dataclass(frozen=True)
class _Mean:
    step: int
    loss: float


class Rising:
    """Told of a training's losses one after another, it knows where they first were far above their lowest."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=_WINDOW)
        self._moves: deque[float] = deque(maxlen=_NOISE)
        self._lowest: _Mean | None = None
        self._now: _Mean | None = None
        self._found: tuple[_Mean, _Mean] | None = None

    def add(self, step: int, loss: float) -> bool:
        """Whether this loss is the one by which the training has diverged."""
        if self._last:
            self._moves.append(abs(loss - self._last[-1]))
        self._last.append(loss)
        if len(self._last) < _WINDOW:
            return False
        self._now = now = _Mean(step, fmean(self._last))
        if self._lowest is None or now.loss < self._lowest.loss:
            self._lowest = now
        low = self._lowest
        # of normal noise the median of what two differ by is 0.95 of its standard deviation
        far = now.loss - low.loss > max(_FAR * low.loss, _SURE * median(self._moves))
        if self._found is not None or not far:
            return False
        self._found = (low, now)
        return True

    @property
    def figure(self) -> Divergence | None:
        """What is told of it; None: the losses did not rise so far."""
        if self._found is None:
            return None
        assert self._now is not None
        low, high = self._found
        return {
            "step": high.step,
            "loss": round(high.loss, 5),
            "lowest_step": low.step,
            "lowest": round(low.loss, 5),
            "last": round(self._now.loss, 5),
        }


class WatchLoss(TrainerCallback):  # type: ignore[misc]
    """Watches a training's losses, and says at once when they rise far.

    alike: of the optimizer steps that were taken, of so many in all, whether the task is as hard as it will be later.
    All follows from the history that is in the checkpoints.
    """

    def __init__(self, alike: Callable[[int, int], bool], progress: Progress) -> None:
        self.alike, self.progress = alike, progress
        self.rising = Rising()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for entry in state.log_history:
            self._add(entry, state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if self._add({**(logs or {}), "step": state.global_step}, state) and (found := self.rising.figure):
            self.progress.say(
                f"  the training diverges: at optimizer step {found['step']} the loss is {found['loss']:.3f}, and it "
                f"was {found['lowest']:.3f} at step {found['lowest_step']}"
            )

    def _add(self, entry: Mapping[str, float], state: TrainerState) -> bool:
        step = int(entry["step"])
        return "loss" in entry and self.alike(step, state.max_steps) and self.rising.add(step, float(entry["loss"]))

    def figures(self) -> Told:
        """What is told of it in the report."""
        found = self.rising.figure
        return {} if found is None else {"divergence": found}
