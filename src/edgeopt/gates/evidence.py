"""What a verdict is decided by, and how a run's is read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from edgeopt.gates.chance import Standing, standing
from edgeopt.gates.slices import Groups
from edgeopt.measure.latency import Measured, unpaired
from edgeopt.results.folder import LATENCIES, PREDICTIONS
from edgeopt.results.model import Subject
from edgeopt.results.sealed import Run
from edgeopt.statistics.bounds import Bounds, Values
from edgeopt.support.errors import Place
from edgeopt.support.reading import Count, Reader, first_wrong
from edgeopt.tasks import Task

Side = Literal["baseline", "candidate"]

_AGAIN = "apply the recipe again"


#: A model that is broken answers NaN, which its gates see.
_PREDICTIONS = Reader("file of the predictions", "E115", _AGAIN, not_finite=True)


_LATENCIES = Reader("file of the latencies", "E115", _AGAIN)


class _Row(BaseModel):
    """A line of predictions.jsonl, besides what the task says of label and answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: Count
    slices: dict[str, str] = {}


def write_predictions(
    path: Path, task: Task, labels: Values, baseline: Values, candidate: Values, groups: Groups | None = None
) -> None:
    """Writes for each row its label, both models' outputs, and the slices that it belongs to."""
    with path.open("w", encoding="utf-8") as file:
        for i, (label, base, other) in enumerate(zip(labels, baseline, candidate, strict=True)):
            row = {
                "index": i,
                "label": task.plain_label(label),
                "baseline": task.plain_output(base, label),
                "candidate": task.plain_output(other, label),
            }
            if groups:
                row["slices"] = {grouping: names[i] for grouping, names in groups.items()}
            file.write(json.dumps(row) + "\n")


class Answers(NamedTuple):
    """What a run left of every row: labels and both models' outputs as the task has them, and the slice of each row."""

    labels: Values
    baseline: Values
    candidate: Values
    groups: Groups


def read_answers(folder: Path, task: Task) -> Answers:
    """predictions.jsonl of a run's folder. Raises InputError E115 where it is damaged."""
    path = folder / PREDICTIONS
    shape: Any = create_model(
        "Row", __base__=_Row, label=task.label_shape, baseline=task.output_shape, candidate=task.output_shape
    )
    rows: list[Any] = []
    for found, place in _PREDICTIONS.lines(path):
        row: Any = _PREDICTIONS.check(found, shape, place)
        if row.index != len(rows):
            raise _PREDICTIONS.wrong(f"is damaged: row {row.index} stands where row {len(rows)} should", place)
        if not (task.fits(row.label, row.baseline) and task.fits(row.label, row.candidate)):
            raise _PREDICTIONS.wrong("is damaged: an answer does not fit the row's label", place)
        if rows and row.slices.keys() != rows[0].slices.keys():
            raise _PREDICTIONS.wrong("is damaged: the row is in other slices than the first", place)
        rows.append(row)
    if not rows:
        raise _PREDICTIONS.wrong("is damaged: it is empty", Place.of(path))
    baseline, candidate = task.stack([r.baseline for r in rows]), task.stack([r.candidate for r in rows])
    groups = {grouping: [r.slices[grouping] for r in rows] for grouping in rows[0].slices}
    return Answers(task.stack_labels([r.label for r in rows]), baseline, candidate, groups)


def read_evidence(run: Run, task: Task) -> Evidence:
    """The evidence that a run left in its folder. Raises InputError E115 where it is damaged."""
    folder, report = run.folder, run.report
    answers = read_answers(folder, task)
    path = folder / LATENCIES
    try:
        latency = [
            Measured.of_json(m) for m in _LATENCIES.check(_LATENCIES.json(path), list[dict[str, Any]], Place.of(path))
        ]
    except ValidationError as error:
        raise _LATENCIES.wrong(f"is damaged: {first_wrong(error)}", Place.of(path)) from None
    except ValueError as error:
        raise _LATENCIES.wrong(f"is damaged: {error}", Place.of(path)) from None
    if why := unpaired(latency):
        raise _LATENCIES.wrong(f"is damaged: {why}", Place.of(path))
    return Evidence(
        task,
        answers.labels,
        answers.baseline,
        answers.candidate,
        report.baseline,
        report.candidate,
        latency,
        answers.groups,
        _made_alike(run),
    )


