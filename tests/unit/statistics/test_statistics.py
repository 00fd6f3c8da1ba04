"""Bounds against independent references: scikit-learn, scipy, brute-force likelihood, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import sklearn.metrics as sk

from edgeopt.statistics.bounds import accuracy_difference, percentile_bounds, percentile_ratio
from edgeopt.statistics.metric_bounds import (
    _ranks,
    confusion_metric,
    counted_bounds,
    least_seen,
    margin_metric,
    metric_bounds,
    metric_difference,
    most_unseen,
)

RNG = np.random.default_rng(7)


def pairs(both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    base = np.array([True] * both + [False] * gained + [True] * lost + [False] * neither)
    candidate = np.array([True] * both + [True] * gained + [False] * lost + [False] * neither)
    return base, candidate


def score_by_likelihood(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic with the nuisance parameter found by maximizing the likelihood numerically."""

    def minus_log_likelihood(q: float) -> float:
        parts = ((gained, q + delta), (lost, q), (n - gained - lost, 1 - 2 * q - delta))
        return -sum(k * math.log(p) for k, p in parts if k) if all(p > 0 for k, p in parts if k) else math.inf

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = scipy.optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    return (gained - lost - n * delta) / math.sqrt(n * (2 * q + delta - delta * delta))


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 2, 44), (3, 9, 408), (30, 41, 872), (1, 0, 277), (5, 5, 100)])
def test_tango_bounds_solve_the_score_equation(gained: int, lost: int, n: int) -> None:
    base, candidate = pairs(n - gained - lost - 5, gained, lost, 5)
    found = accuracy_difference(base, candidate, 0.95)
    z = scipy.stats.norm.ppf(0.95)
    assert found.value == pytest.approx((gained - lost) / n)
    assert score_by_likelihood(gained, lost, n, found.low) == pytest.approx(z, abs=1e-3)
    assert score_by_likelihood(gained, lost, n, found.high) == pytest.approx(-z, abs=1e-3)


def test_tango_bounds_are_the_published_ones() -> None:
    """The airway data of Bentur: two-sided 95 %, as published.

    Fagerland, Lydersen and Laake (2014, Statistics in Medicine 33:2850) give them.
    """
    base, candidate = pairs(1, 1, 7, 12)
    found = accuracy_difference(base, candidate, 0.975)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_agreement_on_every_row_still_leaves_doubt() -> None:
    base, candidate = pairs(300, 0, 0, 100)
    found = accuracy_difference(base, candidate, 0.95)
    assert found.value == 0
    assert found.high == pytest.approx(-found.low)
    assert 0.004 < found.high < 0.01


def test_one_sided_bounds_hold_as_often_as_they_say() -> None:
    true_drop, misses, trials = 0.02, 0, 600
    for _ in range(trials):
        draw = RNG.multinomial(400, [0.8, 0.04, 0.06, 0.1])
        misses += accuracy_difference(*pairs(*draw), 0.95).low > -true_drop
    assert misses / trials == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("name", ["f1", "precision", "recall", "matthews"])
def test_confusion_metrics_are_scikit_learns(name: str, classes: int) -> None:
    truth = RNG.integers(0, classes, 200)
    predicted = np.where(RNG.random(200) < 0.7, truth, RNG.integers(0, classes, 200))
    matrix = sk.confusion_matrix(truth, predicted, labels=range(classes)).astype(float)[None]
    if name == "matthews":
        expected = sk.matthews_corrcoef(truth, predicted)
    else:
        function = {"f1": sk.f1_score, "precision": sk.precision_score, "recall": sk.recall_score}[name]
        expected = function(truth, predicted, average="binary" if classes == 2 else "macro", zero_division=0.0)
    assert confusion_metric(name, matrix)[0] == pytest.approx(expected)


def test_paired_bootstrap_agrees_with_resampled_rows() -> None:
    truth = RNG.integers(0, 2, 300)
    base, candidate = (np.where(RNG.random(300) < p, truth, 1 - truth) for p in (0.9, 0.85))
    found = metric_difference("f1", truth, base, candidate, 2, 0.95)
    rows = RNG.integers(0, 300, (1500, 300))

    def f1(predicted: np.ndarray) -> np.ndarray:
        """2·tp / (2·tp + fp + fn) of each resample: scikit-learn's takes ten seconds for as many."""
        t, p = truth[rows], predicted[rows]
        return np.asarray(2 * (t & p).sum(1) / (t.sum(1) + p.sum(1)))

    draws = f1(candidate) - f1(base)
    assert found.low == pytest.approx(np.quantile(draws, 0.05), abs=0.006)
    assert found.high == pytest.approx(np.quantile(draws, 0.95), abs=0.006)
    assert found.value == pytest.approx(sk.f1_score(truth, candidate) - sk.f1_score(truth, base))


