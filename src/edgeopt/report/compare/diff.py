"""What changed between two runs, and what that did to the model: the second against the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from edgeopt.gates.evidence import Answers, read_answers
from edgeopt.gates.request import request_by
from edgeopt.gates.rows_of_run import damaged
from edgeopt.plan import Chain
from edgeopt.report.compare.runs import compare, row_of
from edgeopt.results.changes import Change, changes
from edgeopt.results.model import Gate, Place, Report, Step
from edgeopt.results.sealed import LOCK, Run, open_run
from edgeopt.statistics.bounds import Bounds
from edgeopt.tasks import Task, task_of

CONFIDENCE = 0.95
_TIMED = ("p50_milliseconds", "speedup_ratio")


class StepPair(NamedTuple):
    """A step of either run, None where that has none of its id."""

    first: Step | None
    second: Step | None

    @property
    def any(self) -> Step:
        """The step of the first run, or of the second alone."""
        step = self.first or self.second
        assert step is not None
        return step

    @property
    def state(self) -> Literal["same", "other bytes", "changed", "only in the first", "only in the second"]:
        """How a step of both runs compares, by the keys, which are of all that decides a result.

        other bytes: of the same key, as trainings on two machines leave.
        """
        if self.first is None or self.second is None:
            return "only in the second" if self.first is None else "only in the first"
        if self.first.key != self.second.key:
            return "changed"
        return "same" if self.first.digest == self.second.digest else "other bytes"


class Figure(NamedTuple):
    """A metric, or a value under the name that `edgeopt compare` has for it.

    bounds: second minus first, one-sided at 95 %, from paired rows.
    """

    name: str
    of: Chain
    first: float | None
    second: float | None
    bounds: Bounds | None = None


class GatePair(NamedTuple):
    """A gate in both runs; None where a run does not have it."""

    first: Gate | None
    second: Gate | None


@dataclass(frozen=True)
class Diff:
    """The differences between two runs.

    names: the names of the runs. verdicts: their verdicts, empty for a run without gates. inputs: fingerprints of the
    model and rows. place: the target and length of the latencies, or None if the runs share none. unpaired: why the
    metrics have no bounds. flips: how many predictions of the candidates differ, and how many there are.
    """

    names: tuple[str, str]
    verdicts: tuple[str, str]
    recipe: list[Change]
    inputs: list[Change]
    environment: list[Change]
    steps: list[StepPair]
    figures: list[Figure]
    gates: list[GatePair]
    place: Place | None
    unpaired: str | None
    flips: tuple[int, int] | None
    warnings: list[str]


def diff(first: Path, second: Path) -> Diff:
    """What differs between two folders of runs. Nothing is measured.

    Raises InputError E115 for a folder that is not a run's, or is damaged.
    """
    a, b = read_run(first), read_run(second)
    side_by_side = compare([(a.folder, a.report), (b.folder, b.report)], baseline=False)
    one, other = side_by_side.rows
    unpaired = _other_rows(a, b)
    paired = None if unpaired else _Paired.of(a, b)
    if paired is not None and not np.array_equal(paired.first.labels, paired.second.labels):
        unpaired, paired = "their rows have other labels", None
    return Diff(
        (one.name, other.name),
        (one.verdict, other.verdict),
        [*changes(a.lock["recipe"]["resolved"], b.lock["recipe"]["resolved"])],
        [change for part in ("model", "data") for change in changes(a.lock.get(part), b.lock.get(part), part)],
        [*changes(_environment(a.report), _environment(b.report))],
        _steps(a.report, b.report),
        [*_figures(a.report, b.report, side_by_side.place, paired)],
        _gates(a.report, b.report),
        side_by_side.place,
        unpaired,
        paired and paired.flips,
        side_by_side.warnings,
    )


def read_run(path: Path) -> Run:
    """A run that is whole and coherent. path: its folder, or its report.json."""
    run = open_run(path)
    try:
        if run.lock["recipe"]["digest"] != run.report.recipe.digest:
            raise ValueError(f"{LOCK} belongs to another recipe")
        if absent := {"model", "data"} - {*run.lock}:
            raise KeyError(*absent)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(run.folder, error) from None
    return run


def _environment(report: Report) -> dict[str, Any]:
    return {"edgeopt": report.edgeopt, **report.environment}


def _other_rows(a: Run, b: Run) -> str | None:
    """Why the rows of two runs cannot be paired."""
    if a.report.task.type != b.report.task.type:
        return "their tasks differ"
    if a.report.task.labels != b.report.task.labels:
        return "their classes differ"
    rows = [run.lock["data"] and run.lock["data"].get("report") for run in (a, b)]
    return None if rows[0] == rows[1] and rows[0] else "they were measured on different rows"


class _Paired(NamedTuple):
    """What both runs answered to the same rows."""

    task: Task
    first: Answers
    second: Answers

    @classmethod
    def of(cls, a: Run, b: Run) -> _Paired:
        task = task_of(request_by(None, (), a).task, a.report.task.labels)
        return cls(task, _answers(a, task), _answers(b, task))

    def bounds(self, metric: str, of: Chain) -> Bounds:
        return self.task.difference(
            metric, self.first.labels, getattr(self.first, of), getattr(self.second, of), CONFIDENCE
        )

    @property
    def flips(self) -> tuple[int, int] | None:
        return self.task.flips(self.first.candidate, self.second.candidate)


def _answers(run: Run, task: Task) -> Answers:
    answers = read_answers(run.folder, task)
    if len(answers.labels) != run.report.task.rows:
        raise damaged(run.folder, ValueError(f"{len(answers.labels)} of {run.report.task.rows} predictions are there"))
    return answers


def _steps(a: Report, b: Report) -> list[StepPair]:
    """The steps of both runs, each chain in the first run's order, with those of the second alone behind them."""
    found: dict[tuple[str, str], list[Step | None]] = {}
    for which, report in enumerate((a, b)):
        for step in report.steps:
            found.setdefault((step.chain, step.id), [None, None])[which] = step
    return [StepPair(*pair) for _, pair in sorted(found.items(), key=lambda item: item[0][0])]


