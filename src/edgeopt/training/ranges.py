"""When ranges are observed, quantized with, and left as they are, while a model is trained for int8."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.models.fake_quant import Quantizers


class RangeSchedule(TrainerCallback):  # type: ignore[misc]
    """Switches observing and quantizing on and off as the training goes on.

    In the share `observe` of the steps ranges are observed and nothing is quantized; after the share `freeze_after`
    they stay as they are. In between a moving average observes on (averaging: how far an optimizer step moves it), and
    learned ranges learn. All follows from the step's number and the model, so that a resumed training does the same.
    """

    def __init__(
        self, quantizers: Quantizers, *, learned: bool, averaging: float, observe: float, freeze_after: float
    ) -> None:
        self.quantizers, self.learned, self.averaging = quantizers, learned, averaging
        self.observe, self.freeze_after = observe, freeze_after

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        first = max(1, int(self.observe * state.max_steps))  # with no step at all there would be no ranges
        last = max(first, int(self.freeze_after * state.max_steps))
        step = state.global_step
        self.quantizers.quantize = step >= first
        self.quantizers.observe = step < (first if self.learned else last)
        if step >= last:
            for each in self.quantizers.ranges:
                each.freeze()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for each in self.quantizers.ranges:
            each.average(self.averaging)
