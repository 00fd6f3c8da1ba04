"""A class of transformers around a bare encoder: it has the encoder as it is, and what reads its tokens' states.

What is read is one sequence a query, (batch, tokens), or several sequences of each row, (rows, sequences, tokens).
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import MODEL_MAPPING, AutoConfig

from edgeopt.models.anatomy import anatomy
from edgeopt.models.sentence import Pooling

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import BaseModelOutput


def config_in(folder: Path) -> PreTrainedConfig:
    """The config of a folder."""
    return AutoConfig.from_pretrained(folder, local_files_only=True)


def encoder_in(folder: Path) -> Any:
    """The class of the bare encoder of a folder."""
    return MODEL_MAPPING[type(config_in(folder))]


def class_around(
    encoder: type[PreTrainedModel],
    name: str,
    begin: Callable[[Any, PreTrainedConfig], None],
    typed: Callable[..., Any],
    untyped: Callable[..., Any],
) -> type[PreTrainedModel]:
    """A class of that name. begin: adds what reads the states; it is called with the model and its config.

    typed, untyped: its `forward`, for encoders that take token types and for those that do not. What transformers
    passes a model, and what is exported, follows from the arguments that a forward names.
    """
    (parent, *_) = encoder.__bases__

    def __init__(self: Any, config: PreTrainedConfig) -> None:
        super(made, self).__init__(config)
        inner = encoder(config)
        if getattr(inner, "pooler", None) is not None:
            inner.pooler = None  # nothing reads it
        setattr(self, anatomy(config.model_type).base, inner)
        begin(self, config)
        self.post_init()

    members = {
        "__init__": __init__,
        "forward": typed if "token_type_ids" in inspect.signature(encoder.forward).parameters else untyped,
        "__module__": encoder.__module__,
        "__doc__": encoder.__doc__,
    }
    made: Any = type(name, (parent,), members)
    return cast("type[PreTrainedModel]", made)


def encoded(
    model: Any, given: dict[str, torch.Tensor | None], mask: torch.Tensor | None, more: dict[str, Any]
) -> tuple[BaseModelOutput, torch.Tensor, tuple[int, ...] | None]:
    """What the encoder gives for each sequence, the mask of each, and the (rows, sequences) that were given.

    That shape is None where each query is one sequence. more: what else the encoder is called with; labels are not.
    """
    read = {name: values for name, values in given.items() if values is not None}
    first = next(iter(read.values()))
    if mask is None:
        mask = torch.ones(first.shape[: first.dim() - ("inputs_embeds" in read)], device=first.device)
    several = mask.shape[:2] if mask.dim() == 3 else None
    if several:
        read, mask = {name: values.flatten(0, 1) for name, values in read.items()}, mask.flatten(0, 1)
    more.pop("labels", None)
    return getattr(model, anatomy(model.config.model_type).base)(**read, attention_mask=mask, **more), mask, several


def pooled(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One state a sequence of the states of its tokens, (sequences, tokens, width), which are padded on the right."""
    if pooling == "cls":
        return states[:, 0]
    real = mask.unsqueeze(-1).to(states.dtype)
    if pooling == "mean":
        return (states * real).sum(1) / real.sum(1).clamp(min=1e-9)
    if pooling == "max":
        return states.masked_fill(real == 0, torch.finfo(states.dtype).min).amax(1)
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=0).unsqueeze(-1)
    return states.gather(1, last.expand(-1, 1, states.shape[-1])).squeeze(1)
