"""edgeopt compare."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.options import JSON
from edgeopt.cli.output import log_to_stderr, print_json

if TYPE_CHECKING:
    from edgeopt.report.compare.runs import Comparison
    from edgeopt.support.user_files import Kind


@click.command("compare")
@click.argument("runs", metavar="RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "html", "csv", "latex"]),
    default="text",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead of stdout.")
@click.option(
    "--baseline/--no-baseline",
    default=True,
    show_default=True,
    help="Also show the FP32 baselines. A baseline that runs have in common is shown once.",
)
@JSON
def command(runs: tuple[Path, ...], form: str, out: Path | None, baseline: bool, as_json: bool) -> None:
    """Put several RUNs side by side: metrics, size, speed, and what training cost. Computes nothing.

    A row a run, named after its recipe. Runs over other data or models are compared all the same, and a warning
    says which figures are not comparable. Runs that differ in one number of the recipe, or pruned different shares,
    are also listed along it; html draws that. csv and --json hold raw numbers.

    Exit code 0; 2 where a RUN is not the folder of a run, or --out cannot be written.
    """
    from edgeopt import api
    from edgeopt.report.compare import render as compare_render
    from edgeopt.report.compare.tables import plain
    from edgeopt.support.user_files import check_output

    if out is not None:
        check_output("--out", out, _kind(form))
    log_to_stderr()
    found = api.compare(*runs, baseline=baseline)
    if as_json:
        print_json(plain(found))
        return
    renderers = {
        "markdown": compare_render.render_markdown,
        "html": compare_render.render_html,
        "csv": compare_render.render_csv,
        "latex": compare_render.render_latex,
    }
    if form in renderers:
        text = renderers[form](found)
        _leave(text, out, form)
        if form == "csv":
            _warn(found)  # a line of its own would be a row
    elif out is None:
        show_comparison(found)
    else:
        file = io.StringIO()
        show_comparison(found, file)
        _leave(file.getvalue(), out, form)


def _kind(form: str) -> Kind:
    """How a comparison begins in a file, so that the next one may replace it.

    A csv file begins with the columns that all have.
    """
    from edgeopt.support.user_files import Kind

    begins = {
        "text": "edgeopt compare",
        "latex": "% edgeopt compare",
        "csv": "run,role,model,digest_of_model,task,dataset,split,rows,",
    }
    return Kind(f"comparison ({form})", begins.get(form, "<!-- edgeopt compare -->"))


def show_comparison(found: Comparison, file: io.StringIO | None = None) -> None:
    """Print the tables of a comparison on the terminal, or into a file."""
    from edgeopt.cli.drawing import open_console, show, tell
    from edgeopt.report.compare.tables import notes, tables

    console = open_console(file, width=200)
    for warning in found.warnings:
        tell(console, f"warning: {warning}", "yellow")
    for heading, table in tables(found):
        show(console, table, heading)
    for note in notes(found):
        tell(console, note)


def _warn(found: Comparison) -> None:
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)


def _leave(text: str, out: Path | None, form: str) -> None:
    """Print a comparison, or write it into the file, whose path is then what stdout gets."""
    from edgeopt.support.user_files import write_output

    if out is None:
        click.echo(text, nl=False)
        return
    kind = _kind(form)
    write_output("--out", out, kind, text if text.startswith(kind.begins) else f"{kind.begins}\n\n{text}")
    click.echo(out)
