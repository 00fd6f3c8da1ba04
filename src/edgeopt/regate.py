"""Decide gates again, on the evidence that a run left in its folder."""

from __future__ import annotations

from edgeopt.asked import Asked, damaged
from edgeopt.errors import InputError, Issue
from edgeopt.gates import decide
from edgeopt.measuring import read_evidence
from edgeopt.recipe.schema import MEASURED, GateSpec
from edgeopt.report.model import Gate, Report
from edgeopt.sealed import Run
from edgeopt.slices import LABEL
from edgeopt.tasks import task_of


def regate(run: Run, asked: Asked, own: Asked) -> list[Gate]:
    """The gates of `asked`, decided on what the run measured. own: what the run itself was asked. Raises InputError E115 for
    evidence that cannot be read, E118 where a gate asks for what the run did not measure."""
    folder, report, _ = run
    try:
        evidence = read_evidence(folder, task_of(own.task, report.task.labels), report.baseline, report.candidate)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, error) from None
    issues = [
        Issue("E118", f"the run did not measure {missing}", place, "apply the recipe again")
        for spec, place in asked.gates
        if (missing := _missing(spec, report, {*evidence.groups}))
    ]
    if issues:
        raise InputError(issues)
    return [decide(spec, evidence, line=place.line if place else None) for spec, place in asked.gates]


def _missing(spec: GateSpec, report: Report, groupings: set[str]) -> str | None:
    if spec.slice not in (None, "worst", LABEL, *groupings):
        return f"slices by {spec.slice}"
    if spec.metric not in MEASURED:
        return None if spec.metric in report.candidate.metrics else spec.metric
    if not spec.metric.startswith("latency"):
        return None
    found = [m for m in report.latency if spec.target in (None, m.target)]
    if not found:
        return f"target '{spec.target}'"
    if spec.sequence is not None and spec.sequence not in {m.sequence for m in found}:
        return f"sequence {spec.sequence}"
    return None
