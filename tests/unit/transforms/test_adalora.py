"""AdaLoRA on models of which one layer's attention reaches nothing: ranks go to the matrices that can use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny_task
from safetensors.torch import load_file

from edgeopt.data import load_data
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.transform import StepContext
from edgeopt.store.store import State
from edgeopt.support.progress import Progress
from edgeopt.transforms.adapters.adalora import AdaLora, AdaLoraParams

LAYERS, BEFORE = 2, "base_model.model.bert.encoder.layer."


def deaf(model: Path, folder: Path, layer: int) -> State:
    """A classifier of large weights, whose layer of that number adds nothing of what its attention finds."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        made.bert.encoder.layer[layer].attention.output.dense.weight.zero_()
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return State(folder, {"digest": "", "facts": [], "figures": {}, "files": {}})


def ranks(adapter: Path) -> dict[int, int]:
    """How many ranks are left in each layer."""
    found = dict.fromkeys(range(LAYERS), 0)
    for name, values in load_file(adapter / "adapter_model.safetensors").items():
        if name.endswith("lora_E"):
            found[int(name.removeprefix(BEFORE).partition(".")[0])] += int(values.count_nonzero())
    return found


@pytest.mark.parametrize("layer", range(LAYERS))
def test_ranks_go_where_they_are_of_use(layer: int, tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    state = deaf(tiny_model, tmp_path / "model", layer)
    task = TaskSpec.model_validate(tiny_task(tiny_data, max_length=32))
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir(), out.mkdir()
    context = StepContext(task, load_data(task, tiny_data), out, work, 3, Progress(show=False))
    # half the ranks are asked for that query, key and value of the other layer begin with; what keeps the
    # singular vectors orthogonal counts as need too (Zhang et al. 2023), in matrices this small as much as the loss
    keys: dict[str, Any] = {"init_r": 4, "target_r": 1, "max_steps": 40, "batch_size": 16, "precision": "fp32"}
    AdaLora().apply(state, AdaLoraParams(**keys, learning_rate=2e-2, orth_reg_weight=0.01), context)
    assert ranks(out / "adapter") == {layer: 0, 1 - layer: 6}
