"""report.md: the verdict and the figures, for a terminal, a pull request or a ticket."""

from __future__ import annotations

from edgeopt.report import headline, tables
from edgeopt.report.markdown_text import escape, table
from edgeopt.results.model import Report


def render_markdown(report: Report) -> str:
    """The report as Markdown, for a terminal, a pull request or a summary of CI."""
    title = f"# {report.verdict.upper()}: {escape(report.recipe.name)}"
    beside = [f"**Warning:** {escape(warning)}" for warning in report.warnings]
    sections = [title, *beside, headline.sentence(report), table(tables.figures(report)), tables.BOUNDS]
    if report.gates:
        sections += ["## Gates", table(tables.gates(report))]
    for heading, content, note, _ in tables.details(report):
        sections += [f"## {heading}", table(content), *([note] if note else [])]
    if report.notes:
        sections += ["## Notes", "\n".join(f"- {escape(note)}" for note in report.notes)]
    return "\n\n".join(sections) + "\n"
