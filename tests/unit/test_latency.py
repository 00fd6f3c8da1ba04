"""Latency that can be believed: the clock, rounds, bounds with known truth, drift, verdicts, profiles. Nothing is timed here."""

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

from edgeopt import host, latency_gates, statistics
from edgeopt.autocorrelation import block_length
from edgeopt.drift import drift, drifted
from edgeopt.measure import arithmetic, clock, rounds
from edgeopt.measure.latency import Measured
from edgeopt.measure.profile import elsewhere, unfit
from edgeopt.recipe.library import target_files
from edgeopt.recipe.load import load_recipe
from edgeopt.recipe.schema import GateSpec, Target
from edgeopt.recipe.yaml import parse
from edgeopt.report.latency_notes import latency_notes
from edgeopt.report.limit import limits
from edgeopt.report.model import Subject, SubjectName
from edgeopt.statistics import percentile_ratio

FLAGS = frozenset({"sse4_1", "avx2", "avx512f", "avx512_vnni"})


def noise(rng: np.random.Generator, n: int, correlation: float, spread: float) -> Any:
    """An autoregressive series of that spread."""
    fresh = rng.normal(size=n + 50) * math.sqrt(1 - correlation**2)
    out = np.zeros(n + 50)
    for i in range(1, n + 50):
        out[i] = correlation * out[i - 1] + fresh[i]
    return spread * out[50:]


def pair(rng: np.random.Generator, n: int, ratio: float = 1.0, *, correlation: float = 0.8, outliers: float = 0.05) -> tuple[Any, Any]:
    """Baseline and candidate on a machine whose speed wanders by 30 %, by itself and a little by subject, with queries that
    take several times as long."""
    machine = noise(rng, n, correlation, 0.3)
    own = [noise(rng, n, correlation, 0.05) + (rng.random(n) < outliers) * rng.exponential(1.5, n) for _ in range(2)]
    return 10 * np.exp(machine + own[0]), 10 * ratio * np.exp(machine + own[1])


def measured(subject: SubjectName, samples: Any, **more: Any) -> Measured:
    fields: dict[str, Any] = {"target": "here", "runtime": "onnxruntime", "device": "cpu", "threads": 1, "batch": 1, "sequence": 128, "session": {}}
    return Measured(subject=subject, samples=np.asarray(samples, dtype=float), **{**fields, **more})


def decide(base: Any, candidate: Any, metric: Any = "latency.p50", more: dict[str, Any] | None = None, **spec: Any) -> latency_gates.Decided:
    rows = [measured("baseline", base, **(more or {})), measured("candidate", candidate, **(more or {}))]
    return latency_gates.latency(GateSpec(metric=metric, **spec), rows)


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

    files = SimpleNamespace(open=opened, O_RDONLY=0, close=lambda _: None, pread=lambda *_: b"1 %d 1" % int(waited[0] * 1e6))
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


@pytest.mark.parametrize("correlation", [0.3, 0.8])
def test_blocks_are_as_long_as_theory_has_them(correlation: float) -> None:
    """Of an autoregressive series the optimum is known: (2 G² / (4/3 g²))^⅓ n^⅓ with G = 2ρ/(1-ρ)², g = (1+ρ)/(1-ρ)."""
    n = 20_000
    best = (1.5 * (2 * correlation / (1 - correlation) ** 2 * (1 - correlation) / (1 + correlation)) ** 2 * n) ** (1 / 3)
    assert block_length(noise(np.random.default_rng(3), n, correlation, 1.0)) == pytest.approx(best, rel=0.3)


def test_blocks_of_what_is_independent_or_constant_are_short() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([block_length(rng.normal(size=200)) for _ in range(50)]) < 4
    assert block_length(np.ones(100)) == 1
    assert block_length(np.cumsum(rng.normal(size=100))) <= 25  # a random walk: a quarter at most


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resamples that are enough for a count of verdicts."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1500)


@pytest.mark.parametrize(("percentile", "n"), [(50, 100), (50, 400), (90, 400)])
@pytest.mark.usefixtures("few")
def test_bounds_hold_as_often_as_they_say(percentile: float, n: int) -> None:
    """Each of the two one-sided 95 % bounds is on the wrong side in 5 of 100; 12 of 100 would be chance in one test of 10,000."""
    rng = np.random.default_rng(int(percentile) + n)
    found = [percentile_ratio(b, a, percentile, 0.95) for a, b in (pair(rng, n, 1.3) for _ in range(150))]
    assert np.mean([b.low > 1.3 for b in found]) < 0.12
    assert np.mean([b.high < 1.3 for b in found]) < 0.12
    assert np.mean([b.high / b.low for b in found]) < 1.25


