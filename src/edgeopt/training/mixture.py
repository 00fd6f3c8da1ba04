"""Which rows of which dataset an epoch draws, where several are trained on together.

Shares follow Stickland & Murray (2019, "BERT and PALs", section 4): a dataset of N rows is drawn in proportion to N^α,
and α is annealed from 1 to 1 − .8 over the epochs. They draw each batch at random; here the shares are rounded to whole
rows, so that proportional drawing is an ordinary pass over all rows, and no dataset is drawn more often by luck.

Everything follows from seed and epoch alone, as `training/sampler.py` explains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeopt.spec.recipe import Sampling, Training

Rows = np.ndarray[Any, np.dtype[np.int64]]


def exponent(sampling: Sampling, epoch: int, epochs: int) -> float:
    """The exponent α of an epoch, counted from 0.

    The paper counts from 1, α = 1 − .8·(e − 1)/(E − 1), its code from 0: the same numbers. With a single epoch there is
    nothing to anneal: α is 1.
    """
    if sampling.method in ("uniform", "round-robin"):
        return 0.0
    if sampling.method == "proportional" or epochs < 2:
        return 1.0
    return 1.0 - sampling.anneal_by * min(epoch, epochs - 1) / (epochs - 1)


def probabilities(sizes: Sequence[int], alpha: float) -> list[float]:
    """The share of each dataset: N_i^α / Σ N_j^α."""
    powers = [size**alpha for size in sizes]
    return [p / sum(powers) for p in powers]


def whole(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that add up to `total`, in proportion to the shares.

    They are rounded down, and what is left is given to the largest remainders, the earlier first.
    """
    exact = [share * total / sum(shares) for share in shares]
    out = [math.floor(x + 1e-9) for x in exact]
    order = sorted(range(len(out)), key=lambda i: (round(out[i] - exact[i], 9), i))
    for i in order[: total - sum(out)]:
        out[i] += 1
    return out


@dataclass(frozen=True)
class Mixture:
    """The plan of every epoch. sizes: rows of each dataset; draws: rows an epoch; epochs: how many there will be."""

    sizes: tuple[int, ...]
    sampling: Sampling
    draws: int
    epochs: int
    seed: int

    def counts(self, epoch: int) -> list[int]:
        """How many rows of each dataset the epoch draws."""
        return whole(probabilities(self.sizes, exponent(self.sampling, epoch, self.epochs)), self.draws)

    def plan(self, epoch: int) -> list[Rows]:
        """The rows of each dataset that the epoch draws, in the order drawn.

        A dataset is passed through in a shuffled order without repetition, from where the epoch before left it, and
        shuffled anew for the next pass.
        """
        before = [self.counts(e) for e in range(epoch)]
        starts = [sum(counts[i] for counts in before) for i in range(len(self.sizes))]
        return [
            self._stretch(i, start, count)
            for i, (start, count) in enumerate(zip(starts, self.counts(epoch), strict=True))
        ]

    def _stretch(self, dataset: int, start: int, count: int) -> Rows:
        size = self.sizes[dataset]
        first, last = start // size, (start + count - 1) // size
        passes = [np.random.default_rng([self.seed, dataset, p]).permutation(size) for p in range(first, last + 1)]
        return np.concatenate(passes)[start - first * size :][:count] if passes else np.empty(0, dtype=np.int64)

    def rows(self, epoch: int) -> Rows:
        """The rows that the epoch draws, as numbers into the datasets put one after the other.

        So a sampler of mixed batches needs them.
        """
        offsets = np.cumsum([0, *self.sizes[:-1]])
        return np.concatenate([offset + rows for offset, rows in zip(offsets, self.plan(epoch), strict=True)])


@dataclass(frozen=True)
class Turns(Mixture):
    """The plan of every epoch where a batch holds rows of one dataset, because each is a task of its own.

    batch: rows of a batch on all devices together. All batches are whole, so no row is in a batch of another task.
    """

    batch: int = 1

    def counts(self, epoch: int) -> list[int]:
        shares = probabilities(self.sizes, exponent(self.sampling, epoch, self.epochs))
        return [batches * self.batch for batches in whole(shares, self.draws // self.batch)]

    def turns(self, epoch: int) -> list[int]:
        """The dataset of each batch of the epoch: one after the other in turn, or in a shuffled order."""
        batches = [count // self.batch for count in self.counts(epoch)]
        if self.sampling.method == "round-robin":
            return [i for turn in range(max(batches)) for i, count in enumerate(batches) if turn < count]
        order = np.repeat(np.arange(len(batches)), batches)
        return list(np.random.default_rng([self.seed, epoch, len(batches)]).permutation(order).tolist())


def turns_of(sizes: Sequence[int], params: Training, batch: int, seed: int) -> Turns:
    """The turns of several tasks of these sizes in a training. batch: as in `mixture_of`.

    An epoch has as many batches as all rows need; in turn, as many as give each task the same number.
    """
    sampling = params.sampling or Sampling()
    batches = math.ceil(sum(sizes) / batch)
    if sampling.method == "round-robin":
        batches = math.ceil(batches / len(sizes)) * len(sizes)
    if sampling.steps_per_epoch:
        batches = sampling.steps_per_epoch * params.accumulation
    steps = math.ceil(batches / params.accumulation)
    epochs = math.ceil(params.max_steps / steps) if params.max_steps else math.ceil(params.epochs)
    return Turns(tuple(sizes), sampling, batches * batch, epochs, seed, batch)


def mixture_of(sizes: Sequence[int], params: Training, batch: int, seed: int) -> Mixture:
    """The mixture of datasets of these sizes in a training.

    batch: rows of a batch on all devices together, before accumulation.
    """
    sampling = params.sampling or Sampling()
    step = batch * params.accumulation
    draws = sampling.steps_per_epoch * step if sampling.steps_per_epoch else sum(sizes)
    epochs = (
        math.ceil(params.max_steps * step / (math.ceil(draws / step) * step))
        if params.max_steps
        else math.ceil(params.epochs)
    )
    return Mixture(tuple(sizes), sampling, draws, epochs, seed)
