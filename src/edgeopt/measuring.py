"""Everything that is measured of a finished run: baseline and candidate, as exported, on the same rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.contract import Fact
from edgeopt.data import Split
from edgeopt.emissions import country_of
from edgeopt.execute import Executed
from edgeopt.export import Exported
from edgeopt.gates import Evidence
from edgeopt.measure.accuracy import outputs_of
from edgeopt.measure.energy import measure_energy
from edgeopt.measure.graph import weigh
from edgeopt.measure.latency import Measured, cold_starts, measure
from edgeopt.measure.session import Options
from edgeopt.progress import Progress
from edgeopt.recipe.load import Recipe
from edgeopt.report.model import Emissions, OptimizedGraph, Starts, Subject, SubjectName
from edgeopt.serving import serve
from edgeopt.slices import LENGTH, Groups, length_groups
from edgeopt.store import State, write_json
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, Features, length
from edgeopt.transforms.lower import GRAPH

PREDICTIONS, LATENCIES = "predictions.jsonl", "latency.json"


@dataclass(frozen=True)
class Measurements:
    """The evidence, how many queries the rows made, what session.json says of each measured file, the optimised graph where
    one was asked for, what a reader should know of it all, and the energy of inferences where the recipe asks for it."""

    evidence: Evidence
    queries: int
    sessions: dict[str, Options]
    optimized: OptimizedGraph | None
    notes: list[str]
    emissions: Emissions | None = None


def measure_all(recipe: Recipe, executed: Executed, model: Path, exported: Exported, progress: Progress) -> Measurements:
    """Metrics, size, latency, cold start and memory of what was exported to the folder `model`, and of the FP32 baseline's
    graph."""
    artifact = exported.artifact
    report = executed.data.report
    task = task_of(recipe.head.task, executed.data.label_names)
    baseline = executed.final("baseline")
    graphs = {"baseline": baseline.folder / GRAPH, "candidate": model / artifact}
    folders = {"baseline": baseline.folder, "candidate": model}
    seconds, outputs = {}, {}
    for n in graphs:
        started = time.perf_counter()
        outputs[n] = outputs_of(graphs[n], folders[n], report, task, progress, f"accuracy of {n}")
        seconds[n] = time.perf_counter() - started
    features = task.encode(Encoder(baseline.folder, task.spec.max_length), report.texts)
    queries = features.ids
    timed: dict[SubjectName, Path] = {"baseline": graphs["baseline"], "candidate": graphs["candidate"]}
    if Fact.INT8 in executed.final("candidate").facts and Fact.UNEVEN in executed.lowered("candidate").facts:
        timed["candidate-fp32"] = executed.lowered("candidate").folder / GRAPH  # tells what each of the two brings
    torch_state = executed.torch_state("baseline")
    latency: list[Measured] = []
    for target in recipe.targets:
        progress.say(f"latency on {target.name}: up to {target.max_seconds:.0f} s at each of {len(target.sequence)} lengths …")
        latency += measure(target, timed, torch_state.folder, queries)
    shown = {"baseline": "baseline/model.onnx", "candidate": f"model/{artifact.as_posix()}"}
    options = {n: next(m.session for m in latency if m.subject == n) for n in graphs}
    asked, emissions = recipe.head.emissions, None
    if asked:
        progress.say(f"energy of inferences: about {3 * asked.seconds:.0f} s …")
        emissions = measure_energy(recipe.targets[0], {**graphs}, options, queries, country_of(asked), asked.seconds)
    served = serve(exported, model, options["candidate"], task, report, outputs["candidate"], progress)
    starting: dict[str, tuple[Path, Options]] = {n: (graphs[n], options[n]) for n in graphs}
    if served.optimized is not None:
        starting["optimized"] = model / served.optimized, served.sessions[served.optimized.as_posix()]
    starts = cold_starts(starting, max(queries, key=length))
    labels = task.stack_labels(report.labels)
    subjects = {n: subject_of(shown[n], graphs[n], task, labels, (outputs[n], seconds[n]), starts[n]) for n in graphs}
    groups = groups_of(task, report, features)
    evidence = Evidence(task, labels, outputs["baseline"], outputs["candidate"], subjects["baseline"], subjects["candidate"], latency, groups)
    notes = list(served.notes)
    if len(queries) > len(report):
        notes.append(f"A latency is that of one window; a row is read in {len(queries) / len(report):.1f} windows on average, and their logits are averaged.")
    optimized = None
    if served.optimized is not None:
        size = (model / served.optimized).stat().st_size
        optimized = OptimizedGraph(artifact=f"model/{served.optimized.as_posix()}", size_bytes=size, starts=starts["optimized"])
    return Measurements(evidence, len(queries), served.sessions, optimized, notes, emissions)


def groups_of(task: Task, rows: Split, features: Features) -> Groups:
    """The slice of each row by its length and by the columns of `task.slices`; nothing for a task without slices."""
    if not task.slice_metric:
        return {}
    tokens = np.bincount(features.rows, weights=[length(q) for q in features.ids]).astype(int)
    return {LENGTH: length_groups(tokens.tolist()), **rows.slices}


def subject_of(shown: str, graph: Path, task: Task, labels: Any, answered: tuple[Any, float] | None, starts: Starts | None) -> Subject:
    """What is known of a graph. answered: its outputs on the rows that have these labels and how many seconds they took;
    without it there are no metrics, and without starts neither memory nor cold start."""
    weights = weigh(graph)
    outputs, seconds = answered or (np.empty(0), None)
    return Subject(
        artifact=shown, metrics=task.metrics(labels, outputs) if answered else {}, extra=task.extra_metrics(labels, outputs) if answered else {},
        inference_seconds=None if seconds is None else round(seconds, 3), size_bytes=weights.bytes, parameters=weights.parameters, nonzero=weights.nonzero,
        precision="int8" if weights.precision == "int8" else "fp32", memory_peak_bytes=int(np.median(starts.peak_bytes)) if starts else None,
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
            row = {"index": i, "label": task.plain_label(label), "baseline": task.plain_output(base), "candidate": task.plain_output(other)}
            if groups:
                row["slices"] = {grouping: names[i] for grouping, names in groups.items()}
            file.write(json.dumps(row) + "\n")


def read_evidence(folder: Path, task: Task, baseline: Subject, candidate: Subject) -> Evidence:
    """The evidence that a run left in its folder. Raises OSError, ValueError or KeyError where it is damaged."""
    rows = [json.loads(line) for line in (folder / PREDICTIONS).read_text(encoding="utf-8").splitlines()]
    latency = [Measured.of_json(m) for m in json.loads((folder / LATENCIES).read_text(encoding="utf-8"))]
    outputs = {k: task.stack([r[k] for r in rows]) for k in ("baseline", "candidate")}
    groups = {grouping: [r["slices"][grouping] for r in rows] for grouping in rows[0].get("slices", {})}
    return Evidence(task, task.stack_labels([r["label"] for r in rows]), outputs["baseline"], outputs["candidate"], baseline, candidate, latency, groups)


def state_bytes(state: State) -> int:
    """Bytes of the weights of a state: its graph, or its tensors with the adapter's."""
    return sum(int(f["size"]) for name, f in state.files.items() if name.endswith((".onnx", ".safetensors", ".data")))
