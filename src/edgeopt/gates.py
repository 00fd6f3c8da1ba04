"""Gates: a bound, the evidence, and a verdict of pass, fail or inconclusive.

A gate passes when the whole one-sided confidence bound is on the right side, fails when the other
bound is on the wrong side, and is inconclusive in between: the data cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeopt.errors import ExitCode
from edgeopt.measure.latency import Measured
from edgeopt.recipe.schema import GateSpec
from edgeopt.report.model import Gate, Subject, Verdict
from edgeopt.statistics import Bounds, percentile_bounds, percentile_ratio
from edgeopt.tasks import Task

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
#: Queries below which a percentile says nothing (MLPerf inference rules, early stopping).
MIN_QUERIES = {"p50": 64, "p90": 64, "p99": 662}


@dataclass(frozen=True)
class Evidence:
    """All that a gate may look at. labels: (rows,) or (rows, words); logits: the task's outputs, rows first."""

    task: Task
    labels: np.ndarray[Any, np.dtype[Any]]
    baseline_logits: np.ndarray[Any, np.dtype[Any]]
    candidate_logits: np.ndarray[Any, np.dtype[Any]]
    baseline: Subject
    candidate: Subject
    latency: list[Measured]

    def difference(self, metric: str, confidence: float) -> Bounds:
        """Candidate minus baseline."""
        return self.task.difference(metric, self.labels, self.baseline_logits, self.candidate_logits, confidence)


def verdict_of(gates: list[Gate]) -> Verdict:
    """A failed gate fails the run; else an inconclusive one leaves it open."""
    verdicts = {g.verdict for g in gates}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


