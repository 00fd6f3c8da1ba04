"""Embeddings in fewer bits for an index: a byte a number, or a bit, and what of their neighbors is still found.

The forms are those of sentence-transformers' `quantize_embeddings`, save that a number beyond the range is the nearest
byte, where that one wraps around.
"""

from __future__ import annotations

import numpy as np

from edgeopt.statistics.bounds import Values

#: Steps of a byte.
_STEPS = 255


def ranges_of(vectors: Values) -> tuple[Values, Values]:
    """The least and the most of each dimension. vectors: (count, width), those of calibration rows."""
    return np.asarray(vectors.min(axis=0), dtype=np.float32), np.asarray(vectors.max(axis=0), dtype=np.float32)


def as_bytes(vectors: Values, low: Values, high: Values) -> Values:
    """Each number as one of 256 steps of its dimension's range, (count, width) of int8."""
    steps = _step(low, high)
    return np.asarray(np.clip(np.round((vectors - low) / steps) - 128, -128, 127), dtype=np.int8)


def of_bytes(stored: Values, low: Values, high: Values) -> Values:
    """The numbers that bytes stand for."""
    return np.asarray((stored.astype(np.float32) + 128) * _step(low, high) + low)


def signs(vectors: Values) -> Values:
    """1 for a number above 0, else -1: what a bit keeps. The cosine of two is 1 − 2·(bits that differ) / width."""
    return np.asarray(np.where(vectors > 0, 1.0, -1.0))


def _step(low: Values, high: Values) -> Values:
    return np.asarray(np.maximum(high - low, np.finfo(np.float32).tiny) / _STEPS)


def recall(found: Values, wanted: Values) -> Values:
    """Share of the nearest passages by full embeddings that are among those found, for each query. (queries, k)."""
    pairs = zip(found.tolist(), wanted.tolist(), strict=True)
    return np.array([len(set(a) & set(b)) / max(len(b), 1) for a, b in pairs])


def searches(queries: Values, passages: Values, low: Values, high: Values) -> dict[str, tuple[Values, Values]]:
    """What each way to search compares by cosine: queries, and passages as they are stored."""
    stored = of_bytes(as_bytes(passages, low, high), low, high)
    return {
        "float32": (queries, passages),
        "int8": (queries, stored),
        "binary": (signs(queries), signs(passages)),
        "binary, float queries": (queries, signs(passages)),
    }
