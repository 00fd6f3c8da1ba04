"""Latency that can be believed: the clock, rounds, bounds with known truth, drift, verdicts, profiles.

Nothing is timed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from helpers import tiny_recipe
from onnx import TensorProto, helper, numpy_helper
from report_sample import TARGET, sample_report

from edgeopt.export.exporter import Runnable
from edgeopt.gates import timed as latency_gates
from edgeopt.gates.notes import latency_notes
from edgeopt.measure import arithmetic, clock, latency, rounds
from edgeopt.measure.latency import Measured, unpaired
from edgeopt.measure.latency_worker import feeds_of
from edgeopt.measure.profile import elsewhere, unfit
from edgeopt.recipe.library import target_files
from edgeopt.recipe.load import load_recipe
from edgeopt.recipe.yaml import parse
from edgeopt.report.limit import limits, table
from edgeopt.report.tables import figures
from edgeopt.results.model import Limit, Subject, SubjectName
from edgeopt.spec.recipe import GateSpec, Target
from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.latency_bounds import (
    Beside,
    between_times,
    drift,
    drifted,
    order_bounds,
    percentile_bounds,
    ratio_bounds,
    t_quantile,
    wider,
)
from edgeopt.support import host

FLAGS = frozenset({"sse4_1", "avx2", "avx512f", "avx512_vnni"})


def noise(rng: np.random.Generator, n: int, correlation: float, spread: float) -> Any:
    """An autoregressive series of that spread."""
    fresh = rng.normal(size=n + 50) * math.sqrt(1 - correlation**2)
    out = np.zeros(n + 50)
    for i in range(1, n + 50):
        out[i] = correlation * out[i - 1] + fresh[i]
    return spread * out[50:]


def pair(
    rng: np.random.Generator, n: int, ratio: float = 1.0, *, openings: int = 10, layout: float = 0.03
) -> tuple[Any, Any, tuple[int, ...]]:
    """Baseline and candidate, and the rounds of each opening, on a machine whose speed wanders by 10 %.

    Each subject's wanders by 3 % more, and some queries take several times as long. layout: by how much an opening is
    quicker or slower.
    """
    sizes = tuple(len(part) for part in np.array_split(np.arange(n), openings))
    machine = noise(rng, n, 0.8, 0.1)
    own = [
        noise(rng, n, 0.8, 0.03)
        + (rng.random(n) < 0.05) * rng.exponential(1.5, n)
        + np.repeat(rng.normal(0, layout, openings), sizes)
        for _ in range(2)
    ]
    return 10 * np.exp(machine + own[0]), 10 * ratio * np.exp(machine + own[1]), sizes


def measured(subject: SubjectName, samples: Any, **more: Any) -> Measured:
    fields: dict[str, Any] = {
        "target": "here",
        "runtime": "onnxruntime",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "sequence": 128,
        "session": {},
    }
    return Measured(subject=subject, samples=np.asarray(samples, dtype=float), **{**fields, **more})


def decide(
    base: Any,
    candidate: Any,
    openings: tuple[int, ...] = (),
    metric: Any = "latency.p50",
    more: dict[str, Any] | None = None,
    **spec: Any,
) -> latency_gates.Decided:
    rows = [
        measured(subject, samples, openings=openings, **(more or {}))
        for subject, samples in (("baseline", base), ("candidate", candidate))
    ]
    return latency_gates.timed(GateSpec(metric=metric, **spec), rows)


# the clock


def simulated(monkeypatch: pytest.MonkeyPatch, counts: bool = True) -> Callable[[float, float], None]:
    """A machine where a call takes so many milliseconds of work and waits so many; whether it counts waits."""
    now, waited = [0.0], [0.0]

    def work(ms: float, waits: float) -> None:
        now[0] += ms + waits
        waited[0] += waits

    def opened(*_: Any) -> int:
        if not counts:
            raise OSError
        return 3

    files = SimpleNamespace(
        open=opened, O_RDONLY=0, close=lambda _: None, pread=lambda *_: b"1 %d 1" % int(waited[0] * 1e6)
    )
    monkeypatch.setattr(clock, "os", files)
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter_ns=lambda: int(now[0] * 1e6)))
    return work


def test_what_a_thread_waits_for_others_is_not_its_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    work = simulated(monkeypatch)
    assert clock.timed(lambda: work(5, 40), 1) == pytest.approx((5, 40))
    assert clock.timed(lambda: work(5, 40), 2) == pytest.approx((45, 40))  # the other thread goes on meanwhile


def test_without_that_count_it_is_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    work = simulated(monkeypatch, counts=False)
    assert clock.timed(lambda: work(5, 40), 1) == pytest.approx((45, 0))


# bounds with known truth


@pytest.mark.parametrize("freedom", [1, 3, 9, 30])
def test_students_t_is_scipys(freedom: int) -> None:
    from scipy.stats import t

    for p in (0.5, 0.9, 0.95, 0.995):
        assert t_quantile(p, freedom) == pytest.approx(t.ppf(p, freedom), rel=1e-3, abs=1e-3)


def test_bounds_by_hand() -> None:
    """Openings whose rounds are all the same: a median over the four, log 1, 1, 2, 4 without one of them in turn."""
    samples = np.repeat([1.0, 1.0, 2.0, 4.0], [3, 3, 3, 3])
    without = np.log([2.0, 2.0, 1.0, 1.0])
    error = math.sqrt(3 / 4 * float(np.sum((without - without.mean()) ** 2)))
    found = percentile_bounds(samples, 50.0, 0.95, (3, 3, 3, 3))
    assert found == pytest.approx((1.5, 1.5 * math.exp(-2.3534 * error), 1.5 * math.exp(2.3534 * error)), rel=1e-3)
    ratio = ratio_bounds(10 * samples, samples, 50.0, 0.95, (3, 3, 3, 3))
    assert ratio == pytest.approx((10, 10, 10))  # the same rounds: what they have in common cancels
    assert percentile_bounds(samples[:1], 50.0, 0.95)[1:] == (0.0, math.inf)


def test_one_opening_says_nothing_of_others() -> None:
    """A single opening was taken for eight, and a file that lay well by chance passed.

    A bound that no opening reaches is decided all the same.
    """
    rng = np.random.default_rng(0)
    base, candidate = (10 * np.exp(rng.normal(0, 0.01, 400)) for _ in range(2))
    assert ratio_bounds(base, candidate, 50.0, 0.95, (400,))[1:] == (0.0, math.inf)
    near = decide(base, 0.97 * candidate, (400,), min_speedup=1.0)
    assert near.verdict == "inconclusive" and near.reason.endswith(
        "the file was opened only once, and another time it may be faster or slower; raise max_seconds"
    )
    # of a run that does not say how it was opened
    assert decide(base, 0.97 * candidate, min_speedup=1.0).verdict == "pass"
    far = decide(base, candidate / 2, (400,), min_speedup=1.5)
    assert far.verdict == "pass" and "the file was opened only once" in far.reason
    assert decide(base, candidate * 2, (400,), max_ratio=1.2).verdict == "fail"


@pytest.mark.parametrize("spec", [{"min_speedup": 1.5}, {"max_ratio": 2 / 3}])
def test_a_value_that_is_its_bound_is_not_decided_by_rounding(spec: dict[str, float]) -> None:
    """Latencies that are constant gave a ratio of 1.4999999999999998, and failed."""
    base = np.full(700, 3.0) * np.arange(1, 701) / 700
    assert decide(base, base / 1.5, (70,) * 10, **spec).verdict == "pass"
    assert decide(base, base / (1.5 - 1e-6), (70,) * 10, **spec).verdict == "fail"


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_half_confidence_is_the_point_estimate(confidence: float) -> None:
    base, candidate, openings = pair(np.random.default_rng(0), 100)
    found = ratio_bounds(candidate, base, 50.0, confidence, openings)
    assert (found.high / found.low == pytest.approx(1.0, abs=1e-3)) == (confidence == 0.5)


@pytest.mark.parametrize(
    ("percentile", "n", "openings"), [(50, 80, 10), (50, 400, 10), (50, 80, 4), (90, 400, 10), (50, 400, 0)]
)
def test_bounds_hold_as_often_as_they_say(percentile: float, n: int, openings: int) -> None:
    """Each of the two one-sided 95 % bounds is on the wrong side in 5 of 100.

    10 of 100 would be chance in one test of 500. Without openings, as in runs of earlier versions, where nothing is
    drawn anew.
    """
    rng = np.random.default_rng(int(percentile) + n + openings)
    found = []
    for _ in range(200):
        base, candidate, rounds_each = pair(rng, n, 1.3, openings=openings or 10, layout=0.03 if openings else 0.0)
        found.append(ratio_bounds(candidate, base, percentile, 0.95, rounds_each if openings else ()))
    assert np.mean([b.low > 1.3 for b in found]) < 0.10
    assert np.mean([b.high < 1.3 for b in found]) < 0.10


def occasion(
    rng: np.random.Generator, ratio: float = 1.0, *, sittings: int = 5, apart: float = 0.03, rounds: int = 40
) -> Beside:
    """A subject beside the twin on a machine that is up to twice as slow on one occasion as on another.

    apart: by how much a sitting's ratio differs from the next one's.
    """
    speed = rng.uniform(1, 2)
    parts = [10 * speed * np.exp(noise(rng, rounds, 0.8, 0.1)) for _ in range(sittings)]
    own = [part * ratio * math.exp(rng.normal(0, apart)) * rng.lognormal(0, 0.03, rounds) for part in parts]
    return Beside(np.concatenate(own), np.concatenate(parts), (rounds,) * sittings)


@pytest.mark.parametrize("percentile", [50.0, 90.0])
def test_bounds_of_two_times_hold_as_often_as_they_say(percentile: float) -> None:
    """Whatever the machine did on either occasion."""
    rng = np.random.default_rng(3)
    found = [between_times(occasion(rng, 1.3), occasion(rng), percentile, 0.95) for _ in range(200)]
    assert np.mean([b.low > 1.3 for b in found if b]) < 0.10
    assert np.mean([b.high < 1.3 for b in found if b]) < 0.10
    assert np.median([b.high / b.low for b in found if b]) < 1.15


def test_bounds_of_two_times_by_hand() -> None:
    """The sittings' own ratios are 1, 1, 2 and 4 on the one occasion, all 1 on the other.

    Where all of one sitting are alike, the jackknife's error is by hand as well; the larger counts, and 1 % besides.
    """
    samples, twin, sizes = np.repeat([1.0, 1.0, 2.0, 4.0], [3, 3, 3, 3]), np.ones(12), (3, 3, 3, 3)
    own = np.log([1.0, 1.0, 2.0, 4.0]).std(ddof=1) / 2
    jackknife = math.log(percentile_bounds(samples, 50.0, 0.95, sizes).high / 1.5) / t_quantile(0.95, 3)
    one, other, square = Beside(samples, twin, sizes), Beside(twin, twin, sizes), max(own, jackknife) ** 2
    reach = math.exp(math.sqrt(square + 1e-4) * t_quantile(0.95, 3 * (square + 1e-4) ** 2 / square**2))
    assert between_times(one, other, 50.0, 0.95) == pytest.approx((1.5, 1.5 / reach, 1.5 * reach))
    reach = math.exp(math.sqrt(2 * square + 1e-4) * t_quantile(0.95, 3 * (2 * square + 1e-4) ** 2 / (2 * square**2)))
    # equal errors: about twice the freedom
    assert between_times(one, one, 50.0, 0.95) == pytest.approx((1, 1 / reach, reach))
    least = math.exp(0.01 * 1.6449)  # what no sitting shows, however alike they are
    assert between_times(other, other, 50.0, 0.95) == pytest.approx((1, 1 / least, least), rel=1e-4)


def test_one_sitting_says_nothing_of_other_times() -> None:
    rng = np.random.default_rng(0)
    assert between_times(occasion(rng), occasion(rng, sittings=1), 50.0, 0.95) is None
    # not those of these samples
    assert between_times(occasion(rng)._replace(sittings=(40, 40)), occasion(rng), 50.0, 0.95) is None


def test_one_opening_alone_would_not_do() -> None:
    """Why the files are opened anew: of one opening the interval is narrow, and around its own ratio."""
    rng = np.random.default_rng(1)
    found = [ratio_bounds(*pair(rng, 200, openings=1, layout=0.04)[1::-1], 50.0, 0.975) for _ in range(60)]
    assert np.mean([b.low <= 1 <= b.high for b in found]) < 0.6


def test_the_same_file_passes_and_a_fifth_slower_fails() -> None:
    rng = np.random.default_rng(11)
    again = [decide(*pair(rng, 200), max_ratio=1.1).verdict for _ in range(60)]
    slower = [decide(*pair(rng, 200, 1.2), max_ratio=1.1).verdict for _ in range(60)]
    assert again.count("pass") >= 57 and "fail" not in again
    assert slower.count("fail") >= 48 and "pass" not in slower


# drift


def test_drift_is_found_where_it_is_and_seldom_elsewhere() -> None:
    rng = np.random.default_rng(5)
    slope = np.linspace(1, 1.8, 300)
    alarms = found = common = 0
    for _ in range(100):
        base, candidate, openings = pair(rng, 300, 0.5)
        alarms += drifted(drift(candidate, base, openings))
        found += drifted(drift(candidate * slope, base, openings))
        common += drifted(drift(candidate * slope, base * slope, openings))  # the machine heats up under both
    assert alarms <= 4 and common <= 4  # one in a hundred, by the confidence
    assert found >= 90


def test_drift_by_hand() -> None:
    from scipy.stats import ttest_ind

    medians = np.array([10.0, 10.5, 10.2, 12.0, 12.4, 11.9])
    change = drift(np.repeat(medians, 5), None, (5,) * 6)
    assert change.value == pytest.approx(math.exp(np.log(medians[3:]).mean() - np.log(medians[:3]).mean()))
    interval = ttest_ind(np.log(medians[3:]), np.log(medians[:3])).confidence_interval(0.99)
    assert (math.log(change.low), math.log(change.high)) == pytest.approx((interval.low, interval.high), rel=1e-3)
    assert drifted(change)
    assert not drifted(drift(np.r_[np.full(50, 10.0), np.full(50, 10.2)]))  # beyond doubt, and too small to matter


# verdicts


def steady_pair(ratio: float, n: int = 700) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return 10 * rng.lognormal(0, 0.05, n), 10 * ratio * rng.lognormal(0, 0.05, n)


def test_a_percentile_needs_its_queries_where_the_bound_is_near() -> None:
    found = decide(*steady_pair(0.5, 661), metric="latency.p99", max_ratio=0.55)
    assert found.verdict == "inconclusive"
    assert "p99 needs 662; raise the target's queries" in found.reason
    assert decide(*steady_pair(0.5, 662), metric="latency.p99", max_ratio=0.55).verdict == "pass"


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ({"max_ms": 500}, "pass"),
        ({"max_ms": 2.3}, "inconclusive"),
        ({"max_ms": 0.5}, "fail"),
        ({"min_speedup": 20.0}, "fail"),
        ({"min_speedup": 1.9}, "inconclusive"),
        ({"min_speedup": 0.9}, "pass"),
        ({"max_ratio": 1.1}, "pass"),
        ({"max_ratio": 0.51}, "inconclusive"),
        ({"max_ratio": 0.1}, "fail"),
    ],
)
@pytest.mark.parametrize("drifting", [False, True])
def test_a_bound_far_away_decides_whatever_is_doubtful(bound: dict[str, float], verdict: str, drifting: bool) -> None:
    """A p50 of 2.2 ms by 63 of 64 queries, or one that drifted: 500 ms are held at worst, 0.5 ms are not at best."""
    base, candidate = (0.44 * x for x in steady_pair(0.5, 700 if drifting else 63))
    slope = np.linspace(1, 1.3, len(base)) if drifting else 1.0
    found = decide(base, candidate * slope, more={"named": "EPYC", "processor": "AMD EPYC"}, **bound)
    assert found.verdict == verdict
    assert ("drifted by" if drifting else "63 queries: p50 needs 64") in found.reason
    assert ("measure again" in found.reason or "raise the target's" in found.reason) == (verdict == "inconclusive")
    assert ("at worst" in found.reason) == (verdict != "inconclusive")


def test_bounds_move_out_by_the_drift_twice() -> None:
    assert wider(Bounds(2.0, 1.9, 2.1), Bounds(1.2, 1.1, 1.3)) == pytest.approx((2.0, 1.9 / 1.69, 2.1 * 1.69))
    assert wider(Bounds(2.0, 1.9, 2.1), Bounds(0.8, 0.5, 0.9)) == pytest.approx((2.0, 1.9 / 4, 2.1 * 4))
    assert wider(Bounds(2.0, 1.9, 2.1), Bounds(1.0, 0.0, math.inf)) == (2.0, 0.0, math.inf)


@pytest.mark.parametrize(("n", "percentile"), [(63, 50), (63, 90), (10, 50), (300, 99)])
def test_bounds_by_order_hold_for_any_distribution(n: int, percentile: float) -> None:
    from scipy.stats import binom

    samples = np.random.default_rng(n).lognormal(0, 1, n)
    found, ordered, p = order_bounds(samples, percentile, 0.95), np.sort(samples), percentile / 100
    upper = next(k for k in range(1, n + 1) if binom.cdf(k - 1, n, p) >= 0.95)
    lower = max(k for k in range(1, n + 1) if binom.sf(k - 1, n, p) >= 0.95)
    assert found == (np.percentile(samples, percentile), ordered[lower - 1], ordered[upper - 1])
    # one of 16 samples of four has all above the median
    assert order_bounds(samples[:4], 50, 0.95)[1:] == (
        0.0,
        math.inf,
    )


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_latencies_that_are_no_numbers_pass_nothing(wrong: float) -> None:
    base, candidate = steady_pair(0.5)
    for bad in (0, 1):
        both = [base.copy(), candidate.copy()]
        both[bad][3] = wrong
        found = decide(*both, min_speedup=1.1)
        assert found.verdict == "fail"
        assert f"1 of 700 latencies of {('baseline', 'candidate')[bad]} are no positive numbers" in found.reason


def test_the_queries_needed_are_those_of_early_stopping() -> None:
    """Fewest queries of which more than one is slower than the percentile, with 99 % confidence.

    The rule is that of MLPerf inference.
    """
    from scipy.stats import binom

    for name in ("p90", "p99"):
        slower = 1 - latency_gates.PERCENTILES[name] / 100
        assert latency_gates.MIN_QUERIES[name] == next(n for n in range(1, 1000) if binom.cdf(1, n, slower) <= 0.01)


def test_what_drifted_decides_nothing_nearby() -> None:
    base, candidate = steady_pair(0.5)
    slope = np.linspace(1, 1.5, len(base))
    found = decide(base, candidate * slope, max_ratio=0.9)
    assert found.verdict == "inconclusive"
    assert "drifted by +2" in found.reason
    assert decide(base * slope, candidate * slope, max_ratio=0.9).verdict == "pass"  # the ratio did not
    here = {"named": "EPYC", "processor": "AMD EPYC"}
    assert decide(base * slope, candidate * slope, more=here, max_ms=9).verdict == "inconclusive"


def test_a_ratio_to_another_time_is_by_the_twin() -> None:
    """A machine that is half as quick when the candidate is measured does not make that slower than the baseline."""
    rng, gate = np.random.default_rng(2), GateSpec(metric="latency.p50", min_speedup=1.5)
    then, now = occasion(rng), occasion(rng, 0.5)

    def decided(*subjects: Measured) -> latency_gates.Decided:
        return latency_gates.timed(gate, list(subjects))

    def both(subject: SubjectName, found: Beside, slower: float, **more: Any) -> list[Measured]:
        return [
            measured(name, x * slower, sittings=found.sittings, **more)
            for name, x in ((subject, found.samples), ("twin", found.twin))
        ]

    found = decided(*both("candidate", now, 2), *both("baseline", then, 1, apart=True))
    assert found.verdict == "pass" and found.bounds is not None and found.bounds.low < 2 < found.bounds.high
    assert found.bounds == pytest.approx(
        decided(*both("candidate", now, 1), *both("baseline", then, 3, apart=True)).bounds
    )
    without = decided(measured("candidate", now.samples), measured("baseline", then.samples, apart=True))
    assert (
        (without.verdict, without.bounds) == ("inconclusive", None)
        and "edgeopt baseline" in without.reason
        and "--against" in without.reason
    )


def test_notes_are_of_what_was_measured_together() -> None:
    """Rounds of a baseline file are no pairs with these, and may be fewer."""
    rng = np.random.default_rng(4)
    now, then = occasion(rng), occasion(rng, rounds=20)
    slope = np.linspace(1, 2, len(now.samples))
    latency = [
        measured(n, x, openings=(20,) * 10) for n, x in (("candidate", now.samples * slope), ("twin", now.twin * slope))
    ]
    latency += [
        measured(n, x, openings=(20,) * 5, apart=True) for n, x in (("baseline", then.samples), ("twin", then.twin))
    ]
    assert latency_notes(latency) == []


def test_an_open_gate_says_how_many_queries_would_tell() -> None:
    base, candidate = steady_pair(1.0, 100)
    bounds = ratio_bounds(candidate, base, 50, 0.95)
    found = decide(base, candidate, max_ratio=bounds.value + (bounds.high - bounds.value) / 1.95)
    assert found.verdict == "inconclusive"
    assert "about 400 queries" in found.reason  # half the distance: four times as many
    assert "too near" in decide(base, candidate, max_ratio=bounds.value).reason


@pytest.mark.parametrize(
    ("named", "verdict", "why"),
    [
        ("epyc 9B45", "pass", ""),
        ("Cortex-A76", "inconclusive", "is for Cortex-A76"),
        (None, "inconclusive", "names none"),
    ],
)
def test_milliseconds_are_those_of_the_named_device(named: str | None, verdict: str, why: str) -> None:
    found = decide(*steady_pair(0.5), more={"named": named, "processor": "AMD EPYC 9B45 64-Core"}, max_ms=6)
    assert found.verdict == verdict
    assert why in found.reason
    # a ratio holds anywhere
    assert (
        decide(*steady_pair(0.5), more={"named": named, "processor": "AMD EPYC 9B45 64-Core"}, max_ratio=0.6).verdict
        == "pass"
    )
    assert (elsewhere(named, "AMD EPYC 9B45 64-Core") is None) == (verdict == "pass")


def test_a_machine_that_is_not_like_the_target_decides_nothing() -> None:
    found = decide(*steady_pair(0.5), more={"unfit": ("this machine lacks it",)}, max_ratio=0.9)
    assert (found.verdict, "lacks it" in found.reason) == ("inconclusive", True)
    assert latency_notes([measured("baseline", np.ones(64), unfit=("it lacks it",))]) == [
        "Target here decides no latency gate here: it lacks it."
    ]


def test_batches_of_a_graph_that_mixes_them_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers in a batch are others than those whose metrics the gates look at; alone, they are the same."""
    (tmp_path / "fp32.onnx").write_bytes(b"graph")
    (tmp_path / "int8.onnx").write_bytes(b"a DynamicQuantizeLinear of a graph")
    graphs = {"baseline": Runnable(tmp_path / "fp32.onnx"), "candidate": Runnable(tmp_path / "int8.onnx")}
    common = {"runtime": "onnxruntime", "device": "cpu", "sequence": 8, "session": {}, "samples": [1.0] * 64}
    monkeypatch.setattr(latency, "run_worker", lambda *_: [{"subject": s, **common} for s in graphs])
    for batch, wanted in ((1, "pass"), (4, "inconclusive")):
        found = latency.measure(Target(name="here", batch=batch, sequence=[8]), graphs, None, [])
        assert not found[0].unfit and bool(found[1].unfit) == (batch > 1)
        for metric in ("latency.p50", "throughput.qps"):
            decided = latency_gates.timed(GateSpec(metric=metric, min_speedup=0.5, target="here", sequence=8), found)
            assert decided.verdict == wanted
            assert ("in batches of 4 the model gives other answers" in decided.reason) == (batch > 1)


