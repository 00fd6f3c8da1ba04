"""What a verdict is asked of: the task, its rows and the gates, from a recipe or from the lock of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.data import Split, load_reported
from edgeopt.recipe.load import Recipe, load_recipe
from edgeopt.results.locked import SLICES
from edgeopt.results.sealed import Run
from edgeopt.spec.recipe import GateSpec, ModelSpec, Target, TaskSpec
from edgeopt.support.errors import InputError, Issue, Path_, Place, bad_input
from edgeopt.tasks import Task


@dataclass(frozen=True)
class Asked:
    """gates: each with the place where it stands, if it stands in a recipe. folder: what relative paths are relative to.
    resolved: the recipe with its defaults, as the lock has it. run: that which it was asked of, whose rows are then the only ones."""

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
        """The report split and the task; names: of the model's classes. Raises InputError as `load_reported` and `rows_of` do."""
        if self.run is not None:
            return rows_of(self.run, self.task)
        return load_reported(self.task, self.folder, names, self.place)


def asked_by(recipe: Path | None, overrides: Sequence[str], run: Run | None) -> Asked:
    """recipe: whose gates are decided; without one those of the run's lock. Raises InputError of the recipe, E109 for --set
    without one, E115 for a run without a recipe in its lock, E134 where there is neither."""
    if recipe is not None:
        return asked_of(load_recipe(recipe, overrides))
    if overrides:
        raise bad_input("E109", "--set needs --recipe: without it the gates are those of the run")
    if run is None:
        raise bad_input("E134", "a finished model brings neither rows nor gates", help="give --recipe FILE, which names both")
    return _locked(run)


def asked_of(recipe: Recipe) -> Asked:
    place = recipe.document.place
    gates = tuple((g, place(("gates", i))) for i, g in enumerate(recipe.head.gates))
    return Asked(recipe.head.name, recipe.head.model, recipe.head.task, gates, recipe.targets, recipe.folder, recipe.resolved(), place)


def _locked(run: Run) -> Asked:
    try:
        resolved = run.lock["recipe"]["resolved"]
        gates = tuple((GateSpec.model_validate(g), None) for g in resolved["gates"])
        targets = tuple(Target.model_validate(t) for t in resolved["targets"])
        model, task = ModelSpec.model_validate(resolved["model"]), TaskSpec.model_validate(resolved["task"])
        return Asked(resolved["name"], model, task, gates, targets, recipe_folders(run)[0], resolved, lambda at: None, run)
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(run.folder, error) from None


def target_of(spec: GateSpec, asked: Asked) -> Target:
    """That on which a gate of the recipe is: its first, unless the gate names another."""
    return next(t for t in asked.targets if spec.target in (None, t.name))


def recipe_folders(run: Run) -> list[Path]:
    """Where the recipe of a run stood, to which its paths are relative: the place itself, and the one that a tree that was moved as a
    whole has it at now. Never the working directory. Raises KeyError or TypeError for a lock that does not say."""
    place = run.lock["place"]
    return [Path(place["recipe"]).parent, Path(os.path.normpath(run.folder.resolve() / place["relative"])).parent]


def rows_of(run: Run, task: TaskSpec) -> tuple[Split, Task]:
    """The rows that a run was measured on, and no others: files where they were files then, the hub's where they were the hub's, held
    against the fingerprint. Raises InputError E151 where they are not to be found."""
    try:
        hub, folders = run.lock["place"]["rows"] == "hub", recipe_folders(run)
    except (KeyError, TypeError) as error:
        raise damaged(run.folder, error) from None
    found: list[str] = []
    for folder in folders[:1] if hub else dict.fromkeys(folders):
        try:
            rows, made = load_reported(task, folder, run.report.task.labels, hub=hub)
        except InputError as error:
            found.append(error.issues[0].message)
            continue
        other = other_rows(run, rows)
        if other is None:
            return rows, made
        found.append(f"the {other} of {'the hub' if hub else folder} are others now")
    help = "bring them back there, or name them: --recipe FILE for gate and baseline, --texts FILE for a bundle"
    raise InputError(Issue("E151", f"the rows that {run.folder} was measured on are not there", None, help, tuple(dict.fromkeys(found))))


def other_rows(run: Run, rows: Split) -> str | None:
    """What of these rows is not what a run was measured on: they themselves, or the values of columns of task.slices. None: nothing."""
    if rows.fingerprint != run.report.task.fingerprint:
        return "rows"
    known, found = run.lock["data"] or {}, rows.slice_fingerprints
    changed = [c for c in found if found[c] != known.get(SLICES + c)]
    return f"values of {', '.join(changed)} in task.slices" if changed else None


def damaged(run: Path, error: Exception) -> Exception:
    return bad_input("E115", f"the run {run} is damaged: {' '.join(str(error).split())[:200]}", help="apply the recipe again")
