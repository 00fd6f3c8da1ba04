"""Diagnostics of agreement against scipy, scikit-learn and figures by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from edgeopt.gates.slices import holm, length_groups
from edgeopt.statistics.agreement import calibration_error, kl_divergence, loyalty, mcnemar_exact, probabilities

RNG = np.random.default_rng(11)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 9), (10, 10), (0, 7), (41, 30)])
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(expected)


def test_divergences_are_scipys() -> None:
    base, candidate = RNG.normal(size=(2, 50, 4)) * 3
    p, q = probabilities(base), probabilities(candidate)
    np.testing.assert_allclose(p, scipy.special.softmax(base, axis=1))
    np.testing.assert_allclose(kl_divergence(p, q), scipy.stats.entropy(p, q, axis=1))
    assert loyalty(p, q) == pytest.approx(1 - np.mean(scipy.spatial.distance.jensenshannon(p, q, axis=1, base=2)))


def test_loyalty_is_from_0_to_1() -> None:
    sure = np.eye(3)
    assert loyalty(sure, sure) == 1
    assert loyalty(sure, np.roll(sure, 1, axis=0)) == pytest.approx(0)


def test_calibration_error_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.1, 0.9], [0.35, 0.65], [0.6, 0.4]])
    labels = np.array([0, 0, 1, 0])
    # .9 twice, right once: |.5 - .9| of 2 rows; .65 and .6 in bins 10 and 9 of 15, both right
    assert calibration_error(p, labels) == pytest.approx((2 * 0.4 + 0.35 + 0.4) / 4)
    assert calibration_error(np.eye(2)[labels], labels) == 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_lengths_in_terciles() -> None:
    assert length_groups([5, 9, 7, 4, 8, 6]) == (
        "4 to 5 tokens",
        "8 to 9 tokens",
        "6 to 7 tokens",
        "4 to 5 tokens",
        "8 to 9 tokens",
        "6 to 7 tokens",
    )
    assert length_groups([3, 3, 3]) == ("3 tokens",) * 3
