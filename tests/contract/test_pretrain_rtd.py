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
    whole = run(tiny_electra, tiny_data, tmp_path / "whole", bias_correction=False)
    with cut_at(monkeypatch, 2, of=PARAMS["max_steps"]):
        run(tiny_electra, tiny_data, tmp_path / "cut", bias_correction=False)
    resumed = run(tiny_electra, tiny_data, tmp_path / "cut", bias_correction=False)
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


def test_tokens_replaced_before_the_training_give_the_same_bytes(
    tiny_electra: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auxiliary = run(tiny_electra, tiny_data, tmp_path / "mlm", "pretrain.mlm").folder
    rows = int(run(tiny_electra, tiny_data, tmp_path / "mlm", "pretrain.mlm").figures["train_rows"])
    keys = {"auxiliary": str(auxiliary), "batch_size": 8, "gradient_accumulation": 2, "max_steps": rows // 16 + 5}
    online = run(tiny_electra, tiny_data, tmp_path / "online", **keys)
    with cut_at(monkeypatch, 3, of=keys["max_steps"]):
        run(tiny_electra, tiny_data, tmp_path / "offline", offline=True, **keys)
    offline = run(tiny_electra, tiny_data, tmp_path / "offline", offline=True, **keys)
    assert offline.files == online.files
    assert offline.figures["curves"] == online.figures["curves"]
    assert offline.key != online.key
    made = offline.figures["corruption"]
    assert made["rows"] > rows
    cost, beside = offline.figures["step_cost"], online.figures["step_cost"]
    assert cost["main_flops"] == beside["main_flops"] > cost["auxiliary_flops"] == 0 < beside["auxiliary_flops"]
    assert sum(cost["auxiliary_bytes"].values()) == 0 < beside["auxiliary_bytes"]["parameters"]
    assert 0 < offline.figures["computed_steps"] < online.figures["computed_steps"]
    assert made["bytes"] > 2 * made["rows"] + 2 * made["words"] > 0


def test_offline_needs_what_stays_as_it_is_and_an_order(tmp_path: Path) -> None:
    from pydantic import ValidationError

    from edgeopt.transforms.pretrain.rtd import RtdParams

    given = {"corpus": {"data_files": "a.txt"}, "offline": True}
    with pytest.raises(ValidationError, match="needs an auxiliary model that stays"):
        RtdParams.model_validate(given)
    with pytest.raises(ValidationError, match="'batch_size' in numbers"):
        RtdParams.model_validate({**given, "auxiliary": "guesser", "batch_size": "auto"})
