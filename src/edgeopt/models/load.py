"""Models of a state folder: loaded, saved, and looked into."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models.adapter import attach_saved
from edgeopt.models.model_class import model_class
from edgeopt.models.parts import bare
from edgeopt.models.source import CONFIG
from edgeopt.support.quiet import quiet_libraries

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def load_base(folder: Path) -> PreTrainedModel:
    """The model of a torch state, in evaluation mode, without its adapter."""
    quiet_libraries()
    from edgeopt.models.nf4 import unpacked

    return unpacked(
        model_class(folder).from_pretrained(folder, local_files_only=True, dtype="float32", **_placing(folder)).eval()
    )


def takes(model: PreTrainedModel | PeftModel) -> set[str]:
    """Names of the inputs that the model's forward has a use for."""
    inner = bare(model)
    return _useful(inner.forward, getattr(inner.config, "type_vocab_size", None))


def takes_of(folder: Path) -> set[str]:
    """Names of the inputs that the forward of a torch state's model has a use for; the model is not loaded."""
    return _useful(
        model_class(folder).forward, json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("type_vocab_size")
    )


def _useful(forward: Callable[..., Any], types: int | None) -> set[str]:
    """Names of a forward's parameters, without token_type_ids where the model has one type, or none.

    types: how many token types the model has. Where there is one, all tokens are of it, whatever numbers the tokenizer
    gives them.
    """
    import inspect

    return {
        name
        for name in inspect.signature(forward).parameters
        if name != "self" and (name != "token_type_ids" or types is None or types > 1)
    }


def one_type(model: PreTrainedModel) -> bool:
    """Make all token types the first, in place; returns whether the model has any.

    For a model that was trained with that one alone, whatever its tokenizer numbers.
    """
    import torch

    found = False
    for name, module in model.named_modules():
        if name.endswith("token_type_embeddings"):
            with torch.no_grad():
                module.weight[1:] = module.weight[:1]
            found = True
    return found


def load_model(folder: Path, *, trainable_adapter: bool = False) -> PreTrainedModel | PeftModel:
    """The model of a torch state, in evaluation mode, with its adapter attached where it has one."""
    return attach_saved(load_base(folder), folder, trainable=trainable_adapter).eval()


def _placing(folder: Path) -> dict[str, Any]:
    """A base in NF4 would go to the GPU by itself."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return {"device_map": {"": "cpu"}} if "quantization_config" in config else {}


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write config.json and model.safetensors without a trace of their origin: equal weights give equal files."""
    model.config._name_or_path = ""
    model.save_pretrained(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for part in (config, config.get("encoder", {}), config.get("decoder", {})):
        part.pop("_name_or_path", None)
    if names := getattr(model.config, "id2label", None):  # which transformers leaves out where they are its default two
        config |= {
            "id2label": {str(i): name for i, name in names.items()},
            "label2id": {name: i for i, name in names.items()},
        }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
