"""Everything that is measured of a finished run: baseline and candidate, as exported, on the same rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeopt.data import Split
from edgeopt.export.exporter import Precision, Runnable
from edgeopt.export.graph_files import digest_of, size_of
from edgeopt.export.session import Options
from edgeopt.gates.evidence import Evidence, write_predictions
from edgeopt.gates.slices import groups_of
from edgeopt.measure.accuracy import answers_of, largest_difference
from edgeopt.measure.emissions import country_of
from edgeopt.measure.energy import measure_energy
from edgeopt.measure.latency import Measured, cold_starts, measure, promise, promise_of_starts
from edgeopt.measure.subject import subject_of
from edgeopt.models.files import GRAPH
from edgeopt.recipe.load import Recipe
from edgeopt.results.folder import LATENCIES, PREDICTIONS
from edgeopt.results.model import Emissions, OptimizedGraph, Subject, SubjectName, Verdict
from edgeopt.run.execute import Executed
from edgeopt.run.exports import MODEL, Written
from edgeopt.run.fastest import MeasuredExport, Reference, evidence_for, verdicts
from edgeopt.run.serving import serve
from edgeopt.spec.recipe import Target
from edgeopt.store.facts import Fact
from edgeopt.support.files import write_json
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, Ids, length


@dataclass(frozen=True)
class Measurements:
    """The evidence, how many queries the rows made, which export is the candidate, each export with the gates' verdict on it,
    what session.json says of each measured file, the optimized graph where one was asked for, what a reader should know of it
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


def write_measurements(folder: Path, measured: Measurements) -> None:
    """predictions.jsonl (a row an example), latency.json (every sample) and model/session.json."""
    evidence = measured.evidence
    write_predictions(folder / PREDICTIONS, evidence.task, evidence.labels, evidence.baseline_logits, evidence.candidate_logits, evidence.groups)
    write_json(folder / LATENCIES, [m.as_json() for m in evidence.latency])
    write_json(folder / "model" / "session.json", measured.sessions)
