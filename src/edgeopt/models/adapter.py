"""Adapters beside their base in a state's folder: adapter/ in peft's layout, loaded, saved and merged.

A method that peft does not have keeps its files in the same layout, under a `peft_type` of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models.adapter_files import ADAPTER, ADAPTER_CONFIG, method_of, write_config

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


def attach_saved(model: PreTrainedModel, folder: Path, *, trainable: bool = False) -> PreTrainedModel | PeftModel:
    """The model with the adapter of the state's folder, if it has one."""
    method = method_of(folder)
    if method is None:
        return model
    if method == "BOTTLENECK":
        from edgeopt.models import bottleneck

        return bottleneck.load(model, folder / ADAPTER)
    from peft import PeftModel

    kind: Any = PeftModel
    if method == "PROMPT_TUNING" and type(model).__name__.endswith("ForMultipleChoice"):
        from edgeopt.models.choices import PromptedChoices as kind
    return kind.from_pretrained(model, str(folder / ADAPTER), is_trainable=trainable)


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json, without paths of this machine.

    So equal weights give equal files.
    """
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    write_config(
        folder, {**json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")), "base_model_name_or_path": ""}
    )


def merge(model: PeftModel) -> PreTrainedModel:
    """Fold a peft adapter into its base, layer by layer, and return the base.

    peft's own `merge_and_unload` goes into the layers of a wrapped head (ELECTRA's has two), which are no
    adapted layers, and fails there for some methods; here the head that was trained takes its place whole.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    base = model.get_base_model()
    with torch.no_grad():
        for name, module in list(base.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge(safe_merge=True)
                _replace(base, name, module.get_base_layer())
            elif isinstance(module, ModulesToSaveWrapper):
                _replace(base, name, module.modules_to_save[module.active_adapter])
    for parameter in base.parameters():
        parameter.requires_grad_(True)
    for trace in ("peft_config", "_hf_peft_config_loaded"):
        if trace in vars(base):
            delattr(base, trace)
    return base


def _replace(model: PreTrainedModel, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