@pytest.mark.usefixtures("few")
def test_the_same_file_passes_and_a_fifth_slower_fails() -> None:
    rng = np.random.default_rng(11)
    again = [decide(*pair(rng, 200), max_ratio=1.1).verdict for _ in range(40)]
    slower = [decide(*pair(rng, 200, 1.2), max_ratio=1.1).verdict for _ in range(40)]
    assert again.count("pass") >= 38 and "fail" not in again
    assert slower.count("fail") >= 36 and "pass" not in slower


# drift


@pytest.mark.usefixtures("few")
def test_drift_is_found_where_it_is_and_seldom_elsewhere() -> None:
    rng = np.random.default_rng(5)
    slope = np.linspace(1, 1.4, 300)
    alarms = found = common = 0
    for _ in range(40):
        base, candidate = pair(rng, 300, 0.5)
        alarms += drifted(drift(candidate, base))
        found += drifted(drift(candidate * slope, base))
        common += drifted(drift(candidate * slope, base * slope))  # the machine heats up under both
    assert alarms <= 3 and common <= 3
    assert found >= 36


def test_drift_of_one_subject_is_that_of_its_medians() -> None:
    change = drift(np.r_[np.full(50, 10.0), np.full(50, 12.0)])
    assert change == pytest.approx((1.2, 1.2, 1.2))
    assert drifted(change)
    assert not drifted(drift(np.r_[np.full(50, 10.0), np.full(50, 10.2)]))  # beyond doubt, and too small to matter


# verdicts


def steady_pair(ratio: float, n: int = 700) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return 10 * rng.lognormal(0, 0.05, n), 10 * ratio * rng.lognormal(0, 0.05, n)


def test_a_percentile_needs_its_queries() -> None:
    found = decide(*steady_pair(0.5, 661), metric="latency.p99", max_ratio=0.9)
    assert (found.verdict, found.bounds) == ("inconclusive", None)
    assert "p99 needs 662" in found.reason
    assert decide(*steady_pair(0.5, 662), metric="latency.p99", max_ratio=0.9).verdict == "pass"


def test_the_queries_needed_are_those_of_early_stopping() -> None:
    """Fewest queries of which more than one is slower than the percentile, with 99 % confidence (MLPerf inference rules)."""
    from scipy.stats import binom

    for name in ("p90", "p99"):
        slower = 1 - latency_gates.PERCENTILES[name] / 100
        assert latency_gates.MIN_QUERIES[name] == next(n for n in range(1, 1000) if binom.cdf(1, n, slower) <= 0.01)


def test_what_drifted_decides_nothing() -> None:
    base, candidate = steady_pair(0.5)
    slope = np.linspace(1, 1.5, len(base))
    found = decide(base, candidate * slope, max_ratio=0.9)
    assert found.verdict == "inconclusive"
    assert "drifted by +2" in found.reason
    assert decide(base * slope, candidate * slope, max_ratio=0.9).verdict == "pass"  # the ratio did not
    here = {"named": "EPYC", "processor": "AMD EPYC"}
    assert decide(base * slope, candidate * slope, more=here, max_ms=100).verdict == "inconclusive"


def test_an_open_gate_says_how_many_queries_would_tell() -> None:
    base, candidate = steady_pair(1.0, 100)
    bounds = percentile_ratio(candidate, base, 50, 0.95)
    found = decide(base, candidate, max_ratio=(bounds.value + bounds.high) / 2)
    assert found.verdict == "inconclusive"
    assert "about 400 queries" in found.reason  # half the distance: four times as many
    assert "too near" in decide(base, candidate, max_ratio=bounds.value).reason


@pytest.mark.parametrize(
    ("named", "verdict", "why"), [("epyc 9B45", "pass", ""), ("Cortex-A76", "inconclusive", "is for Cortex-A76"), (None, "inconclusive", "names none")]
)
def test_milliseconds_are_those_of_the_named_device(named: str | None, verdict: str, why: str) -> None:
    found = decide(*steady_pair(0.5), more={"named": named, "processor": "AMD EPYC 9B45 64-Core"}, max_ms=6)
    assert found.verdict == verdict
    assert why in found.reason
    assert decide(*steady_pair(0.5), more={"named": named, "processor": "AMD EPYC 9B45 64-Core"}, max_ratio=0.6).verdict == "pass"  # a ratio holds anywhere
    assert (elsewhere(named, "AMD EPYC 9B45 64-Core") is None) == (verdict == "pass")


def test_a_machine_that_is_not_like_the_target_decides_nothing() -> None:
    found = decide(*steady_pair(0.5), more={"unfit": ("this machine lacks it",)}, max_ratio=0.9)
    assert (found.verdict, "lacks it" in found.reason) == ("inconclusive", True)
    assert latency_notes([measured("baseline", np.ones(64), unfit=("it lacks it",))]) == ["Target here decides no latency gate here: it lacks it."]


