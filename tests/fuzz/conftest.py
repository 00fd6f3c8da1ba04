"""A sound model and sound rows, in a folder that fuzzing may fill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from fuzz.bases import write_data


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with rows below data/ and the link model to a sound model."""
    folder = tmp_path_factory.mktemp("fuzz").resolve()
    write_data(folder / "data")
    (folder / "model").symlink_to(tiny_model)
    return folder


@pytest.fixture
def here(sound: Path) -> Iterator[Path]:
    with chdir(sound):
        yield sound
