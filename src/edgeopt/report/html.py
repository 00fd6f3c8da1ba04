"""report.html: one file that opens anywhere, without network or script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgeopt.report import charts, curve_charts, exports, gate_text, headline, seed_chart, structure, tables
from edgeopt.report import format as fmt
from edgeopt.report.templating import environment
from edgeopt.results.model import Report


@dataclass(frozen=True)
class Tile:
    """A headline figure: what it was, what it is, and the change with its interval."""

    name: str
    before: str
    after: str
    change: str


def render_html(report: Report) -> str:
    """The report as one HTML file, with pictures and without scripts."""
    pictures = charts.tradeoff(report), charts.sizes(report), seed_chart.seeds(report), exports.picture(report)
    tradeoff, sizes, seeds, bars = (None if picture is None else Markup(picture) for picture in pictures)
    return (
        environment(autoescape=True)
        .get_template("report.html.j2")
        .render(
            **_head(report),
            metric=headline.first_metric(report),
            place=headline.main_place(report),
            tradeoff=tradeoff,
            sizes=sizes,
            seeds=seeds,
            exports=bars,
            survival=structure.picture(report),
            trainings=list(curve_charts.trainings(report)),
            gates=tables.gates(report),
            figures=tables.figures(report),
            bounds=tables.BOUNDS,
            details=tables.details(report),
        )
    )


def render_head(report: Report) -> str:
    """The report's head alone, for a page that is another's: a notebook's."""
    return environment(autoescape=True).get_template("notebook.html.j2").render(**_head(report))


def _head(report: Report) -> dict[str, Any]:
    undecided = [(gate.verdict, gate_text.metric(gate), gate.reason) for gate in report.gates if gate.verdict != "pass"]
    return {"report": report, "sentence": headline.sentence(report), "undecided": undecided, "tiles": tiles(report)}


def tiles(report: Report) -> list[Tile]:
    """First metric, size and p50, as the figures table has them."""
    rows = {row[0]: row for row in tables.figures(report).rows}
    metric, place = headline.first_metric(report), headline.main_place(report)
    wanted = [metric, "size", place and f"p50, {place}"]
    found = [rows[name] for name in wanted if name in rows]
    return [Tile(name, old, new, change + _bounds(bounds)) for name, old, new, change, bounds in found]


def _bounds(bounds: str) -> str:
    return "" if bounds == fmt.ABSENT else f" {bounds}"
