"""The generator of an ELECTRA: as deep, narrower, and on the embeddings of the model that it fills tokens in for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from edgeopt.models.cost import generator_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def generator_of(model: PreTrainedModel, width: float, *, share: bool) -> PreTrainedModel:
    """A model as deep as an ELECTRA and so much narrower, with a head that guesses words.

    share: whether its embeddings are the other's. What is shared is not a part of it, so that each weight is saved and
    trained once.
    """
    from transformers import AutoModelForMaskedLM

    config = model.config.__class__.from_dict(model.config.to_dict())
    config.num_attention_heads, config.hidden_size, config.intermediate_size = generator_sizes(
        config.num_attention_heads, config.hidden_size, config.intermediate_size, width
    )
    made: PreTrainedModel = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
    if share:
        embeddings = getattr(model, model.base_model_prefix).embeddings
        _put_outside(getattr(made, made.base_model_prefix), "embeddings", embeddings)
        made.generator_lm_head = _Scores(embeddings.word_embeddings)
    return made


class _Scores(nn.Module):
    """Scores of all words by embeddings that are another module's."""

    table: nn.Embedding

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))
        object.__setattr__(self, "table", table)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.linear(hidden, self.table.weight, self.bias)


def _put_outside(module: nn.Module, name: str, other: nn.Module) -> None:
    """Let a module use another one under a name, without it being one of its own."""
    delattr(module, name)
    object.__setattr__(module, name, other)