def test_notes_say_how_busy_and_what_drifted() -> None:
    base, candidate = steady_pair(0.5)
    slope = np.linspace(1, 1.5, len(base))
    notes = latency_notes([measured("baseline", base, waited_ms=3 * base.sum(), restarts=2), measured("candidate", candidate * slope, waited_ms=0.0)])
    assert "other programs had the processor for 6" in notes[0] and "in no latency" in notes[0]
    assert "began anew 2 times" in notes[1]
    assert "latency of candidate changed by +2" in notes[2]
    assert "gates on it are inconclusive" in notes[3]
    assert latency_notes([measured("baseline", base), measured("candidate", candidate)]) == []


# rounds


def times(monkeypatch: pytest.MonkeyPatch, of: Callable[[str, int], float]) -> dict[str, Any]:
    """Queries that take what `of` says of a subject's nth, by a clock that only they move."""
    now, asked = [0.0], {"baseline": 0, "candidate": 0}

    def timed(call: Any, _: int) -> tuple[float, float]:
        name = call.args[0](None)
        asked[name] += 1
        took = of(name, asked[name])
        now[0] += took / 1e3
        return took, 1.0

    monkeypatch.setattr(rounds, "timed", timed)
    monkeypatch.setattr(rounds, "partial", lambda query, feed: SimpleNamespace(args=(query, feed)))
    monkeypatch.setattr(rounds, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return {name: (lambda _, name=name: name) for name in asked}


def test_rounds_begin_when_the_latencies_are_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rounds.believable(times(monkeypatch, lambda _, n: 10 + 20 * math.exp(-n / 8)), [None], 1, 100, 1000)
    assert [len(v) for v in found.samples.values()] == [100, 100]
    assert max(map(max, found.samples.values())) < 11  # of 30 at the start
    assert found.restarts == 0


def test_a_ratio_that_drifts_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries = times(monkeypatch, lambda name, n: float(rng.normal(10, 0.2)) * (1.5 if name == "candidate" and 70 < n < 115 else 1))
    found = rounds.believable(queries, [None], 1, 100, 1000)
    assert found.restarts == 1
    assert [len(v) for v in found.samples.values()] == [100, 100]
    assert max(found.samples["candidate"]) < 15
    assert len(found.waited["baseline"]) == 100


def test_noise_is_measured_for_longer_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def of(name: str, n: int) -> float:
        return float(rng.lognormal(math.log(10), 0.5))

    found = rounds.believable(times(monkeypatch, of), [None], 1, 100, 1000)
    assert [len(v) for v in found.samples.values()] == [300, 300]
    found = rounds.believable(times(monkeypatch, of), [None], 1, 100, 3)  # 100 rounds take two seconds
    assert [len(v) for v in found.samples.values()] == [100, 100]


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
    assert ["asimddp or i8mm" in found[0], "avx512_vnni" in found[1], "4 threads, this machine 2 processors" in found[2]] == [True] * 3
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset())  # a system that does not say
    assert unfit(Target(name="x", instructions=["avx2"], without=["avx512f"])) == []


def test_a_memory_cap_is_a_gate(tmp_path: Path) -> None:
    recipe = load_recipe(tiny_recipe(tmp_path, targets=["cpu-1-thread", "mobile"], gates=[{"metric": "size", "max_ratio": 1.0}]))
    assert [(g.metric, g.target, g.bound) for g in recipe.head.gates] == [("size", None, ("max_ratio", 1.0)), ("memory.peak", "mobile", ("max_mb", 300.0))]


# the arithmetic limit


def test_the_peak_is_of_the_products_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products = [("MatMul", ["x", "w"], "h", {}), ("Gemm", ["h", "v"], "y", {"transB": 1}), ("MatMul", ["y", "y"], "z", {})]
    graph = helper.make_graph(
        [helper.make_node(operator, given, [made], **more) for operator, given, made, more in products], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])], [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in (("w", (8, 16)), ("v", (4, 16)), ("table", (99, 99)))],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "model.onnx")
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
    config = {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    rows = [measured("baseline", [9, 10, 11], batch=2, sequence=16, peak={"fp32": 1e9, "int8": 4e9}), measured("baseline", [1, 1, 1], sequence="task")]
    (found,) = limits(rows, {"baseline": cast(Subject, SimpleNamespace(precision="fp32"))}, {"baseline": tmp_path})
    each = 4 * 16 * 32 * 32 + 2 * 16 * 16 * 32 + 2 * 16 * 32 * 64
    assert (found.macs, found.precision, found.sequence) == (2 * 2 * each, "fp32", 16)
    assert found.share == pytest.approx(4 * each / 10e-3 / 1e9)
    (tmp_path / "config.json").write_text("{}")
    assert limits(rows, {"baseline": cast(Subject, SimpleNamespace(precision="fp32"))}, {"baseline": tmp_path}) == []
