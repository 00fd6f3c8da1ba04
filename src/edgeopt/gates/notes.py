"""What a reader should know of the evidence, whether a run measured it or a gate did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.gates.chance import Standing
from edgeopt.gates.evidence import Evidence
from edgeopt.measure.latency import Measured
from edgeopt.measure.twin import TWIN
from edgeopt.results.model import Place
from edgeopt.statistics.latency_bounds import drift, drifted

#: A share of the time that other programs had the processor, below which nothing is said.
_QUIET = 0.05


def latency_notes(latency: Sequence[Measured]) -> list[str]:
    """How busy the machine was, what drifted, and which targets this machine cannot stand for.

    Left out are what was measured at another time, whose rounds are no pairs with these, and a twin, whose drift is in
    the bounds.
    """
    found = [m for m in latency if not m.apart and m.subject != TWIN]
    return [*_busy(found), *_drifts(found), *_unfit(found)]


def _busy(latency: Sequence[Measured]) -> list[str]:
    notes = []
    for target, threads in dict.fromkeys((m.target, m.threads) for m in latency):
        those = [m for m in latency if m.target == target]
        waited = sum(m.waited_ms for m in those)
        took = sum(float(np.sum(m.samples)) for m in those) + (waited if threads == 1 else 0)
        if waited > _QUIET * took:
            more = (
                "The latencies do not include that time."
                if threads == 1
                else "The latencies include that time, because with several threads the others keep running."
            )
            notes.append(
                f"{target}: other programs had the processor for {waited / took * 100:.1f} % of the time in which "
                f"latency was measured. {more}"
            )
    return notes


def _drifts(latency: Sequence[Measured]) -> list[str]:
    notes = []
    bases = {(m.target, m.sequence): m for m in latency if m.subject == "baseline"}
    for m in latency:
        base, place = bases.get((m.target, m.sequence)), Place(m.target, m.sequence)
        if len(m.samples) < 16 or base is None:
            continue
        if m is base and m.restarts:
            notes.append(
                f"{place}: a ratio drifted, and the measuring began anew {m.restarts} time{'s' * (m.restarts > 1)}."
            )
        alone = drift(m.samples, None, m.openings)
        if drifted(alone):
            notes.append(
                f"{place}: the latency of {m.subject} changed by {alone.value - 1:+z.0%} from the first half of the "
                "rounds to the second."
            )
        if m is not base and drifted(change := drift(m.samples, base.samples, m.openings)):
            notes.append(
                f"{place}: the ratio of {m.subject} to the baseline drifted by {change.value - 1:+z.0%}: gates on it "
                "have wider bounds."
            )
    return notes


def _unfit(latency: Sequence[Measured]) -> list[str]:
    found = {m.target: m.unfit for m in latency if m.unfit}
    return [f"Target {target} decides no latency gate here: {'; '.join(why)}." for target, why in found.items()]


def evidence_notes(evidence: Evidence) -> list[str]:
    """Notes on what was measured, whether a run measured it or `gate` did."""
    answered = len(evidence.candidate_logits) > 0
    return [
        *latency_notes(evidence.latency),
        *(evidence.task.notes(evidence.labels, evidence.candidate_logits) if answered else []),
    ]


if TYPE_CHECKING:
    from edgeopt.gates.evidence import Evidence


def warnings(evidence: Evidence, metrics: Iterable[str]) -> list[str]:
    """What belongs beside a verdict on these metrics.

    That is outputs that are no numbers, whatever the gates look at, and models that are not shown to be better than an
    answer that reads nothing.
    """
    if not len(evidence.candidate_logits):  # nothing was answered, as no gate looks at answers
        return []
    if evidence.task.parts:
        asked = [metric.partition(".") for metric in metrics]
        return [
            f"Task {name}: {warning}"
            for name, own in evidence.each().items()
            for warning in warnings(own, [metric for whose, _, metric in asked if whose == name])
        ]
    flaws = [flaw for side in evidence.sides if (flaw := evidence.broken(side))]
    if flaws:
        return [
            f"{flaw[0].upper()}{flaw[1:]}: every gate on them fails, and figures computed from them mean nothing."
            for flaw in flaws
        ]
    found = {}
    for metric in metrics:
        poor: dict[str, Standing] = {
            side: s for side in evidence.sides if (s := evidence.standing(side, metric)).untold
        }
        if poor:
            found[evidence.task.judged_by(metric)] = _said(evidence, poor)
    return list(found.values())


def _said(evidence: Evidence, poor: dict[str, Standing]) -> str:
    rows = len(evidence.labels)
    parts = [
        f"the {side}'s {s.metric} of {s.value:.4f} is "
        f"{'no better' if s.no_better else f'not shown by {rows} rows to be better'} than {s}"
        for side, s in poor.items()
    ]
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}: {_mend(evidence, poor)}."


def _mend(evidence: Evidence, poor: dict[str, Standing]) -> str:
    few = not any(s.no_better for s in poor.values())
    more = "report on more rows, or " if few else ""
    if "candidate" not in poor:
        return (
            f"the candidate is compared with a model that has learned nothing measurable on these rows; "
            f"{more}train the "
            "baseline longer"
        )
    if "baseline" in poor or len(evidence.sides) == 1:
        return f"{more}train longer, or change the learning rate"
    if evidence.candidate.precision == "int8":
        return f"the baseline is better; {more}set `policy: auto` on quantize.static, or use quantize.qat"
    return f"the baseline is better; {more}prune less, or train longer"
