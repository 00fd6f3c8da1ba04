"""The area under the ROC curve as a function of weights on the rows, for a bootstrap. numpy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeopt.statistics.bounds import Values


def mean_area(truth: Values, scores: Values) -> Callable[[Values], Values]:
    """The mean over classes of the area under each one's ROC curve: of weights (draws, rows) to (draws,).

    The area is the chance that a row of the class has a larger score than one that is not of it, equal scores counting
    half (Mann and Whitney 1947). A class that all rows of a draw have, or none, has no area and is left out of the
    mean; where every class is, it is .5. truth: of 0 and 1, shape (rows, classes). scores: of the same shape.
    """
    classes = [_area(truth[:, c] > 0, scores[:, c]) for c in range(truth.shape[1])]

    def areas(weights: Values) -> Values:
        found = np.stack([area(weights) for area in classes])
        known = np.isfinite(found)
        some = known.sum(0)
        return np.where(some > 0, np.where(known, found, 0.0).sum(0) / np.maximum(some, 1), 0.5)

    return areas


def _area(truth: Values, scores: Values) -> Callable[[Values], Values]:
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    positive = truth[order]

    def area(weights: Values) -> Values:
        ordered = weights[:, order]
        ours, others = (np.add.reduceat(ordered * side, starts, axis=1) for side in (positive, ~positive))
        below = others.cumsum(1) - others / 2
        pairs = ours.sum(1) * others.sum(1)
        found: Values = np.divide((ours * below).sum(1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
        return found

    return area
