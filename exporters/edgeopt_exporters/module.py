"""The torch model for exporters that convert it themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeopt.export.exporter import ExportInput

if TYPE_CHECKING:
    import torch

#: What a file's settings call the names of its inputs, in their order.
INPUTS = "inputs"


def logits_module(given: ExportInput) -> tuple[torch.nn.Module, list[str]]:
    """The model as a module from its inputs, by position, to logits; and the names of the inputs.

    Attention is computed as the graph has it.
    """
    import torch

    from edgeopt.models.load import load_model, takes

    assert given.torch is not None
    model: Any = load_model(given.torch.folder)
    model.set_attn_implementation("eager")
    accepted = takes(model)
    names: list[str] = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in accepted]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**dict(zip(names, inputs, strict=True))).logits
            return logits

    return Logits().eval(), names


def example(names: list[str], length: int) -> dict[str, torch.Tensor]:
    """One text of that length, half of it padding."""
    import torch

    mask = (torch.arange(length) < (length + 1) // 2).long()[None]
    return {
        name: mask.clone() if name == "attention_mask" else torch.zeros(1, length, dtype=torch.int64) for name in names
    }


def method(length: int) -> str:
    """The name that a file gives to the model for texts of that length."""
    return f"length_{length}"
