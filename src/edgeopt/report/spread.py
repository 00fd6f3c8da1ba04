"""Metrics of every seed, and how they spread."""

from __future__ import annotations

from functools import partial

from edgeopt.report import format as fmt
from edgeopt.report.table import Table, numbers
from edgeopt.results.model import Report, Seeds, Spread

NOTE = "Mean ± sample standard deviation (n − 1) over the seeds. The change is paired by seed, in points of 0.01."


def spread_of(report: Report, metric: str) -> Spread | None:
    """How a metric spreads over the seeds; None where there is one seed."""
    return next((s for s in report.seeds.spreads if s.metric == metric), None) if report.seeds else None


def table(report: Report) -> Table:
    """A line a seed, and the last for all; of each of the task's metrics baseline, candidate and change."""
    if report.seeds is None:
        return Table([], [])
    metrics = [name for name in report.candidate.metrics if spread_of(report, name)]
    columns = numbers("Seed", *(f"{name}, {what}" for name in metrics for what in ("baseline", "candidate", "change")))
    rows = [
        [str(r.seed), *(cell for m in metrics for cell in _cells(m, r.baseline[m], r.candidate[m]))]
        for r in report.seeds.results
    ]
    return Table(columns, [*rows, ["mean ± std", *(cell for m in metrics for cell in _mean(m, report.seeds))]])


def _cells(metric: str, baseline: float, candidate: float) -> list[str]:
    return [fmt.metric(baseline), fmt.metric(candidate), fmt.points(metric, candidate - baseline)]


def _mean(metric: str, seeds: Seeds) -> list[str]:
    s = next(s for s in seeds.spreads if s.metric == metric)
    change = fmt.plus_minus(
        s.difference_mean, s.difference_std, partial(fmt.points, metric), partial(fmt.points, metric, sign=False)
    )
    return [
        fmt.plus_minus(s.baseline_mean, s.baseline_std, fmt.metric),
        fmt.plus_minus(s.candidate_mean, s.candidate_std, fmt.metric),
        change,
    ]