def test_notes_say_how_busy_and_what_drifted() -> None:
    base, candidate = steady_pair(0.5)
    slope = np.linspace(1, 1.5, len(base))
    notes = latency_notes(
        [
            measured("baseline", base, waited_ms=3 * base.sum(), restarts=2),
            measured("candidate", candidate * slope, waited_ms=0.0),
        ]
    )
    assert "other programs had the processor for 6" in notes[0] and "do not include that time" in notes[0]
    assert "began anew 2 times" in notes[1]
    assert "latency of candidate changed by +2" in notes[2]
    assert "gates on it have wider bounds" in notes[3]
    assert latency_notes([measured("baseline", base), measured("candidate", candidate)]) == []


# rounds


def times(
    monkeypatch: pytest.MonkeyPatch, of: Callable[[str, int], float]
) -> tuple[Callable[..., rounds.Rounds], list[str]]:
    """Measures subjects whose nth timed query takes what `of` says, by a clock that only they move; what is opened."""
    now, asked, opened = [0.0], {"baseline": 0, "candidate": 0}, list[str]()
    calls: list[str] = []

    def timed(call: Callable[[], object], _: int) -> tuple[float, float]:
        call()
        name = calls[-1]
        asked[name] += 1
        took = of(name, asked[name])
        now[0] += took / 1e3
        return took, 1.0

    def opener(name: str) -> Callable[[], Callable[[Any], object]]:
        def open_() -> Callable[[Any], object]:
            opened.append(name)
            return lambda _: calls.append(name)

        return open_

    monkeypatch.setattr(rounds, "timed", timed)
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return lambda *more: rounds.believable({name: opener(name) for name in asked}, {"": [None]}, 1, *more)[""], opened


