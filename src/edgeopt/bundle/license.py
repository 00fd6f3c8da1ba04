"""The license of a model, as far as its folder tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edgeopt.bundle.manifest import License
from edgeopt.gates.rows_of_run import recipe_folders
from edgeopt.models.source import find_model
from edgeopt.results.sealed import Run
from edgeopt.spec.recipe import ModelSpec
from edgeopt.support.errors import InputError, bad_input

_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_CARD = re.compile(r"\A---\s*\n.*?^license:\s*[\"']?([\w.+-]{1,60})[\"']?\s*$.*?^---\s*$", re.MULTILINE | re.DOTALL)


def write_license(given: str | None, run: Run, to: Path) -> License | None:
    """Find the license of a run's model; a license file is copied to the folder `to`.

    It is what `given` names, a file or an identifier of SPDX, or what the folder of the run's model says: a license
    file, and `license` in the front matter of its README. None: unknown, because the folder says nothing, is gone, or
    holds another model now. Raises InputError E144 for what is neither file nor identifier.
    """
    if given is not None:
        return _found(Path(given), None, to) if Path(given).is_file() else License(id=_identifier(given), file=None)
    folder = next(_folders(run), None)
    if folder is None:
        return None
    text = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    card = folder / "README.md"
    found = _CARD.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    return _found(text, found[1] if found else None, to)


def _identifier(given: str) -> str:
    """Raises InputError E144 for a path where no file is."""
    if not given.strip() or "/" in given or Path(given).exists():
        raise bad_input(
            "E144",
            f"--license {given!r} is neither a file nor an identifier",
            help="give a file, or an identifier such as MIT",
        )
    return given


def _folders(run: Run) -> Iterator[Path]:
    """Where the model that the run started from is now, looked for from where its recipe stood."""
    with suppress(KeyError, TypeError):
        for folder in recipe_folders(run):
            with suppress(InputError, OSError, ValueError):
                source = find_model(ModelSpec.model_validate(run.lock["recipe"]["resolved"]["model"]), folder)
                if source.folder is not None and source.fingerprint() == run.lock["model"]:
                    yield source.folder


def _found(text: Path | None, name: str | None, to: Path) -> License | None:
    if text is not None:
        (to / "LICENSE").write_bytes(text.read_bytes())
    return License(id=name, file="LICENSE" if text else None) if text or name else None
