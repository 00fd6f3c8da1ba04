"""The plans of a matrix' cells, and the steps that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeopt.plan import Inputs, Plan, PlannedStep, check, looked_up, seed_of
from edgeopt.recipe.expand import Grid, each_cell
from edgeopt.store.store import State, Store
from edgeopt.support.files import key_of


@dataclass(frozen=True)
class SharedStep:
    """A step that is built once, and the names of the cells that have it: any of their seeds, in either chain."""

    step: PlannedStep
    cells: tuple[str, ...]


class ReadOnce(Store):
    """A store that verifies each state once: for looking, not for building."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.root)
        self._found: dict[str, State] = {}

    def find(self, key: str) -> State | None:
        if key not in self._found and (state := super().find(key)):
            self._found[key] = state
        return self._found.get(key)


def check_cells(grid: Grid) -> list[Plan]:
    """The plan of each cell without a look at any store.

    Raises InputError for everything that a user can mend, and says in which cell it is.
    """
    inputs = Inputs()
    return each_cell([c.name for c in grid.cells], grid.cells, lambda cell: check(cell.recipe, inputs))


def plan_cells(grid: Grid, store: Store) -> list[list[Plan]]:
    """For each cell a plan for each of its seeds, with what the store holds. Raises as `check_cells` does."""
    once = ReadOnce(store)
    return [looked_up(plan, once) for plan in check_cells(grid)]


def shared_steps(grid: Grid, plans: Sequence[Sequence[Plan]]) -> list[SharedStep]:
    """Each step that is built at most once, in the order of the building.

    Where a step has no key yet, all that the recipe says of it and of the steps before it stands for one.
    """
    steps: dict[str, PlannedStep] = {}
    cells: dict[str, dict[str, None]] = {}
    for cell, by_seed in zip(grid.cells, plans, strict=True):
        for plan in by_seed:
            for chain in plan.chains.values():
                before = key_of(
                    {
                        "model": plan.recipe.head.model.model_dump(),
                        "task": plan.recipe.head.task.model_dump(mode="json"),
                    }
                )
                for step in chain:
                    identity = step.key or key_of({"before": before, **_said(step, plan)})
                    steps.setdefault(identity, step)
                    cells.setdefault(identity, {})[cell.name] = None
                    before = step.state.digest if step.state else identity
    return [SharedStep(step, tuple(cells[identity])) for identity, step in steps.items()]


def _said(step: PlannedStep, plan: Plan) -> dict[str, Any]:
    seed = seed_of(step, plan.recipe) if step.transform.seeded else None
    return {"use": step.use, "params": step.params.model_dump(mode="json"), "seed": seed}
