"""Gates on what was timed or weighed: latency, throughput, cold start, memory and size.

Besides the bounds of the measurement, a verdict needs that it can be believed. What makes it doubtful, too few queries
for the percentile or a drift, moves the bounds as far out as the value may be at worst: a bound of the gate that is
beyond even those is decided, a nearer one is inconclusive and says what would mend it. A machine that cannot stand for
the target has no such limit, and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from edgeopt.measure.latency import Measured
from edgeopt.measure.profile import elsewhere
from edgeopt.measure.twin import TWIN
from edgeopt.results.model import Subject, Verdict
from edgeopt.spec.recipe import GateSpec
from edgeopt.statistics.bounds import Bounds, Values, percentile_bounds, percentile_ratio, sure
from edgeopt.statistics.latency_bounds import (
    Beside,
    between_times,
    drift,
    drifted,
    order_bounds,
    ratio_bounds,
    t_quantile,
    typical,
    wider,
)
from edgeopt.statistics.latency_bounds import percentile_bounds as bounds_of

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
#: Queries below which a percentile says nothing: MLPerf inference rules, early stopping. With fewer, more than one
#: slower query is not to be expected with 99 % confidence. For p50 that would be 11; 64 leave each opening some.
#: A throughput is of all batches together: two of each of ten openings.
MIN_QUERIES = {"p50": 64, "p90": 64, "p99": 662, "qps": 20}
#: By how much all openings of a file may be quicker or slower together, where too few queries tell
#: (benchmarks/results/latency_honesty.md has some percent).
_UNSEEN = 1.25
#: Starts below which a bootstrap of their median cannot reach 95 %.
_FEW_STARTS = 9
#: By what share a value may be beside its bound and be it: a logarithm and back is no further off.
_ROUNDING = 1e-9
_SMALLER = ("max_ms", "max_mb", "max_ratio")
#: Bounds on what is timed that look at the candidate alone.
_ALONE = ("max_ms", "min")
_MOST = 100_000
_ONE_TIME = (
    "the baseline was measured once, at another time, so the two cannot be compared: measure it again with "
    "`edgeopt baseline`, or give --against the folder of the FP32 model, so that both are measured side by "
    "side"
)


class Decided(NamedTuple):
    """A verdict with the bounds of the gate's value, why, and where it was measured."""

    bounds: Bounds | None
    verdict: Verdict
    reason: str
    place: Mapping[str, Any] = MappingProxyType({})


def process(spec: GateSpec, baseline: Subject, candidate: Subject, latency: list[Measured]) -> Decided:
    """Decide a gate on size, peak memory or cold start, in MB, ms or as a ratio."""
    kind, bound = spec.bound
    raw = [_figure(subject, spec.metric) for subject in (baseline, candidate)]
    old, new = raw
    if old is None or new is None:
        return Decided(None, "inconclusive", "not measured")
    if not all(math.isfinite(v) and v > 0 for v in (old, new)):
        return Decided(None, "fail", f"{old:g} → {new:g}: not what was measured")
    unit, scale = ("ms", 1.0) if spec.metric == "start.cold" else ("MB", 1e6)
    bounds = _of_starts(spec, kind, baseline, candidate, scale)
    if bounds is None:
        value = new / old if kind == "max_ratio" else new / scale
        bounds = Bounds(value, value, value)
    shown = f"{_short(old / scale)} → {_short(new / scale)} {unit}"
    timed = next((m for m in latency if spec.target in (None, m.target)), None)
    if kind == "max_ms" and (why := elsewhere(timed.named, timed.processor) if timed else "no target was measured"):
        return Decided(bounds, "inconclusive", f"{shown}; {why}")
    verdict = _judge(bounds, kind, bound)
    if verdict == "inconclusive":
        starts = len(candidate.starts.ms) if candidate.starts else 0
        shown += (
            f"; from {bounds.low:.4g} to {bounds.high:.4g} in {starts} starts: too near to {bound:g}, measure on a "
            "quieter machine"
        )
    return Decided(bounds, verdict, shown)


def _short(value: float) -> str:
    """One digit behind the point, and of what is small three digits in all."""
    return f"{value:.1f}" if value >= 10 else f"{value:#.3g}"


def _figure(subject: Subject, metric: str) -> float | None:
    raw = {"size": subject.size_bytes, "memory.peak": subject.memory_peak_bytes, "start.cold": subject.cold_start_ms}[
        metric
    ]
    return None if raw is None else float(raw)


