"""Everything that is measured of a finished run: baseline and candidate, as exported, on the same rows."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from edgeopt.data import Split
from edgeopt.export.exporter import Precision, Runnable
from edgeopt.export.graph_files import digest_of, size_of
from edgeopt.export.session import Options
from edgeopt.gates.decide import Evidence
from edgeopt.gates.slices import LENGTH, Groups, length_groups
from edgeopt.measure.accuracy import answers_of, largest_difference
from edgeopt.measure.emissions import country_of
from edgeopt.measure.energy import measure_energy
from edgeopt.measure.graph import weigh
from edgeopt.measure.latency import Measured, cold_starts, measure, promise, promise_of_starts, unpaired
from edgeopt.recipe.load import Recipe
from edgeopt.results.model import Emissions, OptimizedGraph, Starts, Subject, SubjectName, Verdict
from edgeopt.run.execute import Executed
from edgeopt.run.exports import MODEL, Written
from edgeopt.run.fastest import MeasuredExport, Reference, evidence_for, verdicts
from edgeopt.run.serving import serve
from edgeopt.spec.recipe import Target
from edgeopt.step.contract import Fact
from edgeopt.store.store import State, write_json
from edgeopt.support.errors import Place
from edgeopt.support.progress import Progress
from edgeopt.support.reading import Count, Reader, first_wrong
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, Features, Ids, length
from edgeopt.transforms.lower import GRAPH

PREDICTIONS, LATENCIES = "predictions.jsonl", "latency.json"
_AGAIN = "apply the recipe again"
#: A model that is broken answers NaN, which its gates see.
_PREDICTIONS = Reader("file of the predictions", "E115", _AGAIN, not_finite=True)
_LATENCIES = Reader("file of the latencies", "E115", _AGAIN)


class _Row(BaseModel):
    """A line of predictions.jsonl, besides what the task says of label and answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    index: Count
    slices: dict[str, str] = {}


@dataclass(frozen=True)
class Measurements:
    """The evidence, how many queries the rows made, which export is the candidate, each export with the gates' verdict on it,
    what session.json says of each measured file, the optimised graph where one was asked for, what a reader should know of it
    all, and the energy of inferences where the recipe asks for it."""

    evidence: Evidence
    queries: int
    kept: Written
    exports: list[tuple[MeasuredExport, Verdict]]
    sessions: dict[str, Options]
    optimized: OptimizedGraph | None
    notes: list[str]
    emissions: Emissions | None = None


@dataclass(frozen=True)
class Measuring:
    """What every measurement of a run is of. sources: outputs of the graphs that exports are compared with, which several share."""

    recipe: Recipe
    executed: Executed
    task: Task
    progress: Progress
    sources: dict[Path, Any] = field(default_factory=dict)

    @property
    def report(self) -> Split:
        return self.executed.data.report

    def answers(self, file: Runnable, folder: Path, title: str, rows: Split | None = None) -> tuple[Any, float]:
        """Outputs with the runtime's default options, on the report split unless other rows are given, and the seconds that they took."""
        started = time.perf_counter()
        query = file.open(file.exporter.defaults(None))
        outputs = answers_of(query, folder, rows or self.report, self.task, self.progress, f"accuracy of {title}")
        return outputs, time.perf_counter() - started


