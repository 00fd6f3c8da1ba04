"""edgeopt exporters."""

from __future__ import annotations

import click

from edgeopt.cli.options import JSON
from edgeopt.cli.output import print_json


@click.command("exporters")
@JSON
def command(as_json: bool) -> None:
    """List what a model can be exported for: runtime, what is converted, shapes, and what is missing here."""
    from edgeopt.export import absent, exporter, exporter_names, install_command

    made = [exporter(name) for name in exporter_names()]
    if as_json:
        print_json([
            {"name": e.name, "summary": e.summary, "runtime": e.runtime, "source": e.source, "requires": sorted(e.requires), "forbids": sorted(e.forbids),
             "paddings": list(e.paddings), "needs": list(e.needs), "missing": absent(e), "install": install_command(e) if absent(e) else None,
             "options": e.known_options, "auto": e.native}
            for e in made
        ])  # fmt: skip
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Exporter", "Runtime", "Converts", "Queries", "Here", "What it writes"):
        table.add_column(column)
    for e in made:
        missing = absent(e)
        here = f"[yellow]{install_command(e).replace('[', chr(92) + '[')}[/]" if missing else "[green]ok[/]"
        table.add_row(e.name, e.runtime, _converts(e.source), ", ".join(map(_SHAPES.__getitem__, e.paddings)), here, e.summary)
    Console(highlight=False).print(table)


_SHAPES = {"dynamic": "any length", "buckets": "padded to 32, 64, …", "max_length": "padded to the longest"}


def _converts(source: str) -> str:
    return "the graph, int8 or FP32" if source == "graph" else "the FP32 model, to int8"
