"""What a verdict is asked of: the task, its rows and the gates, from a recipe or from the lock of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.data import Split, load_reported
from edgeopt.errors import Place, bad_input
from edgeopt.recipe.load import load_recipe
from edgeopt.recipe.schema import GateSpec, ModelSpec, Target, TaskSpec
from edgeopt.recipe.yaml import Path_
from edgeopt.sealed import Run
from edgeopt.tasks import Task


@dataclass(frozen=True)
class Asked:
    """gates: each with the place where it stands, if it stands in a recipe. folder: what relative paths are relative to.
    resolved: the recipe with its defaults, as the lock has it."""

    name: str
    model: ModelSpec
    task: TaskSpec
    gates: tuple[tuple[GateSpec, Place | None], ...]
    targets: tuple[Target, ...]
    folder: Path
    resolved: Mapping[str, Any]
    place: Callable[[Path_], Place | None]

    def rows(self, names: Sequence[str]) -> tuple[Split, Task]:
        """The report split and the task; names: of the model's classes. Raises InputError as `load_reported` does."""
        files = self.task.dataset.data_files
        split = self.task.report or ("validation" if files is None or files.validation else "test")
        at = self.place(("task", "dataset") if self.task.dataset.path is None else ("task", "dataset", "path"))
        return load_reported(self.task, self.folder, names, at, self.place(("task", "dataset", "data_files", split)) if files else at)


def asked_by(recipe: Path | None, overrides: Sequence[str], run: Run | None) -> Asked:
    """recipe: whose gates are decided; without one those of the run's lock. Raises InputError of the recipe, E109 for --set
    without one, E115 for a run without a recipe in its lock, E134 where there is neither."""
    if recipe is not None:
        loaded = load_recipe(recipe, overrides)
        place = loaded.document.place
        gates = tuple((g, place(("gates", i))) for i, g in enumerate(loaded.head.gates))
        return Asked(loaded.head.name, loaded.head.model, loaded.head.task, gates, loaded.targets, loaded.folder, loaded.resolved(), place)
    if overrides:
        raise bad_input("E109", "--set needs --recipe: without it the gates are those of the run")
    if run is None:
        raise bad_input("E134", "a finished model brings neither rows nor gates", help="give --recipe FILE, which names both")
    return _locked(run)


def _locked(run: Run) -> Asked:
    source = Path(run.report.recipe.source)  # paths are relative to the recipe, and the lock does not say where that was
    try:
        resolved = run.lock["recipe"]["resolved"]
        gates = tuple((GateSpec.model_validate(g), None) for g in resolved["gates"])
        targets = tuple(Target.model_validate(t) for t in resolved["targets"])
        model, task = ModelSpec.model_validate(resolved["model"]), TaskSpec.model_validate(resolved["task"])
        return Asked(resolved["name"], model, task, gates, targets, source.parent, resolved, lambda at: None)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(run.folder, error) from None


def damaged(run: Path, error: Exception) -> Exception:
    return bad_input("E115", f"the run {run} is damaged: {' '.join(str(error).split())[:200]}", help="apply the recipe again")
