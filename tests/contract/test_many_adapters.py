"""Many adapters on one base: trained apart, loaded into one plain peft model, each answering as in its own run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import classification, write_rows

from edgeopt.measure.parity import ParityRows, sample_rows, torch_logits
from edgeopt.models.adapter_files import ADAPTER
from edgeopt.models.load import load_model
from edgeopt.step import registry
from edgeopt.store.store import State
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 3e-2, "precision": "fp32"}
#: Pairs of adapters that one peft model can hold: of one tuner, of whatever rank and scale.
PAIRS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "lora": [
        ("adapter.lora", {"r": 2, "alpha": 4}),
        ("adapter.lora", {"r": 8, "target_modules": "all-linear", "use_rslora": True}),
    ],
    "dora": [("adapter.lora", {"r": 4}), ("adapter.lora", {"r": 4, "use_dora": True, "seed": 1})],
    "adalora": [
        ("adapter.adalora", {"init_r": 4, "target_r": 2}),
        ("adapter.adalora", {"init_r": 3, "target_r": 2, "seed": 1}),
    ],
    "ia3": [("adapter.ia3", {}), ("adapter.ia3", {"seed": 1})],
    "prompt": [("adapter.prompt", {"virtual_tokens": 4}), ("adapter.prompt", {"virtual_tokens": 4, "seed": 1})],
}


@dataclass(frozen=True)
class Trained:
    """A state with an adapter, and rows of its run to compare logits on."""

    state: State
    rows: ParityRows


def trained(use: str, params: dict[str, Any], model: Path, data: Path, store: Path) -> Trained:
    merge = [] if use == "adapter.prompt" else [step(registry.get("merge"), {}, "merge")]
    done = build([step(registry.get(use), {**SHORT, **params}, "adapt"), *merge], model=model, data=data, store=store)
    state = next(d.state for d in done.chains["candidate"] if d.step.id == "adapt")
    return Trained(state, sample_rows(done.data.report, state.folder, classification()))


@pytest.mark.parametrize("name", PAIRS)
def test_one_peft_model_holds_them_all(
    name: str, tiny_model: Path, tiny_data: Path, store: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    other_data = write_rows(tmp_path / "other", train=48, validation=32)
    first, second = (
        trained(use, params, tiny_model, data, store)
        for (use, params), data in zip(PAIRS[name], (tiny_data, other_data), strict=True)
    )
    base = AutoModelForSequenceClassification.from_pretrained(first.state.folder, dtype="float32")
    model = PeftModel.from_pretrained(base, str(first.state.folder / ADAPTER), adapter_name="first")
    model.load_adapter(str(second.state.folder / ADAPTER), adapter_name="second")
    model.eval()
    for _ in range(2):  # there and back again
        for adapter, one in (("first", first), ("second", second)):
            model.set_adapter(adapter)
            np.testing.assert_array_equal(
                torch_logits(model, one.rows), torch_logits(load_model(one.state.folder), one.rows)
            )
    assert (
        abs(torch_logits(model, first.rows) - torch_logits(load_model(first.state.folder), first.rows)).max() > 1e-3
    ), "they answer alike"


def test_their_states_share_one_file_of_the_base(
    tiny_model: Path, tiny_data: Path, store: Path, tmp_path: Path
) -> None:
    """On the same rows it is one file on the disk; for another task with as many classes, a file of the same digest."""
    other_data = write_rows(tmp_path / "other", train=48, validation=32)
    runs = [({"r": 2}, tiny_data), ({"r": 8}, tiny_data), ({"r": 8}, other_data)]
    states = [trained("adapter.lora", params, tiny_model, data, store).state for params, data in runs]
    assert len({s.folder for s in states}) == 3
    assert len({s.files["model.safetensors"]["sha256"] for s in states}) == 1
    assert len({s.files[f"{ADAPTER}/adapter_model.safetensors"]["sha256"] for s in states}) == 3
    assert (states[0].folder / "model.safetensors").samefile(states[1].folder / "model.safetensors")
    assert all(
        s.files[f"{ADAPTER}/adapter_model.safetensors"]["size"] < s.files["model.safetensors"]["size"] / 4
        for s in states
    )
