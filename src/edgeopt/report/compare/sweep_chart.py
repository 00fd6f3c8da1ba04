"""Each metric along a sweep of runs, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from edgeopt.report import format as fmt
from edgeopt.report.compare.sweep import Sweep
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, Level, Point, few_captions, scatter
from edgeopt.report.svg import cut


def sweep_charts(sweep: Sweep) -> list[tuple[str, str]]:
    """For each metric its name and a picture: a point a run with its bounds, and the baseline.

    The baseline is a line, or points where each run has another.
    """
    return [(metric, _chart(sweep, metric)) for metric in sweep.metrics]


def _chart(sweep: Sweep, metric: str) -> str:
    common = sweep.baseline(metric)
    level = None if common is None else Level("baseline", ("baseline, FP32", fmt.metric(common)), common)
    points = []
    for stop in sweep.stops:
        score, at = stop.scores[metric], f"{stop.at:.4g}"
        bounds = None if score.low is None or score.high is None else (score.low, score.high)
        if common is None:
            points.append(
                Point(
                    "baseline", ("baseline", f"{at}, {fmt.metric(score.baseline)}"), stop.at, score.baseline, radius=8
                )
            )
        points.append(
            Point(
                "candidate",
                (cut(stop.run, 24), f"{at}, {fmt.metric(score.value)}"),
                stop.at,
                score.value,
                y_bounds=bounds,
                radius=5,
            )
        )
    x = _axis([stop.at for stop in sweep.stops], straight=not sweep.by_recipe)
    # on a line they would be in its way
    drawn = [replace(p, caption=None) for p in points] if sweep.by_recipe else few_captions(points)
    return scatter(
        drawn,
        x,
        across=sweep.axis + (" (log scale)" if x.log else ""),
        up=metric,
        title=f"{metric} against {sweep.axis}",
        shown=fmt.short if x.log else None,
        level=level,
        joined=sweep.by_recipe,
    )


def _axis(places: Sequence[float], *, straight: bool) -> Scale:
    """The scale of the axis: of logarithms where those are more evenly spaced than the values, as doubled ranks are."""
    found = sorted(set(places))
    log = (
        not straight
        and found[0] > 0
        and len(found) > 2
        and _unevenness([math.log(v) for v in found]) < 0.8 * _unevenness(found)
    )
    if log:
        return Scale(found[0] / 1.2, found[-1] * 1.2, PLOT.left, PLOT.right, log=True)
    margin = (found[-1] - found[0]) * 0.05
    return Scale(found[0] - margin, found[-1] + margin, PLOT.left, PLOT.right)


def _unevenness(values: Sequence[float]) -> float:
    gaps = [b - a for a, b in pairwise(values)]
    return max(gaps) / min(gaps)
