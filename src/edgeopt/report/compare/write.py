"""Leave a comparison in a folder, in every form."""

from __future__ import annotations

from pathlib import Path

from edgeopt.report.compare import render as compare_render
from edgeopt.report.compare.runs import Comparison
from edgeopt.report.compare.tables import plain
from edgeopt.support.files import write_json, write_text

NAME = "comparison"
_FORMS = {
    "md": compare_render.render_markdown,
    "html": compare_render.render_html,
    "csv": compare_render.render_csv,
    "tex": compare_render.render_latex,
}


def write_comparison(found: Comparison, folder: Path) -> None:
    """comparison.json, .md, .html, .csv and .tex; each whole, or as it was."""
    write_json(folder / f"{NAME}.json", plain(found))
    for ending, render in _FORMS.items():
        write_text(folder / f"{NAME}.{ending}", render(found))
