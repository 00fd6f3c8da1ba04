"""Stores in which what many of these tests begin with is there already, and rows of the other kinds of task."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from contract.kinds import KINDS, Kind, write_kind

from edgeopt.store.facts import Fact


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of every test that asks for states and no more: what has the same key is built once.

    A test that is about building, or counts what lies in a store, has one of its own.
    """
    return tmp_path_factory.mktemp("contract") / "store"


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    """A store with the baseline that `build` gives each recipe: loaded, trained and exported."""
    from edgeopt.testing.build import build, steps_towards

    folder = tmp_path_factory.mktemp("begun") / "store"
    build(steps_towards(frozenset({Fact.TRAINED_HEAD})), model=tiny_model, data=tiny_data, store=folder)
    return folder


@pytest.fixture
def work(tmp_path: Path, begun: Path) -> Path:
    """A folder for `check_transform`, in whose first store that baseline is."""
    shutil.copytree(begun, tmp_path / "a")
    return tmp_path


@pytest.fixture(scope="session")
def wide(tiny_electra: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ELECTRA whose rows are whole blocks of NF4."""
    import torch
    from transformers import AutoTokenizer, ElectraConfig, ElectraModel

    folder = tmp_path_factory.mktemp("wide") / "model"
    torch.manual_seed(0)
    config = ElectraConfig(
        vocab_size=100,
        embedding_size=64,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=192,
        max_position_embeddings=64,
    )
    ElectraModel(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_electra).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kind:
    """Each other kind of task in turn."""
    return write_kind(request.param, tmp_path_factory.mktemp(request.param))
