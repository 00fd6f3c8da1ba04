"""How many consecutive values of a series belong together. numpy alone."""

from __future__ import annotations

import math

import numpy as np

from edgeopt.statistics import Values


def block_length(series: Values) -> int:
    """Length of a block for the moving-block bootstrap of a mean: Politis and White 2004 (Econometric Reviews 23:53) with
    the correction of Patton, Politis and White 2009, constant for overlapping blocks; at least 1, at most a quarter of the
    series. series: shape (n,), n at least 4."""
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    if variance == 0.0:
        return 1
    longest = min(n - 1, math.ceil(math.sqrt(n)) + _quiet_lags(n))
    covariances = np.array([float(centred[: n - k] @ centred[k:]) / n for k in range(longest + 1)])
    lags = min(2 * max(_last_correlated(covariances / variance, n), 1), longest)
    k = np.arange(1, lags + 1)
    weights = np.clip(2 * (1 - k / lags), 0, 1)  # the flat-top window of Politis and Romano 1995
    spectrum = variance + 2 * float(weights @ covariances[1 : lags + 1])
    slope = 2 * float((weights * k) @ covariances[1 : lags + 1])
    if spectrum <= 0.0:
        return max(1, n // 4)
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return max(1, min(math.ceil(float(length)), n // 4))


def _quiet_lags(n: int) -> int:
    return max(5, math.ceil(math.sqrt(math.log10(n))))


def _last_correlated(correlations: Values, n: int) -> int:
    """The lag behind which so many in a row are no larger than chance makes them."""
    quiet, chance = _quiet_lags(n), 2 * math.sqrt(math.log10(n) / n)
    large = np.abs(correlations[1:]) >= chance
    for lag in range(len(large) - quiet + 1):
        if not large[lag : lag + quiet].any():
            return lag
    return int(np.flatnonzero(large)[-1]) + 1
