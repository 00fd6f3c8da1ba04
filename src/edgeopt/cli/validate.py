"""edgeopt validate."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.options import JSON, RECIPE, SET
from edgeopt.cli.output import print_json


@click.command("validate")
@RECIPE
@SET
@JSON
def command(recipe: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check RECIPE: its words, the order of its steps, and the data files and model folder it names.

    Everything wrong is reported at once, at its line. Computes and downloads nothing.
    """
    from edgeopt.plan import check
    from edgeopt.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides)
    plan = check(loaded)
    rows = "on the hub, not checked" if plan.data is None else plan.data.summary()
    if as_json:
        print_json({"valid": True, "name": loaded.head.name, "steps": [s.id for s in loaded.steps], "digest": loaded.digest})
    else:
        click.echo(f"{recipe}: valid; {len(loaded.steps)} steps; data: {rows}; model: {loaded.head.model.id}")
