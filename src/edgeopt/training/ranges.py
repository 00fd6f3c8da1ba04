"""The ranges of a model that is trained for int8: measured before, and kept, followed or learned while it trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.models.fake_quant import Quantizers


def calibrate(model: nn.Module, quantizers: Quantizers, batches: Iterable[dict[str, Any]]) -> None:
    """Give every quantizer the widest range that its tensor has on the batches, in float and without dropout.

    So the training begins where static quantization ends, and from its first step on it sees the rounding.
    """
    model.eval()
    quantizers.calibrate = True
    try:
        with torch.no_grad():
            for batch in batches:
                model(**batch)
    finally:
        quantizers.calibrate = False
    for each in quantizers.ranges:
        each.average(1.0)


class RangeSchedule(TrainerCallback):  # type: ignore[misc]
    """Lets ranges change up to the share `freeze_after` of the steps, where they change at all.

    follow: how far an optimizer step moves a range towards what it saw; 0: ranges stay, or learn. All follows from the
    step's number and the model, so that a resumed training does the same.
    """

    def __init__(self, quantizers: Quantizers, *, follow: float, freeze_after: float) -> None:
        self.quantizers, self.follow, self.freeze_after = quantizers, follow, freeze_after

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        moving = state.global_step < int(self.freeze_after * state.max_steps)
        self.quantizers.observe = moving and self.follow > 0
        if not moving:
            for each in self.quantizers.ranges:
                each.freeze()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for each in self.quantizers.ranges:
            each.average(self.follow)
