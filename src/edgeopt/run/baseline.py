"""Measure a baseline where its model, and a GPU, are: the recipe's, which is built, or a finished model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeopt.export.exporter import ExportInput, Runnable, exporter
from edgeopt.gates.artifact import SESSION, Artifact, find_artifact
from edgeopt.gates.baseline_file import Baseline, MeasuredTask, TorchReference, training_of
from edgeopt.gates.request import Request, request_by
from edgeopt.measure.accuracy import largest_difference, outputs_of, torch_outputs_of
from edgeopt.measure.latency import Measured, cold_starts, promise, promise_of_starts, sittings
from edgeopt.measure.latency_worker import feeds_of
from edgeopt.measure.queries import queries_of
from edgeopt.measure.subject import subject_of
from edgeopt.measure.twin import twin_of, typical
from edgeopt.plan import check
from edgeopt.plan.fit import check_importable, check_runnable
from edgeopt.recipe.load import load_recipe
from edgeopt.run.execute import Executed, execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support import host
from edgeopt.support.files import write_json
from edgeopt.support.progress import Progress
from edgeopt.support.publishing import building, turn
from edgeopt.support.version import __version__
from edgeopt.tasks.encode import length, tokens_digest


@dataclass(frozen=True)
class Built:
    """What a baseline is measured of.

    artifact: what is measured; torch: its state that torch loads, where there is one; source: fingerprint of the
    recipe's model; train: fingerprint of the rows that it was trained on.
    """

    artifact: Artifact
    torch: Path | None = None
    source: str | None = None
    train: str | None = None


def baseline_of_recipe(
    recipe: Path, overrides: Sequence[str], store: Store, model: Path | None, progress: Progress
) -> Baseline:
    """Build the recipe's baseline, of which finished steps are reused, and measure its ONNX graph, and torch beside.

    model: a folder, not there yet, that gets the graph with what it needs to run. Raises InputError and StepError as
    `run` does.
    """
    import torch  # noqa: F401  a machine that only gates has none: said before anything is computed

    plan = check(load_recipe(recipe, overrides))
    check_runnable(plan.recipe)
    check_importable()
    alone = replace(plan, chains={"baseline": plan.chains["baseline"]}, checkpoints={})
    with store.in_use():
        executed = execute(alone, store, progress, Group())
        built = Built(
            find_artifact(executed.final("baseline").folder),
            executed.torch_state("baseline").folder,
            executed.source.fingerprint(),
            executed.data.train.fingerprint,
        )
        made, latency = _measure(request_by(recipe, overrides, None), built, progress)
        if model is not None:
            _export(executed, model, latency)
    return made


def baseline_of_artifact(asked: Request, artifact: Artifact, progress: Progress) -> Baseline:
    """Measure a finished model as a baseline, without torch."""
    return _measure(asked, Built(artifact), progress)[0]


def _measure(asked: Request, built: Built, progress: Progress) -> tuple[Baseline, list[Measured]]:
    found = built.artifact
    rows, task = asked.rows(found.classes(asked.task))
    found.check(task, rows, max(target.batch for target in asked.targets))
    started = time.perf_counter()
    raw = outputs_of(found.graph, found.folder, rows, task, progress, "accuracy of the baseline")
    outputs = task.compared(raw, raw, rows.labels)
    answered = outputs, time.perf_counter() - started
    labels = task.stack_labels(rows.labels)
    torch = None
    if built.torch is not None:
        theirs, device = torch_outputs_of(built.torch, rows, task, progress, "accuracy by torch")
        apart = None if raw.dtype == object else largest_difference(theirs, raw)
        metrics = task.metrics(labels, task.compared(theirs, raw, rows.labels))
        torch = TorchReference(device=device, metrics=metrics, max_abs_diff=apart)
    queries = queries_of(task, rows, found.folder).ids
    latency: list[Measured] = []
    twin = twin_of(
        found.graph,
        {(t.name, s): feeds_of([typical(queries)], s, t.batch)[0] for t in asked.targets for s in t.sequence},
    )
    for target in asked.targets:
        with progress.during(*promise(target), most=True):
            latency += sittings(target, {"baseline": Runnable(found.graph)}, built.torch, queries, twin, {})
    options = next(m.session for m in latency if m.subject == "baseline")
    files = {"baseline": Runnable(found.graph, settings=options)}
    with progress.during(*promise_of_starts(files)):
        starts = cold_starts(files, max(queries, key=length))["baseline"]
    digests = found.digests()
    made = Baseline(
        edgeopt=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe=asked.name,
        model=asked.model.named,
        fingerprint=built.source,
        training=training_of(asked) if built.source else None,
        train=built.train,
        graph=digests["graph"],
        task=MeasuredTask(
            type=task.spec.type,
            labels=list(task.names),
            split=rows.name,
            rows=len(rows),
            fingerprint=rows.fingerprint,
            encoding=dict(task.key()),
            tokenizer=digests["tokenizer"],
            tokens=tokens_digest(queries),
        ),
        subject=subject_of(found.shown, found.graph, task, labels, answered, starts),
        outputs=[task.plain_output(o, label) for o, label in zip(outputs, labels, strict=True)],
        latency=[m.as_json() for m in latency],
        torch=torch,
        twin=twin,
        environment=host.environment(),
    )
    return made, latency


def _export(executed: Executed, folder: Path, latency: list[Measured]) -> None:
    """The baseline as a finished model, with the options that it was quickest with."""
    state = executed.final("baseline")
    chosen: Any = exporter("onnx")
    with turn(folder), building(folder) as files:
        written = chosen.write(ExportInput(state, None), files, chosen.known_options)
        write_json(
            files / SESSION, {written.artifact.as_posix(): next(m.session for m in latency if m.subject == "baseline")}
        )
        files.rename(folder)
