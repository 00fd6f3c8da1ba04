"""edgeopt exporters."""

from __future__ import annotations

import click

from edgeopt.cli.options import JSON
from edgeopt.cli.output import print_json


@click.command("exporters")
@JSON
def command(as_json: bool) -> None:
    """List what a model can be exported for: runtime, what is converted, shapes, and what is missing here."""
    from edgeopt.export.exporter import EXPORTERS, absent, install_command

    made = [e for _, e in sorted(EXPORTERS.usable().items())]
    if as_json:
        print_json(
            [
                {
                    "name": e.name,
                    "summary": e.summary,
                    "runtime": e.runtime,
                    "source": e.source,
                    "requires": sorted(e.requires),
                    "forbids": sorted(e.forbids),
                    "paddings": list(e.paddings),
                    "needs": list(e.needs),
                    "missing": absent(e),
                    "install": install_command(e) if absent(e) else None,
                    "options": e.known_options,
                    "auto": e.native,
                }
                for e in made
            ]
        )
        return
    from edgeopt.cli.drawing import open_console, show
    from edgeopt.report.table import Column, Table

    columns = [Column(name) for name in ("Exporter", "Runtime", "Converts", "Queries", "Here", "What it writes")]
    rows = [
        [
            e.name,
            e.runtime,
            _CONVERTS[e.source],
            ", ".join(_PADDINGS[p] for p in e.paddings),
            "absent" if absent(e) else "ok",
            e.summary,
        ]
        for e in made
    ]
    console = open_console()
    show(console, Table(columns, rows), "Exporters")
    for e in made:
        if absent(e):  # a line by itself, which can be copied
            click.echo(f"{e.name} needs: {install_command(e)}")


_CONVERTS = {"graph": "the graph, int8 or FP32", "torch": "the FP32 model, to int8"}
_PADDINGS = {"dynamic": "any length", "buckets": "padded to 32, 64, …", "max_length": "padded to the longest"}
