"""An encoder that several tasks share, with a head for each, as one model of transformers.

Its files are those of the encoder, and the heads' weights below `heads`; which heads there are is a field of the config
(models/heads.py). It reads sequences in two ways. A query, as it is served, is one sequence, and gets what every head
gives for it. A row of a training has all sequences of the row and the number of its task, and gets the answer of that
task's head alone, so that the other heads have no part in the step.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from edgeopt.models.anatomy import anatomy
from edgeopt.models.around import class_around, config_in, encoded, encoder_in, pooled
from edgeopt.models.heads import CLASS, FIELD, Head, combined, heads_of
from edgeopt.models.slicing import class_for
from edgeopt.models.source import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedConfig, PreTrainedModel

#: What stands before a task's name where its head is called.
OUTPUT = "logits_"
#: What configs call the probability of a dropout before a head, the first that is a number.
_DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob", "dropout")


@dataclass
class Shared(ModelOutput):  # type: ignore[misc]
    """logits: of queries what all heads give, side by side; of rows the number of the task, then its head's answer."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class TaskHead(nn.Module):
    """The head of one task.

    pair: a layer of the first token's state, as BERT's pooler is one, and a linear layer. bi-encoder: a linear layer
    over the embeddings of both texts, each the mean of its tokens' states. cosine: the embedding itself.
    """

    def __init__(self, head: Head, hidden: int, dropout: float) -> None:
        super().__init__()
        self.kind = head.kind
        self.dropout = nn.Dropout(dropout)
        if head.kind == "pair":
            self.dense = nn.Linear(hidden, hidden)
            self.out_proj = nn.Linear(hidden, head.outputs)
        if head.kind == "bi-encoder":  # the two halves of a linear layer over both embeddings
            self.first, self.second = nn.Linear(hidden, head.outputs, bias=False), nn.Linear(hidden, head.outputs)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What the head gives for each sequence. states: (sequences, tokens, width). mask: (sequences, tokens)."""
        if self.kind == "pair":
            found: torch.Tensor = self.out_proj(self.dropout(torch.tanh(self.dense(states[:, 0]))))
            return found
        embedding = pooled(states, mask, "mean")
        if self.kind == "cosine":
            return F.normalize(embedding, dim=-1)
        embedding = self.dropout(embedding)
        return torch.cat([self.first(embedding), self.second(embedding)], dim=-1)


class Heads(nn.Module):
    """All heads, in the order of their tasks' numbers."""

    def __init__(self, heads: Sequence[Head], hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = tuple(heads)
        self.most = max(head.outputs for head in heads)
        for head in heads:
            self.add_module(OUTPUT + head.name, TaskHead(head, hidden, dropout))

    def _of(self, number: int) -> TaskHead:
        return cast(TaskHead, self.get_submodule(OUTPUT + self.heads[number].name))

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor, tasks: torch.Tensor | None = None, texts: int = 1
    ) -> torch.Tensor:
        """What all heads give for each sequence, side by side; or where tasks are given the answers of rows.

        tasks: the number of each row's task. texts: sequences of a row, of which a head takes the first ones.
        """
        if tasks is None:
            return torch.cat([self._of(number)(states, mask) for number in range(len(self.heads))], dim=-1)
        states, mask = (x.reshape(-1, texts, *x.shape[1:]) for x in (states, mask))
        numbers = sorted(set(tasks.tolist()))
        if len(numbers) == 1:
            return self._answers(numbers[0], states, mask)
        found = torch.zeros(len(tasks), 1 + self.most, device=states.device)
        for number in numbers:
            rows = (tasks == number).nonzero().flatten()
            found = found.index_copy(0, rows, self._answers(number, states[rows], mask[rows]))
        return found

    def _answers(self, number: int, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The answers of rows of one task, behind its number and filled up to the most that a head gives."""
        head, module = self.heads[number], self._of(number)
        given = [module(states[:, i], mask[:, i]) for i in range(head.texts)]
        answers = given[0] if head.kind == "pair" else combined(head.kind, head.outputs, *given)
        told = F.pad(answers.float(), (0, self.most - head.outputs))
        return torch.cat([torch.full_like(told[:, :1], float(number)), told], dim=1)


def shared_class(folder: Path) -> type[PreTrainedModel]:
    """The class whose `from_pretrained` reads the shared encoder of a folder, which may have been cut."""
    return class_for(_of_encoder(encoder_in(folder)), folder)


def load(
    folder: Path, heads: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> tuple[PreTrainedModel, list[str], list[str]]:
    """The shared encoder of a folder, the names of the weights that it lacks, and of those that it has in vain.

    A `pair` head begins with the layer that the checkpoint has behind the first token's state, its pooler, where there
    is one. classes: names of the classes of all tasks.
    """
    config = config_in(folder)
    trained = FIELD in config.to_dict()
    setattr(config, FIELD, [dict(head) for head in heads])
    if classes:
        config.id2label = dict(enumerate(classes))
        config.label2id = {name: number for number, name in enumerate(classes)}
    model, info = shared_class(folder).from_pretrained(
        folder, config=config, local_files_only=True, dtype="float32", output_loading_info=True
    )
    if not trained and (folder / WEIGHTS).is_file():
        _begin_with_pooler(model, folder / WEIGHTS)
    return model.eval(), sorted(info["missing_keys"]), sorted(info["unexpected_keys"])


def _begin_with_pooler(model: Any, weights: Path) -> None:
    """Copy the pooler's layer of a bare encoder into every head that has such a layer."""
    from safetensors import safe_open

    layers = [head.dense for head in model.heads.children() if hasattr(head, "dense")]
    with safe_open(weights, "pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118  it is no mapping
            part = name.rpartition(".")[2]
            if name.endswith(f"pooler.dense.{part}"):
                for layer in layers:
                    layer.get_parameter(part).copy_(file.get_tensor(name))


@functools.cache
def _of_encoder(encoder: type[PreTrainedModel]) -> type[PreTrainedModel]:
    return class_around(encoder, encoder.__name__.removesuffix("Model") + CLASS, _begin, _typed, _untyped)


def _begin(self: Any, config: PreTrainedConfig) -> None:
    values = config.to_dict()
    dropout = next((p for name in _DROPOUTS if (p := values.get(name)) is not None), 0.1)
    self.heads = Heads(heads_of(values), int(values[anatomy(config.model_type).sizes[-1]]), dropout)


def _typed(
    self: Any,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    token_type_ids: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    tasks: torch.Tensor | None = None,
    **more: Any,
) -> Shared:
    given = {"input_ids": input_ids, "token_type_ids": token_type_ids, "inputs_embeds": inputs_embeds}
    return _answer(self, given, attention_mask, tasks, more)


def _untyped(
    self: Any,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    tasks: torch.Tensor | None = None,
    **more: Any,
) -> Shared:
    return _answer(self, {"input_ids": input_ids, "inputs_embeds": inputs_embeds}, attention_mask, tasks, more)


def _answer(
    self: Any,
    given: dict[str, torch.Tensor | None],
    mask: torch.Tensor | None,
    tasks: torch.Tensor | None,
    more: dict[str, Any],
) -> Shared:
    """The heads' answers to sequences, (batch, tokens), or to rows of several sequences, (rows, texts, tokens)."""
    found, mask, several = encoded(self, given, mask, more)
    logits = self.heads(found.last_hidden_state, mask, tasks, several[1] if several else 1)
    return Shared(logits=logits, hidden_states=found.hidden_states, attentions=found.attentions)
