"""edgeopt plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.options import CELL, JSON, RECIPE, SET, STORE, open_store
from edgeopt.cli.output import print_json

if TYPE_CHECKING:
    from edgeopt.data.task_data import Extra, TaskData
    from edgeopt.plan import Plan, PlannedStep


@click.command("plan")
@RECIPE
@SET
@CELL
@STORE
@JSON
def command(recipe: Path, overrides: tuple[str, ...], cell: str | None, store: Path | None, as_json: bool) -> None:
    """Show the steps of RECIPE in order, with what the planner adds, and for each whether it is cached.

    A RECIPE with a matrix: its cells, and each step that is built for them, with how many cells share it.

    Computes and downloads nothing.
    """
    from edgeopt.plan import make_plans
    from edgeopt.plan.inputs import model_in_words, rows_in_words
    from edgeopt.recipe.expand import Grid, load

    loaded = load(recipe, overrides, cell)
    if isinstance(loaded, Grid):
        from edgeopt.cli.matrix import show_cells

        show_cells(loaded, open_store(store), as_json=as_json)
        return
    plans = make_plans(loaded, open_store(store))
    plan = plans[0]
    if as_json:
        print_json(plan_as_json(plans))
        return
    wide = max(len(f"{s.chain}.{s.id}") for s in plan.steps)
    wide_use = max(len(s.use) for s in plan.steps)
    for step in plan.steps:
        by = "(added) " if step.implied else ""
        note = f", {step.note}" if step.note else ""
        why = f"  — {step.why}" if step.why else ""
        key = (step.key or "")[:12]
        click.echo(f"{f'{step.chain}.{step.id}':<{wide}}  {step.use:<{wide_use}}  {step.status:<6}  {key:<12}  {by}{step.transform.summary}{note}{why}")
    if len(plans) > 1:
        click.echo(f"seeds: the steps above are those of seed {plan.recipe.head.seed}, whose model is exported, timed and gated; the same with")
        for other in plans[1:]:
            click.echo(f"  {_in_short(other)}")
    head = plan.recipe.head
    if plan.source.folder is None:
        click.echo(f"model: {model_in_words(plan.source)}")
    if plan.data is None or head.task.train_with or plan.recipe.unlabelled():
        click.echo(f"data: {rows_in_words(plan.recipe, plan.data)}")
    click.echo(f"export: {', '.join(e.format for e in head.export)}   targets: {', '.join(t.name for t in plan.recipe.targets)}   gates: {len(head.gates)}")


def plan_as_json(plans: Sequence[Plan]) -> dict[str, object]:
    """plans: one a seed."""
    by_seed = [{"seed": p.recipe.head.seed, "steps": [step_as_json(s) for s in p.steps]} for p in plans]
    found = {"name": plans[0].recipe.head.name, **_extra(plans[0].data), "steps": by_seed[0]["steps"]}
    return {**found, "seeds": by_seed} if len(plans) > 1 else found


def _in_short(plan: Plan) -> str:
    """`seed 2: 3 of 8 steps cached; first to build: candidate.adapt  — never built`."""
    missing = [s for s in plan.steps if s.status != "cached"]
    cached = f"seed {plan.recipe.head.seed}: {len(plan.steps) - len(missing)} of {len(plan.steps)} steps cached"
    return f"{cached}; first to build: {missing[0].chain}.{missing[0].id}  — {missing[0].why}" if missing else cached


def _extra(data: TaskData | None) -> dict[str, list[dict[str, object]] | None]:
    """What each dataset of task.train_with and each without labels brings; None where rows are on the hub."""

    def brings(found: Iterable[Extra]) -> list[dict[str, object]]:
        return [{"source": e.source, "rows": len(e.rows), "left_out": e.left_out, "fingerprint": e.rows.fingerprint} for e in found]

    return {"train_with": None if data is None else brings(data.extra), "unlabelled": None if data is None else brings(data.unlabelled.values())}


def step_as_json(step: PlannedStep) -> dict[str, object]:
    return {
        "chain": step.chain,
        "id": step.id,
        "use": step.use,
        "implied": step.implied,
        "status": step.status,
        "why": step.why,
        "key": step.key,
        "note": step.note,
    }
