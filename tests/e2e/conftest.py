"""Enough rows for the tiny model to learn something from."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import write_rows


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256 train and 96 validation rows of the same kind as the unit tests' few."""
    return write_rows(tmp_path_factory.mktemp("tiny") / "more", train=256, validation=96)
