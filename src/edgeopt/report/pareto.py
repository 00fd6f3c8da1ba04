"""Which rows of a comparison are on the Pareto front of two figures.

They are those that no other row is as good as in both and better in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeopt.report import format as fmt
from edgeopt.report.compare.runs import METRICS, TIMES, Comparison, Row
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, Point, few_captions, scatter
from edgeopt.report.svg import cut

#: What a model costs where it is used: (value of a row, what it is called, what an axis of it says, its unit in the
#: value's, how it is written). Latency is that of each run in its own sitting over its own baseline's: milliseconds of
#: different moments are not ranked.
_COSTS = (
    ("p50_share", "p50 latency", "share of the run's own FP32 baseline (left is faster)", 1.0, fmt.ratio),
    ("exported_bytes", "exported size", "MB (left is smaller)", 1e6, fmt.megabytes),
)
#: Candidates from which there is a front to speak of.
_ENOUGH = 3


@dataclass(frozen=True)
class Front:
    """A metric, of which more is better, against a cost. rows: all that have both. best: those on the front."""

    metric: str
    cost: str
    heading: str
    across: str
    unit: float
    rows: list[Row]
    best: list[Row]
    show: Callable[[float], str]

    def x(self, row: Row) -> float:
        return (row.values[self.cost] or 0.0) / self.unit


def first_metric(found: Comparison) -> str | None:
    """The first metric that every row has."""
    return next((name for name in found.metrics if all(name in row.metrics for row in found.rows)), None)


def undominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point (cost, score) is on the front.

    Then no other point costs no more and scores no less, one of the two strictly.
    """
    return [not any(a <= cost and b >= score and (a, b) != (cost, score) for a, b in points) for cost, score in points]


def withheld(found: Comparison) -> list[str]:
    """Why there is no front where there are runs enough for one, a line a reason."""
    if sum(row.role == "candidate" for row in found.rows) < _ENOUGH:
        return []
    if METRICS in found.incomparable:
        return ["No Pareto front: the runs' metrics are not comparable."]
    if TIMES in found.incomparable:
        return ["No Pareto front of latency: the runs' latencies are not comparable."]
    if not found.one_baseline:
        return ["No Pareto front of latency: the runs were timed separately, and their baselines have different sizes."]
    return []


def fronts(found: Comparison) -> list[Front]:
    """The first metric that all rows have, against latency and against size.

    Each where enough rows have it and they may be compared.
    """
    metric = first_metric(found)
    out = []
    timed = TIMES not in found.incomparable and found.one_baseline
    for cost, heading, unit_shown, unit, show in _COSTS:
        rows = [row for row in found.rows if row.values[cost] is not None]
        if metric is None or METRICS in found.incomparable or sum(row.role == "candidate" for row in rows) < _ENOUGH:
            continue
        if cost == "p50_share" and not timed:
            continue
        kept = undominated([(row.values[cost] or 0.0, row.metrics[metric]) for row in rows])
        best = [row for row, on in zip(rows, kept, strict=True) if on]
        out.append(Front(metric, cost, heading, f"{heading}, {unit_shown}", unit, rows, best, show))
    return out


def picture(front: Front) -> str:
    """A front as inline SVG. What is not on the front is hollow."""
    points = []
    for row in front.rows:
        score, std = row.metrics[front.metric], row.deviations.get(front.metric)
        shown = front.show(row.values[front.cost] or 0.0)
        kind = row.role if row in front.best else f"{row.role} beaten"
        bounds = None if std is None else (score - std, score + std)
        points.append(
            Point(kind, (cut(row.name, 34), f"{fmt.metric(score)}, {shown}"), front.x(row), score, y_bounds=bounds)
        )
    x = Scale(0, max(p.x for p in points) * 1.15, PLOT.left, PLOT.right)  # from zero, so that distances are ratios
    drawn = few_captions(points, keep=lambda p: "beaten" not in p.kind)
    return scatter(drawn, x, across=front.across, up=front.metric, title=f"{front.metric} against {front.heading}")
