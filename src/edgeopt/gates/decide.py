"""Gates: a bound, the evidence, and a verdict of pass, fail or inconclusive.

A gate passes when the whole one-sided confidence bound is on the right side, fails when the other
bound is on the wrong side, and is inconclusive in between: the data cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from edgeopt.gates import timed as latency_gates
from edgeopt.gates.evidence import Evidence, Side
from edgeopt.gates.slices import Worst, parts_of, worst
from edgeopt.results.model import Gate, Verdict
from edgeopt.spec.recipe import GateSpec
from edgeopt.statistics.bounds import Bounds, sure
from edgeopt.statistics.power import POWER, rounded, rows_needed, scaled
from edgeopt.support.errors import ExitCode

#: Of a metric that the candidate's outputs do not have, and of one that the baseline's do not.
_UNDEFINED: tuple[Verdict, ...] = ("fail", "inconclusive")


class Decisions(NamedTuple):
    """Gates that were decided outside of a run, with what `apply` would say besides: warnings and notes.

    model: the file that they are about, and what it was compared with.
    """

    gates: list[Gate]
    warnings: list[str]
    notes: list[str]
    model: str


EXIT_CODES: dict[Verdict, ExitCode] = {
    "pass": ExitCode.PASS,
    "fail": ExitCode.GATE_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
}


def decide(spec: GateSpec, evidence: Evidence, *, line: int | None = None) -> Gate:
    """Decide one gate. Values are in the unit of the bound: metric, MB, ms or a ratio.

    A gate on one of several tasks sees that task's rows, and no others.
    """
    if spec.task is not None:
        evidence = evidence.of(spec.task)
    gate = _decided(spec, evidence, line)
    compares = spec.compares_exports or spec.metric in evidence.task.beside_baseline
    return _of_itself(gate) if evidence.same and compares else gate


def _of_itself(gate: Gate) -> Gate:
    """A gate that compares a model with itself, which cannot pass."""
    reason = (
        f"{gate.reason}; the baseline is the same model as the candidate, so nothing was compared: "
        "`edgeopt gate MODEL --against` takes the FP32 model that it was made from"
    )
    return gate.model_copy(
        update={"verdict": "inconclusive" if gate.verdict == "pass" else gate.verdict, "reason": reason}
    )


def _decided(spec: GateSpec, evidence: Evidence, line: int | None) -> Gate:
    kind, bound = spec.bound
    if spec.timed:
        found = latency_gates.timed(spec, evidence.latency)
        return _gate(spec, kind, bound, line, found.bounds, found.verdict, found.reason, **found.place)
    if spec.metric in ("size", "memory.peak", "start.cold"):
        found = latency_gates.process(spec, evidence.baseline, evidence.candidate, evidence.latency)
        return _gate(spec, kind, bound, line, found.bounds, found.verdict, found.reason)
    if flawed := _flawed(spec, kind, evidence):
        return _gate(spec, kind, bound, line, None, *flawed, slice=spec.slice)
    gate = (
        _metric(spec, kind, bound, evidence, line)
        if spec.slice is None
        else _slices(spec, spec.slice, bound, evidence, line)
    )
    alone = kind == "min" and spec.metric not in evidence.task.beside_baseline
    return gate if alone or gate.verdict != "pass" else _held_against_chance(spec.metric, gate, evidence)


def _flawed(spec: GateSpec, kind: str, evidence: Evidence) -> tuple[Verdict, str] | None:
    """The verdict of a gate whose outputs are no numbers, or do not have its metric, and why; None: no such flaw."""
    alone = kind == "min" and spec.metric not in evidence.task.beside_baseline
    looked: tuple[Side, ...] = ("candidate",) if alone else ("baseline", "candidate")
    broken = [flaw for side in looked if (flaw := evidence.broken(side))]
    if broken:
        return "fail", "; ".join(broken)
    if why := evidence.task.unmeasurable(spec.metric, evidence.labels):
        return "inconclusive", why
    for side, verdict in zip(reversed(looked), _UNDEFINED, strict=False):
        if why := evidence.task.undefined(spec.metric, evidence.labels, evidence.outputs(side)):
            return verdict, f"the {side}'s {why}"
    return None


def _held_against_chance(metric: str, gate: Gate, evidence: Evidence) -> Gate:
    """A drop that passed is not known where either model seems no better than an answer that reads nothing.

    Where the classes are unequal, a model that reads may be no better by the metric itself: then it has to be shown
    that it reads.
    """
    for side in evidence.sides:
        found, told = evidence.standing(side, metric), evidence.task.information
        if found.no_better and (told is None or evidence.standing(side, told).untold):
            why = (
                f"the {side}'s {found.metric} of {found.value:.4f} is no better than {found}: a drop "
                f"{'from' if side == 'baseline' else 'to'} it says nothing"
            )
            return gate.model_copy(update={"verdict": "inconclusive", "reason": f"{gate.reason}; {why}"})
    return gate


def _gate(
    spec: GateSpec,
    kind: str,
    bound: float,
    line: int | None,
    bounds: Bounds | None,
    verdict: Verdict,
    reason: str,
    **more: Any,
) -> Gate:
    return Gate(
        metric=spec.measured,
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
    many = evidence.task.units(evidence.labels)
    shown = f"{spec.metric} {base:.4f} → {candidate:.4f} on {many[0]} {many[1]}"
    least = evidence.task.fewest_rows(spec.metric)
    if kind == "min":
        floor = evidence.task.bounds(spec.metric, evidence.labels, evidence.candidate_logits, spec.confidence)
        verdict = _judge(floor, lambda v: v >= bound, smaller_is_better=False)
        reason = f"{shown}; at least {floor.low:.4f} with {sure(spec.confidence)} confidence"
        needed, open = _open(
            spec, verdict, partial(scaled, floor), many, f"cannot tell whether it reaches {bound:g}", least
        )
        return _gate(spec, kind, bound, line, floor, verdict, reason + open, rows_needed=needed)
    scale = abs(base) if kind == "max_drop_relative" else 1.0
    if scale == 0.0:
        return _gate(
            spec, kind, bound, line, None, "inconclusive", f"{shown}; a share of zero is undefined: use max_drop"
        )
    drop = _drop(difference, scale)
    verdict = _judge(drop, lambda v: v <= bound, smaller_is_better=True)
    reason = f"{shown}; drop {drop.value:+z.4f}, at most {drop.high:+z.4f} with {sure(spec.confidence)} confidence"
    needed, open = None, ""
    if verdict == "inconclusive":
        more = evidence.task.more_rows(
            spec.metric, evidence.labels, evidence.baseline_logits, evidence.candidate_logits, spec.confidence
        )
        needed, open = _open(
            spec,
            verdict,
            lambda t: _drop(more(t), scale),
            many,
            f"cannot tell whether it is within {bound:g}",
            least,
        )
    return _gate(spec, kind, bound, line, drop, verdict, reason + open, rows_needed=needed)


def _drop(difference: Bounds, scale: float = 1.0) -> Bounds:
    """Baseline minus candidate, as a share of scale."""
    return Bounds(*(-v / scale for v in (difference.value, difference.high, difference.low)))


def _open(
    spec: GateSpec,
    verdict: Verdict,
    bounds_of: Callable[[float], Bounds],
    many: tuple[int, str],
    what: str,
    least: int = 1,
) -> tuple[int | None, str]:
    """How many rows would settle an inconclusive verdict, and that in words; None and nothing for another verdict.

    many: how many there are, and what they are called. what: they cannot tell. least: rows below which nothing is told.
    """
    rows, units = many
    if verdict != "inconclusive":
        return None, ""
    if rows < least:
        return least, f": nothing is told by fewer than {least} {units}"
    needed = rows_needed(bounds_of, rows, spec.bound[1], spec.confidence)
    if needed is None:
        same = "what was seen is the margin itself"
        return None, f": {rows} {units} {what}, and no number of {units} like these does: {same}"
    return (
        needed,
        f": {rows} {units} {what}; about {rounded(needed):,} {units} would, {POWER * 10:g} times in 10, if the models "
        "do on them as on these",
    )


def _slices(spec: GateSpec, slice: str, bound: float, evidence: Evidence, line: int | None) -> Gate:
    """The gate on the slice whose metric drops most."""
    task, outputs = evidence.task, (evidence.labels, evidence.baseline_logits, evidence.candidate_logits)
    parts = parts_of(task, spec.metric, evidence.labels, evidence.groups, None if slice == "worst" else slice)
    found = worst(task, spec.metric, *outputs, parts, bound, spec.confidence)
    more = {"slice": slice}
    if found is None:
        reason = (
            f"all of {len(parts)} slices have too few rows for a drop of {bound:g}"
            if parts
            else "all rows are in one slice"
        )
        return _gate(spec, "max_drop", bound, line, None, "inconclusive", reason, **more)
    verdict = _judge(found.drop, lambda v: v <= bound, smaller_is_better=True)
    rows = found.slice.rows
    base, candidate = (task.measure(spec.metric, evidence.labels[rows], x[rows]) for x in outputs[1:])
    reason = (
        f"of {found.slices} slices {found.slice} drops most: {spec.metric} {base:.4f} → {candidate:.4f} on "
        f"{len(rows)} rows; drop {found.drop.value:+z.4f}, that of every slice at most {found.drop.high:+z.4f} with "
        f"{sure(spec.confidence)} confidence"
    )
    needed, open = _open_slice(spec, verdict, evidence, found, bound)
    small = f"; too small to tell: {', '.join(f'{p} ({len(p.rows)} rows)' for p in found.small)}" if found.small else ""
    return _gate(spec, "max_drop", bound, line, found.drop, verdict, reason + open + small, rows_needed=needed, **more)


def _open_slice(
    spec: GateSpec, verdict: Verdict, evidence: Evidence, found: Worst, bound: float
) -> tuple[int | None, str]:
    """How many rows of the slice that is farthest from being settled would do."""
    rows, task = found.open.rows, evidence.task
    logits = evidence.baseline_logits[rows], evidence.candidate_logits[rows]
    seen = task.measure(spec.metric, evidence.labels[rows], logits[0]) - task.measure(
        spec.metric, evidence.labels[rows], logits[1]
    )
    spec = spec if seen < bound else spec.model_copy(update={"confidence": found.each})
    more = task.more_rows(spec.metric, evidence.labels[rows], *logits, spec.confidence)
    return _open(
        spec,
        verdict,
        lambda t: _drop(more(t)),
        (len(rows), "rows"),
        f"of {found.open} cannot tell whether it is within {bound:g}",
    )
