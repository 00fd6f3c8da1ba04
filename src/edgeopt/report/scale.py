"""Axes: round tick values, and where a value lies between two ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Scale:
    """A map of [low, high] onto [start, end] of the picture: straight, or of the logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round values within [low, high]: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high]; where those are few, 2 and 5 times them too."""
    powers = [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    found = [p for p in powers if low <= p <= high]
    return found if len(found) >= 3 else [f * p for p in powers for f in (1, 2, 5) if low <= f * p <= high]


def decimals(values: list[float]) -> int:
    """How many decimals tell neighboring ticks apart."""
    gap = min((b - a for a, b in pairwise(values)), default=1.0)
    return max(0, -math.floor(math.log10(gap) + 1e-9))
