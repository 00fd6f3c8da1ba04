"""Both models' metric for every seed, and their means, as inline SVG."""

from __future__ import annotations

from edgeopt.report import format as fmt
from edgeopt.report import headline, svg
from edgeopt.report.scale import Scale, decimals
from edgeopt.report.spread import spread_of
from edgeopt.results.model import Report, SeedResult, Spread

WIDTH, LEFT, RIGHT, ROW, TOP = 420, 92, 404, 26, 34


def seeds(report: Report) -> str | None:
    """The first metric: a row a seed with a dot for each model, and a row of means with bars of one standard deviation.

    None where the recipe has one seed.
    """
    metric = headline.first_metric(report)
    spread = spread_of(report, metric) if metric else None
    if report.seeds is None or metric is None or spread is None:
        return None
    results = report.seeds.results
    x = _axis(metric, results, spread)
    bottom = TOP + ROW * (len(results) + 1) + 12
    parts = [svg.text(LEFT, 14, "baseline", "name baseline"), svg.text(LEFT + 84, 14, "candidate", "name candidate")]
    for value in x.ticks:
        parts.append(svg.line(x(value), TOP - 8, x(value), bottom, "grid"))
        parts.append(svg.text(x(value), bottom + 16, f"{value:.{decimals(x.ticks)}f}", "tick", "middle"))
    for row, result in enumerate(results):
        parts += _seed(TOP + ROW * row + 8, result, metric, x)
    parts += _means(TOP + ROW * len(results) + 14, spread, x)
    listed = "; ".join(
        f"seed {r.seed}: {fmt.metric(r.baseline[metric])} and {fmt.metric(r.candidate[metric])}" for r in results
    )
    return svg.picture(WIDTH, bottom + 24, f"{metric} of baseline and candidate by seed: {listed}", parts)


def _axis(metric: str, results: list[SeedResult], s: Spread) -> Scale:
    values = [v for r in results for v in (r.baseline[metric], r.candidate[metric])]
    values += [
        s.baseline_mean - s.baseline_std,
        s.baseline_mean + s.baseline_std,
        s.candidate_mean - s.candidate_std,
        s.candidate_mean + s.candidate_std,
    ]
    margin = max(max(values) - min(values), 0.01) * 0.08
    return Scale(min(values) - margin, max(values) + margin, LEFT, RIGHT)


def _seed(y: float, result: SeedResult, metric: str, x: Scale) -> list[str]:
    before, after = x(result.baseline[metric]), x(result.candidate[metric])
    dots = [
        svg.tag("circle", cx=at, cy=float(y), r=5, class_=f"mark {kind}")
        for at, kind in ((before, "baseline"), (after, "candidate"))
    ]
    return [
        svg.text(LEFT - 12, y + 4, f"seed {svg.cut(str(result.seed), 6)}", "tick", "end"),
        svg.line(before, y, after, y, "leader"),
        *dots,
    ]


def _means(y: float, s: Spread, x: Scale) -> list[str]:
    parts = [svg.text(LEFT - 12, y + 4, "mean ± std", "tick", "end")]
    for kind, mean, std, height in (
        ("baseline", s.baseline_mean, s.baseline_std, y - 5),
        ("candidate", s.candidate_mean, s.candidate_std, y + 5),
    ):
        parts.append(svg.line(x(mean - std), height, x(mean + std), height, f"mark {kind}"))
        parts.append(svg.tag("circle", cx=x(mean), cy=float(height), r=5, class_=f"mark {kind}"))
    return parts