def _of_starts(spec: GateSpec, kind: str, baseline: Subject, candidate: Subject, scale: float) -> Bounds | None:
    """The median over fresh processes, or the ratio of the medians.

    None for what does not vary, and for runs of versions that kept no samples.
    """
    starts = baseline.starts, candidate.starts
    if spec.metric == "size" or starts[0] is None or starts[1] is None:
        return None
    base, other = (
        np.array(s.ms if spec.metric == "start.cold" else s.peak_bytes, dtype=float) for s in starts if s is not None
    )
    if kind == "max_ratio":
        found = percentile_ratio(other, base, 50.0, spec.confidence, block=1)
    else:
        found = percentile_bounds(other / scale, 50.0, spec.confidence, block=1)
    return _of_few(found, [other, base] if kind == "max_ratio" else [other], spec.confidence)


def _of_few(bounds: Bounds, samples: Sequence[Values], confidence: float) -> Bounds:
    """Bounds of few starts, whose bootstrap is too sure: as far out also as Student's t of their logarithms goes."""
    if confidence == 0.5 or min(map(len, samples)) >= _FEW_STARTS:
        return bounds
    if min(map(len, samples)) < 2:
        return Bounds(bounds.value, 0.0, math.inf)
    errors = [float(np.std(np.log(x), ddof=1)) / math.sqrt(len(x)) for x in samples]
    far = math.exp(math.hypot(*errors) * t_quantile(confidence, min(map(len, samples)) - 1))
    return Bounds(bounds.value, min(bounds.low, bounds.value / far), max(bounds.high, bounds.value * far))


def timed(spec: GateSpec, measured: list[Measured]) -> Decided:
    """Decide a gate on a percentile of latency, or on queries a second, which the mean latency of a batch is made into.

    It is in its own unit, or as a ratio to the baseline's on the same target and length.
    """
    kind, bound = spec.bound
    figure = spec.metric.partition(".")[2]
    target = spec.target or measured[0].target
    sequence = spec.sequence or next(m.sequence for m in measured if m.target == target)
    found = {m.subject: m for m in measured if m.target == target and m.sequence == sequence}
    base, candidate = found["baseline-torch" if spec.against == "torch" else "baseline"], found["candidate"]
    place = {"target": target, "sequence": sequence, "against": spec.against}
    q = PERCENTILES.get(figure)
    compared = [candidate] if kind in _ALONE else [candidate, base] if kind == "max_ratio" else [base, candidate]
    if broken := next((b for m in compared if (b := _broken(m))), None):
        return Decided(None, "fail", broken, place)
    queries, needed = min(len(m.samples) for m in compared), MIN_QUERIES[figure]
    asked = "queries" if candidate.batch == 1 else f"batches of {candidate.batch}"
    counted = f"{queries} {asked}" if queries > 1 else f"one {asked.replace('ies', 'y').replace('es', '', 1)}"
    shown = f"{_both(base, candidate, q)} over {counted}"
    twins = {m.apart: m for m in measured if (m.subject, m.target, m.sequence) == (TWIN, target, sequence)}
    if (bounds := _bounds(kind, base, candidate, q, spec.confidence, twins)) is None:
        return Decided(None, "inconclusive", _ONE_TIME, place)
    doubts: list[tuple[str, str]] = []
    if math.isinf(bounds.high) and not base.apart and queries > 1:
        bounds = of_few_queries(Bounds(*[bounds.value] * 3), [m.samples for m in compared], q, spec.confidence)
        doubts.append(
            ("the file was opened only once, and another time it may be faster or slower", "raise max_seconds")
        )
    if queries < needed:
        bounds = of_few_queries(bounds, [m.samples for m in compared], q, spec.confidence)
        doubts.append((f"{counted}: {figure} needs {needed}", "raise the target's queries and max_seconds"))
    for what, change in _drifts(kind, base, candidate).items():
        bounds = wider(bounds, change)
        drifting = f"{what} drifted by {change.value - 1:+z.0%} from the first half to the second"
        doubts.append((drifting, "measure again on a quieter machine, or raise max_seconds"))
    if kind == "min":
        bounds = Bounds(*(_per_second(candidate, ms) for ms in (bounds.value, bounds.high, bounds.low)))
    if why := "; ".join(candidate.unfit) or (kind in _ALONE and elsewhere(candidate.named, candidate.processor)):
        return Decided(bounds, "inconclusive", f"{shown}; {why}", place)
    verdict = _judge(bounds, kind, bound)
    if verdict == "inconclusive":
        shown += f"; {'; '.join(f'{what}; {mend}' for what, mend in doubts) or _open(bounds, bound, queries, asked)}"
    elif doubts:
        worst = f"at worst {bounds.low:.4g} to {bounds.high:.4g}, which still decides it"
        shown += f"; {'; '.join(what for what, _ in doubts)}: {worst}"
    elif kind in ("min_speedup", "min"):
        least = f"{bounds.low:.2f}×" if kind == "min_speedup" else f"{bounds.low:.4g} a second"
        shown += f"; at least {least} with {sure(spec.confidence)} confidence"
    return Decided(bounds, verdict, shown, place)


