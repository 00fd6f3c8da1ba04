"""The encoder with its heads: which model it is, how it is opened, and the graph that is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models.heads import CLASS, Head, as_json, heads_of
from edgeopt.models.source import CONFIG
from edgeopt.support.errors import Place, bad_input
from edgeopt.tasks.several.parts import Parts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgeopt.models.anatomy import Anatomy


class HasHeads(Parts):
    """One model with the heads of all tasks, and one graph with an output a head."""

    @property
    def head(self) -> str:
        return CLASS

    @property
    def outputs(self) -> int | None:
        return None

    @property
    def graph_outputs(self) -> tuple[str, ...]:
        return ("logits", *(f"logits_{head.name}" for head in self.task_heads))

    def graph_axes(self, output: str) -> dict[int, str]:
        return {0: "batch"}

    def exported(self, model: Any, given: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
        """What all heads give side by side, and what each gives by itself."""
        import torch

        logits = model(**given).logits
        rest = logits.shape[-1] - sum(head.width(0) for head in self.task_heads)
        cosines = sum(head.kind == "cosine" for head in self.task_heads)
        widths = [head.width(rest // cosines if cosines else 0) for head in self.task_heads]
        return (logits, *torch.split(logits, widths, dim=-1))

    def head_options(self) -> dict[str, Any]:
        return {}

    def takes(self, anatomy: Anatomy) -> bool:
        return not anatomy.has_decoder

    def made(self) -> Mapping[str, Any]:
        return {"heads": [[head.name, head.kind, head.outputs] for head in self.task_heads]}

    def key(self) -> Mapping[str, Any]:
        parts = {
            name: {"max_length": part.max_length, "weight": part.weight, "selection": part.selection}
            for name, part in self.specs.items()
        }
        return {**super().key(), "parts": parts}

    def load(self, folder: Path) -> tuple[PreTrainedModel, list[str], list[str]]:
        from edgeopt.models import shared

        told = heads_of(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        if told and told != self.task_heads:
            raise bad_input(
                "E316",
                f"the model was trained for the tasks {_said(told)}, and the recipe has {_said(self.task_heads)}",
                place=Place.of(folder / CONFIG),
                help="give `tasks` the same names, heads and classes in the same order, or start from the bare encoder",
            )
        return shared.load(folder, as_json(self.task_heads), self.names)

    def answer_numbers(self, folder: Path) -> int:
        return 1 + max(head.outputs for head in self.task_heads)


def _said(heads: Sequence[Head]) -> str:
    return ", ".join(f"{head.name} ({head.kind}, {head.outputs})" for head in heads)
