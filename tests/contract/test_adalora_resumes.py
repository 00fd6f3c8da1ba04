"""AdaLoRA cut in the middle: what it decides about ranks is in the checkpoint, so the result is the same to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeopt.step import registry
from edgeopt.store.store import State
from edgeopt.support.errors import StepError
from edgeopt.testing.build import build, step
from edgeopt.training import loop
from edgeopt.training.callbacks import Checkpoints

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
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    saves = Checkpoints.on_save

    def save_and_fail(self: Checkpoints, args: Any, state: Any, control: Any, **more: Any) -> None:
        saves(self, args, state, control, **more)
        if args.max_steps == PARAMS["max_steps"] and state.global_step == cut:
            raise RuntimeError("cut")

    with monkeypatch.context() as cutting:
        cutting.setattr(Checkpoints, "on_save", save_and_fail)
        with pytest.raises(StepError, match="cut"):
            run(other)
    resumed = run(other)
    assert resumed.files == whole.files
    assert resumed.figures["ranks"] == whole.figures["ranks"] <= 2 * 6