EXIT_CODES: dict[Verdict, ExitCode] = {"pass": ExitCode.PASS, "fail": ExitCode.GATE_FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


def decide(spec: GateSpec, evidence: Evidence, *, line: int | None = None) -> Gate:
    """Decide one gate. Values are in the unit of the bound: metric, MB, ms or a ratio."""
    kind, bound = spec.bound
    if spec.metric.startswith("latency."):
        return _latency(spec, kind, bound, evidence, line)
    if spec.metric in ("size", "memory.peak", "start.cold"):
        return _process(spec, kind, bound, evidence, line)
    return _metric(spec, kind, bound, evidence, line)


def _gate(spec: GateSpec, kind: str, bound: float, line: int | None, bounds: Bounds | None, verdict: Verdict, reason: str, **more: Any) -> Gate:
    return Gate(
        metric=spec.metric,
        verdict=verdict,
        value=bounds and bounds.value,
        bound=bound,
        kind=kind,
        reason=reason,
        low=bounds and bounds.low,
        high=bounds and bounds.high,
        confidence=spec.confidence,
        line=line,
        **more,
    )


def _judge(bounds: Bounds, good: Callable[[float], bool], *, smaller_is_better: bool) -> Verdict:
    worst, best = (bounds.high, bounds.low) if smaller_is_better else (bounds.low, bounds.high)
    return "pass" if good(worst) else "inconclusive" if good(best) else "fail"


def _metric(spec: GateSpec, kind: str, bound: float, evidence: Evidence, line: int | None) -> Gate:
    base, candidate = evidence.baseline.metrics[spec.metric], evidence.candidate.metrics[spec.metric]
    difference = evidence.difference(spec.metric, spec.confidence)
    shown = f"{spec.metric} {base:.4f} → {candidate:.4f} on {len(evidence.labels)} rows"
    if kind == "min":
        floor = evidence.task.bounds(spec.metric, evidence.labels, evidence.candidate_logits, spec.confidence)
        reason = f"{shown}; at least {floor.low:.4f} with {spec.confidence:.0%} confidence"
        return _gate(spec, kind, bound, line, floor, _judge(floor, lambda v: v >= bound, smaller_is_better=False), reason)
    scale = abs(base) if kind == "max_drop_relative" else 1.0
    if scale == 0.0:
        return _gate(spec, kind, bound, line, None, "inconclusive", f"{shown}; a share of zero is not defined: use max_drop")
    drop = Bounds(*(-v / scale for v in (difference.value, difference.high, difference.low)))
    verdict = _judge(drop, lambda v: v <= bound, smaller_is_better=True)
    reason = f"{shown}; drop {drop.value:+.4f}, at most {drop.high:+.4f} with {spec.confidence:.0%} confidence"
    if verdict == "inconclusive":
        reason += f": {len(evidence.labels)} rows cannot tell whether it is within {bound:g}"
    return _gate(spec, kind, bound, line, drop, verdict, reason)


def _process(spec: GateSpec, kind: str, bound: float, evidence: Evidence, line: int | None) -> Gate:
    values = []
    for subject in (evidence.baseline, evidence.candidate):
        raw = {"size": subject.size_bytes, "memory.peak": subject.memory_peak_bytes, "start.cold": subject.cold_start_ms}[spec.metric]
        values.append(None if raw is None else float(raw))
    base, candidate = values
    if candidate is None or base is None:
        return _gate(spec, kind, bound, line, None, "inconclusive", "not measured")
    unit, scale = ("ms", 1.0) if spec.metric == "start.cold" else ("MB", 1e6)
    bounds = _of_starts(spec, kind, evidence, scale)
    if bounds is None:
        value = candidate / base if kind == "max_ratio" else candidate / scale
        bounds = Bounds(value, value, value)
    verdict = _judge(bounds, lambda v: v <= bound, smaller_is_better=True)
    reason = f"{base / scale:.1f} → {candidate / scale:.1f} {unit}"
    return _gate(spec, kind, bound, line, bounds, verdict, reason)


def _of_starts(spec: GateSpec, kind: str, evidence: Evidence, scale: float) -> Bounds | None:
    """The median over fresh processes, or the ratio of the medians; None for what does not vary, and for runs of versions
    that kept no samples."""
    starts = evidence.baseline.starts, evidence.candidate.starts
    if spec.metric == "size" or starts[0] is None or starts[1] is None:
        return None
    base, candidate = (np.array(s.ms if spec.metric == "start.cold" else s.peak_bytes) for s in starts if s is not None)
    if kind == "max_ratio":
        return percentile_ratio(candidate, base, 50.0, spec.confidence, block=1)
    return percentile_bounds(candidate / scale, 50.0, spec.confidence, block=1)


def _latency(spec: GateSpec, kind: str, bound: float, evidence: Evidence, line: int | None) -> Gate:
    percentile = spec.metric.partition(".")[2]
    first = evidence.latency[0]
    target = spec.target or first.target
    sequence = spec.sequence or next(m.sequence for m in evidence.latency if m.target == target)
    found = {m.subject: m for m in evidence.latency if m.target == target and m.sequence == sequence}
    base = found["baseline-torch" if spec.against == "torch" else "baseline"]
    candidate = found["candidate"]
    more = {"target": target, "sequence": sequence, "against": spec.against}
    queries, needed = len(candidate.samples), MIN_QUERIES[percentile]
    if queries < needed:
        return _gate(
            spec, kind, bound, line, None, "inconclusive", f"{queries} queries: {percentile} needs {needed}; raise the target's queries and max_seconds", **more
        )
    q = PERCENTILES[percentile]
    shown = f"{np.percentile(base.samples, q):.2f} → {np.percentile(candidate.samples, q):.2f} ms over {queries} queries"
    if kind == "max_ms":
        bounds = percentile_bounds(candidate.samples, q, spec.confidence)
        return _gate(spec, kind, bound, line, bounds, _judge(bounds, lambda v: v <= bound, smaller_is_better=True), shown, **more)
    if kind == "max_ratio":
        bounds = percentile_ratio(candidate.samples, base.samples, q, spec.confidence)
        return _gate(spec, kind, bound, line, bounds, _judge(bounds, lambda v: v <= bound, smaller_is_better=True), shown, **more)
    bounds = percentile_ratio(base.samples, candidate.samples, q, spec.confidence)
    verdict = _judge(bounds, lambda v: v >= bound, smaller_is_better=False)
    return _gate(spec, kind, bound, line, bounds, verdict, f"{shown}; at least {bounds.low:.2f}× with {spec.confidence:.0%} confidence", **more)
