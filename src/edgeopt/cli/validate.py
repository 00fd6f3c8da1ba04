"""edgeopt validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.options import JSON, RECIPE, SET
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    from edgeopt.plan import Plan


@click.command("validate")
@RECIPE
@SET
@JSON
def command(recipe: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check RECIPE: its words, the order of its steps, and the data files and model folder it names.

    Everything wrong is reported at once, at its line. Computes and downloads nothing.
    """
    from edgeopt import api
    from edgeopt.recipe.expand import Grid

    found = api.validate(recipe, set=overrides)
    loaded, plan = found.recipe, found.plans[0]
    if isinstance(loaded, Grid):
        if as_json:
            cells = [
                {
                    "name": c.name,
                    "axes": dict(c.choices),
                    "steps": [s.id for s in c.recipe.steps],
                    "digest": c.recipe.digest,
                }
                for c in loaded.cells
            ]
            print_json({"valid": True, "name": loaded.name, "cells": cells, **_inputs(plan)})
        else:
            say(f"{recipe}: valid; {len(loaded.cells)} cells; data of the first: {_words(plan)}")
    elif as_json:
        print_json(
            {
                "valid": True,
                "name": loaded.head.name,
                "steps": [s.id for s in loaded.steps],
                "digest": loaded.digest,
                **_inputs(plan),
            }
        )
    else:
        say(f"{recipe}: valid; {len(loaded.steps)} steps; data: {_words(plan)}")


def _words(plan: Plan) -> str:
    from edgeopt.plan.inputs import model_in_words, rows_in_words

    return f"{rows_in_words(plan.recipe, plan.data)}; model: {model_in_words(plan.source)}"


def _inputs(plan: Plan) -> dict[str, object]:
    """What was found of rows and model; `checked` is false of those on the hub."""
    from edgeopt.plan.inputs import model_in_words, rows_in_words

    return {
        "data": {"checked": plan.data is not None, "found": rows_in_words(plan.recipe, plan.data)},
        "model": {
            "id": plan.source.id,
            "checked": plan.source.folder is not None,
            "found": model_in_words(plan.source),
        },
    }