def _both(base: Measured, candidate: Measured, q: float | None) -> str:
    """What a gate looks at, of the baseline and the candidate."""
    old, new = (typical(m.samples, q) for m in (base, candidate))
    if q is None:
        return f"{_per_second(base, old):.4g} → {_per_second(candidate, new):.4g} queries a second"
    return f"{old:.2f} → {new:.2f} ms"


def _per_second(measured: Measured, ms: float) -> float:
    """Queries a second, where a batch takes so many milliseconds."""
    return measured.batch * 1000 / ms if ms > 0 else math.inf


def of_few_queries(bounds: Bounds, compared: Sequence[Values], percentile: float | None, confidence: float) -> Bounds:
    """Bounds on a percentile of fewer queries than it needs, as far out as the order of the samples allows.

    They are of the percentile of the one that is `compared`, or of the ratio of the first's to the second's; each
    sample has its share of the error, and what no opening shows is added. A mean may be as far out as any sample.
    """
    if percentile is None:
        far = [(float(np.min(x)), float(np.max(x))) if len(x) > 1 else (0.0, math.inf) for x in compared]
        low, high = far[0]
        for least, most in far[1:]:
            low, high = low / most, high / least if least > 0 else math.inf
        return Bounds(bounds.value, min(bounds.low, low / _UNSEEN), max(bounds.high, high * _UNSEEN))
    each = max(confidence, 0.95)
    each = 1 - (1 - each) / len(compared)
    over, *under = [order_bounds(samples, percentile, each) for samples in compared]
    low, high = over.low, over.high
    for other in under:
        low, high = low / other.high, high / other.low if other.low > 0 else math.inf
    return Bounds(bounds.value, min(bounds.low, low / _UNSEEN), max(bounds.high, high * _UNSEEN))


def _broken(m: Measured) -> str | None:
    """Latencies that cannot have been measured."""
    wrong = int(np.sum(~(np.isfinite(m.samples) & (m.samples > 0)))) if len(m.samples) else 1
    return (
        f"{wrong} of {len(m.samples)} latencies of {m.subject} are no positive numbers: nothing can be said of them"
        if wrong
        else None
    )


def _bounds(
    kind: str, base: Measured, candidate: Measured, q: float | None, confidence: float, twins: Mapping[bool, Measured]
) -> Bounds | None:
    """Bounds of a percentile or the mean of latency, or of a ratio of two.

    None where the samples do not say what differs between two times. twins: those measured beside the baseline (True)
    and the candidate, where that was at two times.
    """
    if kind in _ALONE:
        return bounds_of(candidate.samples, q, confidence, candidate.sittings or candidate.openings)
    over, under = (candidate, base) if kind == "max_ratio" else (base, candidate)
    if not base.apart:
        return ratio_bounds(over.samples, under.samples, q, confidence, candidate.openings)
    if {*twins} != {True, False}:
        return None
    top, bottom = (Beside(m.samples, twins[m.apart].samples, m.sittings) for m in (over, under))
    return between_times(top, bottom, q, confidence)


def _judge(bounds: Bounds, kind: str, bound: float) -> Verdict:
    bounds = Bounds(*(bound if math.isclose(x, bound, rel_tol=_ROUNDING) else x for x in bounds))
    if kind in _SMALLER:
        return "pass" if bounds.high <= bound else "inconclusive" if bounds.low <= bound else "fail"
    return "pass" if bounds.low >= bound else "inconclusive" if bounds.high >= bound else "fail"


def _drifts(kind: str, base: Measured, candidate: Measured) -> dict[str, Bounds]:
    """What drifted while the gate's value was measured, and by how much.

    Where that was in several sittings at two times, a drift is one of the things that differ between them.
    """
    if kind in _ALONE:
        found = {"the latency": drift(candidate.samples, None, candidate.openings)}
    elif base.apart:
        return {}
    else:
        found = {"the ratio": drift(candidate.samples, base.samples, candidate.openings)}
    return {what: change for what, change in found.items() if drifted(change)}


def _open(bounds: Bounds, bound: float, queries: int, asked: str) -> str:
    """How many queries, or batches, would bring the interval to one side of the bound, if the value stays.

    Its width falls with the square root.
    """
    reach = bounds.high - bounds.value if bounds.value <= bound else bounds.value - bounds.low
    gap = abs(bound - bounds.value)
    wanted = math.inf if gap == 0 else queries * (reach / gap) ** 2
    if wanted > _MOST:
        return f"too near to {bound:g} for any number of {asked} to tell"
    return f"about {math.ceil(wanted / 100) * 100:,} {asked} would tell: raise the target's queries and max_seconds"
