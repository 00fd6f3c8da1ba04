"""What a training changes of a model for as long as it runs: which weights stay, and how much is dropped out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeopt.models.parts import embeddings_of, head_of, is_inside

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from edgeopt.spec.recipe import Training


@contextmanager
def held(model: PreTrainedModel, params: Training) -> Iterator[None]:
    """Freeze what `freeze` names and set `dropout`, while the block runs.

    Only modules are changed: the config, which is shipped, goes on saying what the model was made with.
    """
    frozen = [p for name, p in model.named_parameters() if p.requires_grad and _stays(model, params, name)]
    before = dropouts(model) if params.model_dropout is not None else {}
    for parameter in frozen:
        parameter.requires_grad_(False)
    for module, name in before:
        setattr(module, name, params.model_dropout)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for (module, name), probability in before.items():
            setattr(module, name, probability)


def dropouts(model: nn.Module) -> dict[tuple[nn.Module, str], float]:
    """Every probability of dropout in a model: those of the modules for it, and those that others keep as a number."""
    from torch import nn

    return {
        (module, name): value
        for module in model.modules()
        for name, value in vars(module).items()
        if type(value) in (int, float) and (name == "p" if isinstance(module, nn.Dropout) else "dropout" in name)
    }


def _stays(model: PreTrainedModel, params: Training, parameter: str) -> bool:
    if params.freeze == "encoder":
        return not is_inside(parameter, head_of(model))
    return params.freeze == "embeddings" and is_inside(parameter, embeddings_of(model))