def test_rounds_begin_when_the_latencies_are_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, opened = times(monkeypatch, lambda _, n: 10 + 20 * math.exp(-n / 8))
    found = measure(100, 1000)
    assert [len(v) for v in found.samples.values()] == [100, 100]
    assert max(map(max, found.samples.values())) < 11  # of 30 at the start
    assert (found.restarts, found.openings) == (0, [10] * 10)
    assert opened.count("baseline") == opened.count("candidate") == 11  # one is for the warm-up


def test_a_ratio_that_drifts_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    measure, _ = times(
        monkeypatch, lambda name, n: float(rng.normal(10, 0.2)) * (1.5 if name == "candidate" and 70 < n < 122 else 1)
    )
    found = measure(100, 1000)
    assert found.restarts == 1
    assert [len(v) for v in found.samples.values()] == [100, 100]
    assert max(found.samples["candidate"]) < 13
    assert (len(found.waited["baseline"]), len(found.openings)) == (100, 10)


def test_what_never_stops_drifting_leaves_what_was_measured_last(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    measure, _ = times(
        monkeypatch, lambda name, n: float(rng.normal(10, 0.2)) * (1 + n / 100 if name == "candidate" else 1)
    )
    found = measure(100, 1000)
    assert found.restarts == rounds.ATTEMPTS - 1
    assert [len(v) for v in found.samples.values()] == [100, 100]


def test_noise_is_measured_for_longer_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    measure, _ = times(monkeypatch, lambda *_: float(rng.lognormal(math.log(10), 0.6)))
    assert [len(v) for v in measure(100, 1000).samples.values()] == [300, 300]
    assert [len(v) for v in measure(100, 3).samples.values()] == [100, 100]  # which take two seconds


def test_a_slow_model_has_as_many_rounds_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of both takes ten seconds, the one of the warm-up too: no promise is exceeded by more than a round."""
    measure, opened = times(monkeypatch, lambda *_: 5000.0)
    assert measure(100, 60).openings == [1, 1, 1, 1, 1]
    assert len(opened) == 2 * 6
    assert measure(100, 2).openings == [1], "and where nothing is known, gates are left open"


# profiles


@pytest.mark.parametrize("name", target_files())
def test_profiles_say_what_they_are_of(name: str) -> None:
    path = target_files()[name]
    given = parse(path.read_text(encoding="utf-8"), path).data
    assert Target.model_validate(given).name == name == path.stem
    assert {"description", "runtime", "threads", "batch", "sequence", "queries", "max_seconds"} <= set(given)


def test_whether_this_machine_can_stand_for_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cpu_flags", lambda: FLAGS)
    monkeypatch.setattr(host, "cpus", lambda: 2)
    assert unfit(Target(name="x", threads=2, instructions=["asimddp|avx512_vnni", "avx2"], without=["amx_int8"])) == []
    found = unfit(Target(name="x", threads=4, instructions=["asimddp|i8mm", "avx2"], without=["avx512_vnni"]))
    assert [
        "asimddp or i8mm" in found[0],
        "avx512_vnni" in found[1],
        "4 threads, this machine 2 processors" in found[2],
    ] == [True] * 3
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset())  # a system that does not say
    assert unfit(Target(name="x", instructions=["avx2"], without=["avx512f"])) == []


def test_a_memory_cap_is_a_gate(tmp_path: Path) -> None:
    recipe = load_recipe(
        tiny_recipe(tmp_path, targets=["cpu-1-thread", "mobile"], gates=[{"metric": "size", "max_ratio": 1.0}])
    )
    assert [(g.metric, g.target, g.bound) for g in recipe.head.gates] == [
        ("size", None, ("max_ratio", 1.0)),
        ("memory.peak", "mobile", ("max_mb", 300.0)),
    ]


# what was read back


def test_latencies_of_one_time_are_pairs() -> None:
    pair = [measured("baseline", [1, 2]), measured("candidate", [1, 2])]
    assert unpaired([]) is unpaired(pair) is None
    assert (
        "no candidate" in str(unpaired(pair[:1]))
        and "no baseline" in str(unpaired(pair[1:]))
        and "twice" in str(unpaired([*pair, pair[0]]))
    )
    for odd in (
        measured("candidate", [1, 2, 3]),
        measured("candidate", [1, 2], openings=(1, 1)),
        measured("candidate", [1, 2], threads=2),
    ):
        assert "other numbers" in str(unpaired([pair[0], odd]))


def test_bounds_of_what_no_machine_does_are_infinite_and_no_error() -> None:
    wild = np.array([1e-6, 1e9] * 8)
    for confidence in (0.95, 0.99999):
        found = ratio_bounds(wild, wild[::-1], 50.0, confidence, (1, 15))
        assert found.low <= found.value <= found.high
    change = drift(wild, wild[::-1])
    assert wider(Bounds(1.0, 0.9, 1.1), Bounds(1.0, 1e-200, 1e200)) == (1.0, 0.0, math.inf)
    assert change.low <= change.high


# the arithmetic limit


def test_the_peak_is_of_the_products_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products = [
        ("MatMul", ["x", "w"], "h", {}),
        ("Gemm", ["h", "v"], "y", {"transB": 1}),
        ("MatMul", ["y", "y"], "z", {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(operator, given, [made], **more) for operator, given, made, more in products],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(np.zeros(shape, np.float32), name)
            for name, shape in (("w", (8, 16)), ("v", (4, 16)), ("table", (99, 99)))
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "model.onnx"
    )
    assert arithmetic.weights_of(tmp_path / "model.onnx") == [(8, 16), (16, 4)]
    monkeypatch.setattr(arithmetic, "LARGE", (32, 32, 32))
    asked: list[str] = []
    run = rounds.Rounds.run

    def counted(self: rounds.Rounds, *given: Any) -> None:
        run(self, *given)
        asked[:] = list(self.samples)
        self.samples.update({name: [2.0, 1.0 if "int8" in name else 4.0] for name in asked})

    monkeypatch.setattr(rounds.Rounds, "run", counted)
    found = arithmetic.peaks([(64, 8, 16), (64, 16, 4)], 1)
    assert len(asked) == 6
    assert found == pytest.approx({"fp32": 32**3 / 2e-3, "int8": 32**3 / 1e-3})


def test_the_share_of_the_limit_by_hand(tmp_path: Path) -> None:
    config = {
        "model_type": "bert",
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    rows = [
        measured("baseline", [9, 10, 11], batch=2, sequence=16, peak={"fp32": 1e9, "int8": 4e9}),
        measured("baseline", [1, 1, 1], sequence="task"),
    ]
    (found,) = limits(rows, {"baseline": cast(Subject, SimpleNamespace(precision="fp32"))}, {"baseline": tmp_path})
    each = 4 * 16 * 32 * 32 + 2 * 16 * 16 * 32 + 2 * 16 * 32 * 64
    assert (found.macs, found.precision, found.sequence) == (2 * 2 * each, "fp32", 16)
    assert found.share == pytest.approx(4 * each / 10e-3 / 1e9)
    (tmp_path / "config.json").write_text("{}")
    assert limits(rows, {"baseline": cast(Subject, SimpleNamespace(precision="fp32"))}, {"baseline": tmp_path}) == []


def test_the_report_has_the_shares() -> None:
    reached = Limit(
        subject="baseline",
        target=TARGET,
        sequence=128,
        precision="fp32",
        macs=10**9,
        macs_per_second=5e10,
        peak_per_second=1e11,
        share=0.5,
    )
    report = sample_report(
        limits=[reached, reached.model_copy(update={"subject": "candidate", "precision": "int8", "share": 0.314})]
    )
    lines = {row[0]: row[1:] for row in figures(report).rows}
    assert lines[f"of the arithmetic limit, {TARGET}, 128 tokens"][:2] == ["50.0 %", "31.4 %"]
    assert table(report).rows[0] == [
        "baseline",
        f"{TARGET}, 128 tokens",
        "fp32",
        "1.00 G",
        "50.00 G",
        "100.00 G",
        "50.0 %",
    ]
    assert not any("limit" in name for name in (row[0] for row in figures(sample_report()).rows))


# throughput

BATCH = {"batch": 16, "named": "EPYC", "processor": "AMD EPYC"}


def test_queries_a_second_are_all_of_them_over_the_time_that_they_took() -> None:
    """Batches of unlike lengths: the mean counts, which a median of 10 ms would hide."""
    samples, openings = np.tile([10.0, 10.0, 40.0], 20), (6,) * 10
    found = decide(samples, samples / 2, openings, "throughput.qps", BATCH, min=1500)
    assert found.verdict == "pass" and found.bounds == pytest.approx((1600, 1600, 1600))
    assert found.reason.startswith("800 → 1600 queries a second over 60 batches of 16; at least 1600 a second")
    faster = decide(samples, samples / 2, openings, "throughput.qps", BATCH, min_speedup=1.9)
    assert faster.verdict == "pass" and faster.bounds == pytest.approx((2, 2, 2))
    assert decide(samples, samples / 2, openings, "throughput.qps", BATCH, min_speedup=2.1).verdict == "fail"
    assert decide(samples, samples / 2, openings, "throughput.qps", BATCH, min=1601).verdict == "fail"


@pytest.mark.parametrize("openings", [10, 4])
def test_bounds_of_a_mean_hold_as_often_as_they_say(openings: int) -> None:
    rng = np.random.default_rng(openings)
    found = []
    for _ in range(200):
        base, candidate, sizes = pair(rng, 40, 1.3, openings=openings)
        found.append(ratio_bounds(candidate, base, None, 0.95, sizes))
    assert np.mean([b.low > 1.3 for b in found]) < 0.10
    assert np.mean([b.high < 1.3 for b in found]) < 0.10


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ({"min": 100}, "pass"),
        ({"min": 2900}, "inconclusive"),
        ({"min": 9000}, "fail"),
        ({"min_speedup": 1.9}, "inconclusive"),
    ],
)
def test_few_batches_decide_only_a_bound_far_away(bound: dict[str, float], verdict: str) -> None:
    found = decide(*steady_pair(0.5, 19), (2,) * 9 + (1,), "throughput.qps", BATCH, **bound)
    assert (found.verdict, "19 batches of 16: qps needs 20" in found.reason) == (verdict, True)
    one = decide([10.0], [1.0], (1,), "throughput.qps", BATCH, min=1)
    assert one.verdict == "inconclusive" and one.bounds is not None and one.bounds.low == 0


def test_queries_a_second_are_those_of_the_named_device() -> None:
    elsewhere_ = {**BATCH, "named": None}
    found = decide(*steady_pair(0.5), metric="throughput.qps", more=elsewhere_, min=10)
    assert found.verdict == "inconclusive" and "names none" in found.reason
    assert decide(*steady_pair(0.5), metric="throughput.qps", more=elsewhere_, min_speedup=1.5).verdict == "pass"


def test_throughput_of_two_times_is_by_the_twin() -> None:
    rng = np.random.default_rng(3)
    found = [between_times(occasion(rng, 1.3), occasion(rng), None, 0.95) for _ in range(100)]
    assert np.mean([b.low > 1.3 or b.high < 1.3 for b in found if b]) < 0.2


def rows_of(lengths: list[int]) -> list[dict[str, list[int]]]:
    return [{"input_ids": [n] * n, "attention_mask": [1] * n} for n in lengths]


def test_batches_are_of_rows_as_they_come_or_sorted() -> None:
    """They are asked in random order, and what fills no batch is left out before: else it were the longest."""
    rows = rows_of([*range(20, 4, -1), 99])
    came = [feed["input_ids"].shape for feed in feeds_of(rows, "task", 4)]
    assert sorted(came) == [(4, 8), (4, 12), (4, 16), (4, 20)]
    ordered = feeds_of(rows_of([8, 20, 5, 19, 7, 18, 6, 17, 99]), "task", 4, "length")
    assert sorted(feed["input_ids"].shape for feed in ordered) == [(4, 8), (4, 20)]
    for order in ("data", "length"):  # the data may be sorted already, and time be up after the first few
        many = [feed["input_ids"].shape[1] for feed in feeds_of(rows_of(list(range(5, 85))), "task", 4, order)]
        assert many != sorted(many) and sorted(many) == list(range(8, 85, 4))
        assert max(many[:5]) > 60
    assert [feed["input_ids"].shape for feed in feeds_of(rows_of([5, 9]), "task", 4, "length")] == [(4, 9)]
    assert {feed["input_ids"].shape for feed in feeds_of(rows, 32, 4, "length")} == {(4, 32)}
