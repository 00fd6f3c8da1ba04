"""The pictures of the HTML report, as inline SVG: no script, no font, colors from the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from edgeopt.report import format as fmt
from edgeopt.report import headline, svg
from edgeopt.report.pareto import undominated
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, WIDTH, Point, scatter
from edgeopt.report.svg import Box
from edgeopt.results.model import Place, Report, Step, SubjectName

LABELS: dict[SubjectName, str] = {
    "candidate": "candidate",
    "baseline": "baseline, ONNX",
    "baseline-torch": "baseline, torch",
}


def tradeoff(report: Report) -> str | None:
    """The first metric against p50 latency; None where one of the two was not measured."""
    metric, place = headline.first_metric(report), headline.main_place(report)
    if metric is None or place is None:
        return None
    points = _points(report, metric, place)
    longest = max(ms for p in points for ms in (p.x, *(p.x_bounds or ())))
    x = Scale(0, longest * 1.15, PLOT.left, PLOT.right)  # from zero, so that distances are ratios
    return scatter(
        points,
        x,
        across="p50 latency, ms (left is faster)",
        up=metric,
        title=f"{metric} against p50 latency on {place}",
    )


def _points(report: Report, metric: str, place: Place) -> list[Point]:
    """Hollow: another costs no more and scores no less, one of the two strictly."""
    points = [
        point
        for subject, (name, score) in _subjects(report, metric).items()
        if (point := _point(report, metric, place, subject, name, score))
    ]
    best = undominated([(p.x, p.y) for p in points])
    return [p if on else replace(p, kind=f"{p.kind} beaten") for p, on in zip(points, best, strict=True)]


def _subjects(report: Report, metric: str) -> dict[SubjectName, tuple[str, float]]:
    """What was timed: what it is called, and its metric."""
    before, after = report.baseline.metrics[metric], report.candidate.metrics[metric]
    found = {subject: (name, after if subject == "candidate" else before) for subject, name in LABELS.items()}
    others = (each for each in report.exports if each.subject != "candidate" and metric in each.figures.metrics)
    return found | {each.subject: (each.name, each.figures.metrics[metric]) for each in others}


def _point(report: Report, metric: str, place: Place, subject: SubjectName, name: str, score: float) -> Point | None:
    """A model on the chart of metric against p50 latency, with the bounds that were measured.

    Those are of its speed-up over the ONNX baseline, and of the candidate's difference from it.
    """
    row, reference = headline.latency(report, subject, place), headline.latency(report, "baseline", place)
    if row is None:
        return None
    faster = headline.speedup(report, place, of=subject)
    change = headline.difference(report, metric) if subject == "candidate" else None
    base = report.baseline.metrics[metric]
    return Point(
        subject if subject in LABELS else "other",
        (name, f"{fmt.metric(score)}, {fmt.milliseconds(row.p50_ms)}"),
        row.p50_ms,
        score,
        x_bounds=(reference.p50_ms / faster.high, reference.p50_ms / faster.low)
        if faster and reference and 0 < faster.low <= faster.high < inf
        else None,
        y_bounds=(base + change.low, base + change.high) if change else None,
    )


ROW = 40


@dataclass(frozen=True)
class _Row:
    """A state of the waterfall: what it is, what was measured of it, its size and that of the state before it."""

    name: str
    said: str
    size: int
    before: int | None
    kind: str = "candidate"


def sizes(report: Report) -> str:
    """The candidate's chain as a waterfall, on a track as long as the FP32 ONNX baseline.

    It shows the size after each step and what the step took away, the metric where the step measured one, and metric
    and latency at both ends.
    """
    reference, shipped = report.baseline.size_bytes, report.candidate.size_bytes
    rows = [_Row("baseline, ONNX", _end(report, "baseline"), reference, None, "baseline")]
    before = None
    for step in (step for step in report.steps if step.chain == "candidate"):
        rows.append(_Row(step.id, ", ".join([step.use, *_selected(step)]), step.size_bytes, before))
        before = step.size_bytes
    rows.append(_Row("shipped", _end(report, "candidate") or report.candidate.artifact, shipped, before))
    x = Scale(0, max(row.size for row in rows), 0, WIDTH)
    parts = [part for index, row in enumerate(rows) for part in _size_row(index * ROW, row, x, x(reference))]
    listed = "; ".join(f"{row.name}: {fmt.megabytes(row.size)}{f', {row.said}' if row.said else ''}" for row in rows)
    return svg.picture(WIDTH, len(rows) * ROW, f"size by step: {listed}", parts)


def _end(report: Report, role: Literal["baseline", "candidate"]) -> str:
    """Metric and p50 of what was measured on the report split."""
    metric, place = headline.first_metric(report), headline.main_place(report)
    timed = headline.latency(report, role, place) if place else None
    subject = report.baseline if role == "baseline" else report.candidate
    return ", ".join(
        [
            *([f"{metric} {fmt.metric(subject.metrics[metric])}"] if metric else []),
            *([fmt.milliseconds(timed.p50_ms)] if timed else []),
        ]
    )


def _selected(step: Step) -> list[str]:
    """The metric by which a training chose its checkpoint, on rows held out."""
    found = step.told.get("selection")
    return [f"{found['metric']} {fmt.metric(found['value'])} held out"] if found else []


def _size_row(top: float, row: _Row, x: Scale, track: float) -> list[str]:
    moved = 0 if row.before is None else row.size - row.before
    small = abs(moved) < max(row.size, row.before or 0) / 200  # a line of the graph's own, not what a step is for
    written = (
        fmt.megabytes(row.size)
        if small
        else f"{'+' if moved > 0 else fmt.MINUS}{fmt.megabytes(abs(moved))} → {fmt.megabytes(row.size)}"
    )
    room = int((WIDTH - svg.width_of(written)) / svg.BOLD) - 2
    name = svg.cut(row.name, room)
    said = svg.cut(row.said, room - len(name) - 2)
    gone = (
        [svg.bar(Box(x(row.size), top + 19, x(row.before), top + 31), "bar gone")]
        if row.before is not None and moved < 0 and not small
        else []
    )
    return [
        svg.words(0, top + 13, [(name, "name"), (said, "tick")]),
        svg.text(WIDTH, top + 13, written, "value", "end"),
        svg.bar(Box(0, top + 19, track, top + 31), "track"),
        *gone,
        svg.bar(Box(0, top + 19, x(row.size), top + 31), f"bar {row.kind}"),
    ]
