"""Embeddings as bytes and bits: within half a step, and as sentence-transformers packs them; neighbors by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.tasks import ranking, vectors

RNG = np.random.default_rng(0)


def test_bytes_are_within_half_a_step_and_what_is_beyond_is_the_nearest() -> None:
    known = RNG.normal(size=(200, 16)).astype(np.float32)
    low, high = vectors.ranges_of(known)
    stored = vectors.as_bytes(known, low, high)
    assert stored.dtype == np.int8 and stored.min() == -128 and stored.max() == 127
    assert np.all(np.abs(vectors.of_bytes(stored, low, high) - known) <= (high - low) / 255 * 0.501)
    assert vectors.as_bytes(high[None] + 5, low, high).min() == 127
    assert vectors.as_bytes(low[None] - 5, low, high).max() == -128
    same = np.zeros((3, 2), dtype=np.float32)  # a dimension that is the same in all rows has no range
    assert np.isfinite(
        vectors.of_bytes(vectors.as_bytes(same, *vectors.ranges_of(same)), *vectors.ranges_of(same))
    ).all()


def test_the_cosine_of_signs_is_that_of_packed_bits() -> None:
    found = RNG.normal(size=(2, 64))
    bits = np.packbits(found > 0, axis=1)
    differ = int(np.unpackbits(bits[0] ^ bits[1]).sum())
    a, b = vectors.signs(found)
    assert a @ b / 64 == pytest.approx(1 - 2 * differ / 64)


@pytest.mark.parametrize("same", [False, True])
def test_the_nearest_are_those_of_all_in_order(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_QUERIES", 7)
    monkeypatch.setattr(ranking, "_PASSAGES", 13)
    passages = RNG.normal(size=(50, 8))
    queries = passages if same else RNG.normal(size=(20, 8))
    cosines = ranking.unit(queries) @ ranking.unit(passages).T
    if same:
        np.fill_diagonal(cosines, -np.inf)
    assert np.array_equal(ranking.nearest(queries, passages, same=same), np.argsort(-cosines, axis=1)[:, :10])
    few = ranking.nearest(queries[:4], queries[:4], same=True)
    assert few.shape == (4, 3) and vectors.recall(few, few).tolist() == [1.0] * 4
