"""Everything that is measured of a finished run: baseline and candidate, as exported, on the same rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeopt.export.exporter import Precision, Runnable
from edgeopt.export.graph_files import size_of
from edgeopt.export.session import Options
from edgeopt.gates.evidence import Evidence, write_predictions
from edgeopt.gates.slices import groups_of
from edgeopt.measure.latency import promise_of_starts
from edgeopt.measure.subject import subject_of
from edgeopt.models.files import GRAPH
from edgeopt.results.folder import LATENCIES, MODEL, PREDICTIONS
from edgeopt.results.model import Emissions, OptimizedGraph, StoredEmbeddings, Subject, Verdict
from edgeopt.run.exports import Written
from edgeopt.run.fastest import MeasuredExport, Reference, evidence_for, verdicts
from edgeopt.run.measuring import Measuring
from edgeopt.run.serving import serve
from edgeopt.run.stored import stored_embeddings
from edgeopt.support.files import write_json


@dataclass(frozen=True)
class Measurements:
    """All that a run measured.

    queries: how many the rows made. kept: the export that is the candidate. exports: each with the gates' verdict on
    it. sessions: what session.json says of each measured file. optimized: the optimized graph, where one was asked for.
    notes: what a reader should know of it all. emissions: the energy of inferences, where the recipe asks for it.
    stored: what is found by embeddings in fewer bits, where it asks for that.
    """

    evidence: Evidence
    queries: int
    kept: Written
    exports: list[tuple[MeasuredExport, Verdict]]
    sessions: dict[str, Options]
    optimized: OptimizedGraph | None
    notes: list[str]
    emissions: Emissions | None = None
    stored: list[StoredEmbeddings] = field(default_factory=list)


def measure_all(here: Measuring, written: list[Written], chosen: Written) -> Measurements:
    """Metrics, size, latency, cold start and memory of every export and of the FP32 baseline's graph.

    chosen: the export that is the candidate.
    """
    task, report, recipe = here.task, here.report, here.recipe
    automatic = written[0].place is None
    exports = {w.name if automatic or i else "candidate": w for i, w in enumerate(written)}
    files = {"baseline": Runnable(here.baseline / GRAPH), **{name: w.opened_with({}) for name, w in exports.items()}}
    features = here.features(report, exports)
    queries = features.ids
    answers = {
        name: here.answers(file, exports[name].folder if name in exports else here.baseline, name)
        for name, file in files.items()
    }
    labels, raw = task.stack_labels(report.labels), {name: outputs for name, (outputs, _) in answers.items()}
    answers = {
        name: (task.compared(outputs, raw["baseline"], report.labels), took)
        for name, (outputs, took) in answers.items()
    }
    # fails before anything is timed where a plugin's task has a metric that is none
    metrics = {name: task.metrics(labels, outputs) for name, (outputs, _) in answers.items()}
    latency = here.latencies(files, queries, recipe.targets)
    options = {m.subject: m.session for m in reversed(latency)}  # those of the first target
    files = {name: replace(file, settings=options[name]) for name, file in files.items()}
    served = None if automatic else serve(here, written[0], options["candidate"], raw["candidate"])
    if served and served.optimized is not None:
        files["optimized"] = Runnable(
            written[0].folder / served.optimized, settings=served.sessions[served.optimized.as_posix()]
        )
    with here.progress.during(*promise_of_starts(files)):
        starts = here.starts(files, queries)

    def figures(name: str, shown: str, like: Path | None = None, precision: Precision | None = None) -> Subject:
        return subject_of(
            shown, files[name].path, task, labels, answers[name], starts[name], like, precision, metrics[name]
        )

    measured = [
        MeasuredExport(
            w,
            name,
            answers[name][0],
            here.difference(w, raw[name]),
            options[name],
            figures(name, f"{w.place or MODEL}/{w.exported.artifact.as_posix()}", w.source, w.exported.precision),
        )
        for name, w in exports.items()
    ]
    reference = Reference(
        task,
        labels,
        answers["baseline"][0],
        figures("baseline", "baseline/model.onnx"),
        latency,
        groups_of(task, report, features),
        here.alike,
    )
    judged = verdicts(measured, reference, recipe.head.gates)
    kept = next(e for e in measured if e.written is chosen)
    emissions = here.energy({"baseline": files["baseline"], "candidate": files[kept.subject]}, queries)
    served = served or serve(here, kept.written, kept.options, raw[kept.subject])
    stored = stored_embeddings(here, kept.written, recipe.head.export[0].stored, raw[kept.subject])
    optimized = None
    if served.optimized is not None:
        size = size_of(files["optimized"].path)
        optimized = OptimizedGraph(
            artifact=f"{MODEL}/{served.optimized.as_posix()}", size_bytes=size, starts=starts["optimized"]
        )
    notes = [*served.notes, *(_window_notes(len(queries), len(report)) if task.spec.window_stride else [])]
    all_exports = [(replace(e, subject="candidate") if e is kept else e, judged[e.subject]) for e in measured]
    return Measurements(
        evidence_for(kept, reference),
        len(queries),
        kept.written,
        all_exports,
        served.sessions,
        optimized,
        notes,
        emissions,
        stored,
    )


def _window_notes(queries: int, rows: int) -> list[str]:
    if queries <= rows:
        return []
    return [
        f"A latency is that of one window; a row is read in {queries / rows:.1f} windows on average, and their logits "
        "are averaged."
    ]


def write_measurements(folder: Path, measured: Measurements) -> None:
    """predictions.jsonl (a row an example), latency.json (every sample) and model/session.json."""
    evidence = measured.evidence
    write_predictions(
        folder / PREDICTIONS,
        evidence.task,
        evidence.labels,
        evidence.baseline_logits,
        evidence.candidate_logits,
        evidence.groups,
    )
    write_json(folder / LATENCIES, [m.as_json() for m in evidence.latency])
    write_json(folder / "model" / "session.json", measured.sessions)
