"""recipe.lock: everything that decided a run's result, to be held against a later one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeopt.data import TaskData, is_local_task
from edgeopt.export.exporter import exporter
from edgeopt.models.source import ModelSource
from edgeopt.plan import Chain, full_name
from edgeopt.recipe.load import Recipe
from edgeopt.results.changes import changes
from edgeopt.results.figures import told
from edgeopt.results.locked import SLICES, Lock
from edgeopt.run.execute import Done
from edgeopt.run.exports import automatic
from edgeopt.spec.recipe import AUTO
from edgeopt.support import host
from edgeopt.support.errors import InputError, Issue, Place
from edgeopt.support.reading import Reader
from edgeopt.support.version import __version__

LOCK_FORMAT = 1
_GIVEN = Reader("lock", "E116", "run once without --locked, or give --lock FILE")


def make_lock(
    recipe: Recipe,
    source: ModelSource,
    data: TaskData | None,
    chains: Mapping[str, Mapping[Chain, Sequence[Done]]] | None = None,
) -> dict[str, Any]:
    """The resolved recipe, the digests of model, rows and every state, and the packages' versions.

    Parts that are not known yet are None. chains: those of each variant of the recipe, by its name.
    """
    return {
        "lock": LOCK_FORMAT,
        "edgeopt": __version__,
        "recipe": {"digest": recipe.digest, "resolved": recipe.resolved(), "overrides": list(recipe.overrides)},
        "model": source.fingerprint(),
        "data": data
        and {
            "train": data.train.fingerprint,
            "report": data.report.fingerprint,
            **{SLICES + column: digest for column, digest in data.report.slice_fingerprints.items()},
            **{f"train_with.{i}": e.rows.fingerprint for i, e in enumerate(data.extra)},
            **{f"unlabelled.{i}": e.rows.fingerprint for i, e in enumerate(data.unlabelled.values())},
        },
        "packages": {**host.environment()["packages"], **_of_exporters(recipe)},
        "diagnostics": recipe.head.diagnostics.model_dump(mode="json"),
        "steps": chains
        and {
            full_name(variant, chain, d.step.id): {
                "key": d.step.key,
                "digest": d.state.digest,
                **{name: d.step.parts[name] for name in ("processes",) if name in d.step.parts},
                **({"batches": found} if (found := told(d.state.figures).get("batches")) else {}),
            }
            for variant, both in chains.items()
            for chain, done in both.items()
            for d in done
        },
    }


def _of_exporters(recipe: Recipe) -> dict[str, str | None]:
    """Versions of what the recipe's exports are written and run by."""
    names = [name for _, name in recipe.formats()]
    if any(spec.format == AUTO and spec.formats is None for spec in recipe.head.export):
        names += automatic(recipe)
    return {package: host.installed(package) for name in names for package in exporter(name).needs}


def place_of(recipe: Recipe, out: Path) -> dict[str, str]:
    """Where the recipe stands, to which its rows' paths are relative, and whether the rows are files or the hub's.

    The path is given as absolute, and from the run's folder, for a tree that is moved as a whole.
    """
    rows = "files" if is_local_task(recipe.head.task, recipe.folder) else "hub"
    return {"recipe": str(recipe.path), "relative": Path(os.path.relpath(recipe.path, out)).as_posix(), "rows": rows}


def read_lock(path: Path) -> dict[str, Any]:
    """The lock in a file. Raises InputError E116 where there is no lock or it is not readable."""
    lock: dict[str, Any] = _GIVEN.json(path)
    _GIVEN.check(lock, Lock, Place.of(path))
    return lock


def batches_in(path: Path) -> dict[str, dict[str, int]]:
    """Rows of a batch that the trainings with `batch_size: auto` came to, by the step's full name and training."""
    return {name: found for name, step in (read_lock(path)["steps"] or {}).items() if (found := step.get("batches"))}


def check_lock(path: Path, now: dict[str, Any], *, early: bool = False) -> None:
    """Raises InputError E117 with every difference between the lock and this run.

    early: before anything is computed, when parts of `now` are not known yet.
    """
    drift = differences(read_lock(path), now, early=early)
    if drift:
        raise InputError(
            Issue(
                "E117",
                f"--locked: {len(drift)} difference{'s' if len(drift) > 1 else ''} from {path}",
                Place.of(path),
                "run without --locked to accept them and write a new lock",
                tuple(drift[:20]),
            )
        )


def differences(before: dict[str, Any], now: dict[str, Any], *, early: bool = False) -> list[str]:
    """A line for each value in which two locks differ. early: but not for parts that `now` does not know."""
    parts = [p for p in ("recipe", "model", "data", "packages", "steps") if not (early and now[p] is None)]
    return [
        str(change)
        for part in parts
        for change in changes(before.get(part), now[part], part)
        if change.at not in _ASIDE
    ]


#: Of a recipe, what says nothing that its values do not.
_ASIDE = ("recipe.digest", "recipe.overrides")
