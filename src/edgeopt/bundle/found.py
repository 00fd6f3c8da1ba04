"""What a manifest says of the run that its bundle was made of: verdict, gates, metrics, and where all is from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath

from edgeopt.bundle.manifest import Decided, Found, Median, Source
from edgeopt.results.model import Report
from edgeopt.results.sealed import Run


def found_of(run: Run) -> Found:
    """The run's findings. No path of this machine is in them."""
    report, task = run.report, run.report.task
    from_hub = run.lock["place"]["rows"] == "hub"
    return Found(
        verdict=report.verdict,
        start=Source(name=_name(report.model), sha256=report.model_fingerprint),
        dataset=Source(name=task.dataset if from_hub else _name(task.dataset), sha256=task.fingerprint),
        split=task.split,
        rows=task.rows,
        metrics=_finite(report.candidate.metrics),
        baseline=_finite(report.baseline.metrics),
        size_bytes=report.candidate.size_bytes,
        baseline_bytes=report.baseline.size_bytes,
        latency=_medians(report),
        gates=[Decided.model_validate(gate.model_dump(include=set(Decided.model_fields))) for gate in report.gates],
        warnings=list(report.warnings),
    )


def _name(name: str) -> str:
    """A name of the hub, `owner/name`, as it is; of a path its last part."""
    path = PurePath(name)
    return name if len(path.parts) == 2 and path.parts[0].strip(".~") and not path.is_absolute() else path.name or name


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _medians(report: Report) -> list[Median]:
    p50 = {(each.subject, each.target, each.sequence): each.p50_ms for each in report.latency}
    return [
        Median(target=target, sequence=sequence, model_ms=ms, baseline_ms=p50.get(("baseline", target, sequence)))
        for (subject, target, sequence), ms in p50.items()
        if subject == "candidate"
    ]
