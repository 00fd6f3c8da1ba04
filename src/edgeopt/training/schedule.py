"""Which rows a training sees at which optimizer step, known before it begins.

It is the order of `LengthGroupedSampler`, in the batches of transformers' Trainer. Of several processes each takes
every so many batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgeopt.training.sampler import LengthGroupedSampler

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model at once, on one device, for the optimizer step of that number."""

    epoch: int
    step: int
    rows: Numbers


@dataclass(frozen=True)
class Schedule:
    """The order of a training.

    lengths: of all rows. batch: rows of a batch on each device. accumulation: batches of each before a step. epochs,
    max_steps: as in a recipe, the second before the first.
    """

    lengths: Sequence[int] | Numbers
    batch: int
    accumulation: int
    processes: int
    seed: int
    epochs: float
    max_steps: int | None

    @cached_property
    def _batches_an_epoch(self) -> int:
        return -(-len(self.lengths) // self.batch)

    @cached_property
    def steps_an_epoch(self) -> int:
        """Optimizer steps of a whole epoch; the last may have fewer batches."""
        return max(1, -(-self._batches_an_epoch // (self.processes * self.accumulation)))

    @cached_property
    def steps(self) -> int:
        """Optimizer steps of the training."""
        return self.max_steps or math.ceil(self.epochs * self.steps_an_epoch)

    @cached_property
    def rows(self) -> int:
        """Rows of the training, each as often as it is seen."""
        whole, more = divmod(self.steps, self.steps_an_epoch)
        batches = min(self._batches_an_epoch, more * self.accumulation * self.processes)
        return whole * len(self.lengths) + min(len(self.lengths), batches * self.batch)

    def order(self, epoch: int) -> Numbers:
        """The rows of a whole epoch, the first batch's first."""
        sampler = LengthGroupedSampler(self.lengths, self.batch * self.processes, self.seed)
        sampler.set_epoch(epoch)
        return np.fromiter(sampler, np.int64, len(sampler))

    def batches(self) -> Iterator[Batch]:
        """All batches up to the last optimizer step."""
        for epoch in range(-(-self.steps // self.steps_an_epoch)):
            order = self.order(epoch)
            for number in range(self._batches_an_epoch):
                step = epoch * self.steps_an_epoch + number // self.processes // self.accumulation
                if step >= self.steps:
                    return
                yield Batch(epoch, step, order[number * self.batch : (number + 1) * self.batch])
