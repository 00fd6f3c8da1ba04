"""The plans of a matrix' cells, and the steps that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeopt.plan import Inputs, Plan, PlannedStep, check, data_key, hub_data_name, key_parts, looked_up
from edgeopt.recipe.expand import Grid, each_cell
from edgeopt.store import State, Store, key_of


@dataclass(frozen=True)
class SharedStep:
    """A step that is built once, and the names of the cells that have it: any of their seeds, in either chain."""

    step: PlannedStep
    cells: tuple[str, ...]


class _ReadOnce(Store):
    """A store that verifies each state once: for looking, not for building."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.root)
        self._found: dict[str, State | None] = {}

    def find(self, key: str) -> State | None:
        if key not in self._found:
            self._found[key] = super().find(key)
        return self._found[key]


def check_cells(grid: Grid) -> list[Plan]:
    """The plan of each cell without a look at any store. Raises InputError for everything that a user can mend, and says
    in which cell it is."""
    inputs = Inputs()
    return each_cell([c.name for c in grid.cells], [lambda recipe=c.recipe: check(recipe, inputs) for c in grid.cells])


def plan_cells(grid: Grid, store: Store) -> list[list[Plan]]:
    """For each cell a plan for each of its seeds, with what the store holds. Raises as `check_cells` does."""
    once = _ReadOnce(store)
    return [looked_up(plan, once) for plan in check_cells(grid)]


def shared_steps(grid: Grid, plans: Sequence[Sequence[Plan]], store: Store) -> list[SharedStep]:
    """Each step that is built at most once, in the order of the building. A step that has no key yet is told by all that
    goes into its key, with its input's name for the input's digest."""
    steps: dict[str, PlannedStep] = {}
    cells: dict[str, dict[str, None]] = {}
    for cell, by_seed in zip(grid.cells, plans, strict=True):
        for plan in by_seed:
            data = data_key(plan, store) or {"fingerprint": hub_data_name(plan.recipe), "labels": None}
            for chain in plan.chains.values():
                name = plan.source.fingerprint() or f"{plan.source.id}@{plan.source.revision}"
                for step in chain:
                    identity = key_of(key_parts(step, name, plan, data))
                    steps.setdefault(identity, step)
                    cells.setdefault(identity, {})[cell.name] = None
                    name = step.state.digest if step.state else identity
    return [SharedStep(step, tuple(cells[identity])) for identity, step in steps.items()]
