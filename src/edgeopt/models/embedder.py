"""An encoder with what makes embeddings of its tokens' states, as one model of transformers.

Its files are those of the bare encoder, so that transformers and sentence-transformers load them; how the embedding is
made is a field of the config (models/sentence.py).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from edgeopt.models.around import class_around, config_in, encoded, encoder_in, pooled
from edgeopt.models.sentence import FIELD, Sentence, dense_names, dense_of_modules
from edgeopt.models.slicing import class_for
from edgeopt.support.errors import bad_input

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass
class Embedded(ModelOutput):  # type: ignore[misc]
    """The embeddings of the texts, under the name that outputs have elsewhere; hidden_states: of the last layer."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


def embedder_class(folder: Path) -> type[PreTrainedModel]:
    """The class whose `from_pretrained` reads the embedder of a folder, which may have been cut."""
    return class_for(_of_encoder(encoder_in(folder)), folder)


def load(folder: Path, sentence: Sentence) -> tuple[PreTrainedModel, list[str], list[str]]:
    """The embedder made of an encoder's folder, the names of the weights that it lacks, and of those it has in vain.

    Weights of dense layers are read from their own folders, as sentence-transformers keeps them.
    """
    config = config_in(folder)
    setattr(config, FIELD, sentence.as_json())
    model, info = embedder_class(folder).from_pretrained(
        folder, config=config, local_files_only=True, dtype="float32", output_loading_info=True
    )
    missing, unused = {*info["missing_keys"]}, {*info["unexpected_keys"]}
    for number, (layer, path) in enumerate(zip(sentence.dense, dense_of_modules(folder), strict=False)):
        missing -= _read_dense(model, path, dense_names(number, layer))
    return model.eval(), sorted(missing), sorted(unused)


def _read_dense(model: PreTrainedModel, folder: Path, names: dict[str, str]) -> set[str]:
    """Put the weights of a dense layer's folder into the model; returns their names there."""
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    if not path.is_file():
        raise bad_input(
            "E310" if (folder / "pytorch_model.bin").is_file() else "E309",
            f"the dense layer of {folder} has no {path.name}",
            help="save the model with a newer version of sentence-transformers, which writes it",
        )
    found = load_file(path)
    with torch.no_grad():
        for theirs, ours in names.items():
            model.get_parameter(ours).copy_(found[theirs])
    return {*names.values()}


@functools.cache
def _of_encoder(encoder: type[PreTrainedModel]) -> type[PreTrainedModel]:
    return class_around(encoder, encoder.__name__, _begin, _typed, _untyped)


def _begin(self: Any, config: PreTrainedConfig) -> None:
    sentence = Sentence.from_json(getattr(config, FIELD))
    self.dense = nn.ModuleList(nn.Linear(d.inputs, d.outputs, d.bias) for d in sentence.dense)


def _typed(
    self: Any,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    token_type_ids: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    output_hidden_states: bool | None = None,
    **more: Any,
) -> Embedded:
    given = {"input_ids": input_ids, "token_type_ids": token_type_ids, "inputs_embeds": inputs_embeds}
    return _embed(self, given, attention_mask, bool(output_hidden_states), more)


def _untyped(
    self: Any,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    output_hidden_states: bool | None = None,
    **more: Any,
) -> Embedded:
    given = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
    return _embed(self, given, attention_mask, bool(output_hidden_states), more)


def _embed(
    self: Any, given: dict[str, torch.Tensor | None], mask: torch.Tensor | None, whole: bool, more: dict[str, Any]
) -> Embedded:
    """The embeddings of texts, shape (batch, width), or of several texts of each row, (batch, texts, width)."""
    read, mask, several = encoded(self, given, mask, more)
    hidden = read.last_hidden_state
    assert hidden is not None
    sentence = Sentence.from_json(getattr(self.config, FIELD))
    found = pooled(hidden, mask, sentence.pooling)
    for layer, made in zip(self.dense, sentence.dense, strict=True):
        found = getattr(nn, made.activation)()(layer(found))
    found = found[:, : sentence.dimensions]
    if sentence.normalize:
        found = F.normalize(found, dim=-1)
    if several:
        found = found.reshape(*several, found.shape[-1])
    return Embedded(logits=found, hidden_states=(hidden,) if whole else None)
