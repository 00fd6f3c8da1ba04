"""Which of many figures stand for the whole: the first metric, and latency where the gates look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from edgeopt.results.figures import Told
from edgeopt.results.model import Difference, Latency, Place, Report, Speedup, SubjectName, Throughput
from edgeopt.spec.tasks import TIMED

T = TypeVar("T")

Percentile = Literal["p50", "p90", "p99"]


def places(report: Report) -> list[Place]:
    """Every place the candidate was timed at, in the report's order."""
    return list(dict.fromkeys(Place(r.target, r.sequence) for r in report.latency if r.subject == "candidate"))


def main_place(report: Report) -> Place | None:
    """The place of the first gate on what is timed, else the first one measured."""
    timed = places(report)
    for gate in (gate for gate in report.gates if gate.metric in TIMED):
        for place in timed:
            if gate.target == place.target and gate.sequence in (None, place.sequence):
                return place
    return timed[0] if timed else None


def first_metric(report: Report) -> str | None:
    """The first metric that baseline and candidate both have."""
    return next((name for name in report.baseline.metrics if name in report.candidate.metrics), None)


def difference(report: Report, metric: str) -> Difference | None:
    """The candidate's difference from the baseline in a metric; None where the report has none."""
    return next((d for d in report.differences if d.metric == metric), None)


def latency(report: Report, subject: SubjectName, place: Place) -> Latency | None:
    """A subject's latency at a place; None where it was not measured."""
    rows = (r for r in report.latency if r.subject == subject and Place(r.target, r.sequence) == place)
    return next(rows, None)


def throughput(report: Report, subject: SubjectName, place: Place) -> Throughput | None:
    """A subject's queries a second at a place; None where they are not reported."""
    rows = (t for t in report.throughput if t.subject == subject and Place(t.target, t.sequence) == place)
    return next(rows, None)


def speedup(
    report: Report,
    place: Place,
    percentile: Percentile = "p50",
    against: SubjectName = "baseline",
    of: SubjectName = "candidate",
) -> Speedup | None:
    """A subject's speed-up over another at a place; None where it was not measured."""
    for entry in report.speedups:
        if (entry.target, entry.sequence) == place and (entry.percentile, entry.against, entry.of) == (
            percentile,
            against,
            of,
        ):
            return entry
    return None


def last_figure(report: Report, figure: Callable[[Told], T | None]) -> T | None:
    """The figure of the candidate's last step that has it, else None. figure: takes it out of what a step told."""
    found = (figure(step.told) for step in reversed(report.steps) if step.chain == "candidate")
    return next((value for value in found if value is not None), None)


def sentence(report: Report) -> str:
    """What the verdict rests on, in one line: the gates, and rows that make them say less."""
    leaked = (
        f" {report.task.leaked:,} of the {report.task.rows:,} rows are also in train." if report.task.leaked else ""
    )
    return _gates(report) + leaked


def _gates(report: Report) -> str:
    if not report.gates:
        return "No gates: everything was measured, but nothing was required."
    passed = sum(gate.verdict == "pass" for gate in report.gates)
    total = len(report.gates)
    return f"{passed} of {total} gate{'' if total == 1 else 's'} passed."
