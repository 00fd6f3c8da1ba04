"""The pictures of the HTML report, as inline SVG: no script, no font, colours from the page."""

from __future__ import annotations

from dataclasses import replace

from edgeopt.report import format as fmt
from edgeopt.report import headline, svg
from edgeopt.report.headline import Place
from edgeopt.report.model import Report, SubjectName
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, WIDTH, Point, scatter
from edgeopt.report.svg import Box

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
    return scatter(points, x, across="p50 latency, ms (left is faster)", up=metric, title=f"{metric} against p50 latency on {place}")


def _points(report: Report, metric: str, place: Place) -> list[Point]:
    before, after = report.baseline.metrics[metric], report.candidate.metrics[metric]
    change, faster = headline.difference(report, metric), headline.speedup(report, place)
    reference = headline.latency(report, "baseline", place)
    points = []
    for subject in LABELS:
        row = headline.latency(report, subject, place)
        if row is None:
            continue
        score = after if subject == "candidate" else before
        point = Point(subject, (LABELS[subject], f"{fmt.metric(score)}, {fmt.milliseconds(row.p50_ms)}"), row.p50_ms, score)
        if subject == "candidate":
            score_bounds = (before + change.low, before + change.high) if change else None
            ms_bounds = (reference.p50_ms / faster.high, reference.p50_ms / faster.low) if faster and reference else None
            point = replace(point, x_bounds=ms_bounds, y_bounds=score_bounds)
        points.append(point)
    return points


ROW = 40


def sizes(report: Report) -> str:
    """Size after each step of the candidate's chain, on a track as long as the FP32 ONNX baseline."""
    reference = report.baseline.size_bytes
    rows = [(step.id, step.use, step.size_bytes) for step in report.steps if step.chain == "candidate"]
    shipped = report.candidate.size_bytes
    if not rows or rows[-1][2] != shipped:
        rows.append(("shipped file", report.candidate.artifact, shipped))
    longest = max(reference, *(size for _, _, size in rows))
    x = Scale(0, longest, 0, WIDTH)
    parts = _size_row(0, "baseline, ONNX", "", reference, x, x(reference), "baseline")
    for index, (name, use, size) in enumerate(rows, 1):
        parts += _size_row(index * ROW, name, use, size, x, x(reference), "candidate")
    listed = "; ".join(f"{name}: {fmt.megabytes(size)}" for name, _, size in rows)
    title = f"size by step: baseline, ONNX: {fmt.megabytes(reference)}; {listed}"
    return svg.picture(WIDTH, (len(rows) + 1) * ROW, title, parts)


def _size_row(top: float, name: str, use: str, size: int, x: Scale, track: float, kind: str) -> list[str]:
    written = fmt.megabytes(size)
    room = int((WIDTH - svg.width_of(written)) / svg.BOLD) - 2
    name = svg.cut(name, room)
    use = svg.cut(use, room - len(name) - 2)
    return [
        svg.words(0, top + 13, [(name, "name"), (use, "tick")]),
        svg.text(WIDTH, top + 13, written, "value", "end"),
        svg.bar(Box(0, top + 19, track, top + 31), "track"),
        svg.bar(Box(0, top + 19, x(size), top + 31), f"bar {kind}"),
    ]
