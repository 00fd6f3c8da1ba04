"""edgeopt report."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.options import JSON, RUN
from edgeopt.cli.output import echo_json


@click.command("report")
@RUN
@click.option(
    "--format", "form", type=click.Choice(["text", "markdown", "html", "json"]), default="text", show_default=True
)
@JSON
def command(run: Path, form: str, as_json: bool) -> None:
    """Print the report of RUN, rendered from its report.json."""
    from edgeopt.results.sealed import open_run

    report = open_run(run).report
    if as_json or form == "json":
        echo_json(report.model_dump_json(indent=1))
    elif form == "markdown":
        from edgeopt.report.markdown import render_markdown

        click.echo(render_markdown(report))
    elif form == "html":
        from edgeopt.report.html import render_html

        click.echo(render_html(report))
    else:
        from edgeopt.cli.summary import show_summary

        show_summary(report)