def measure_all(recipe: Recipe, executed: Executed, written: list[Written], chosen: Written, progress: Progress) -> Measurements:
    """Metrics, size, latency, cold start and memory of every export and of the FP32 baseline's graph. chosen: the export that is the
    candidate."""
    task = task_of(recipe.head.task, executed.data.label_names)
    here = Measuring(recipe, executed, task, progress)
    report, folder = executed.data.report, executed.final("baseline").folder
    automatic = written[0].place is None
    exports = {w.name if automatic or i else "candidate": w for i, w in enumerate(written)}
    files = {"baseline": Runnable(folder / GRAPH), **{name: w.opened_with({}) for name, w in exports.items()}}
    answers = {name: here.answers(file, exports[name].folder if name in exports else folder, name) for name, file in files.items()}
    features = task.encode(Encoder(folder, task.spec.max_length), report.texts)
    queries = features.ids
    latency = latencies(here, files, queries, recipe.targets)
    options = {m.subject: m.session for m in reversed(latency)}  # those of the first target
    files = {name: replace(file, settings=options[name]) for name, file in files.items()}
    served = None if automatic else serve(written[0].exported, written[0].folder, options["candidate"], task, report, answers["candidate"][0], progress)
    if served and served.optimized is not None:
        files["optimized"] = Runnable(written[0].folder / served.optimized, settings=served.sessions[served.optimized.as_posix()])
    with progress.during(*promise_of_starts(files)):
        starts = cold_starts(files, max(queries, key=length))
    labels = task.stack_labels(report.labels)

    def figures(name: str, shown: str, like: Path | None = None, precision: Precision | None = None) -> Subject:
        return subject_of(shown, files[name].path, task, labels, answers[name], starts[name], like, precision)

    measured = [
        MeasuredExport(w, name, answers[name][0], _difference(here, w, answers[name][0]), options[name],
                       figures(name, f"{w.place or MODEL}/{w.exported.artifact.as_posix()}", w.source, w.exported.precision))
        for name, w in exports.items()
    ]  # fmt: skip
    reference = Reference(task, labels, answers["baseline"][0], figures("baseline", "baseline/model.onnx"), latency, groups_of(task, report, features))
    judged = verdicts(measured, reference, recipe.head.gates)
    kept = next(e for e in measured if e.written is chosen)
    emissions = _energy(here, {"baseline": files["baseline"], "candidate": files[kept.subject]}, queries)
    served = served or serve(kept.written.exported, kept.written.folder, kept.options, task, report, kept.outputs, progress)
    optimized = None
    if served.optimized is not None:
        size = size_of(files["optimized"].path)
        optimized = OptimizedGraph(artifact=f"{MODEL}/{served.optimized.as_posix()}", size_bytes=size, starts=starts["optimized"])
    notes = [*served.notes, *_window_notes(len(queries), len(report))]
    all_exports = [(replace(e, subject="candidate") if e is kept else e, judged[e.subject]) for e in measured]
    return Measurements(evidence_for(kept, reference), len(queries), kept.written, all_exports, served.sessions, optimized, notes, emissions)


def latencies(here: Measuring, files: Mapping[SubjectName, Runnable], queries: list[Ids], targets: Sequence[Target], *, torch: bool = True) -> list[Measured]:
    """Every subject on every target, interleaved. torch: also the baseline as torch runs it."""
    executed, timed = here.executed, dict(files)
    if Fact.INT8 in executed.final("candidate").facts and Fact.UNEVEN in executed.lowered("candidate").facts:
        timed["candidate-fp32"] = Runnable(executed.lowered("candidate").folder / GRAPH)  # tells what each of the two brings
    found: list[Measured] = []
    for target in targets:
        with here.progress.during(*promise(target), most=True):
            found += measure(target, timed, executed.torch_state("baseline").folder if torch else None, queries)
    return found


def _energy(here: Measuring, files: dict[str, Runnable], queries: list[Ids]) -> Emissions | None:
    asked = here.recipe.head.emissions
    if not asked:
        return None
    with here.progress.during("energy of inferences", 3 * asked.seconds):
        return measure_energy(here.recipe.targets[0], files, queries, country_of(asked), asked.seconds)


def _difference(here: Measuring, written: Written, outputs: Any) -> float | None:
    """The largest of a logit from the graph or model that the file was converted from."""
    if outputs.dtype == object:  # texts have no logits
        return None
    if written.path.suffix == ".onnx" and digest_of(written.path) == digest_of(written.source):
        return 0.0
    if written.source not in here.sources:
        here.sources[written.source], _ = here.answers(Runnable(written.source), written.source.parent, f"what {written.name} is made of")
    return largest_difference(outputs, here.sources[written.source])


def _window_notes(queries: int, rows: int) -> list[str]:
    if queries <= rows:
        return []
    return [f"A latency is that of one window; a row is read in {queries / rows:.1f} windows on average, and their logits are averaged."]


def groups_of(task: Task, rows: Split, features: Features) -> Groups:
    """The slice of each row by its length and by the columns of `task.slices`; nothing for a task without slices."""
    if not task.slice_metric:
        return {}
    tokens = np.bincount(features.rows, weights=[length(q) for q in features.ids]).astype(int)
    return {LENGTH: length_groups(tokens.tolist()), **rows.slices}


