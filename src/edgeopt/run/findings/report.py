"""From measurements to the report."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from edgeopt.data import SeveralData, TaskData, row_warnings
from edgeopt.export.padding import LENGTHS
from edgeopt.gates.chance import looked_at
from edgeopt.gates.decide import decide
from edgeopt.gates.evidence import Evidence
from edgeopt.gates.notes import warnings
from edgeopt.gates.timed import MIN_QUERIES, PERCENTILES
from edgeopt.measure.latency import Measured
from edgeopt.measure.subject import state_bytes
from edgeopt.plan import Chain
from edgeopt.recipe.load import Recipe
from edgeopt.report.limit import limits
from edgeopt.results.figures import told
from edgeopt.results.model import (
    SUBJECTS,
    Difference,
    Export,
    Latency,
    Parity,
    RecipeInfo,
    Report,
    Seeds,
    SessionChoice,
    Speedup,
    Step,
    SubjectName,
    Task,
    TaskPart,
    Throughput,
    verdict_of,
)
from edgeopt.run.execute import Done, Executed
from edgeopt.run.findings import answers as compared
from edgeopt.run.findings.notes import run_notes, seed_notes
from edgeopt.run.measurements import Measurements
from edgeopt.spec.recipe import GateSpec, OneTask
from edgeopt.spec.tasks import THROUGHPUT
from edgeopt.statistics.latency_bounds import percentile_bounds, ratio_bounds
from edgeopt.support import host
from edgeopt.support.errors import Place
from edgeopt.support.version import __version__

CONFIDENCE = 0.95
CHAINS: tuple[Chain, ...] = ("baseline", "candidate")


def build_report(recipe: Recipe, executed: Executed, measured: Measurements, seeds: Seeds | None = None) -> Report:
    """Decide the gates and put everything together; with several seeds, executed and measured are the first's."""
    evidence, task, data = measured.evidence, recipe.head.task, executed.data
    gates = [
        decide(g, evidence, line=recipe.document.place(("gates", i)).line) for i, g in enumerate(recipe.head.gates)
    ]
    whole = not any(map(evidence.broken, evidence.sides))
    speedups = _speedups(evidence.latency)
    beside = warnings(evidence, looked_at(recipe.head.gates, recipe.head.task))
    beside += row_warnings(data.report.name, len(data.report), data.leaked, data.report.copied)
    notes = [*run_notes(recipe, executed, evidence, speedups), *measured.notes, *seed_notes(seeds, gates)]
    return Report(
        edgeopt=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict_of(gates),
        recipe=RecipeInfo(
            name=recipe.head.name,
            source=str(Place.of(recipe.path)),
            digest=recipe.digest,
            overrides=list(recipe.overrides),
        ),
        model=recipe.head.model.named,
        model_fingerprint=executed.source.fingerprint(),
        task=Task(
            type=task.type,
            dataset=data.source,
            split=data.report.name,
            rows=len(data.report),
            labels=list(data.label_names),
            max_length=task.max_length,
            max_target_length=task.target_length,
            window_stride=task.window_stride,
            queries_per_row=round(measured.queries / len(data.report), 3),
            fingerprint=data.report.fingerprint,
            leaked=data.leaked if len(data.train) else None,
            copied=data.report.copied,
            remarks=data.remarks(),
            parts=_parts(evidence, data),
        ),
        gates=gates,
        baseline=evidence.baseline,
        candidate=evidence.candidate,
        differences=[_difference(evidence, m) for m in task.metric_names] if whole else [],
        agreement=compared.agreement(evidence, data.report.texts, recipe.head.diagnostics) if whole else None,
        changes=compared.changes(evidence, data.report.texts, recipe.head.diagnostics) if whole else None,
        closeness=compared.closeness(evidence, data.report.texts, recipe.head.diagnostics) if whole else None,
        stored=measured.stored if whole else [],
        slices=compared.by_slice(evidence, CONFIDENCE) if whole else None,
        latency=[_latency(m) for m in evidence.latency],
        speedups=speedups,
        throughput=throughputs(evidence.latency, recipe.head.gates),
        exports=_exports(measured),
        chosen_by_speed=measured.kept.place is None,
        sessions=_sessions(evidence.latency),
        limits=limits(
            evidence.latency, {c: getattr(evidence, c) for c in CHAINS}, {c: executed.lowered(c).folder for c in CHAINS}
        ),
        optimized=measured.optimized,
        parity=_parity(executed),
        steps=[_step(chain, done) for chain, chain_done in executed.chains.items() for done in chain_done],
        environment=host.environment(),
        seeds=seeds,
        emissions=measured.emissions,
        warnings=beside,
        notes=[note for note in notes if note not in beside],
    )


def _parts(evidence: Evidence, data: TaskData) -> list[TaskPart]:
    """Each of several tasks; nothing of a task alone."""
    if not isinstance(data, SeveralData):
        return []
    found = []
    for name, part in evidence.task.parts.items():
        rows = data.parts[name]
        assert isinstance(part.spec, OneTask)
        found.append(
            TaskPart(
                name=name,
                type=part.spec.type,
                head=part.spec.head,
                dataset=rows.source,
                split=rows.report.name,
                rows=len(rows.report),
                labels=list(rows.label_names),
                texts=len(part.spec.columns),
                max_length=part.spec.max_length,
                weight=part.spec.weight,
                fingerprint=rows.report.fingerprint,
            )
        )
    return found


