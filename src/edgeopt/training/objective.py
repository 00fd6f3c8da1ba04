"""What a training works towards where that is not the model's own loss on the labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeopt.tasks.losses import LabelLoss

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Under what name the model holds what is learned besides.
NAME = "edgeopt_objective"
#: Key of a batch under which the numbers of its rows are, for an objective that asks for them.
ROW = "row"


class Objective(ABC):
    """Gives the loss of a batch in training, in place of the model's own; checkpoints are selected as ever.

    module: what is learned besides the model. It is part of the model while that trains, so that it moves to the device
    and is in the checkpoints, and is taken out afterwards. What else an objective keeps must follow from its arguments.
    """

    module: nn.Module | None = None
    #: Whether a batch is to hold the numbers of its rows, under ROW.
    numbered = False

    #: The loss by which a checkpoint is selected, of a model that has none of its own.
    on_selection: LabelLoss | None = None

    #: The mean of `weight` over the batches of an optimizer step, of all processes; None: each batch counts by itself.
    mean_weight: torch.Tensor | None = None

    def weight(self, batches: Sequence[dict[str, Any]]) -> torch.Tensor | None:
        """What the labels of some batches weigh together, where batches weigh unequally; None where they do not."""
        return None

    @abstractmethod
    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        """The mean loss of a batch, with its labels.

        model: perhaps wrapped for several processes. step: optimizer steps taken, of so many in all.
        """

    def groups(self) -> list[dict[str, Any]]:
        """Groups for the optimizer, of parameters of the module that have a rate of their own, which `rates` gives.

        It stays as it is over the whole training, and their gradients are not clipped. The other parameters of the
        module are trained like the model's.
        """
        return []

    def rates(self, steps: int) -> list[float]:
        """The learning rate of each group in a training of so many optimizer steps."""
        return []

    def begun(self) -> None:  # noqa: B027  most have nothing to do
        """Called before the first optimizer step, or the first after an interruption, with what a checkpoint held."""

    def stepped(self) -> None:  # noqa: B027  most have nothing to do
        """Called after each optimizer step."""

    def complete(self, step: int, steps: int) -> bool:
        """Whether a checkpoint after so many optimizer steps has what the training is for, and may be kept as the best.

        The metric of the selection rows need not see that: that of a model which is still to be made smaller does not.
        """
        return True

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model as a checkpoint of now is to be judged, while the block runs."""
        yield

    def figures(self) -> dict[str, Any]:
        """Facts in numbers, for the report."""
        return {}

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Values by optimizer step, each with its name, for the report; besides the loss."""
        return {}

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """Hooks that the loss needs, for the whole training, which is the block."""
        yield


@contextmanager
def attached(model: nn.Module, objective: Objective | None) -> Iterator[None]:
    """Let the model hold the objective's module, and its hooks, while the block runs."""
    if objective is None:
        yield
        return
    if objective.module is not None:
        model.add_module(NAME, objective.module)
    try:
        with objective.inside(model):
            yield
    finally:
        if objective.module is not None:
            delattr(model, NAME)