def subject_of(shown: str, file: Path, task: Task, labels: Any, answered: tuple[Any, float] | None, starts: Starts | None, like: Path | None = None,
               precision: Precision | None = None) -> Subject:  # fmt: skip
    """What is known of a file. answered: its outputs on the rows that have these labels and how many seconds they took;
    without it there are no metrics, and without starts neither memory nor cold start. like: the graph whose weights the file
    holds, where it is none itself."""
    weights = weigh(like or file)
    outputs, seconds = answered or (np.empty(0), None)
    return Subject(
        artifact=shown, metrics=task.metrics(labels, outputs) if answered else {}, extra=task.extra_metrics(labels, outputs) if answered else {},
        inference_seconds=None if seconds is None else round(seconds, 3), size_bytes=size_of(file), parameters=weights.parameters, nonzero=weights.nonzero,
        precision=precision or ("int8" if weights.precision == "int8" else "fp32"),
        memory_peak_bytes=int(np.median(starts.peak_bytes)) if starts else None,
        cold_start_ms=float(np.median(starts.ms)) if starts else None, starts=starts,
    )  # fmt: skip


def write_measurements(folder: Path, measured: Measurements) -> None:
    """predictions.jsonl (a row an example), latency.json (every sample) and model/session.json."""
    evidence = measured.evidence
    write_predictions(folder / PREDICTIONS, evidence.task, evidence.labels, evidence.baseline_logits, evidence.candidate_logits, evidence.groups)
    write_json(folder / LATENCIES, [m.as_json() for m in evidence.latency])
    write_json(folder / "model" / "session.json", measured.sessions)


def write_predictions(path: Path, task: Task, labels: Any, baseline: Any, candidate: Any, groups: Groups | None = None) -> None:
    """For each row its label, both models' outputs, and the slices that it belongs to."""
    with path.open("w", encoding="utf-8") as file:
        for i, (label, base, other) in enumerate(zip(labels, baseline, candidate, strict=True)):
            row = {"index": i, "label": task.plain_label(label), "baseline": task.plain_output(base, label), "candidate": task.plain_output(other, label)}
            if groups:
                row["slices"] = {grouping: names[i] for grouping, names in groups.items()}
            file.write(json.dumps(row) + "\n")


class Answers(NamedTuple):
    """What a run left of every row: labels and both models' outputs as the task has them, and the slice of each row."""

    labels: np.ndarray[Any, np.dtype[Any]]
    baseline: np.ndarray[Any, np.dtype[Any]]
    candidate: np.ndarray[Any, np.dtype[Any]]
    groups: Groups


def read_answers(folder: Path, task: Task) -> Answers:
    """predictions.jsonl of a run's folder. Raises InputError E115 where it is damaged."""
    path = folder / PREDICTIONS
    shape: Any = create_model("Row", __base__=_Row, label=task.label_shape, baseline=task.output_shape, candidate=task.output_shape)
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


def read_evidence(folder: Path, task: Task, baseline: Subject, candidate: Subject) -> Evidence:
    """The evidence that a run left in its folder. Raises InputError E115 where it is damaged."""
    answers = read_answers(folder, task)
    path = folder / LATENCIES
    try:
        latency = [Measured.of_json(m) for m in _LATENCIES.check(_LATENCIES.json(path), list[dict[str, Any]], Place.of(path))]
    except ValidationError as error:
        raise _LATENCIES.wrong(f"is damaged: {first_wrong(error)}", Place.of(path)) from None
    except ValueError as error:
        raise _LATENCIES.wrong(f"is damaged: {error}", Place.of(path)) from None
    if why := unpaired(latency):
        raise _LATENCIES.wrong(f"is damaged: {why}", Place.of(path))
    return Evidence(task, answers.labels, answers.baseline, answers.candidate, baseline, candidate, latency, answers.groups)


def state_bytes(state: State) -> int:
    """Bytes of the weights of a state: its graph, or its tensors with the adapter's."""
    if Fact.ONNX in state.facts:
        return size_of(state.folder / GRAPH)
    return sum(int(f["size"]) for name, f in state.files.items() if name.endswith(".safetensors"))