def _figures(a: Report, b: Report, place: Place | None, paired: _Paired | None) -> Iterator[Figure]:
    """Figures of the candidates, then of those baselines that are not the same in both runs."""
    roles: tuple[Chain, Chain] = ("candidate", "baseline")
    for role in roles:
        metrics = [getattr(report, role).metrics for report in (a, b)]
        rows = [row_of("", report, role, place) for report in (a, b)]
        found = [
            Figure(name, role, metrics[0].get(name), metrics[1].get(name))
            for name in dict.fromkeys([*metrics[0], *metrics[1]])
        ]
        named = ("exported_bytes", "p50_milliseconds", "speedup_ratio", "inference_seconds", "inference_kwh")
        found += [
            Figure(name, role, rows[0].values[name], rows[1].values[name])
            for name in named
            if place or name not in _TIMED
        ]
        for figure in found:
            if (figure.first is None and figure.second is None) or (
                role == "baseline" and figure.first == figure.second
            ):
                continue
            both = figure.name in metrics[0] and figure.name in metrics[1]
            yield figure._replace(bounds=paired.bounds(figure.name, role)) if paired and both else figure


def _gates(a: Report, b: Report) -> list[GatePair]:
    """Gates of the same kind on the same thing side by side, whatever their bounds."""
    found: dict[Any, list[Gate | None]] = {}
    for which, report in enumerate((a, b)):
        for gate, key in zip(report.gates, _keys(report.gates), strict=True):
            found.setdefault(key, [None, None])[which] = gate
    return [GatePair(*pair) for pair in found.values()]


def _keys(gates: Sequence[Gate]) -> list[Any]:
    keys = [(g.metric, g.kind, g.target, g.sequence, g.against, g.slice) for g in gates]
    return [(key, keys[:i].count(key)) for i, key in enumerate(keys)]
