"""Everything that is measured of a finished run: baseline and candidate, as exported, on the same rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.contract import Fact
from edgeopt.data import Split
from edgeopt.emissions import country_of
from edgeopt.execute import Executed
from edgeopt.export import Precision, Runnable
from edgeopt.export_choice import MeasuredExport, Reference, evidence_for, fastest, typical_ms, verdicts
from edgeopt.exporting import MODEL, Written
from edgeopt.gates import Evidence
from edgeopt.measure.accuracy import answers_of
from edgeopt.measure.energy import measure_energy
from edgeopt.measure.graph import bytes_of, weigh
from edgeopt.measure.latency import Measured, cold_starts, measure
from edgeopt.measure.session import Options
from edgeopt.progress import Progress
from edgeopt.recipe.load import Recipe
from edgeopt.report.model import Emissions, OptimizedGraph, Starts, Subject, SubjectName, Verdict
from edgeopt.serving import serve
from edgeopt.store import State, file_digest, write_json
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, Ids, length
from edgeopt.transforms.lower import GRAPH

PREDICTIONS, LATENCIES = "predictions.jsonl", "latency.json"


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

    def answers(self, file: Runnable, folder: Path, title: str) -> tuple[Any, float]:
        """Outputs on the report split with the runtime's default options, and the seconds that they took."""
        started = time.perf_counter()
        query = file.open(file.exporter.defaults(None))
        outputs = answers_of(query, folder, self.report, self.task, self.progress, f"accuracy of {title}")
        return outputs, time.perf_counter() - started


def measure_all(recipe: Recipe, executed: Executed, written: list[Written], progress: Progress) -> Measurements:
    """Metrics, size, latency, cold start and memory of every export and of the FP32 baseline's graph; and which of the exports
    is the candidate: the first, or where `auto` is asked for the fastest of those that hold the gates."""
    task = task_of(recipe.head.task, executed.data.label_names)
    here = Measuring(recipe, executed, task, progress)
    report, folder = executed.data.report, executed.final("baseline").folder
    automatic = written[0].place is None
    exports = {w.name if automatic or i else "candidate": w for i, w in enumerate(written)}
    files = {"baseline": Runnable(folder / GRAPH), **{name: w.opened_with({}) for name, w in exports.items()}}
    answers = {name: here.answers(file, exports[name].folder if name in exports else folder, name) for name, file in files.items()}
    queries = task.encode(Encoder(folder, task.spec.max_length), report.texts).ids
    latency = _latencies(here, files, queries)
    options = {m.subject: m.session for m in reversed(latency)}  # those of the first target
    files = {name: replace(file, settings=options[name]) for name, file in files.items()}
    served = None if automatic else serve(written[0].exported, written[0].folder, options["candidate"], task, report, answers["candidate"][0], progress)
    if served and served.optimized is not None:
        files["optimized"] = Runnable(written[0].folder / served.optimized, settings=served.sessions[served.optimized.as_posix()])
    starts = cold_starts(files, max(queries, key=length))
    labels = task.stack_labels(report.labels)

    def figures(name: str, shown: str, like: Path, precision: Precision | None = None) -> Subject:
        return _subject(shown, files[name].path, like, *answers[name], task, labels, starts[name], precision)

    measured = [
        MeasuredExport(w, name, answers[name][0], _difference(here, w, answers[name][0]), options[name],
                       figures(name, f"{w.place or MODEL}/{w.exported.artifact.as_posix()}", w.source, w.exported.precision))
        for name, w in exports.items()
    ]  # fmt: skip
    reference = Reference(task, labels, answers["baseline"][0], figures("baseline", "baseline/model.onnx", files["baseline"].path), latency)
    judged = verdicts(measured, reference, recipe.head.gates)
    kept = fastest([e for e in measured if e.written.place is None], latency, judged) if automatic else measured[0]
    if automatic:
        progress.say(f"{'export.auto':<22} kept {kept.written.name}: {typical_ms(kept.subject, latency):.2f} ms")
    emissions = _energy(here, {"baseline": files["baseline"], "candidate": files[kept.subject]}, queries)
    served = served or serve(kept.written.exported, kept.written.folder, kept.options, task, report, kept.outputs, progress)
    optimized = None
    if served.optimized is not None:
        size = files["optimized"].path.stat().st_size
        optimized = OptimizedGraph(artifact=f"{MODEL}/{served.optimized.as_posix()}", size_bytes=size, starts=starts["optimized"])
    notes = [*served.notes, *_window_notes(len(queries), len(report))]
    all_exports = [(replace(e, subject="candidate") if e is kept else e, judged[e.subject]) for e in measured]
    return Measurements(evidence_for(kept, reference), len(queries), kept.written, all_exports, served.sessions, optimized, notes, emissions)


