"""edgeopt diff."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.options import JSON
from edgeopt.cli.output import log_to_stderr, print_json


@click.command("diff")
@click.argument("first", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("second", metavar="RUN", type=click.Path(path_type=Path))
@JSON
def command(first: Path, second: Path, as_json: bool) -> None:
    """Show what changed from the first RUN to the second, and what that did.

    The values of the recipe, the model and the rows, versions and machine, the steps by their keys; then metrics, with
    paired bounds where both runs answered the same rows, size, times, and the gates' verdicts. Nothing is measured
    anew.

    Exit code 0, whatever differs; 2 where a RUN is not the whole folder of a run.
    """
    from edgeopt import api
    from edgeopt.cli.drawing import open_console, show, tell
    from edgeopt.report.compare.diff_tables import notes, plain, tables

    log_to_stderr()
    found = api.diff(first, second)
    if as_json:
        print_json(plain(found))
        return
    console = open_console(width=160)
    for warning in found.warnings:
        tell(console, f"warning: {warning}", "yellow")
    for heading, table in tables(found):
        if table.rows:
            show(console, table, heading)
        elif heading != "Gates":
            console.print(f"{heading}: the same")
    for note in notes(found):
        tell(console, f"note: {note}")
    console.print(f"verdict: {' → '.join(verdict or 'no gates' for verdict in found.verdicts)}")
