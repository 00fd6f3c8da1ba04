"""What a training costs: parameters, seconds of loading and computing, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.results.figures import Told
from edgeopt.support import host

if TYPE_CHECKING:
    from torch import nn

#: peft keeps the head as it was beside the one that is trained.
_UNUSED = "original_module"


def count(model: nn.Module) -> Told:
    """Counts of the trainable and of all parameters, each weight once.

    Of a 4-bit matrix the weights that it stands for are counted, of a head that an adapter trains the trained one.
    """
    trainable = total = 0
    for name, parameter in model.named_parameters():
        if _UNUSED in name.split("."):
            continue
        size = parameter.numel() * (2 if type(parameter).__name__ == "Params4bit" else 1)
        total += size
        trainable += size if parameter.requires_grad else 0
    return {"trainable_parameters": trainable, "parameters": total, "trainable_share": round(trainable / total, 6)}


class Clock(TrainerCallback):  # type: ignore[misc]
    """Measures the seconds that go into optimizer steps, the device waited for, and into making batches.

    They are those of this process since it began or resumed, as is the number of steps.
    """

    def __init__(self) -> None:
        self.loading = self.computing = 0.0
        self.steps = 0
        self._began = 0.0

    @contextmanager
    def load(self) -> Iterator[None]:
        """Count the block as the making of batches."""
        began = time.perf_counter()
        yield
        self.loading += time.perf_counter() - began

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _wait_for_device()
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        _wait_for_device()
        self.computing += time.perf_counter() - self._began
        self.steps += 1

    def figures(self) -> Told:
        """The seconds of both, for the report, and in how many steps."""
        return {
            "loading_seconds": round(self.loading, 3),
            "computing_seconds": round(self.computing, 3),
            "computed_steps": self.steps,
        }


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget_peaks() -> None:
    """Start the measuring of the largest memory anew, where the system can."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    host.forget_peak_memory()


def peaks() -> Told:
    """Largest resident memory of this process, and largest memory on the GPU, since `forget_peaks`."""
    import torch

    found: Told = {"peak_rss_bytes": host.peak_memory()}
    if torch.cuda.is_available():
        found["peak_gpu_bytes"] = int(torch.cuda.max_memory_allocated())
    return found
