"""Gates: a bound, the evidence, and a verdict of pass, fail or inconclusive.

A gate passes when the whole one-sided confidence bound is on the right side, fails when the other
bound is on the wrong side, and is inconclusive in between: the data cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeopt import latency_gates
from edgeopt.errors import ExitCode
from edgeopt.measure.latency import Measured
from edgeopt.recipe.schema import GateSpec
from edgeopt.report.model import Gate, Subject, Verdict
from edgeopt.statistics import Bounds
from edgeopt.tasks import Task


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
        found = latency_gates.latency(spec, evidence.latency)
        return _gate(spec, kind, bound, line, found.bounds, found.verdict, found.reason, **found.place)
    if spec.metric in ("size", "memory.peak", "start.cold"):
        found = latency_gates.process(spec, evidence.baseline, evidence.candidate, evidence.latency)
        return _gate(spec, kind, bound, line, found.bounds, found.verdict, found.reason)
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
