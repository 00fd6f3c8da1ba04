"""edgeopt doctor."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.options import JSON, SET, STORE, open_store
from edgeopt.cli.output import print_json


@click.command("doctor")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@SET
@STORE
@JSON
def command(recipe: Path | None, overrides: tuple[str, ...], store: Path | None, as_json: bool) -> int:
    """Show versions, processor, memory and exporters; with a RECIPE, what it needs and whether it is here.

    Exit code 2 where something that is needed is missing.
    """
    from edgeopt.diagnose import diagnose

    findings = diagnose(recipe, overrides, open_store(store))
    if as_json:
        print_json([f.__dict__ for f in findings])
    else:
        wide = max(len(f.name) for f in findings)
        for f in findings:
            word, colour = {"ok": ("ok", "green"), "warn": ("note", "yellow"), "missing": ("missing", "red")}[f.status]
            mark = click.style(f"{word:<7}", fg=colour)
            click.echo(f"{mark} {f.name:<{wide}}  {f.text}")
    return 2 if any(f.status == "missing" for f in findings) else 0