def test_the_bootstrap_is_scipys_bca() -> None:
    truth = RNG.normal(size=250)
    base, candidate = truth + RNG.normal(size=250) * 0.3, truth + RNG.exponential(size=250)

    def statistic(t: np.ndarray, b: np.ndarray, c: np.ndarray, axis: int = -1) -> np.ndarray:
        t, b, c = (x - x.mean(axis, keepdims=True) for x in (t, b, c))
        return (t * c).sum(axis) / np.sqrt((t * t).sum(axis) * (c * c).sum(axis)) - (t * b).sum(axis) / np.sqrt(
            (t * t).sum(axis) * (b * b).sum(axis)
        )

    # rows that are answered at random, and are unseen
    more = np.corrcoef(truth, base)[0, 1] * (1 - 0.05 ** (1 / 250)) / 2
    expected = scipy.stats.bootstrap(
        (truth, base, candidate), statistic, paired=True, n_resamples=5000, confidence_level=0.9, method="BCa", rng=3
    )
    found = metric_difference("pearson", truth, base, candidate, 1, 0.95)
    assert (found.low + more, found.high - more) == pytest.approx(tuple(expected.confidence_interval), abs=0.006)


def test_ranks_are_those_of_the_resample() -> None:
    values = RNG.integers(0, 12, 60).astype(float)
    weights = RNG.multinomial(60, np.full(60, 1 / 60), size=4).astype(float)
    for weight, ranks in zip(weights, _ranks(values)(weights), strict=True):
        drawn = np.repeat(np.arange(60), weight.astype(int))
        expected = scipy.stats.rankdata(values[drawn])
        np.testing.assert_allclose((ranks[drawn] + 0.5) * 60 + 0.5, expected)


@pytest.mark.parametrize(
    ("name", "reference"), [("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)]
)
def test_correlations_are_scipys(name: str, reference: object) -> None:
    truth = RNG.normal(size=400)
    base, candidate = truth + RNG.normal(size=400) * 0.3, truth + RNG.normal(size=400) * 0.5
    found = metric_difference(name, truth, base, candidate, 1, 0.95)
    assert found.value == pytest.approx(reference(truth, candidate).statistic - reference(truth, base).statistic)  # type: ignore[operator]
    assert found.low < found.value < found.high
    alone = metric_bounds(name, truth, candidate, 1, 0.95)
    assert alone.low < alone.value < alone.high


@pytest.mark.parametrize(("seen", "rows"), [(0, 100), (1, 100), (7, 60), (60, 60), (300, 900)])
def test_shares_of_kinds_are_clopper_and_pearsons(seen: int, rows: int) -> None:
    expected = scipy.stats.binomtest(seen, rows).proportion_ci(0.90, method="exact")
    assert (least_seen(seen, rows, 0.95), most_unseen(seen, rows, 0.95)) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )
    assert most_unseen(seen, rows, 0.5) == seen / rows


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "matthews"])
def test_answers_without_an_error_may_still_err(name: str) -> None:
    """100 of 100 right passed `min f1 .99`, "at least 1.0000".

    As many as one sample in twenty does not show may be wrong.
    """
    truth = np.arange(100) % 2
    low = metric_bounds(name, truth, truth, 2, 0.95).low
    unseen = 1 - 0.05 ** (1 / 100)  # of all rows, all of the kind that costs most
    expected = {"f1": 1 - unseen / (1 - unseen), "precision": 0.5 / (0.5 + unseen), "recall": 1 - 2 * unseen}
    assert low == pytest.approx(expected.get(name, low)) and 0.9 < low < 0.98
    assert metric_bounds(name, truth, truth, 2, 0.5).low == 1
    assert metric_bounds(name, truth, 1 - truth, 2, 0.95).high > {"matthews": -1}.get(name, 0)
    gap = metric_difference(name, truth, truth, truth, 2, 0.95)
    assert gap.high == -gap.low > 0.01


