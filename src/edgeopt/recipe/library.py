"""The recipes and device profiles that come with edgeopt: in a checkout, or installed beside it."""

from __future__ import annotations

import sysconfig
from pathlib import Path


def recipes_folder() -> Path:
    """The folder that holds quickstart.yaml and targets/."""
    checkout = Path(__file__).parents[3] / "recipes"
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data")) / "share" / "edgeopt" / "recipes"


def recipe_files() -> list[Path]:
    """Every recipe, the quickstart first; device profiles are not recipes."""
    root = recipes_folder()
    found = [p for p in root.rglob("*.yaml") if "targets" not in p.relative_to(root).parts]
    return sorted(found, key=lambda p: (p.stem != "quickstart", str(p)))


def target_files() -> dict[str, Path]:
    """Device profiles by name."""
    return {p.stem: p for p in sorted((recipes_folder() / "targets").glob("*.yaml"))}
