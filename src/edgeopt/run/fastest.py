"""What the gates say of each of several measured exports, and which is the fastest of those that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any, NamedTuple

import numpy as np

from edgeopt.gates.decide import decide
from edgeopt.gates.evidence import Evidence
from edgeopt.gates.slices import Groups
from edgeopt.measure.latency import Measured
from edgeopt.results.model import Subject, Verdict, verdict_of
from edgeopt.run.exports import Written
from edgeopt.spec.recipe import GateSpec
from edgeopt.tasks import Task

#: The exports of the best verdict there is are chosen from.
_ORDER: tuple[Verdict, ...] = ("pass", "inconclusive", "fail")


@dataclass(frozen=True)
class MeasuredExport:
    """One export with what was measured of it.

    subject: its name among the latencies. outputs: on the rows that it was measured on. difference: the largest of a
    logit from those of the graph or model that it was converted from, None where it answers with texts.
    """

    written: Written
    subject: str
    outputs: Any
    difference: float | None
    options: Mapping[str, Any]
    figures: Subject


class Reference(NamedTuple):
    """What every export is held against.

    latency: of all subjects. groups: the slices of the rows. alike: whether the model that is exported is the baseline.
    """

    task: Task
    labels: Any
    outputs: Any
    figures: Subject
    latency: list[Measured]
    groups: Groups
    alike: bool = False


def evidence_for(export: MeasuredExport, base: Reference) -> Evidence:
    """What the gates look at, with this export as the candidate."""
    latency = [replace(m, subject="candidate") if m.subject == export.subject else m for m in base.latency]
    return Evidence(
        base.task,
        base.labels,
        base.outputs,
        export.outputs,
        base.figures,
        export.figures,
        latency,
        base.groups,
        base.alike and export.written.format == "onnx",
    )


def verdicts(exports: Sequence[MeasuredExport], base: Reference, gates: Sequence[GateSpec]) -> dict[str, Verdict]:
    """What the gates say of each export, were it the candidate; by subject."""
    return {
        each.subject: verdict_of([decide(g, evidence_for(each, _without_candidate(each, base))) for g in gates])
        for each in exports
    }


def _without_candidate(export: MeasuredExport, base: Reference) -> Reference:
    """The reference without the latencies of the candidate, where that is another export than this one."""
    return base._replace(latency=[m for m in base.latency if m.subject != "candidate" or export.subject == "candidate"])


def fastest(
    exports: Sequence[MeasuredExport], latency: Sequence[Measured], found: Mapping[str, Verdict]
) -> MeasuredExport:
    """The quickest of the exports with the best verdict: by p50 on the first target.

    It is the geometric mean of the p50s over the target's lengths, so that each length counts alike.
    """
    best = min((found[each.subject] for each in exports), key=_ORDER.index)
    return min(
        (each for each in exports if found[each.subject] == best), key=lambda each: typical_ms(each.subject, latency)
    )


def typical_ms(subject: str, latency: Sequence[Measured]) -> float:
    """The geometric mean of a subject's p50s on the first target, in milliseconds."""
    return geometric_mean(
        [float(np.median(m.samples)) for m in latency if m.subject == subject and m.target == latency[0].target]
    )
