"""How often gates on metrics decide wrongly, on rows whose true drop is known; and what they say where they cannot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from benchmarks.gate_simulation import DROPS, SLICES, classes, decided, simulate, simulate_slices

from edgeopt.results.model import Gate
from edgeopt.statistics.agreement import mcnemar_exact
from edgeopt.statistics.bounds import paired_proportions
from edgeopt.statistics.power import rows_needed

#: 5 % and what chance adds in 500 samples: 2.5 standard errors.
ALLOWED = 0.05 + 2.5 * (0.05 * 0.95 / 500) ** 0.5


@pytest.mark.parametrize("rows", [408, 2121])
def test_error_rates_of_accuracy_hold(rows: int) -> None:
    found = {name: simulate("accuracy", rows, drop, 500) for drop, name in DROPS.items()}
    assert found["no drop"]["fail"] <= ALLOWED
    assert found["just the margin"]["pass"] <= ALLOWED and found["just the margin"]["fail"] <= ALLOWED
    assert found["3 points"]["pass"] <= 0.005
    if rows == 2121:
        assert found["3 points"]["fail"] >= 0.8


@pytest.mark.parametrize("metric", ["f1", "matthews"])
def test_error_rates_of_the_bootstrap_hold(metric: str) -> None:
    found = simulate(metric, 408, 0.01, 40)
    assert found["pass"] <= 0.175 and found["fail"] <= 0.175
    assert simulate(metric, 408, 0.03, 10)["pass"] == 0


@pytest.mark.parametrize("name", ["just the margin in the smallest", "just the margin in all"])
def test_error_rates_over_slices_hold(name: str) -> None:
    found = simulate_slices(name, SLICES[name], 100)
    limit = 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5
    assert found["fail"] <= limit
    assert found["pass"] <= limit


def rows_of(gained: int, lost: int, right: int, wrong: int) -> tuple[Any, Any, Any]:
    """Labels of two classes in turn, and both models' answers."""
    truth = np.arange(gained + lost + right + wrong) % 2
    base = np.repeat([False, True, True, False], [gained, lost, right, wrong])
    candidate = np.repeat([True, False, True, False], [gained, lost, right, wrong])
    return truth, np.where(base, truth, 1 - truth), np.where(candidate, truth, 1 - truth)


def test_an_open_gate_says_how_many_rows_settle_it() -> None:
    gate = decided("accuracy", *rows_of(12, 14, 340, 42))
    assert gate.verdict == "inconclusive" and gate.rows_needed is not None
    unit = 10 ** (len(str(gate.rows_needed)) - 2)
    assert (
        f"408 rows cannot tell whether it is within 0.01; about {-(-gate.rows_needed // unit) * unit:,} rows would, 8 "
        "times in 10" in gate.reason
    )
    settled = Counter(_again(gate.rows_needed, (12, 14, 340, 42), seed).verdict for seed in range(200))
    assert settled["pass"] / 200 == pytest.approx(0.8, abs=0.08)


def _again(rows: int, counts: tuple[int, ...], seed: int) -> Gate:
    drawn = np.random.default_rng(seed).multinomial(rows, np.array(counts) / sum(counts))
    return decided("accuracy", *rows_of(*drawn.tolist()))


def test_at_the_margin_no_number_of_rows_settles_it() -> None:
    gate = decided("accuracy", *rows_of(10, 14, 340, 36))
    assert (gate.verdict, gate.value, gate.rows_needed) == ("inconclusive", pytest.approx(0.01), None)
    assert "no number of rows like these does" in gate.reason


def test_two_models_that_agree_need_rows_too() -> None:
    gate = decided("accuracy", *rows_of(0, 0, 90, 10))
    assert gate.verdict == "inconclusive" and gate.rows_needed is not None
    # with more rows on which they agree the bound is z²/(n + z²)
    assert 268 < gate.rows_needed < 500
    assert paired_proportions(0, 0, gate.rows_needed, 0.95).high < 0.01
    assert decided("f1", *rows_of(0, 0, 90, 10)).verdict == "inconclusive"
    assert decided("accuracy", *rows_of(0, 0, 300, 10)).rows_needed is None


def test_a_drop_beyond_the_margin_is_settled_by_failing() -> None:
    needed = rows_needed(lambda t: paired_proportions(4 * t, 11 * t, 400 * t, 0.95), 400, -0.01, 0.95)
    assert needed is not None and 400 < needed < 10_000
    low = paired_proportions(4 * needed / 400, 11 * needed / 400, needed, 0.95)
    assert low.high < -0.01


def test_the_worst_slice_decides_and_small_ones_are_named() -> None:
    good, bad, few = rows_of(3, 3, 360, 34), rows_of(0, 45, 130, 25), rows_of(0, 1, 9, 0)
    columns = [np.concatenate(x) for x in zip(good, bad, few, strict=True)]
    groups = {"domain": ["good"] * 400 + ["bad"] * 200 + ["few"] * 10}
    gate = decided("accuracy", *columns, max_drop=0.1, slice="domain", groups=groups)
    assert gate.verdict == "fail" and gate.value == pytest.approx(45 / 200) and gate.slice == "domain"
    assert (
        "of 2 slices domain bad drops most" in gate.reason and "too small to tell: domain few (10 rows)" in gate.reason
    )
    both = decided("accuracy", *columns, max_drop=0.1, slice="worst", groups=groups)
    assert "of 4 slices domain bad drops most" in both.reason  # those of both labels too
    assert mcnemar_exact(0, 45) < 1e-10
    alone = decided(
        "accuracy", *(x[:400] for x in columns), max_drop=0.05, slice="domain", groups={"domain": ["good"] * 400}
    )
    assert (alone.verdict, alone.reason) == ("inconclusive", "all rows are in one slice")


def test_a_small_slice_does_not_pass_and_may_fail() -> None:
    """One of 20 rows of which the candidate has none right was only named, and the gate passed."""
    good, few = rows_of(3, 3, 560, 34), rows_of(0, 18, 0, 2)
    columns = [np.concatenate(x) for x in zip(good, few, strict=True)]
    gate = decided("accuracy", *columns, max_drop=0.1, slice="domain", groups={"domain": ["good"] * 600 + ["few"] * 20})
    assert gate.verdict == "fail" and gate.value == pytest.approx(0.9) and gate.low > 0.4
    assert "of 2 slices domain few drops most" in gate.reason and "too small" not in gate.reason
    alone = decided(
        "accuracy",
        *(x[580:] for x in columns),
        max_drop=0.1,
        slice="domain",
        groups={"domain": ["good"] * 20 + ["few"] * 20},
    )
    assert alone.verdict == "fail"  # though no slice is large enough to pass
    one = [np.concatenate(x) for x in zip(good, rows_of(0, 1, 0, 0), strict=True)]  # of one row nothing is known
    assert (
        decided("accuracy", *one, max_drop=0.1, slice="domain", groups={"domain": ["good"] * 600 + ["few"]}).verdict
        == "pass"
    )


def test_true_drops_are_those_planted() -> None:
    rng = np.random.default_rng(0)
    for metric in ("accuracy", "f1", "matthews"):
        truth, base, candidate = classes(metric, 872, 0.03)(rng, 400_000)
        gate = decided(metric, truth, base, candidate, confidence=0.5)
        assert gate.value == pytest.approx(0.03, abs=0.003)
