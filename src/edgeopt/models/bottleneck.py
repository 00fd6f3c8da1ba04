"""Bottleneck adapters: small residual networks behind a layer's projections, which peft does not have.

Houlsby et al. 2019 put one behind the attention's output projection and one behind the feed-forward's, before the
skip connection is added; Pfeiffer et al. 2020 found the second alone to be nearly as good. Files and names are in
peft's manner: adapter_config.json with a `peft_type`, and the trained tensors under `base_model.model.`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.activations import ACT2FN

from edgeopt.models.adapter_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, write_config
from edgeopt.models.anatomy import anatomy
from edgeopt.models.parts import head_of, is_inside

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PREFIX = "base_model.model."
#: Standard deviation of the fresh weights: the adapter starts near the identity (Houlsby et al. 2019, section 2.1).
_START = 1e-2


class Bottleneck(nn.Module):
    """x + up(activation(down(x))), the width in between `reduction` times smaller."""

    def __init__(self, width: int, reduction: int, activation: str) -> None:
        super().__init__()
        inner = max(1, width // reduction)
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        self.activation = ACT2FN[activation]
        for linear in (self.down, self.up):
            nn.init.normal_(linear.weight, std=_START)
            nn.init.zeros_(linear.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.up(self.activation(self.down(x)))
        return x + added


class Adapted(nn.Module):
    """A projection with a bottleneck behind it; `base_layer` is peft's word."""

    def __init__(self, base_layer: nn.Linear, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.base_layer, self.bottleneck = base_layer, bottleneck

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.bottleneck(self.base_layer(x))
        return result


def attach(model: PreTrainedModel, *, placement: str, reduction: int, activation: str) -> PreTrainedModel:
    """The model with fresh bottlenecks; they and the head alone require a gradient."""
    shape = anatomy(model.config.model_type)
    parts = shape.projections if placement == "houlsby" else shape.projections[1:]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if shape.part_of(name) in parts:
            parent, _, child = name.rpartition(".")
            setattr(
                model.get_submodule(parent),
                child,
                Adapted(module, Bottleneck(module.out_features, reduction, activation)),
            )
    heads = head_of(model)
    for head in heads:
        model.get_submodule(head).requires_grad_(True)
    model.bottleneck_config = {
        "peft_type": "BOTTLENECK",
        "placement": placement,
        "reduction": reduction,
        "activation": activation,
        "modules_to_save": heads,
    }
    return model


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write what `attach` added and the head into a new folder: adapter_model.safetensors and adapter_config.json."""
    from safetensors.torch import save_file

    folder.mkdir()
    kept = ("bottleneck", *model.bottleneck_config["modules_to_save"])
    tensors = {
        f"{_PREFIX}{n}": t.detach().cpu().contiguous() for n, t in model.state_dict().items() if is_inside(n, kept)
    }
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    write_config(folder, model.bottleneck_config)


def load(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with the bottlenecks and the head of an adapter folder.

    Raises RuntimeError where they do not fit it.
    """
    import json

    from safetensors.torch import load_file

    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    attach(model, placement=config["placement"], reduction=config["reduction"], activation=config["activation"])
    tensors = {n.removeprefix(_PREFIX): t for n, t in load_file(folder / ADAPTER_WEIGHTS).items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    lost = [n for n in missing if ".bottleneck." in n or is_inside(n, config["modules_to_save"])]
    if lost or unexpected:
        raise RuntimeError(f"the adapter does not fit the model: {(lost or unexpected)[0]}")
    return model
