"""What a tracker is told of a run: names and numbers, and files of the run's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from edgeopt.results.model import Gate, Report
from edgeopt.results.sealed import LOCK, REPORT

#: Tags by which a run is found again, and by which a push finds the run that its bundle was made of.
KEY, LOCK_TAG = "edgeopt.key", "edgeopt.lock"
#: The files of a run that a tracker keeps.
FILES = ("report.html", "report.md", REPORT, LOCK)
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Record:
    """A run for a tracker.

    key: the same for the same run. curves: values by optimizer step. once: whether a run of this key that was told
    whole is left as it is. status: `running` of what is above others that are told before it ends.
    """

    name: str
    key: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()
    once: bool = True
    status: Literal["running", "finished", "failed"] = "finished"


class Finished(Protocol):
    """A finished run."""

    @property
    def folder(self) -> Path: ...
    @property
    def report(self) -> Report: ...
    @property
    def lock(self) -> dict[str, Any]: ...


def record_of(run: Finished, name: str | None = None) -> Record:
    """A run as a record. name: of the cell, of a matrix."""
    report, seal = run.report, run.report.seal
    assert seal is not None
    return Record(
        name=name or report.recipe.name,
        key=seal.content,
        params=dict(flat(run.lock["recipe"]["resolved"])),
        metrics={name: value for name, value in _metrics(report) if math.isfinite(value)},
        curves=dict(_curves(report)),
        tags={
            LOCK_TAG: seal.files[LOCK],
            "edgeopt.verdict": report.verdict,
            "edgeopt.version": report.edgeopt,
            "edgeopt.recipe": report.recipe.digest,
            **{gate_name(gate): f"{gate.verdict}: {gate.reason}" for gate in report.gates},
            **{f"warning.{i}": text for i, text in enumerate(report.warnings, 1)},
        },
        files=[run.folder / name for name in FILES if (run.folder / name).is_file()],
    )


def seed_records(run: Finished, parent: Record) -> list[Record]:
    """A record for each seed of a run that has several: the metrics of both models."""
    return [
        Record(
            name=f"{parent.name} seed {each.seed}",
            key=f"{parent.key}.seed-{each.seed}",
            params={"seed": str(each.seed)},
            metrics={
                f"{who}/{name}": value
                for who, metrics in (("candidate", each.candidate), ("baseline", each.baseline))
                for name, value in metrics.items()
                if math.isfinite(value)
            },
        )
        for each in (run.report.seeds.results if run.report.seeds else [])
    ]


def flat(value: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Key paths and values of a recipe, as `--set` writes them: a step or a target by its name; null is left out."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from flat(each, f"{before}.{name}" if before else str(name))
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for i, each in enumerate(value):
            yield from flat(each, f"{before}.{each.get('id') or each.get('name') or i}")
    elif value is not None:
        yield before, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def gate_name(gate: Gate) -> str:
    """The name of a gate among the tags; no two of a run have the same."""
    parts = (gate.metric, gate.kind, gate.target, gate.sequence, gate.slice)
    return ".".join(["gate", *(str(part) for part in parts if part is not None)])


def _metrics(report: Report) -> Iterator[tuple[str, float]]:
    for who, subject in (("candidate", report.candidate), ("baseline", report.baseline)):
        yield from ((f"{who}/{name}", value) for name, value in {**subject.extra, **subject.metrics}.items())
        yield f"{who}/size_mb", subject.size_bytes / 1e6
        yield f"{who}/nonzero_parameters", subject.nonzero
        if subject.cold_start_ms is not None:
            yield f"{who}/cold_start_ms", subject.cold_start_ms
        if subject.memory_peak_bytes is not None:
            yield f"{who}/memory_peak_mb", subject.memory_peak_bytes / 1e6
    for d in report.differences:
        yield from (
            (f"difference/{d.metric}{end}", v) for end, v in (("", d.delta), ("_low", d.low), ("_high", d.high))
        )
    yield from _times(report)
    for step in report.steps:
        yield f"steps/{step.chain}/{step.id}/seconds", step.seconds
        numbers = {k: v for k, v in step.figures.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        yield from ((f"steps/{step.chain}/{step.id}/{name}", value) for name, value in numbers.items())


def _times(report: Report) -> Iterator[tuple[str, float]]:
    for m in report.latency:
        place = f"latency/{m.target}/{m.sequence}/{m.subject}"
        times = {"p50_ms": m.p50_ms, "p90_ms": m.p90_ms, "p99_ms": m.p99_ms}
        yield from ((f"{place}/{name}", ms) for name, ms in times.items() if ms is not None)
    for s in report.speedups:
        place = f"speedup/{s.target}/{s.sequence}/{s.percentile}/{s.of}_over_{s.against}"
        yield from ((f"{place}{end}", v) for end, v in (("", s.ratio), ("_low", s.low), ("_high", s.high)))


def _curves(report: Report) -> Iterator[tuple[str, Curve]]:
    for step in report.steps:
        for name, curve in step.told.get("curves", {}).items():
            yield f"train/{step.chain}/{step.id}/{name}", [(at, value) for at, value in curve if math.isfinite(value)]
