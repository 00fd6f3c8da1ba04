"""What is kept of an activation while rows stream by: a few numbers or a fixed number of bins, whatever the rows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
#: Smallest and largest value that the integers stand for.
Range = tuple[np.float32, np.float32]


class Observer(Protocol):
    """Sees the values of one tensor, one row of the data at a time."""

    def add(self, values: Array) -> None:
        """Take in the values of one more row."""


class MinMax:
    """Keeps the widest range seen."""

    def __init__(self) -> None:
        self.low, self.high = np.float32(np.inf), np.float32(-np.inf)

    def add(self, values: Array) -> None:
        self.low, self.high = min(self.low, values.min()), max(self.high, values.max())

    def range(self) -> Range:
        return self.low, self.high


class MovingAverage:
    """Keeps the mean over the rows of each row's smallest and largest value, as ONNX Runtime's CalibMovingAverage."""

    def __init__(self) -> None:
        self.rows, self.low, self.high = 0, 0.0, 0.0

    def add(self, values: Array) -> None:
        self.rows += 1
        self.low += (float(values.min()) - self.low) / self.rows
        self.high += (float(values.max()) - self.high) / self.rows

    def range(self) -> Range:
        return np.float32(self.low), np.float32(self.high)


class Histogram:
    """Counts in BINS bins of one width around zero.

    The width is a power of two and bins begin at its multiples; a value outside doubles it, which merges neighbors
    exactly. So the counts are those of all values at once, in any order.
    """

    BINS = 16384

    def __init__(self) -> None:
        self.counts = np.zeros(self.BINS, dtype=np.int64)
        self.width = 0.0
        self.extremes = MinMax()

    def add(self, values: Array) -> None:
        self.extremes.add(values)
        self._widen(max(float(self.extremes.high), -float(self.extremes.low)))
        # scaled by a power of two, so nothing is rounded before the floor
        places = np.floor(values.ravel() * np.float32(1 / self.width)).astype(np.intp)
        self.counts += np.bincount(places + self.BINS // 2, minlength=self.BINS)

    def _widen(self, largest: float) -> None:
        half = self.BINS // 2
        if not self.width:
            # frexp: largest < 2^exponent, so at least half of the bins of the wider side are used
            self.width = 2.0 ** (int(np.frexp(largest)[1]) - int(np.log2(half))) if largest else 2.0**-100
        while largest >= half * self.width:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.zeros_like(self.counts)
            self.counts[half // 2 : half // 2 + half] = merged
            self.width *= 2

    @property
    def edges(self) -> Array:
        """Where the bins begin, and where the last ends, shape (BINS + 1,)."""
        half = self.BINS // 2
        return np.arange(-half, half + 1) * self.width


#: What a range can be made of.
Ranging = MinMax | MovingAverage | Histogram


class Channels:
    """Keeps the largest magnitude and the mean of each channel, which is the last axis."""

    def __init__(self) -> None:
        self.rows = 0
        self.largest: Array = np.zeros(0)
        self.mean: Array = np.zeros(0)

    def add(self, values: Array) -> None:
        flat = values.reshape(-1, values.shape[-1])
        largest, mean = np.abs(flat).max(0), flat.mean(0, dtype=np.float64)
        if not self.rows:
            self.largest, self.mean = np.zeros_like(largest), np.zeros_like(mean)
        self.rows += len(flat)
        self.largest = np.maximum(self.largest, largest)
        self.mean += (mean - self.mean) * (len(flat) / self.rows)
