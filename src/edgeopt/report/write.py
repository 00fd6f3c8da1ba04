"""Write the report and its renderings into a run's folder."""

from __future__ import annotations

from pathlib import Path

from edgeopt.report.card import render_card
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.report.model import Report
from edgeopt.store import write_json


def write_report(report: Report, folder: Path, *, pair: bool) -> None:
    """report.json, report.md, report.html, and the model card model/README.md."""
    write_json(folder / "report.json", report.model_dump(mode="json"))
    (folder / "report.md").write_text(render_markdown(report), encoding="utf-8")
    (folder / "report.html").write_text(render_html(report), encoding="utf-8")
    card = render_card(report, pair=pair, quantized=report.candidate.precision == "int8")
    (folder / "model" / "README.md").write_text(card, encoding="utf-8")
