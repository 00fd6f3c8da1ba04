"""Matrices in 4 bits: the step between two integers, for each output.

With 15 values a step that reaches the largest weight leaves most of the others two or three values, so the step is the
one of the least squared error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Largest integer of a symmetric weight in 4 bits; −8 stays unused, as −128 does in 8.
S4 = 7
#: What is tried: the shares of a row's largest weight that the largest integer stands for.
_SHARES = np.linspace(1.0, 0.4, 25, dtype=np.float32)


def scales(rows: Array) -> Array:
    """The step of each row, float32, after which its integers are nearest the floats. Of a row of zeros it is 1."""
    largest = np.abs(rows).max(1).astype(np.float32)
    best, least = largest / np.float32(S4), np.full(len(rows), np.inf)
    best[largest == 0] = 1.0
    for share in _SHARES:
        tried = best if share == 1 else np.where(largest > 0, share * largest / np.float32(S4), 1.0)
        error = ((rounded(rows, tried) * tried[:, None] - rows) ** 2).sum(1)
        best, least = np.where(error < least, tried, best), np.minimum(error, least)
    found: Array = best.astype(np.float32)
    return found


def rounded(rows: Array, steps: Array) -> Array:
    """The integers of each row, as floats."""
    found: Array = np.clip(np.rint(rows / steps[:, None]), -S4, S4)
    return found
