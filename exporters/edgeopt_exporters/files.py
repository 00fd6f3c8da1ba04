"""The files that exporters copy from a state."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeopt.models.source import CONFIG, TOKENIZER_FILES
from edgeopt.store.store import State


def copy_texts(state: State, folder: Path) -> None:
    """Copy config.json and the tokenizer's files into a folder."""
    for name in (CONFIG, *TOKENIZER_FILES):
        if (state.folder / name).is_file():
            shutil.copyfile(state.folder / name, folder / name)
