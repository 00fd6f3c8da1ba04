"""Whether what a report that was read says fits together, as its renderings take for granted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from edgeopt.results.figures import FIGURES
from edgeopt.results.model import Report, Step
from edgeopt.support.reading import first_wrong


class _Environment(BaseModel):
    """The part of a report's environment that is read."""

    model_config = ConfigDict(extra="allow", frozen=True)

    packages: dict[str, str | None] = {}


_ENVIRONMENT = TypeAdapter(_Environment)


def incoherence(report: Report) -> str | None:
    """The first thing of a report that does not fit the others, in words; None where all do."""
    return next(_incoherences(report), None)


def _incoherences(report: Report) -> Iterator[str]:
    from edgeopt.results.model import verdict_of

    if report.verdict != verdict_of(list(report.gates)):
        yield f"the verdict is {report.verdict}, and that of its gates {verdict_of(list(report.gates))}"
    both = report.baseline.metrics.keys() & report.candidate.metrics.keys()
    if report.baseline.metrics.keys() != report.candidate.metrics.keys():
        yield "baseline and candidate have other metrics"
    for change in report.differences:
        if change.metric not in both:
            yield f"there is a difference of {change.metric}, which was not measured"
    for each in report.exports:
        if not both <= each.figures.metrics.keys():
            yield f"export {each.name} lacks metrics"
    if report.seeds:
        if not report.seeds.results or any(
            not both <= r.baseline.keys() & r.candidate.keys() for r in report.seeds.results
        ):
            yield "a seed lacks metrics"
        measured = both | (report.baseline.extra.keys() & report.candidate.extra.keys())
        if any(s.metric not in measured for s in report.seeds.spreads):
            yield "there is a spread over seeds of what was not measured"
    parts: list[tuple[TypeAdapter[Any], Any, str]] = [(_ENVIRONMENT, report.environment, "environment")]
    parts += [(FIGURES, step.figures, _name(step)) for step in report.steps]
    for shape, value, name in parts:
        try:
            shape.validate_python(value)
        except ValidationError as error:
            yield f"{name}.{first_wrong(error)}"


def _name(step: Step) -> str:
    return f"figures of {step.chain}.{step.id}"
