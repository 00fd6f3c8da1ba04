"""What apply and plan do with a recipe that has a matrix."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from edgeopt.cli.output import print_json, say, show_error
from edgeopt.support.errors import StepError

if TYPE_CHECKING:
    from edgeopt.api import Cells, Planned
    from edgeopt.plan import Plan
    from edgeopt.plan.matrix import SharedStep
    from edgeopt.recipe.expand import Grid


def show_finished(cells: Cells, *, as_json: bool) -> None:
    """Print what came out of the cells, and why some have no run."""
    from edgeopt.report.compare.write import NAME
    from edgeopt.run.matrix import exit_code

    page = cells.folder / f"{NAME}.html"
    if as_json:
        shown = [r.as_json() for r in cells.results]
        print_json(
            {"exit_code": int(exit_code(cells.results)), "comparison": str(page.with_suffix(".json")), "cells": shown}
        )
        return
    from edgeopt.cli.compare import show_comparison

    show_comparison(cells.comparison)
    sys.stdout.flush()
    for name, error in cells.errors.items():
        show_error(StepError([replace(i, message=f"cell '{name}': {i.message}") for i in error.issues]), as_json=False)
    click.echo(page)


def show_cells(grid: Grid, planned: Planned, *, as_json: bool) -> None:
    """Print a table of the cells, and one of the steps that are built once for all that have them."""
    plans, shared = list(planned.cells.values()), planned.shared
    if as_json:
        from edgeopt.cli.plan_json import plan_as_json, step_as_json

        cells = [
            {"cell": c.name, "axes": dict(c.choices), **plan_as_json(by_seed)}
            for c, by_seed in zip(grid.cells, plans, strict=True)
        ]
        steps = [{**step_as_json(s.step), "cells": list(s.cells)} for s in shared]
        print_json({"name": grid.name, "combinations": grid.combinations, "cells": cells, "distinct": steps})
        return
    same = grid.combinations - len(grid.cells)
    say(
        f"{len(grid.cells)} cells"
        + (f" of {grid.combinations} combinations: the others come out the same" if same else "")
    )
    _echo([_cell(i, cell.name, by_seed) for i, (cell, by_seed) in enumerate(zip(grid.cells, plans, strict=True), 1)])
    total = sum(len(plan.steps) for by_seed in plans for plan in by_seed)
    cached = sum(s.step.status == "cached" for s in shared)
    say(f"\n{len(shared)} distinct steps for the {total} of all cells, {cached} of them cached:")
    _echo([_step(s) for s in shared])


def _cell(number: int, name: str, by_seed: Sequence[Plan]) -> list[str]:
    steps = [s for plan in by_seed for s in plan.steps]
    own = " → ".join(s.id for s in by_seed[0].recipe.steps)
    seeds = f", {len(by_seed)} seeds" if len(by_seed) > 1 else ""
    return [
        f"{number:>3}",
        name,
        own or "no steps",
        f"{sum(s.status == 'cached' for s in steps)} of {len(steps)} steps cached{seeds}",
    ]


def _step(shared: SharedStep) -> list[str]:
    step, count = shared.step, len(shared.cells)
    cells = shared.cells[0] if count == 1 else f"{count} cells"
    return [f"{step.chain}.{step.id}", step.use, step.status, (step.key or "")[:12], cells]


def _echo(rows: list[list[str]]) -> None:
    """Print rows in columns, each as wide as its longest entry."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=True)).rstrip())
