"""Names of the files of a model's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeopt.models.source import CONFIG, TOKENIZER_FILES, WEIGHTS

GRAPH = "model.onnx"


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy those of the files that exist, as hard links where the file system allows: states are immutable."""
    for name in names:
        if (source / name).is_file():
            try:
                (target / name).hardlink_to(source / name)
            except OSError:
                shutil.copyfile(source / name, target / name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a folder's tokenizer: its tokenizer.json and all that may stand beside it."""
    copy_files(source, target, TOKENIZER_FILES)


def copy_base(source: Path, target: Path) -> None:
    """Everything of a torch state but its adapter."""
    copy_files(source, target, (CONFIG, WEIGHTS, *TOKENIZER_FILES))
