"""Gates on what was timed or weighed: latency, cold start, memory and size.

Besides the bounds of the measurement, a verdict needs that it can be believed: enough queries for the percentile, a machine that
can stand for the target, and no drift. Where one of them is missing the gate is inconclusive, and says what would mend it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from edgeopt.measure.latency import Measured
from edgeopt.measure.profile import elsewhere
from edgeopt.openings import drift, drifted, ratio_bounds, unpaired_ratio_bounds
from edgeopt.openings import percentile_bounds as bounds_of
from edgeopt.recipe.schema import GateSpec
from edgeopt.report.model import Subject, Verdict
from edgeopt.statistics import Bounds, percentile_bounds, percentile_ratio

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
#: Queries below which a percentile says nothing: MLPerf inference rules, early stopping. With fewer, more than one slower
#: query is not to be expected with 99 % confidence. For p50 that would be 11; 64 leave each opening some.
MIN_QUERIES = {"p50": 64, "p90": 64, "p99": 662}
_SMALLER = ("max_ms", "max_mb", "max_ratio")
_MOST = 100_000


class Decided(NamedTuple):
    """A verdict with the bounds of the gate's value, why, and where it was measured."""

    bounds: Bounds | None
    verdict: Verdict
    reason: str
    place: Mapping[str, Any] = MappingProxyType({})


def process(spec: GateSpec, baseline: Subject, candidate: Subject, latency: list[Measured]) -> Decided:
    """Decide a gate on size, peak memory or cold start, in MB, ms or as a ratio."""
    kind, bound = spec.bound
    values = []
    for subject in (baseline, candidate):
        raw = {"size": subject.size_bytes, "memory.peak": subject.memory_peak_bytes, "start.cold": subject.cold_start_ms}[spec.metric]
        values.append(None if raw is None else float(raw))
    old, new = values
    if old is None or new is None:
        return Decided(None, "inconclusive", "not measured")
    unit, scale = ("ms", 1.0) if spec.metric == "start.cold" else ("MB", 1e6)
    bounds = _of_starts(spec, kind, baseline, candidate, scale)
    if bounds is None:
        value = new / old if kind == "max_ratio" else new / scale
        bounds = Bounds(value, value, value)
    shown = f"{old / scale:.1f} → {new / scale:.1f} {unit}"
    timed = next((m for m in latency if spec.target in (None, m.target)), None)
    if kind == "max_ms" and (why := elsewhere(timed.named, timed.processor) if timed else "no target was measured"):
        return Decided(bounds, "inconclusive", f"{shown}; {why}")
    return Decided(bounds, _judge(bounds, kind, bound), shown)


def _of_starts(spec: GateSpec, kind: str, baseline: Subject, candidate: Subject, scale: float) -> Bounds | None:
    """The median over fresh processes, or the ratio of the medians; None for what does not vary, and for runs of versions
    that kept no samples."""
    starts = baseline.starts, candidate.starts
    if spec.metric == "size" or starts[0] is None or starts[1] is None:
        return None
    base, other = (np.array(s.ms if spec.metric == "start.cold" else s.peak_bytes) for s in starts if s is not None)
    if kind == "max_ratio":
        return percentile_ratio(other, base, 50.0, spec.confidence, block=1)
    return percentile_bounds(other / scale, 50.0, spec.confidence, block=1)


def latency(spec: GateSpec, measured: list[Measured]) -> Decided:
    """Decide a gate on a percentile of latency, in ms or as a ratio to the baseline's on the same target and length."""
    kind, bound = spec.bound
    percentile = spec.metric.partition(".")[2]
    target = spec.target or measured[0].target
    sequence = spec.sequence or next(m.sequence for m in measured if m.target == target)
    found = {m.subject: m for m in measured if m.target == target and m.sequence == sequence}
    base, candidate = found["baseline-torch" if spec.against == "torch" else "baseline"], found["candidate"]
    place = {"target": target, "sequence": sequence, "against": spec.against}
    queries, needed, q = len(candidate.samples), MIN_QUERIES[percentile], PERCENTILES[percentile]
    if queries < needed:
        return Decided(None, "inconclusive", f"{queries} queries: {percentile} needs {needed}; raise the target's queries and max_seconds", place)
    bounds = _bounds(kind, base, candidate, q, spec.confidence)
    shown = f"{np.percentile(base.samples, q):.2f} → {np.percentile(candidate.samples, q):.2f} ms over {queries} queries"
    if why := _unbelievable(kind, base, candidate):
        return Decided(bounds, "inconclusive", f"{shown}; {why}", place)
    verdict = _judge(bounds, kind, bound)
    if verdict == "inconclusive":
        shown += f"; {_open(bounds, bound, queries)}"
    elif kind == "min_speedup":
        shown += f"; at least {bounds.low:.2f}× with {spec.confidence:.0%} confidence"
    return Decided(bounds, verdict, shown, place)


def _bounds(kind: str, base: Measured, candidate: Measured, q: float, confidence: float) -> Bounds:
    if kind == "max_ms":
        return bounds_of(candidate.samples, q, confidence, candidate.openings)
    over, under = (candidate, base) if kind == "max_ratio" else (base, candidate)
    if base.apart:
        return unpaired_ratio_bounds(over.samples, under.samples, q, confidence, (over.openings, under.openings))
    return ratio_bounds(over.samples, under.samples, q, confidence, candidate.openings)


def _judge(bounds: Bounds, kind: str, bound: float) -> Verdict:
    if kind in _SMALLER:
        return "pass" if bounds.high <= bound else "inconclusive" if bounds.low <= bound else "fail"
    return "pass" if bounds.low >= bound else "inconclusive" if bounds.high >= bound else "fail"


def _unbelievable(kind: str, base: Measured, candidate: Measured) -> str | None:
    """Why the measurement says nothing about the target."""
    if candidate.unfit:
        return "; ".join(candidate.unfit)
    if kind == "max_ms" and (why := elsewhere(candidate.named, candidate.processor)):
        return why
    if kind == "max_ms" or base.apart:
        found = {"the latency": drift(candidate.samples, None, candidate.openings)}
    else:
        found = {"the ratio": drift(candidate.samples, base.samples, candidate.openings)}
    if kind != "max_ms" and base.apart:
        found["the baseline's latency"] = drift(base.samples, None, base.openings)
    for what, change in found.items():
        if drifted(change):
            return f"{what} drifted by {change.value - 1:+.0%} from the first half to the second: measure again on a quieter machine, or raise max_seconds"
    return None


def _open(bounds: Bounds, bound: float, queries: int) -> str:
    """How many queries would bring the interval to one side of the bound, if the value stays: its width falls with the square root."""
    reach = bounds.high - bounds.value if bounds.value <= bound else bounds.value - bounds.low
    gap = abs(bound - bounds.value)
    wanted = math.inf if gap == 0 else queries * (reach / gap) ** 2
    if wanted > _MOST:
        return f"too near to {bound:g} for any number of queries to tell"
    return f"about {math.ceil(wanted / 100) * 100:,} queries would tell: raise the target's queries and max_seconds"
