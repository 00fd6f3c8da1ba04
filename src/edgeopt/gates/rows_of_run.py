"""The rows that a run was measured on, found again where its recipe stood and held against its fingerprints."""

from __future__ import annotations

import os
from pathlib import Path

from edgeopt.data import Split, load_reported
from edgeopt.results.locked import SLICES
from edgeopt.results.sealed import Run
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError, Issue, bad_input
from edgeopt.tasks import Task


def recipe_folders(run: Run) -> list[Path]:
    """Where the recipe of a run stood, to which its paths are relative.

    That is the place itself, and the one that a tree that was moved as a whole has it at now; never the working
    directory. Raises KeyError or TypeError for a lock that does not say.
    """
    place = run.lock["place"]
    return [Path(place["recipe"]).parent, Path(os.path.normpath(run.folder.resolve() / place["relative"])).parent]


def rows_of(run: Run, task: TaskSpec) -> tuple[Split, Task]:
    """The rows that a run was measured on, and no others, held against the fingerprint.

    They are files where they were files then, the hub's where they were the hub's. Raises InputError E151 where they
    are not to be found.
    """
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
    help = "restore them, or name them: --recipe FILE for gate and baseline, --texts FILE for a bundle"
    raise InputError(
        Issue(
            "E151",
            f"the rows that {run.folder} was measured on were not found",
            None,
            help,
            tuple(dict.fromkeys(found)),
        )
    )


def other_rows(run: Run, rows: Split) -> str | None:
    """What of these rows is not what a run was measured on: they themselves, or the values of columns of task.slices.

    None: nothing.
    """
    if rows.fingerprint != run.report.task.fingerprint:
        return "rows"
    known, found = run.lock["data"] or {}, rows.slice_fingerprints
    changed = [c for c in found if found[c] != known.get(SLICES + c)]
    return f"values of {', '.join(changed)} in task.slices" if changed else None


def damaged(run: Path, error: Exception) -> Exception:
    """The InputError E115 for a run whose files contradict themselves."""
    return bad_input(
        "E115", f"the run {run} is damaged: {' '.join(str(error).split())[:200]}", help="apply the recipe again"
    )
