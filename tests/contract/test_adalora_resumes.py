"""AdaLoRA cut in the middle: what it decides about ranks is in the checkpoint, so the result is the same to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from contract.cutting import cut_at

from edgeopt.step import registry
from edgeopt.store.store import State
from edgeopt.testing.build import build, step

PARAMS = {"max_steps": 10, "batch_size": 8, "learning_rate": 1e-2, "precision": "fp32", "init_r": 6, "target_r": 2}


@pytest.mark.parametrize("cut", [4, 8])
def test_resumed_it_gives_the_same_adapter(
    cut: int,
    tiny_model: Path,
    tiny_data: Path,
    store: Path,
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = [step(registry.get("adapter.adalora"), PARAMS, "adapt"), step(registry.get("merge"), {}, "merge")]

    def run(store: Path) -> State:
        done = build(steps, model=tiny_model, data=tiny_data, store=store)
        return next(d.state for d in done.chains["candidate"] if d.step.id == "adapt")

    whole, other = run(store), Path(shutil.copytree(begun, tmp_path / "other"))
    with cut_at(monkeypatch, cut, of=PARAMS["max_steps"]):
        run(other)
    resumed = run(other)
    assert resumed.files == whole.files
    assert resumed.figures["ranks"] == whole.figures["ranks"] <= 2 * 6
