"""Points in a plane with their interval bars and captions that cover nothing, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgeopt.report import svg
from edgeopt.report.scale import Scale, decimals
from edgeopt.report.svg import Box

WIDTH = 420
PLOT = Box(56, 12, WIDTH - 12, 252)
#: Captions that a plot has room for.
_CAPTIONS = 16


@dataclass(frozen=True)
class Point:
    """A point of a chart.

    kind: its class in the page's style. caption: its name and its values; None: not written. Bounds: where they are
    known. radius: a wider one shows below another that is at the same place and later.
    """

    kind: str
    caption: tuple[str, str] | None
    x: float
    y: float
    x_bounds: tuple[float, float] | None = None
    y_bounds: tuple[float, float] | None = None
    radius: int = 6


@dataclass(frozen=True)
class Level:
    """A height that points are compared with: a line across the plot with its caption."""

    kind: str
    caption: tuple[str, str]
    y: float


def scatter(
    points: Sequence[Point],
    x: Scale,
    *,
    across: str,
    up: str,
    title: str,
    shown: Callable[[float], str] | None = None,
    level: Level | None = None,
    joined: bool = False,
) -> str:
    """A picture of points on two axes.

    x: onto the plot's width. across, up: what the axes are. shown: how a tick of x is written. joined: lines lead from
    each point to the next of its kind. What is no number is not drawn.
    """
    points = [p if _drawable(p.y_bounds) else replace(p, y_bounds=None) for p in points if _drawable((p.x, p.y))]
    level = level if level and math.isfinite(level.y) else None
    y = _y_axis(points, level)
    marks = [part for point in points for part in _mark(point, x, y)]
    below = [
        *grid(x, y, across, up, shown),
        *(_level(level, y) if level else []),
        *(_joints(points, x, y) if joined else []),
    ]
    said = "; ".join(
        ": ".join(caption) for caption in [level and level.caption, *(p.caption for p in points)] if caption
    )
    return svg.picture(
        WIDTH,
        PLOT.bottom + 44,
        f"{title}: {said}" if said else title,
        [*below, *_captions(points, x, y, level), *marks],
    )


def few_captions(points: Sequence[Point], keep: Callable[[Point], bool] = lambda p: False) -> list[Point]:
    """Points with captions; where they are too many for that, only those that `keep` names have one."""
    return [p if len(points) <= _CAPTIONS or keep(p) else replace(p, caption=None) for p in points]


def _drawable(values: tuple[float, float] | None) -> bool:
    return values is None or all(map(math.isfinite, values))


def _joints(points: Sequence[Point], x: Scale, y: Scale) -> list[str]:
    kinds = {kind: [p for p in points if p.kind == kind] for kind in dict.fromkeys(p.kind for p in points)}
    return [
        svg.line(x(a.x), y(a.y), x(b.x), y(b.y), f"joint {kind}")
        for kind, those in kinds.items()
        for a, b in pairwise(those)
    ]


def _level(level: Level, y: Scale) -> list[str]:
    """The line, and what it is at the top of the plot, where the axis leaves room."""
    (name, value), kind = level.caption, f"level {level.kind}"
    left = PLOT.right - svg.width_of(name, bold=True) - svg.width_of(value) - 8
    words = svg.words(left, PLOT.top + 10, [(name, f"name {level.kind}"), (value, "value")])
    return [
        svg.line(PLOT.left, y(level.y), PLOT.right, y(level.y), kind),
        svg.line(left - 32, PLOT.top + 6, left - 8, PLOT.top + 6, kind),
        words,
    ]


def _y_axis(points: Sequence[Point], level: Level | None) -> Scale:
    """The scale of y, with room around all points and the level."""
    values = [v for p in points for v in (p.y, *(p.y_bounds or ()))] + ([level.y] if level else []) or [0.0]
    middle, span = (max(values) + min(values)) / 2, max(max(values) - min(values), 0.01)
    return Scale(middle - span * 0.8, middle + span * 0.8, PLOT.bottom, PLOT.top)


def grid(x: Scale, y: Scale, across: str, up: str, shown: Callable[[float], str] | None = None) -> list[str]:
    """Both axes of a plot, with their ticks and what they are. shown: how a tick of x is written."""
    places, heights = x.ticks, y.ticks
    show = shown or (lambda v: f"{v:.{decimals(places)}f}")
    parts = [svg.line(PLOT.left, y(v), PLOT.right, y(v), "grid") for v in heights]
    parts += [svg.text(PLOT.left - 8, y(v) + 4, f"{v:.{decimals(heights)}f}", "tick", "end") for v in heights]
    parts += [svg.line(x(v), PLOT.bottom, x(v), PLOT.bottom + 4, "axis") for v in places]
    parts += [svg.text(x(v), PLOT.bottom + 18, show(v), "tick", "middle") for v in places]
    parts.append(svg.line(PLOT.left, PLOT.bottom, PLOT.right, PLOT.bottom, "axis"))
    parts.append(svg.text(PLOT.right, PLOT.bottom + 37, across, "tick", "end"))
    if up:
        parts.append(svg.text(PLOT.left - 50, PLOT.bottom + 37, f"↑ {svg.cut(up, 16)}", "tick"))
    return parts


def _bars(point: Point, x: Scale, y: Scale) -> list[tuple[float, float, float, float]]:
    bars = []
    if point.y_bounds:
        low, high = point.y_bounds
        bars.append((x(point.x), y(low), x(point.x), y(high)))
    if point.x_bounds:
        low, high = point.x_bounds
        bars.append((x(low), y(point.y), x(high), y(point.y)))
    return bars


def _mark(point: Point, x: Scale, y: Scale) -> list[str]:
    kind = f"mark {point.kind}"
    dot = svg.tag("circle", cx=x(point.x), cy=y(point.y), r=point.radius, class_=kind)
    return [*(svg.line(*ends, kind) for ends in _bars(point, x, y)), dot]


def _captions(points: Sequence[Point], x: Scale, y: Scale, level: Level | None) -> list[str]:
    """Two lines a point, at the nearest place that covers nothing; a thin line leads to a far one."""
    taken = [Box(x(p.x) - 7, y(p.y) - 7, x(p.x) + 7, y(p.y) + 7) for p in points]
    for point in points:
        for x1, y1, x2, y2 in _bars(point, x, y):
            taken.append(Box(min(x1, x2) - 2, min(y1, y2) - 2, max(x1, x2) + 2, max(y1, y2) + 2))
    if level:
        taken += [
            Box(PLOT.left, y(level.y) - 1, PLOT.right, y(level.y) + 1),
            Box(PLOT.left, PLOT.top, PLOT.right, PLOT.top + 14),
        ]
    parts = []
    for point in points:
        if point.caption is None:
            continue
        name, values = point.caption
        width = max(svg.width_of(name, bold=True), svg.width_of(values))
        at = x(point.x), y(point.y)
        options = _places(*at, width)
        box = next((box for box in options if not any(box.overlaps(other) for other in taken)), options[0])
        taken.append(box)
        edge = box.nearest(*at)
        if math.dist(at, edge) > 18:
            parts.append(svg.line(*at, *edge, "leader"))
        parts.append(svg.text(box.left, box.top + 13, name, f"name {point.kind}"))
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
