"""Several tasks on one encoder side by side, each by its first metric."""

from __future__ import annotations

from functools import partial

from edgeopt.report import format as fmt
from edgeopt.report import headline
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Report, TaskPart

NOTE = "Each task is measured on its own rows. The figures above have all of its metrics."


def table(report: Report) -> Table:
    """A line a task; empty where there is one alone."""
    columns = [Column("Task", "code"), Column("Type"), Column("Head", "code"), Column("Data", "prose")]
    columns += [Column("Rows", "number"), Column("Metric"), Column("Baseline", "number"), Column("Candidate", "number")]
    columns += [Column("Change", "number"), Column("95 % bounds", "number")]
    return Table(columns, [_row(report, part) for part in report.task.parts])


def first_metric(report: Report, part: TaskPart) -> str | None:
    """The name of a task's first metric; None where nothing of it was measured."""
    return next((name for name in report.candidate.metrics if name.startswith(f"{part.name}.")), None)


def _row(report: Report, part: TaskPart) -> list[str]:
    name = first_metric(report, part)
    row = [part.name, part.type, part.head, f"{part.dataset}, {part.split}", fmt.count(part.rows)]
    if name is None:
        return [*row, *[fmt.ABSENT] * 5]
    before, after = report.baseline.metrics.get(name), report.candidate.metrics.get(name)
    row += [name.partition(".")[2], fmt.metric(before), fmt.metric(after)]
    if (found := headline.difference(report, name)) is None:
        return [*row, fmt.ABSENT, fmt.ABSENT]
    change = fmt.points(name, found.delta) + fmt.points_unit(name)
    return [*row, change, fmt.interval(found.low, found.high, partial(fmt.points, name))]
