"""How many rows would settle a gate that these rows leave open."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgeopt.statistics.bounds import Bounds, normal_quantile

#: How often that many rows would settle it.
POWER = 0.8
_MOST = 1e9


def scaled(bounds: Bounds, factor: float) -> Bounds:
    """The bounds that `factor` times as many rows of the same kind would give.

    Their width shrinks with the square root.
    """
    root = math.sqrt(factor)
    return Bounds(
        bounds.value,
        bounds.value - (bounds.value - bounds.low) / root,
        bounds.value + (bounds.high - bounds.value) / root,
    )


def rows_needed(bounds_of: Callable[[float], Bounds], rows: int, margin: float, confidence: float) -> int | None:
    """How many rows would put the bound of a gate on one side of the margin in 80 of 100 samples.

    That is if the true difference is the one observed and further rows are like these: the sample size of a test at
    that power (Julious 2004, Statistics in Medicine 23:1921), with the standard error that the bound itself has. None
    where the observed value is the margin: then no number of rows does. bounds_of: the bounds that a number of times as
    many rows would give. confidence: above .5.
    """
    value = bounds_of(1.0).value
    gap = abs(margin - value)
    spare = (normal_quantile(confidence) + normal_quantile(POWER)) / normal_quantile(confidence)

    def settles(factor: float) -> bool:
        found = bounds_of(factor)
        return spare * (found.high - value if value < margin else value - found.low) <= gap

    if gap < 1e-9 or not settles(_MOST):
        return None
    low, high = 1.0, _MOST
    while math.ceil(rows * low) < math.ceil(rows * high) and low < (middle := math.sqrt(low * high)) < high:
        low, high = (low, middle) if settles(middle) else (middle, high)
    return math.ceil(rows * high)


def rounded(count: int) -> int:
    """A number of rows to two significant digits, rounded up."""
    unit = int(10 ** max(len(str(count)) - 2, 0))
    return -(-count // unit) * unit
