"""A comparison as Markdown, HTML, CSV and LaTeX."""

from __future__ import annotations

import csv
import io

from markupsafe import Markup

from edgeopt.report import format as fmt
from edgeopt.report import pareto
from edgeopt.report.compare import latex
from edgeopt.report.compare.runs import Comparison, Row
from edgeopt.report.compare.sweep_chart import sweep_charts
from edgeopt.report.compare.tables import notes, raw, tables
from edgeopt.report.markdown_text import escape, table
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, Point, few_captions, scatter
from edgeopt.report.svg import cut
from edgeopt.report.templating import environment

_BOUNDS = (
    "Gray: the FP32 baseline. Bars: one-sided 95 % bounds of the paired difference from it. For a run with several "
    "seeds, they are one standard deviation of the difference."
)


def render_markdown(found: Comparison) -> str:
    """A comparison as Markdown: warnings, tables, notes."""
    parts = [f"**Warning:** {escape(warning)}" for warning in found.warnings]
    for heading, content in tables(found):
        parts += [f"## {heading}", table(content)]
    return "\n\n".join([*parts, *map(escape, notes(found))]) + "\n"


def render_html(found: Comparison) -> str:
    """One file without script and links, in the form of the report."""
    pictures = [(heading, Markup(picture), caption) for heading, picture, caption in _pictures(found)]
    page = environment(autoescape=True).get_template("compare.html.j2")
    return page.render(found=found, tables=tables(found), notes=notes(found), pictures=pictures)


def render_csv(found: Comparison) -> str:
    """Raw numbers, a line a row; what was not measured is empty."""
    rows = raw(found)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def render_latex(found: Comparison) -> str:
    r"""A tabular for each table; needs \usepackage{booktabs}."""
    parts = [latex.comment("needs \\usepackage{booktabs}"), *(latex.comment(f"warning: {w}") for w in found.warnings)]
    for heading, content in tables(found):
        parts += [latex.comment(heading), latex.latex(content)]
    return "\n".join([*parts, *map(latex.comment, notes(found))]) + "\n"


def _pictures(found: Comparison) -> list[tuple[str, str, str]]:
    """Heading, picture and caption of each that there are numbers for.

    Trained parameters tell the runs of a sweep apart only where they differ.
    """
    bars = "Gray: the FP32 baseline. Bars: one standard deviation over the seeds, for runs with several seeds."
    metric = pareto.first_metric(found)
    alike = len({row.values["trained_parameters"] for row in found.rows if row.role == "candidate"}) == 1
    points = [] if metric is None else [_point(row, metric) for row in found.rows if row.values["trained_parameters"]]
    out = (
        [(f"{name} against {found.sweep.axis}", chart, _BOUNDS) for name, chart in sweep_charts(found.sweep)]
        if found.sweep
        else []
    )
    out += [
        (f"{front.metric} against {front.heading}", pareto.picture(front), f"Filled: the Pareto front. {bars}")
        for front in pareto.fronts(found)
    ]
    if points and not (found.sweep and alike):
        low, high = min(p.x for p in points) / 2, max(p.x for p in points) * 2
        x = Scale(low, max(high, low * 20), PLOT.left, PLOT.right, log=True)
        title = f"{metric} against trained parameters"
        drawn = scatter(
            few_captions(points),
            x,
            across="trained parameters (log scale)",
            up=metric or "",
            title=title,
            shown=fmt.short,
        )
        out.append((title, drawn, bars))
    return out


def _point(row: Row, metric: str) -> Point:
    score, std, trained = row.metrics[metric], row.deviations.get(metric), int(row.values["trained_parameters"] or 0)
    caption = cut(row.name, 34), f"{fmt.metric(score)}, {fmt.count(trained)}"
    bounds = None if std is None else (score - std, score + std)
    return Point(row.role, caption, trained, score, y_bounds=bounds, radius=9 if row.role == "baseline" else 6)
