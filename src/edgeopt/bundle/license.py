"""The licence of a model, as far as its folder tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgeopt.bundle.manifest import License
from edgeopt.errors import InputError
from edgeopt.models.source import find_model
from edgeopt.recipe.schema import ModelSpec

_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_CARD = re.compile(r"\A---\s*\n.*?^license:\s*[\"']?([\w.+-]{1,60})[\"']?\s*$.*?^---\s*$", re.MULTILINE | re.DOTALL)


def write_license(given: str | None, lock: dict[str, Any], recipe: Path, to: Path) -> License | None:
    """What `given` names, a file or an identifier of SPDX, or what the folder of the run's model says: a licence file, which
    is copied to the folder `to`, and `license` in the front matter of its README. None: unknown, because the folder says
    nothing, is gone, or holds another model now. recipe: the recipe's file, which the model's folder is relative to."""
    if given is not None:
        return _found(Path(given), None, to) if Path(given).is_file() else License(id=given, file=None)
    try:
        source = find_model(ModelSpec.model_validate(lock["recipe"]["resolved"]["model"]), recipe.parent)
        if source.folder is None or source.fingerprint() != lock["model"]:
            return None
    except (InputError, OSError):
        return None
    text = next((source.folder / name for name in _FILES if (source.folder / name).is_file()), None)
    card = source.folder / "README.md"
    found = _CARD.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    return _found(text, found[1] if found else None, to)


def _found(text: Path | None, name: str | None, to: Path) -> License | None:
    if text is not None:
        (to / "LICENSE").write_bytes(text.read_bytes())
    return License(id=name, file="LICENSE" if text else None) if text or name else None
