"""edgeopt doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli import completing
from edgeopt.cli.options import JSON, SET, STORE, open_store
from edgeopt.cli.output import echo_styled, print_json
from edgeopt.support.errors import ExitCode

if TYPE_CHECKING:
    from edgeopt.plan.doctor import Finding


@click.command("doctor")
@click.argument("recipe", type=click.Path(path_type=Path), required=False, shell_complete=completing.recipe_files)
@SET
@STORE
@JSON
def command(recipe: Path | None, overrides: tuple[str, ...], store: Path | None, as_json: bool) -> int:
    """Show versions, processor, memory and exporters; with a RECIPE, what it needs and whether it is here.

    Exit code 2 where something that is needed is missing.
    """
    from edgeopt.plan.doctor import diagnose, diagnose_recipe

    opened = open_store(store)
    found = diagnose(opened)
    if not as_json:
        _show(found)
    if recipe is not None:
        needs = diagnose_recipe(recipe, overrides, opened)
        found += needs
        if not as_json:
            _show(needs)
    if as_json:
        print_json([f.__dict__ for f in found])
    return ExitCode.BAD_INPUT if any(f.status == "missing" for f in found) else ExitCode.PASS


def _show(found: list[Finding]) -> None:
    for f in found:
        word, color = {"ok": ("ok", "green"), "warn": ("note", "yellow"), "missing": ("missing", "red")}[f.status]
        echo_styled((f"{word:<7}", {"fg": color}), (f" {f.name:<20}  {f.text}", {}))
