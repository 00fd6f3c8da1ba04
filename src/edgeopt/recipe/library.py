"""The recipes and device profiles that come with edgeopt: in a checkout, or installed beside it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.support.installation import shipped

if TYPE_CHECKING:
    from edgeopt.spec.recipe import Target


def recipes_folder() -> Path:
    """The folder that holds quickstart.yaml and targets/."""
    return shipped("recipes")


def recipe_files() -> dict[str, Path]:
    """Every recipe by name, such as `quickstart` or `papers/b-peft/sst5-lora`; device profiles are no recipes.

    The quickstart is first, then those of no folder.
    """
    root = recipes_folder()
    found = {
        p.relative_to(root).with_suffix("").as_posix(): p for p in root.rglob("*.yaml") if p.parent != root / "targets"
    }
    return dict(sorted(found.items(), key=lambda item: (item[0] != "quickstart", "/" in item[0], item[0])))


def target_files() -> dict[str, Path]:
    """Device profiles by name."""
    return {p.stem: p for p in sorted((recipes_folder() / "targets").glob("*.yaml"))}


@cache
def shipped_target(path: Path) -> Target:
    """One of those profiles, read once: every cell of a matrix asks for it."""
    from edgeopt.recipe.yaml import parse
    from edgeopt.spec.recipe import Target

    return Target.model_validate(parse(path.read_text(encoding="utf-8"), path).data)