def _latencies(here: Measuring, files: dict[SubjectName, Runnable], queries: list[Ids]) -> list[Measured]:
    """Every subject on every target, interleaved."""
    executed, timed = here.executed, dict(files)
    if Fact.INT8 in executed.final("candidate").facts and Fact.UNEVEN in executed.lowered("candidate").facts:
        timed["candidate-fp32"] = Runnable(executed.lowered("candidate").folder / GRAPH)  # tells what each of the two brings
    found: list[Measured] = []
    for target in here.recipe.targets:
        here.progress.say(f"latency on {target.name}: up to {target.max_seconds:.0f} s at each of {len(target.sequence)} lengths …")
        found += measure(target, timed, executed.torch_state("baseline").folder, queries)
    return found


def _energy(here: Measuring, files: dict[str, Runnable], queries: list[Ids]) -> Emissions | None:
    asked = here.recipe.head.emissions
    if not asked:
        return None
    here.progress.say(f"energy of inferences: about {3 * asked.seconds:.0f} s …")
    return measure_energy(here.recipe.targets[0], files, queries, country_of(asked), asked.seconds)


def _difference(here: Measuring, written: Written, outputs: Any) -> float | None:
    """The largest of a logit from the graph or model that the file was converted from."""
    if outputs.dtype == object:  # texts have no logits
        return None
    if written.path.suffix == ".onnx" and file_digest(written.path) == file_digest(written.source):
        return 0.0
    if written.source not in here.sources:
        here.sources[written.source], _ = here.answers(Runnable(written.source), written.source.parent, f"what {written.name} is made of")
    return float(np.nanmax(abs(outputs - here.sources[written.source])))


def _window_notes(queries: int, rows: int) -> list[str]:
    if queries <= rows:
        return []
    return [f"A latency is that of one window; a row is read in {queries / rows:.1f} windows on average, and their logits are averaged."]


def _subject(shown: str, file: Path, like: Path, outputs: Any, seconds: float, task: Task, labels: Any, starts: Starts, precision: Precision | None) -> Subject:
    """like: the graph whose weights the file holds, itself where it is one."""
    weights = weigh(like)
    return Subject(
        artifact=shown, metrics=task.metrics(labels, outputs), extra=task.extra_metrics(labels, outputs), inference_seconds=round(seconds, 3),
        size_bytes=bytes_of(file), parameters=weights.parameters, nonzero=weights.nonzero,
        precision=precision or ("int8" if weights.precision == "int8" else "fp32"), memory_peak_bytes=int(np.median(starts.peak_bytes)),
        cold_start_ms=float(np.median(starts.ms)), starts=starts,
    )  # fmt: skip


def write_measurements(folder: Path, measured: Measurements) -> None:
    """predictions.jsonl (a row an example), latency.json (every sample) and model/session.json."""
    evidence = measured.evidence
    write_predictions(folder / PREDICTIONS, evidence.task, evidence.labels, evidence.baseline_logits, evidence.candidate_logits)
    samples = [{**{k: v for k, v in m.__dict__.items() if k != "samples"}, "samples": [round(float(s), 4) for s in m.samples]} for m in evidence.latency]
    write_json(folder / LATENCIES, samples)
    write_json(folder / "model" / "session.json", measured.sessions)


def write_predictions(path: Path, task: Task, labels: Any, baseline: Any, candidate: Any) -> None:
    """For each row its label and both models' outputs."""
    with path.open("w", encoding="utf-8") as file:
        for i, (label, base, other) in enumerate(zip(labels, baseline, candidate, strict=True)):
            row = {"index": i, "label": task.plain_label(label), "baseline": task.plain_output(base), "candidate": task.plain_output(other)}
            file.write(json.dumps(row) + "\n")


def read_evidence(folder: Path, task: Task, baseline: Subject, candidate: Subject) -> Evidence:
    """The evidence that a run left in its folder. Raises OSError, ValueError or KeyError where it is damaged."""
    rows = [json.loads(line) for line in (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines()]
    latency = [Measured(**{**m, "samples": np.array(m["samples"])}) for m in json.loads((folder / LATENCIES).read_text(encoding="utf-8"))]
    outputs = {k: task.stack([r[k] for r in rows]) for k in ("baseline", "candidate")}
    return Evidence(task, task.stack_labels([r["label"] for r in rows]), outputs["baseline"], outputs["candidate"], baseline, candidate, latency)


def state_bytes(state: State) -> int:
    """Bytes of the weights of a state: its graph, or its tensors with the adapter's."""
    return sum(int(f["size"]) for name, f in state.files.items() if name.endswith((".onnx", ".safetensors", ".data")))