def _difference(evidence: Evidence, metric: str) -> Difference:
    bounds = evidence.difference(metric, CONFIDENCE)
    return Difference(metric=metric, delta=bounds.value, low=bounds.low, high=bounds.high)


def _latency(m: Measured) -> Latency:
    p50, p90, p99 = (float(np.percentile(m.samples, q)) for q in PERCENTILES.values())
    return Latency(
        subject=m.subject,
        target=m.target,
        runtime=m.runtime,
        device=m.device,
        threads=m.threads,
        batch=m.batch,
        sequence=_sequence(m),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99 if len(m.samples) >= MIN_QUERIES["p99"] else None,
        queries=len(m.samples),
        session=m.session,
    )


def _sessions(latency: list[Measured]) -> list[SessionChoice]:
    """The options that were chosen, once for each graph on each target."""
    found = {(m.target, m.subject): m for m in latency if m.session}
    bounds = ("ratio", "low", "high")
    return [
        SessionChoice(
            subject=m.subject, target=m.target, options=m.session, **dict(zip(bounds, m.gain or (), strict=False))
        )
        for m in found.values()
    ]


def _sequence(m: Measured) -> int | Literal["task"]:
    return m.sequence if m.sequence == "task" else int(m.sequence)


def _exports(measured: Measurements) -> list[Export]:
    """Every export, where there are several or the one is not the graph itself."""
    if len(measured.exports) == 1 and measured.kept.format == "onnx" and measured.kept.place is not None:
        return []
    return [
        Export(
            name=e.written.name,
            format=e.written.format,
            runtime=e.written.exporter.runtime,
            subject=e.subject,
            made_of=e.written.exporter.source,
            lengths=e.written.exported.settings.get(LENGTHS),
            figures=e.figures,
            max_abs_diff=e.difference,
            verdict=verdict,
        )
        for e, verdict in measured.exports
    ]


def _speedups(latency: list[Measured]) -> list[Speedup]:
    pairs: tuple[tuple[SubjectName, SubjectName], ...] = (
        ("candidate", "baseline"),
        ("candidate", "baseline-torch"),
        ("candidate", "candidate-fp32"),
        ("candidate-fp32", "baseline"),
    )
    others = [name for name in dict.fromkeys(m.subject for m in latency) if name not in SUBJECTS]
    pairs += tuple((name, "baseline") for name in others) + tuple(("candidate", name) for name in others)
    found = {(m.target, str(m.sequence), m.subject): m for m in latency}
    out = []
    for place in dict.fromkeys((m.target, str(m.sequence)) for m in latency):
        for of, against in pairs:
            one, base = found.get((*place, of)), found.get((*place, against))
            if one is not None and base is not None:
                b = ratio_bounds(base.samples, one.samples, 50.0, CONFIDENCE, one.openings)
                out.append(
                    Speedup(
                        of=of,
                        against=against,
                        target=one.target,
                        sequence=_sequence(one),
                        percentile="p50",
                        ratio=b.value,
                        low=b.low,
                        high=b.high,
                    )
                )
    return out


def throughputs(latency: list[Measured], gates: list[GateSpec]) -> list[Throughput]:
    """Queries a second of every subject, on targets with a batch of several, and where a gate is on them."""
    gated = {g.target or latency[0].target for g in gates if g.metric == THROUGHPUT}
    bases = {(m.target, m.sequence): m for m in latency if m.subject == "baseline"}
    out = []
    for m in latency:
        if m.batch == 1 and m.target not in gated:
            continue
        base, took = bases[m.target, m.sequence], percentile_bounds(m.samples, None, CONFIDENCE, m.openings)
        faster = None if m is base else ratio_bounds(base.samples, m.samples, None, CONFIDENCE, m.openings)
        out.append(
            Throughput(
                subject=m.subject,
                target=m.target,
                sequence=_sequence(m),
                batch=m.batch,
                order=m.order,
                batches=len(m.samples),
                qps=m.batch * 1000 / took.value,
                low=m.batch * 1000 / took.high,
                high=m.batch * 1000 / took.low if took.low > 0 else math.inf,
                **(dict(zip(("ratio", "ratio_low", "ratio_high"), faster, strict=True)) if faster else {}),
            )
        )
    return out


def _parity(executed: Executed) -> list[Parity]:
    return [Parity(subject=c, **told(executed.lowered(c).figures)["parity"]) for c in CHAINS]


def _step(chain: Chain, done: Done) -> Step:
    assert done.step.key is not None
    return Step(
        id=done.step.id,
        use=done.step.use,
        key=done.step.key,
        cached=done.cached,
        seconds=done.state.seconds,
        chain=chain,
        digest=done.state.digest,
        size_bytes=state_bytes(done.state),
        figures=done.state.figures,
    )
