"""Parts of a loaded model: its encoder, its head, its layers, what pruning takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgeopt.models.anatomy import anatomy

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


#: Modules that adapters put into a layer.
_ADDED = {"bottleneck", "lora_A", "lora_B"}


def head_of(model: PreTrainedModel | PeftModel) -> list[str]:
    """Names of the modules that are new for the task: those with weights beside the encoder."""
    shape = anatomy(bare(model).config.model_type)
    if shape.new:
        return [
            name
            for name, _ in bare(model).named_modules()
            if f".{name}".endswith(tuple(f".{end}" for end in shape.new))
        ]
    return [
        name
        for name, module in bare(model).named_children()
        if name != shape.base and next(module.parameters(), None) is not None
    ]


def embeddings_of(model: PreTrainedModel | PeftModel) -> list[str]:
    """Names, as they end, of the modules that make vectors of tokens: the tables and their norm."""
    shape = anatomy(bare(model).config.model_type)
    return [*shape.tables, shape.embedding_norm]


def layer_count(config: PreTrainedConfig) -> int:
    """Layers of the encoder, or of a pair's decoder."""
    return int(getattr(config, "decoder", config).num_hidden_layers)


def is_inside(parameter: str, modules: Sequence[str]) -> bool:
    """Whether a parameter, by its name in a model or in peft's wrapper of it, belongs to one of the modules."""
    return any(f".{module}." in f".{parameter}" for module in modules)


def bare(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model inside peft's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def prunable(model: PreTrainedModel | PeftModel) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers inside the encoder's numbered layers: what pruning works on.

    Embeddings, pooler and head stay whole, and so does what an adapter adds.
    """
    from torch import nn

    inside = anatomy(bare(model).config.model_type)
    for name, module in bare(model).named_modules():
        if isinstance(module, nn.Linear) and inside.layer_of(name) is not None and not _ADDED & set(name.split(".")):
            yield name, module
