"""Write the report and its renderings into a run's folder."""

from __future__ import annotations

from pathlib import Path

from edgeopt.report.card import render_card
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.results.model import Report, Seal
from edgeopt.results.sealed import LOCK, REPORT, sealed
from edgeopt.support.files import write_json, write_text


def write_report(report: Report, folder: Path, *, pair: bool) -> Report:
    """report.md, report.html, the model card model/README.md, and last report.json, which seals them and recipe.lock.

    Returns the report with its seal.
    """
    card = render_card(report, pair=pair, quantized=report.candidate.precision == "int8")
    texts = {"report.md": render_markdown(report), "report.html": render_html(report), "model/README.md": card}
    for name, text in texts.items():
        write_text(folder / name, text)
    content = sealed(report, folder, (LOCK, *texts))
    write_json(folder / REPORT, content)
    return report.model_copy(update={"seal": Seal.model_validate(content["seal"])})
