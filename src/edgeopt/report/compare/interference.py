"""What several tasks on one encoder cost each of them: beside the runs that learned one of the tasks alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeopt.gates.evidence import Answers, read_answers
from edgeopt.gates.request import request_by
from edgeopt.plan import Chain
from edgeopt.report import format as fmt
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Report, TaskPart
from edgeopt.results.sealed import open_run
from edgeopt.statistics.bounds import Bounds
from edgeopt.tasks import Task, task_of

CONFIDENCE = 0.95
NOTE = (
    "Interference is a task's metric in the run with several tasks minus that in the run with this task alone, on the "
    "same rows, with one-sided 95 % bounds from the paired rows. Below zero the task lost by sharing its encoder. A "
    "task alone reads a row as `pair` does: of another head, the figure is also what that head makes of the rows. One "
    "training each: another seed gives other figures."
)
_ROLES: dict[Chain, str] = {"baseline": "FP32 baseline", "candidate": "candidate"}


class Interference(NamedTuple):
    """A metric of one task, learned with others and alone, by the same side of both runs."""

    run: str
    task: str
    head: str
    metric: str
    role: Chain
    beside: str
    alone: float
    together: float
    bounds: Bounds


def interference(names: Sequence[str], runs: Sequence[tuple[Path, Report]]) -> list[Interference]:
    """Each task of each run with several, beside every run of that task alone on the same rows with the same model.

    runs: folder and report of each. Raises InputError E115 for predictions that are damaged.
    """
    found: list[Interference] = []
    for name, (folder, report) in zip(names, runs, strict=True):
        for part in report.task.parts:
            for other, (alone, single) in zip(names, runs, strict=True):
                if _same(report, part, single):
                    found += _beside(name, folder, report, part, other, alone, single)
    return found


def _same(report: Report, part: TaskPart, single: Report) -> bool:
    """Whether a run is of that task alone: the same rows and classes, read from the same model's start."""
    task = single.task
    return (
        not task.parts
        and (task.type, task.fingerprint, task.labels) == (part.type, part.fingerprint, part.labels)
        and report.model_fingerprint == single.model_fingerprint
    )


def _beside(
    name: str, folder: Path, report: Report, part: TaskPart, other: str, alone: Path, single: Report
) -> Iterator[Interference]:
    metrics = [m.partition(".")[2] for m in report.candidate.metrics if m.startswith(f"{part.name}.")]
    metric = next((m for m in metrics if m in single.candidate.metrics), None)
    if metric is None:
        return
    (several, ours), (task, theirs) = _read(folder), _read(alone)
    for role in _ROLES:
        own = several.of(part.name, ours.labels, getattr(ours, role))
        outputs = getattr(theirs, role)
        if np.array_equal(own.labels, theirs.labels):
            yield Interference(
                name,
                part.name,
                part.head,
                metric,
                role,
                other,
                getattr(single, role).metrics[metric],
                getattr(report, role).metrics[f"{part.name}.{metric}"],
                task.difference(metric, theirs.labels, outputs, own.outputs[0], CONFIDENCE),
            )


def _read(folder: Path) -> tuple[Task, Answers]:
    run = open_run(folder)
    task = task_of(request_by(None, (), run).task, run.report.task.labels)
    return task, read_answers(folder, task)


def table(found: Sequence[Interference]) -> Table:
    """A line a task, side and run of it alone."""
    columns = [Column("Run"), Column("Task", "code"), Column("Head", "code")]
    columns += [Column("Model"), Column("Metric"), Column("Alone in")]
    columns += [Column(name, "number") for name in ("Alone", "Together", "Interference", "95 % bounds")]
    return Table(columns, [_row(each) for each in found])


def _row(each: Interference) -> list[str]:
    show = partial(fmt.points, each.metric)
    return [
        each.run,
        each.task,
        each.head,
        _ROLES[each.role],
        each.metric,
        each.beside,
        fmt.metric(each.alone),
        fmt.metric(each.together),
        show(each.together - each.alone) + fmt.points_unit(each.metric),
        fmt.interval(each.bounds.low, each.bounds.high, show),
    ]
