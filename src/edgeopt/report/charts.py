"""The two pictures of the HTML report, as inline SVG: no script, no font, colours from the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeopt.report import format as fmt
from edgeopt.report import headline, svg
from edgeopt.report.headline import Place
from edgeopt.report.model import Report, SubjectName
from edgeopt.report.scale import Scale, decimals, ticks
from edgeopt.report.svg import Box

WIDTH = 420
PLOT = Box(56, 12, WIDTH - 12, 252)
LABELS: dict[SubjectName, str] = {
    "candidate": "candidate",
    "baseline": "baseline, ONNX",
    "baseline-torch": "baseline, torch",
}


@dataclass(frozen=True)
class Point:
    """One subject in the plane, with its interval bars where they are known."""

    subject: SubjectName
    ms: float
    score: float
    ms_bounds: tuple[float, float] | None = None
    score_bounds: tuple[float, float] | None = None

    @property
    def caption(self) -> list[str]:
        return [LABELS[self.subject], f"{fmt.metric(self.score)}, {fmt.milliseconds(self.ms)}"]


def tradeoff(report: Report) -> str | None:
    """The first metric against p50 latency; None where one of the two was not measured."""
    metric, place = headline.first_metric(report), headline.main_place(report)
    if metric is None or place is None:
        return None
    points = _points(report, metric, place)
    x, y = _axes(points)
    title = f"{metric} against p50 latency on {place}: " + "; ".join(": ".join(p.caption) for p in points)
    marks = [part for point in points for part in _mark(point, x, y)]
    drawn = [*_grid(x, y, metric), *_captions(points, x, y), *marks]
    return svg.picture(WIDTH, PLOT.bottom + 44, title, drawn)


def _points(report: Report, metric: str, place: Place) -> list[Point]:
    before, after = report.baseline.metrics[metric], report.candidate.metrics[metric]
    change, faster = headline.difference(report, metric), headline.speedup(report, place)
    reference = headline.latency(report, "baseline", place)
    points = []
    for subject in LABELS:
        row = headline.latency(report, subject, place)
        if row is None:
            continue
        if subject != "candidate":
            points.append(Point(subject, row.p50_ms, before))
            continue
        score_bounds = (before + change.low, before + change.high) if change else None
        ms_bounds = (reference.p50_ms / faster.high, reference.p50_ms / faster.low) if faster and reference else None
        points.append(Point(subject, row.p50_ms, after, ms_bounds, score_bounds))
    return points


def _axes(points: list[Point]) -> tuple[Scale, Scale]:
    """Latency from zero, so that distances are ratios; the metric around what was seen."""
    times = [ms for p in points for ms in (p.ms, *(p.ms_bounds or ()))]
    scores = [score for p in points for score in (p.score, *(p.score_bounds or ()))]
    middle, span = (max(scores) + min(scores)) / 2, max(max(scores) - min(scores), 0.01)
    x = Scale(0, max(times) * 1.15, PLOT.left, PLOT.right)
    return x, Scale(middle - span * 0.8, middle + span * 0.8, PLOT.bottom, PLOT.top)


def _grid(x: Scale, y: Scale, metric: str) -> list[str]:
    across, up = ticks(x.low, x.high), ticks(y.low, y.high)
    parts = [svg.line(PLOT.left, y(v), PLOT.right, y(v), "grid") for v in up]
    parts += [svg.text(PLOT.left - 8, y(v) + 4, f"{v:.{decimals(up)}f}", "tick", "end") for v in up]
    parts += [svg.line(x(v), PLOT.bottom, x(v), PLOT.bottom + 4, "axis") for v in across]
    parts += [svg.text(x(v), PLOT.bottom + 18, f"{v:.{decimals(across)}f}", "tick", "middle") for v in across]
    parts.append(svg.line(PLOT.left, PLOT.bottom, PLOT.right, PLOT.bottom, "axis"))
    parts.append(svg.text(PLOT.right, PLOT.bottom + 37, "p50 latency, ms (left is faster)", "tick", "end"))
    parts.append(svg.text(PLOT.left - 50, PLOT.bottom + 37, f"↑ {_cut(metric, 16)}", "tick"))
    return parts


def _bars(point: Point, x: Scale, y: Scale) -> list[tuple[float, float, float, float]]:
    bars = []
    if point.score_bounds:
        low, high = point.score_bounds
        bars.append((x(point.ms), y(low), x(point.ms), y(high)))
    if point.ms_bounds:
        low, high = point.ms_bounds
        bars.append((x(low), y(point.score), x(high), y(point.score)))
    return bars


def _mark(point: Point, x: Scale, y: Scale) -> list[str]:
    kind = f"mark {point.subject}"
    dot = svg.tag("circle", cx=x(point.ms), cy=y(point.score), r=6, class_=kind)
    return [*(svg.line(*ends, kind) for ends in _bars(point, x, y)), dot]


def _captions(points: list[Point], x: Scale, y: Scale) -> list[str]:
    """Two lines a point, at the nearest place that covers nothing; a thin line leads to a far one."""
    taken = [Box(x(p.ms) - 7, y(p.score) - 7, x(p.ms) + 7, y(p.score) + 7) for p in points]
    for point in points:
        for x1, y1, x2, y2 in _bars(point, x, y):
            taken.append(Box(min(x1, x2) - 2, min(y1, y2) - 2, max(x1, x2) + 2, max(y1, y2) + 2))
    parts = []
    for point in points:
        name, values = point.caption
        width = max(svg.width_of(name, bold=True), svg.width_of(values))
        at = x(point.ms), y(point.score)
        options = _places(*at, width)
        box = next((box for box in options if not any(box.overlaps(other) for other in taken)), options[0])
        taken.append(box)
        edge = box.nearest(*at)
        if math.dist(at, edge) > 18:
            parts.append(svg.line(*at, *edge, "leader"))
        parts.append(svg.text(box.left, box.top + 13, name, f"name {point.subject}"))
        parts.append(svg.text(box.left, box.top + 29, values, "value"))
    return parts


def _places(x: float, y: float, width: float) -> list[Box]:
    """Above, below, right and left of a point, then all over the plot, the nearest first."""
    height, gap = 34.0, 11.0
    middle = min(max(x - width / 2, PLOT.left), PLOT.right - width)
    beside = [(middle, y - gap - height), (middle, y + gap)]
    beside += [(x + gap, y - height / 2), (x - gap - width, y - height / 2)]
    lefts, tops = range(int(PLOT.left) + 4, int(PLOT.right - width), 8), range(int(PLOT.top), int(PLOT.bottom - 34), 6)
    elsewhere = [Box(left, top, left + width, top + height) for left in lefts for top in tops]
    elsewhere.sort(key=lambda box: math.dist((x, y), box.nearest(x, y)))
    near = [Box(left, top, left + width, top + height) for left, top in beside]
    return [box for box in near if box.within(PLOT)] + elsewhere


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
    name = _cut(name, room)
    use = _cut(use, room - len(name) - 2)
    return [
        svg.words(0, top + 13, [(name, "name"), (use, "tick")]),
        svg.text(WIDTH, top + 13, written, "value", "end"),
        svg.bar(Box(0, top + 19, track, top + 31), "track"),
        svg.bar(Box(0, top + 19, x(size), top + 31), f"bar {kind}"),
    ]


def _cut(content: str, room: int) -> str:
    return content if len(content) <= room else content[: max(room - 1, 0)] + "…"
