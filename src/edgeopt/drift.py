"""Whether a latency, or a ratio of two, is another in the second half of its rounds than in the first. numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeopt.statistics import Bounds, Values, percentile_draws

#: A change smaller than this share does not matter to a gate; of a larger one it must be this sure that it is no chance.
LARGEST, CONFIDENCE = 0.05, 0.995


def drift(samples: Values, against: Values | None = None) -> Bounds:
    """The median of the second half over that of the first; with `against`, samples of the same rounds, that of the ratio
    of both medians. Bounds by a block bootstrap of each half. samples: shape (rounds,), 16 at least."""
    half = len(samples) // 2
    series = [samples] if against is None else [samples, against]
    values, draws = [], []
    for part in (slice(0, half), slice(half, 2 * half)):
        values.append(_ratio([float(np.median(x[part])) for x in series]))
        draws.append(_ratio(percentile_draws([x[part] for x in series], 50.0)))
    # each half has draws of its own: any of the one goes with any of the other
    changes = draws[1] / np.random.default_rng(0).permutation(draws[0])
    low, high = np.quantile(changes, [1 - CONFIDENCE, CONFIDENCE])
    return Bounds(values[1] / values[0], float(low), float(high))


def _ratio(of: list[Any]) -> Any:
    return of[0] / of[1] if len(of) > 1 else of[0]


def drifted(found: Bounds) -> bool:
    """Whether a change is no chance and large enough to matter."""
    return not found.low <= 1.0 <= found.high and not 1 / (1 + LARGEST) <= found.value <= 1 + LARGEST
