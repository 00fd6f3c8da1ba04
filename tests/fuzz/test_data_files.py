"""Spoiled data files of every format: `validate` reads them or says at which line it cannot."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import yaml
from helpers import Result, edgeopt

from fuzz.bases import TASKS, write_data
from fuzz.mutate import Mutator, assert_sound, numbers


def _recipe(kind: str, file: str) -> Path:
    """A recipe whose report split is that file; of some tasks train is too."""
    task = {
        **TASKS[kind],
        "dataset": {"data_files": {"train": f"data/{kind}/train.jsonl", "validation": file}},
        "max_length": 16,
    }
    recipe = {
        "edgeopt": 1,
        "name": "fuzz",
        "model": {"id": "model"},
        "task": task,
        "baseline": {"finetune": {}},
        "steps": [{"use": "finetune"}],
    }
    path = Path(f"{kind}.yaml")
    path.write_text(yaml.safe_dump(recipe))
    return path


def _spoiled(path: Path, mutator: Mutator) -> bytes:
    """What a mutated file holds: of a compressed one mostly what is inside is mutated."""
    raw = path.read_bytes()
    if path.suffix == ".gz" and mutator.rng.random() < 3 / 4:
        return gzip.compress(mutator.raw(gzip.decompress(raw)), mtime=0)
    if path.suffix == ".json":
        return mutator.json(raw)
    if path.suffix == ".jsonl":
        return mutator.lines(raw)
    return mutator.raw(raw)


@pytest.mark.slow  # 1,000 runs of validate take a minute
def test_spoiled_files(here: Path, tmp_path: Path) -> None:
    files = write_data(tmp_path / "whole")

    def case(number: int) -> Result:
        mutator = Mutator(number)
        path = mutator.rng.choice(files)
        spoiled = tmp_path / path.name
        spoiled.write_bytes(_spoiled(path, mutator))
        try:
            return edgeopt("validate", _recipe(path.name.partition(".")[0], str(spoiled)))
        finally:
            spoiled.unlink()

    assert_sound(numbers(1_000), case)
