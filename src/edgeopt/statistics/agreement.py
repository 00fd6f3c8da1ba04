"""How far two models answer alike, row by row: diagnostics, of which no verdict is made. numpy alone."""

from __future__ import annotations

from math import comb

import numpy as np

from edgeopt.statistics.bounds import Values

#: Bins of the calibration error, as in Guo et al. (2017).
BINS = 15


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p of McNemar's exact test (McNemar 1947).

    It is how likely rows that only one model answers rightly are to fall so unevenly, or more, between two models that
    are equally good. A large p is no evidence that they are.
    """
    n, k = gained + lost, min(gained, lost)
    return float(min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n))


def probabilities(logits: Values) -> Values:
    """Softmax over the last axis."""
    exponential = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(exponential / exponential.sum(axis=-1, keepdims=True))


def kl_divergence(p: Values, q: Values) -> Values:
    """KL(p || q) of each row, in nats.

    p, q: probabilities (rows, classes); what q says is impossible counts as 1e-300.
    """
    return np.asarray(
        np.sum(np.where(p > 0, p * (np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-300))), 0.0), axis=-1)
    )


def loyalty(p: Values, q: Values) -> float:
    """Probability loyalty, mean over rows of 1 - √JS (Xu et al. 2021, Beyond Preserved Accuracy, section 3.2).

    Logarithms are of base 2, so that it is 1 where both models are as sure of everything and 0 where they exclude each
    other.
    """
    middle = (p + q) / 2
    divergence = (kl_divergence(p, middle) + kl_divergence(q, middle)) / (2 * np.log(2))
    return float(np.mean(1 - np.sqrt(np.clip(divergence, 0.0, 1.0))))


def calibration_error(p: Values, labels: Values) -> float:
    """Expected calibration error (Guo et al. 2017, On Calibration of Modern Neural Networks, section 2).

    It is how far the probability of the answer is from how often it is right, over 15 bins of equal width, weighted by
    their rows.
    """
    confidence, right = p.max(axis=-1), p.argmax(axis=-1) == labels
    which = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    apart = np.bincount(which, weights=right - confidence, minlength=BINS)
    return float(np.abs(apart).sum() / len(labels))
