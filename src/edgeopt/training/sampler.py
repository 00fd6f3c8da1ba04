"""Batches of rows of like length, in an order that depends on seed and epoch alone.

transformers' LengthGroupedSampler draws from the global generator, whose state at the start of an
epoch is not that of a resumed one: training continued in the middle of an epoch would see other
batches. This one gives the same order however often training was cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from edgeopt.training.mixture import Mixture, Turns

#: Batches that are sorted together: enough for little padding, few enough for a good shuffle.
_POOL = 50


class LengthGroupedSampler(Sampler[int]):
    """Row numbers, shuffled, then sorted by length within pools of 50 batches.

    The pools' batches are shuffled again, but the longest comes first so that too large a batch fails at once. mixture:
    of which rows an epoch consists, where that is not all of them once.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]],
        batch_size: int,
        seed: int,
        mixture: Mixture | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.mixture = mixture
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) if self.mixture is None else self.mixture.draws

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths) if self.mixture is None else self.mixture.rows(self.epoch))
        pool = self.batch_size * _POOL
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            order[start : start + pool] = part[np.argsort(-self.lengths[part], kind="stable")]
        begins = np.arange(0, len(order), self.batch_size)
        # a short batch stays last: in the middle it would shift every later row into another batch
        whole, tail = np.split(begins, [len(order) // self.batch_size])
        longest = [int(self.lengths[order[whole]].argmax())] if len(whole) else []
        rest = np.delete(whole, longest)
        for begin in (*whole[longest], *rest[rng.permutation(len(rest))], *tail):
            yield from order[begin : begin + self.batch_size].tolist()


class TurnSampler(Sampler[int]):
    """Row numbers whose batches are each of one task, in the order of the turns.

    The rows that a task gives in an epoch are sorted by length within pools of 50 batches, whose batches are shuffled.
    The longest of each task comes first, so that too large a batch fails at once.
    """

    def __init__(
        self, lengths: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]], batch_size: int, seed: int, turns: Turns
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.turns, self.epoch = (
            np.asarray(lengths),
            batch_size,
            seed,
            turns,
            0,
        )

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be that of an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.turns.draws

    def __iter__(self) -> Iterator[int]:
        offsets = np.cumsum([0, *self.turns.sizes[:-1]])
        left = [
            self._batches(number, offset + rows)
            for number, (offset, rows) in enumerate(zip(offsets, self.turns.plan(self.epoch), strict=True))
        ]
        for task in self.turns.turns(self.epoch):
            yield from next(left[task])

    def _batches(self, number: int, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[list[int]]:
        """The batches of one task, whose rows are as many whole batches."""
        rng, pool = np.random.default_rng([self.seed, self.epoch, number]), self.batch_size * _POOL
        batches: list[np.ndarray] = []
        for start in range(0, len(rows), pool):
            part = rows[start : start + pool]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        longest = max(range(len(batches)), key=lambda i: int(self.lengths[batches[i][0]]), default=None)
        if longest is not None:
            yield batches.pop(longest).tolist()
        for i in rng.permutation(len(batches)):
            yield batches[i].tolist()


def sampler_of(
    lengths: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]], batch_size: int, seed: int, mixture: Mixture | None
) -> LengthGroupedSampler | TurnSampler:
    """The sampler of a training. batch_size: rows on all devices together."""
    if isinstance(mixture, Turns):
        return TurnSampler(lengths, batch_size, seed, mixture)
    return LengthGroupedSampler(lengths, batch_size, seed, mixture)
