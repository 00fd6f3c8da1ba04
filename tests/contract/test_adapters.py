"""Of every method the adapter loads in plain peft, and merging changes the form alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract.methods import ALL, MERGEABLE, SHORT, STAYS
from helpers import classification
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from edgeopt.data import load_data
from edgeopt.measure.parity import ParityRows, sample_rows, torch_logits
from edgeopt.models.adapter import merge
from edgeopt.models.adapter_files import ADAPTER, STAY, method_of
from edgeopt.models.load import load_model, save_model
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry


@dataclass(frozen=True)
class Attached:
    """A model with an adapter far from its start, as a state keeps it, and rows to compare logits on."""

    folder: Path
    base: Path
    rows: ParityRows
    logits: Any


@pytest.fixture(params=["bert", "electra"])
def attached(
    request: pytest.FixtureRequest, tiny_model: Path, tiny_electra: Path, tiny_data: Path, tmp_path: Path
) -> Callable[[str], Attached]:
    """Attach a method's adapter to the tiny model, draw its values at random, and save it."""

    def make(name: str) -> Attached:
        source = tiny_model if request.param == "bert" else tiny_electra
        use, params = ALL[name]
        transform = registry.get(use)
        torch.manual_seed(1)
        base = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2, dtype="float32")
        save_model(base, tmp_path / "base")
        AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "base")
        shutil.copytree(tmp_path / "base", tmp_path / "state")
        task = TaskSpec.model_validate(
            {"type": "text-classification", "text": "text", "dataset": {"path": str(tiny_data)}}
        )
        rows = sample_rows(load_data(task, tiny_data).train, tmp_path / "base", classification())
        before = torch_logits(base, rows)
        model = transform.attach(base, transform.Params.model_validate({**SHORT, **params}))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        logits = torch_logits(model, rows)
        assert abs(logits - before).max() > 0.02, "the adapter does next to nothing: a comparison would prove nothing"
        transform.save(model, tmp_path / "state" / ADAPTER)
        return Attached(tmp_path / "state", tmp_path / "base", rows, logits)

    return make


@pytest.mark.parametrize("name", [*MERGEABLE, *STAYS])
def test_saved_and_loaded_it_computes_the_same(name: str, attached: Callable[[str], Attached]) -> None:
    made = attached(name)
    assert abs(torch_logits(load_model(made.folder), made.rows) - made.logits).max() <= 1e-6
    assert {p.name for p in (made.folder / ADAPTER).iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert (method_of(made.folder) in STAY) == (name in STAYS)


@pytest.mark.parametrize("name", MERGEABLE)
def test_merging_is_exact(name: str, attached: Callable[[str], Attached]) -> None:
    made = attached(name)
    plain = AutoModelForSequenceClassification.from_pretrained(made.base, dtype="float32")
    merged = merge(load_model(made.folder))
    assert abs(torch_logits(merged, made.rows) - made.logits).max() <= 1e-5
    assert type(merged) is type(plain)
    assert {n: type(m) for n, m in merged.named_modules()} == {n: type(m) for n, m in plain.named_modules()}, (
        "a trace of peft is left"
    )
    assert set(merged.state_dict()) == set(plain.state_dict())
    assert all(p.requires_grad for p in merged.parameters())


@pytest.mark.parametrize("name", [n for n in (*MERGEABLE, *STAYS) if "bottleneck" not in n])
def test_the_adapter_alone_loads_in_plain_peft(name: str, attached: Callable[[str], Attached]) -> None:
    from peft import PeftModel

    made = attached(name)
    base = AutoModelForSequenceClassification.from_pretrained(made.base, dtype="float32")
    plain = PeftModel.from_pretrained(base, str(made.folder / ADAPTER)).eval()
    np.testing.assert_array_equal(torch_logits(plain, made.rows), torch_logits(load_model(made.folder), made.rows))