def _of_task(name: str, subject: Subject) -> Subject:
    """A model's entry with the metrics of one of several tasks, as they are called in a task alone."""
    own = {
        part: {m.removeprefix(f"{name}."): v for m, v in getattr(subject, part).items() if m.startswith(f"{name}.")}
        for part in ("metrics", "extra")
    }
    return subject.model_copy(update=own)


def _made_alike(run: Run) -> bool:
    """Whether a run's candidate is its baseline: both chains have the same states, and the same kind of file."""
    steps = run.lock.get("steps") or {}
    baseline, candidate = (  # of several seeds a name begins with the seed
        {step["digest"] for name, step in steps.items() if chain in name.split(".")[:2]}
        for chain in ("baseline", "candidate")
    )
    kept = next((each.format for each in run.report.exports if each.subject == "candidate"), "onnx")
    return bool(candidate) and baseline == candidate and kept == "onnx"


@dataclass(frozen=True)
class Evidence:
    """All that a gate may look at. labels: (rows,) or (rows, words); logits: the task's outputs, rows first."""

    task: Task
    labels: Values
    baseline_logits: Values
    candidate_logits: Values
    baseline: Subject
    candidate: Subject
    latency: list[Measured]
    #: By length and by the columns of task.slices: the slice of each row.
    groups: Groups = field(default_factory=dict)
    #: Whether both are one model in one runtime, so that comparing them says nothing.
    same: bool = False

    #: What was found out once: of each side its standing by metric, and its flaw.
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def difference(self, metric: str, confidence: float) -> Bounds:
        """The candidate's metric minus the baseline's, with its bounds."""
        return self.task.difference(metric, self.labels, self.baseline_logits, self.candidate_logits, confidence)

    def of(self, name: str) -> Evidence:
        """The evidence on one of several tasks: its rows alone, as its own class has them.

        Raises ValueError where labels and outputs do not agree on whose the rows are.
        """
        if ("task", name) not in self.known:
            rows = self.task.of(name, self.labels, self.baseline_logits, self.candidate_logits)
            own = replace(
                self,
                task=rows.task,
                labels=rows.labels,
                baseline_logits=rows.outputs[0],
                candidate_logits=rows.outputs[1],
                baseline=_of_task(name, self.baseline),
                candidate=_of_task(name, self.candidate),
                groups={by: [values[row] for row in rows.numbers] for by, values in self.groups.items()},
                known={},
            )
            if self.baseline is self.candidate:
                own = replace(own, baseline=own.candidate)
            self.known["task", name] = own
        found: Evidence = self.known["task", name]
        return found

    def each(self) -> dict[str, Evidence]:
        """The evidence on every task by its name; of a task alone this, without a name."""
        return {name: self.of(name) for name in self.task.parts} or {"": self}

    @property
    def sides(self) -> tuple[Side, ...]:
        """The candidate alone where it stands in the baseline's place, as nothing compares."""
        return ("candidate",) if self.baseline is self.candidate else ("baseline", "candidate")

    def outputs(self, side: Side) -> Values:
        """What the model of a side answered."""
        return self.baseline_logits if side == "baseline" else self.candidate_logits

    def broken(self, side: Side) -> str | None:
        """How many rows have an output that is no finite number; None where all have."""
        if side not in self.known:
            wrong, rows = int(np.sum(~self.task.sound(self.labels, self.outputs(side)))), len(self.labels)
            self.known[side] = (
                f"{wrong} of {rows} rows have an output of the {side} that is no finite number (nan or infinite)"
                if wrong
                else None
            )
        found: str | None = self.known[side]
        return found

    def standing(self, side: Side, metric: str) -> Standing:
        """A side that is not broken beside the best answer that reads nothing."""
        at = side, self.task.judged_by(metric)
        if at not in self.known:
            self.known[at] = standing(self.task, metric, self.labels, self.outputs(side))
        found: Standing = self.known[at]
        return found
