"""Enough rows for the tiny model to learn something from, and the tiny model with a head."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import write_rows


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256 train and 96 validation rows of the same kind as the unit tests' few."""
    return write_rows(tmp_path_factory.mktemp("tiny") / "more", train=256, validation=96)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny encoder with a two-class head, as the load step leaves it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder
