"""An ELECTRA pre-trained beside a generator, and by a frozen model; what it keeps, and the same bytes after a cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract.cutting import cut_at
from safetensors.numpy import load_file

from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import InputError
from edgeopt.testing.build import build, step, steps_towards

PARAMS = {"max_steps": 4, "batch_size": 4, "learning_rate": 1e-3, "precision": "fp32", "max_length": 16}
TASK = steps_towards(frozenset({Fact.TRAINED_HEAD}))


def run(model: Path, data: Path, store: Path, use: str = "pretrain.rtd", **keys: Any) -> State:
    made = step(registry.get(use), {**PARAMS, "corpus": {"path": str(data)}, **keys}, "pretrain")
    done = build([made, *TASK], model=model, data=data, store=store).chains["candidate"]
    return next(d.state for d in done if d.step.id == "pretrain")


def test_joint_training_is_cut_and_goes_on_to_the_same_bytes(
    tiny_electra: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tiny_electra, tiny_data, tmp_path / "whole")
    with cut_at(monkeypatch, 2, of=PARAMS["max_steps"]):
        run(tiny_electra, tiny_data, tmp_path / "cut")
    resumed = run(tiny_electra, tiny_data, tmp_path / "cut")
    assert resumed.files == whole.files
    assert resumed.figures["curves"] == whole.figures["curves"]
    names = load_file(whole.folder / "model.safetensors").keys()
    assert not any("objective" in name or "generator" in name for name in names)
    assert any(name.startswith("discriminator_predictions.") for name in names)


def test_a_frozen_model_with_the_same_tokenizer_fills_in(
    tiny_electra: Path, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    auxiliary = run(tiny_electra, tiny_data, tmp_path / "mlm", "pretrain.mlm").folder
    made = run(tiny_electra, tiny_data, tmp_path, auxiliary=str(auxiliary), temperature={"start": 3.0})
    assert {"eval_held_out_recall", "eval_held_out_auxiliary_accuracy"} <= made.figures["curves"].keys()
    with pytest.raises(InputError, match="has no head that guesses words"):
        run(tiny_electra, tiny_data, tmp_path, auxiliary=str(tiny_model))


def test_another_model_than_an_electra_is_refused(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this one is 'bert'"):
        run(tiny_model, tiny_data, tmp_path)