def test_counts_without_an_error_may_still_err() -> None:
    counts = np.tile([2, 2, 2], (60, 1))
    counts[::3] = 0  # rows with nothing to find
    found = counted_bounds(counts, lambda c: 2 * c[:, 0] / (c[:, 1] + c[:, 2]), 0.95)
    assert (found.low, found.high) == (pytest.approx(0.05 ** (1 / 40)), 1)


def test_a_min_gate_passes_wrongly_no_oftener_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """One positive of 33 is missed in truth, of 100: no error is to be seen in one sample in twenty."""
    monkeypatch.setattr("edgeopt.statistics.bootstrap.RESAMPLES", 500)
    rng, bound, passes = np.random.default_rng(0), 2 * 0.97 / 1.97, 0
    truth = np.ones(100, dtype=int)
    for _ in range(60):
        passes += metric_bounds("f1", truth, (rng.random(100) < 0.97).astype(int), 2, 0.95).low >= bound
    assert passes / 60 <= 0.12


def test_a_perfect_correlation_is_one() -> None:
    """Rounding made the correlation of 3 classes in some numbers 1.0000000000000002, which no report takes."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        true = rng.integers(1, 1000, (1, int(rng.integers(2, 6)))).astype(float)
        assert margin_metric("matthews", true, true, true)[0] <= 1
    many = rng.integers(1, 1000, (5000, 3)).astype(float)
    assert margin_metric("matthews", many, many, many).max() == 1


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_few_or_equal_scores_are_not_sure_of_anything(name: str) -> None:
    truth = RNG.normal(size=40)
    same = metric_difference(name, truth, truth, truth, 1, 0.95)
    assert same.high == -same.low > 0.05
    assert metric_bounds(name, truth, truth, 1, 0.95).low == pytest.approx(1 - most_unseen(1, 40, 0.95))
    assert metric_difference(name, truth[:29], truth[:29], truth[:29], 1, 0.95)[1:] == (-2, 2)
    assert metric_bounds(name, truth[:29], truth[:29], 1, 0.95)[1:] == (-1, 1)


def test_rows_that_are_answered_at_random_are_not_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """One or two of 100 are, in truth 3: the drop is the margin.

    A bootstrap alone passed a quarter of such samples.
    """
    monkeypatch.setattr("edgeopt.statistics.bootstrap.RESAMPLES", 500)
    rng, passes = np.random.default_rng(0), 0
    for _ in range(40):
        truth = rng.normal(size=100)
        base = 0.9 * truth + 0.436 * rng.normal(size=100)
        candidate = np.where(rng.random(100) < 0.03, rng.normal(size=100), base)
        passes += metric_difference("pearson", truth, base, candidate, 1, 0.95).low >= -0.027
    assert passes <= 4


def test_wilson_bounds() -> None:
    truth, predicted = np.ones(100), np.r_[np.ones(90), np.zeros(10)]
    expected = scipy.stats.binomtest(90, 100).proportion_ci(0.90, method="wilson")  # two-sided 90 % is one-sided 95 %
    found = metric_bounds("accuracy", truth, predicted, 2, 0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_ratio_of_percentiles() -> None:
    rng = np.random.default_rng(1)
    slow = rng.lognormal(math.log(10), 0.1, 500)
    found = percentile_ratio(slow, slow / 2, 50, 0.95)
    assert found == pytest.approx((2, 2, 2))  # the same rounds: the machine's noise cancels
    other = percentile_ratio(slow, rng.lognormal(math.log(5), 0.1, 500), 50, 0.95)
    assert other.low < 2 < other.high
    assert other.high - other.low < 0.15
    bounds = percentile_bounds(slow, 90, 0.95)
    assert bounds.low < np.percentile(slow, 90) < bounds.high


def test_half_confidence_is_the_point_estimate() -> None:
    base, candidate = pairs(80, 5, 9, 6)
    found = accuracy_difference(base, candidate, 0.5)
    assert found.low == pytest.approx(found.value, abs=1e-6)


def test_thousands_of_classes_need_no_matrix() -> None:
    """A confusion matrix of 3,000 classes for each of 100 draws would be 7 GB."""
    truth = np.arange(60) % 20 * 150
    base, candidate = np.where(np.arange(60) < 20, 1, truth), np.where(np.arange(60) < 3, 1, truth)
    bounds = metric_difference("f1", truth, base, candidate, 3000, 0.5)
    # of 20 classes with 3 rows each, the baseline misses one row of each: f1 = 2·2/(2+3); the candidate of three of
    # them
    assert bounds.value == pytest.approx(17 * (1 - 0.8) / 3000)
