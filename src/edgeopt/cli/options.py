"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeopt.cli import completing

if TYPE_CHECKING:
    from edgeopt.store.store import Store


class Number(click.FloatRange):
    """A number of a range; nan, which no comparison finds outside of one, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found != found:
            self.fail(f"{value!r} is no number", param, ctx)
        return found


RECIPE = click.argument("recipe", type=click.Path(path_type=Path), shell_complete=completing.recipe_files)
RUN = click.argument("run", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=completing.values,
    help="Override a value, for example steps.int8.calibration.samples=64. Repeatable.",
)
CELL = click.option("--cell", metavar="NAME", help="For a recipe with a matrix: use only this cell.")
STORE = click.option(
    "--store",
    type=click.Path(path_type=Path),
    envvar="EDGEOPT_STORE",
    help="Where finished steps are kept. Default: ~/.cache/edgeopt, or EDGEOPT_STORE.",
)


def open_store(path: Path | None) -> Store:
    """The store that --store names, or the default one."""
    from edgeopt.store.store import Store

    return Store(path) if path else Store.default()
