"""A recipe that `apply` finishes in seconds, and what a run of it left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import Result, tiny_recipe, tiny_task

#: Latency is not what these tests are about: measured as briefly as a target allows.
BRIEF = {"name": "brief", "queries": 64, "max_seconds": 8, "sequence": [16]}
TRAINING = {"epochs": 6, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}


@dataclass(frozen=True)
class Applied:
    """The recipe, the folder of the run, the store, and how the command ended."""

    recipe: Path
    out: Path
    store: Path
    done: Result


def recipe_for(folder: Path, model: Path, data: Path, **changes: Any) -> Path:
    """Write a recipe over the fixtures `tiny_model` and `tiny_data`; `changes` replace its top-level keys."""
    given = {"task": tiny_task(data, max_length=32), "baseline": {"finetune": TRAINING}, "targets": [BRIEF], **changes}
    return tiny_recipe(folder, model={"id": str(model)}, **given)


def apply_command(
    recipe: Path,
    folder: Path,
    *more: str,
    launcher: Sequence[str] = (),
    program: Sequence[str] = ("-m", "edgeopt"),
) -> list[str]:
    """`edgeopt apply` as a process of its own, into folder/run with folder/store."""
    places = ("--out", str(folder / "run"), "--store", str(folder / "store"))
    return [sys.executable, *launcher, *program, "apply", str(recipe), *places, *more]
