"""edgeopt plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.costs import lines
from edgeopt.cli.options import CELL, JSON, RECIPE, SET, STORE
from edgeopt.cli.output import print_json, say
from edgeopt.cli.plan_json import plan_as_json

if TYPE_CHECKING:
    from edgeopt.plan import Plan


@click.command("plan")
@RECIPE
@SET
@CELL
@STORE
@click.option("--cost", is_flag=True, help="Also show what each training computes and holds, and its time if known.")
@JSON
def command(
    recipe: Path, overrides: tuple[str, ...], cell: str | None, store: Path | None, cost: bool, as_json: bool
) -> None:
    """Show the steps of RECIPE in order, with what the planner adds, and for each whether it is cached.

    For a RECIPE with a matrix, show its cells and their steps, and how many cells share each step.

    Computes and downloads nothing.
    """
    from edgeopt import api
    from edgeopt.plan.inputs import model_in_words, rows_in_words
    from edgeopt.recipe.expand import Grid

    planned = api.plan(recipe, set=overrides, cell=cell, store=store, cost=cost)
    if isinstance(planned.recipe, Grid):
        from edgeopt.cli.matrix import show_cells

        show_cells(planned.recipe, planned, as_json=as_json)
        return
    plans = planned.plans
    plan = plans[0]
    if as_json:
        print_json({**plan_as_json(plans), **(planned.costs.as_json() if planned.costs else {})})
        return
    wide = max(len(f"{s.chain}.{s.id}") for s in plan.steps)
    wide_use = max(len(s.use) for s in plan.steps)
    for step in plan.steps:
        by = "(added) " if step.implied else ""
        note = f", {step.note}" if step.note else ""
        why = f"  — {step.why}" if step.why else ""
        key = (step.key or "")[:12]
        say(
            f"{f'{step.chain}.{step.id}':<{wide}}  {step.use:<{wide_use}}  {step.status:<6}  {key:<12}  "
            f"{by}{step.transform.summary}{note}{why}"
        )
    if len(plans) > 1:
        say(
            f"seeds: the steps above are for seed {plan.recipe.head.seed}, "
            "whose model is exported, timed and gated; the other seeds:"
        )
        for other in plans[1:]:
            say(f"  {_in_short(other)}")
    _tell_measured(plan)
    for line in lines(planned.costs) if planned.costs else ():
        say(line)
    head = plan.recipe.head
    if plan.source.folder is None:
        say(f"model: {model_in_words(plan.source)}")
    if plan.data is None or head.task.train_with or plan.recipe.unlabelled():
        say(f"data: {rows_in_words(plan.recipe, plan.data)}")
    say(
        f"export: {', '.join(e.format for e in head.export)}   "
        f"targets: {', '.join(t.name for t in plan.recipe.targets)}   gates: {len(head.gates)}"
    )


def _tell_measured(plan: Plan) -> None:
    """What steps like these kept and took in a benchmark, where one is near."""
    from edgeopt.plan.measured import advice

    told = advice(plan)
    if told:
        say("measured for steps like these; near cases, no promise for this recipe:")
    for each in told:
        say(f"  {each.line()}")


def _in_short(plan: Plan) -> str:
    """A line on the plan of one seed: `seed 2: 3 of 8 steps cached; first to build: candidate.adapt  — never built`."""
    missing = [s for s in plan.steps if s.status != "cached"]
    cached = f"seed {plan.recipe.head.seed}: {len(plan.steps) - len(missing)} of {len(plan.steps)} steps cached"
    return f"{cached}; first to build: {missing[0].chain}.{missing[0].id}  — {missing[0].why}" if missing else cached
