"""What the exporters copy from a state."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeopt.models.source import CONFIG, TOKENIZER_FILES
from edgeopt.store.store import State


def copy_texts(state: State, folder: Path) -> None:
    """config.json and the tokenizer's files."""
    for name in (CONFIG, *TOKENIZER_FILES):
        if (state.folder / name).is_file():
            shutil.copyfile(state.folder / name, folder / name)
