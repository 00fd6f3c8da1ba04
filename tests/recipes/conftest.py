"""The folder in which the broken recipes of bad/ are tried: sound rows lie in data/, a sound model in model/."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recipes.broken import make_files, make_models, positions

BAD = Path(__file__).parent / "bad"


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("workspace").resolve()
    shutil.copytree(BAD, folder / "bad")
    shutil.copytree(tiny_model, folder / "model")
    positions(130)(folder / "model")  # room for the default max_length, to roberta too
    shutil.copytree(tiny_data, folder / "data")
    make_models(folder / "model", folder / "models")
    make_files(folder / "bad" / "files")
    return folder
