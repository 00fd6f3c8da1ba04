"""How much each class counts in the loss, from how often it occurs or from the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeopt.spec.recipe import Training


def class_weights(
    params: Training, labels: Sequence[Any], classes: Sequence[str], rows: int | None = None
) -> list[float] | None:
    """The weight of each class, in the order of the class numbers; None where the recipe asks for none.

    labels: the class numbers that are trained towards. rows: how many rows they are of, where a row may have several:
    the weight is then that of a yes against a no.
    """
    given = params.class_weights
    if given is None:
        return None
    if isinstance(given, list):
        return list(given)
    if isinstance(given, dict):
        return [given.get(name, 1.0) for name in classes]
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=len(classes)).tolist()
    if rows is not None and given == "balanced":
        return [(rows - count) / count if 0 < count < rows else 1.0 for count in counts]
    return balanced(counts) if given == "balanced" else effective_number(counts, params.effective_beta)


def balanced(counts: Sequence[int]) -> list[float]:
    """The weights n / (k·n_c), scikit-learn's `balanced`: n rows, k classes that occur, n_c rows of the class.

    1 for a class without rows.
    """
    present = sum(c > 0 for c in counts)
    return [sum(counts) / (present * c) if c else 1.0 for c in counts]


def effective_number(counts: Sequence[int], beta: float) -> list[float]:
    """The weights (1 − β) / (1 − β^n_c), scaled to a mean of 1 over the classes that occur.

    Cui et al. 2019, equations 3 and 4. 1 for a class without rows.
    """
    raw = [(1 - beta) / -np.expm1(c * np.log(beta)) for c in counts if c]
    mean = sum(raw) / len(raw)
    rest = iter(raw)
    return [float(next(rest) / mean) if c else 1.0 for c in counts]
