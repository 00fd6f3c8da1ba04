"""The files that exporters copy from a state."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeopt.export.exporter import ExportInput
from edgeopt.models.sentence import write_modules
from edgeopt.models.source import CONFIG, TOKENIZER_FILES, WEIGHTS


def copy_texts(given: ExportInput, folder: Path) -> None:
    """Copy config.json and the tokenizer's files into a folder, with an embedder's modules beside."""
    for name in (CONFIG, *TOKENIZER_FILES):
        if (given.state.folder / name).is_file():
            shutil.copyfile(given.state.folder / name, folder / name)
    write_modules(folder, given.max_length, None if given.torch is None else given.torch.folder / WEIGHTS)
