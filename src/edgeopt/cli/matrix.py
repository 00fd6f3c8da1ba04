"""What apply and plan do with a recipe that has a matrix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.output import print_json, show_error
from edgeopt.support.errors import StepError, bad_input

if TYPE_CHECKING:
    from edgeopt.plan import Plan
    from edgeopt.plan.matrix import SharedStep
    from edgeopt.recipe.expand import Grid
    from edgeopt.run.matrix import CellResult
    from edgeopt.store.store import Store
    from edgeopt.support.progress import Progress


def apply_cells(grid: Grid, store: Store, out: Path, progress: Progress, *, locks: Path | None, remeasure: bool, as_json: bool) -> list[CellResult]:
    """Run the cells and show their comparison. Raises InputError E120 on several processes."""
    from dataclasses import replace

    from edgeopt.report.compare.write import NAME
    from edgeopt.run.matrix import comparison_of, exit_code, run_cells
    from edgeopt.run.processes import Group

    if Group.launched() > 1:
        help = "apply each cell by itself, with --cell NAME; then the matrix on one process, which finds them finished in OUT/cells"
        raise bad_input("E120", "a recipe with a matrix runs on one process", help=help)
    results = run_cells(grid, store, out, progress, locks=locks, remeasure=remeasure)
    page = out / f"{NAME}.html"
    if as_json:
        print_json({"exit_code": int(exit_code(results)), "comparison": str(page.with_suffix(".json")), "cells": [r.as_json() for r in results]})
        return results
    from edgeopt.cli.compare import show_comparison

    show_comparison(comparison_of(results))
    sys.stdout.flush()
    for result in results:
        if result.error:
            show_error(StepError([replace(i, message=f"cell '{result.cell.name}': {i.message}") for i in result.error.issues]), as_json=False)
    click.echo(page)
    return results


def show_cells(grid: Grid, store: Store, *, as_json: bool) -> None:
    """A table of the cells, and one of the steps that are built once for all that have them."""
    from edgeopt.plan.matrix import plan_cells, shared_steps

    plans = plan_cells(grid, store)
    shared = shared_steps(grid, plans)
    if as_json:
        from edgeopt.cli.plan_json import plan_as_json, step_as_json

        cells = [{"cell": c.name, "axes": dict(c.choices), **plan_as_json(by_seed)} for c, by_seed in zip(grid.cells, plans, strict=True)]
        steps = [{**step_as_json(s.step), "cells": list(s.cells)} for s in shared]
        print_json({"name": grid.name, "combinations": grid.combinations, "cells": cells, "distinct": steps})
        return
    same = grid.combinations - len(grid.cells)
    click.echo(f"{len(grid.cells)} cells" + (f" of {grid.combinations} combinations: the others come out the same" if same else ""))
    _echo([_cell(i, cell.name, by_seed) for i, (cell, by_seed) in enumerate(zip(grid.cells, plans, strict=True), 1)])
    total = sum(len(plan.steps) for by_seed in plans for plan in by_seed)
    cached = sum(s.step.status == "cached" for s in shared)
    click.echo(f"\n{len(shared)} distinct steps for the {total} of all cells, {cached} of them cached:")
    _echo([_step(s) for s in shared])


def _cell(number: int, name: str, by_seed: list[Plan]) -> list[str]:
    steps = [s for plan in by_seed for s in plan.steps]
    own = " → ".join(s.id for s in by_seed[0].recipe.steps)
    seeds = f", {len(by_seed)} seeds" if len(by_seed) > 1 else ""
    return [f"{number:>3}", name, own or "no steps", f"{sum(s.status == 'cached' for s in steps)} of {len(steps)} steps cached{seeds}"]


def _step(shared: SharedStep) -> list[str]:
    step, count = shared.step, len(shared.cells)
    cells = shared.cells[0] if count == 1 else f"{count} cells"
    return [f"{step.chain}.{step.id}", step.use, step.status, (step.key or "")[:12], cells]


def _echo(rows: list[list[str]]) -> None:
    """Rows as columns, each as wide as its longest entry."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=True)).rstrip())
