"""A request for a verdict: the task, its rows and the gates, from a recipe or from the lock of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeopt.data import Split, TaskData, load_data, load_reported
from edgeopt.gates.rows_of_run import damaged, recipe_folders, rows_of
from edgeopt.models.source import find_model
from edgeopt.recipe.load import Recipe, load_recipe
from edgeopt.results.sealed import Run
from edgeopt.spec.recipe import GateSpec, ModelSpec, Target, TaskSpec, task_in
from edgeopt.support.errors import EdgeoptError, Path_, Place, bad_input
from edgeopt.tasks import Task, task_type


@dataclass(frozen=True)
class Request:
    """What gates are decided for: the recipe's model, task, targets and gates.

    gates: each with the place where it stands, if it stands in a recipe. folder: what relative paths are relative to.
    resolved: the recipe with its defaults, as the lock has it. run: that which it was asked of, whose rows are then the
    only ones.
    """

    name: str
    model: ModelSpec
    task: TaskSpec
    gates: tuple[tuple[GateSpec, Place | None], ...]
    targets: tuple[Target, ...]
    folder: Path
    resolved: Mapping[str, Any]
    place: Callable[[Path_], Place | None]
    run: Run | None = None

    def rows(self, names: Sequence[str]) -> tuple[Split, Task]:
        """The report split and the task; names: of the model's classes.

        Raises InputError as `load_reported` and `rows_of` do.
        """
        if self.run is not None:
            return rows_of(self.run, self.task)
        return load_reported(self.task, self.folder, names, self.place)

    @cached_property
    def data(self) -> TaskData:
        """Train and the report split, as `apply` has them. Raises InputError as `load_data` does."""
        return load_data(self.task, self.folder, self.place)

    def fingerprint(self) -> str | None:
        """The fingerprint of the recipe's model, where that is here: a machine that only gates need not have it."""
        try:
            source = find_model(self.model, self.folder, embeds=task_type(self.task.type).embeds)
        except EdgeoptError:
            return None
        return source.fingerprint()


def request_by(recipe: Path | None, overrides: Sequence[str], run: Run | None) -> Request:
    """The request of a recipe; without one that of the run's lock.

    Raises InputError of the recipe, E109 for --set without one, E115 for a run without a recipe in its lock, E134 where
    there is neither.
    """
    if recipe is not None:
        return request_of(load_recipe(recipe, overrides))
    if overrides:
        raise bad_input("E109", "--set needs --recipe: without one, the gates of the run are used")
    if run is None:
        raise bad_input(
            "E134", "a finished model has neither rows nor gates", help="give --recipe FILE, which has both"
        )
    return _locked(run)


def request_of(recipe: Recipe) -> Request:
    """What a recipe asks of its gates."""
    place = recipe.document.place
    gates = tuple((g, place(("gates", i))) for i, g in enumerate(recipe.head.gates))
    return Request(
        recipe.head.name,
        recipe.head.model,
        recipe.head.task,
        gates,
        recipe.targets,
        recipe.folder,
        recipe.resolved(),
        place,
    )


def _locked(run: Run) -> Request:
    try:
        resolved = run.lock["recipe"]["resolved"]
        gates = tuple((GateSpec.model_validate(g), None) for g in resolved["gates"])
        targets = tuple(Target.model_validate(t) for t in resolved["targets"])
        model, task = ModelSpec.model_validate(resolved["model"]), task_in(resolved)
        return Request(
            resolved["name"], model, task, gates, targets, recipe_folders(run)[0], resolved, lambda at: None, run
        )
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(run.folder, error) from None


def target_of(spec: GateSpec, asked: Request) -> Target:
    """The target that a gate is on: the one that it names, or the recipe's first."""
    return next(t for t in asked.targets if spec.target in (None, t.name))
