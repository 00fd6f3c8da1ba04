"""Paths that a recipe names: whether one is there, what may be meant."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from edgeopt.support.words import closest

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


def is_there(path: Path, kind: Callable[[Path], bool]) -> bool:
    """`path.is_file()` and the like, with a name too long for the file system or a closed folder as no."""
    try:
        return kind(path)
    except OSError:
        return False


def looks_local(name: str) -> bool:
    """Whether a model or dataset name can only be a path: no id of the hub looks like it."""
    return not _HUB_ID.fullmatch(name)


def nearest(name: str, folder: Path, kind: Callable[[Path], bool] = Path.is_dir) -> str:
    """`did you mean models/minilm-l3?` where a folder (or a file) beside the one named is called almost like it."""
    path = folder / expanded(name)
    try:
        guess = closest(path.name, [p.name for p in path.parent.iterdir() if kind(p)])
    except (OSError, ValueError):
        guess = None
    return f"did you mean {Path(name).parent / guess}?" if guess else ""


def not_here(name: str, folder: Path) -> str:
    """What to say of a name that may be the hub's: that no folder has it, and which folder has almost the same."""
    near = nearest(name, folder) or _in_working_directory(name, folder)
    return ": ".join(filter(None, ["there is no folder of that name here", near]))


def _in_working_directory(name: str, folder: Path) -> str:
    """What to write where a folder lies in the working directory, and paths are relative to another one."""
    path = Path.cwd() / name
    if not is_there(path, Path.is_dir):
        return ""
    return f"did you mean {os.path.relpath(path, folder)}? paths are relative to the recipe's folder"


def expanded(path: str) -> Path:
    """The path with ~ filled in, where there is such a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
