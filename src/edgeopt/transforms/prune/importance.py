"""How much the loss feels each head and neuron: gradients of masks of ones (Kwon et al. 2022, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.tasks import task_of
from edgeopt.transforms.prune.budget import Array

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel

    from edgeopt.step.transform import StepContext


#: Of a model and a batch on its device the mean loss.
Loss = Callable[["PreTrainedModel", dict[str, Any]], "torch.Tensor"]
#: Gradients that the Fisher matrix is estimated from, as many as the paper's 2,048 rows give in batches of 32.
_BATCHES, _LARGEST_BATCH = 64, 32
#: Rows of a batch at least where a loss compares them with one another: that of one alone is 0.
_FEWEST_COMPARED = 8


def batches(
    model: PreTrainedModel, folder: Path, samples: int, context: StepContext
) -> tuple[list[dict[str, Any]], int]:
    """Rows of train with their labels, about 64 batches of them, and how many rows.

    A batch has rows of like length, so that little of it is padding.
    """
    from edgeopt.models.load import takes
    from edgeopt.tasks.encode import Encoder

    split = context.data.calibration(samples, context.task.selection, context.seed)
    task, encoder = task_of(context.task, context.data.label_names), Encoder(folder, context.task.max_length)
    rows, _ = task.training_rows(encoder, split, takes(model))
    collate = task.collator(encoder)
    least = _FEWEST_COMPARED if task.embeds else 1
    size = max(least, min(_LARGEST_BATCH, len(rows) // _BATCHES))
    return [collate(batch) for batch in of_like_length(rows, size, context.seed)], len(rows)


def of_like_length(rows: Sequence[Any], size: int, seed: int) -> list[list[Any]]:
    """Batches of `size` encoded rows, each row once, shuffled; the last may be short."""
    from edgeopt.tasks.encode import length
    from edgeopt.training.sampler import LengthGroupedSampler

    order = [*LengthGroupedSampler([length(row) for row in rows], size, seed)]
    return [[rows[n] for n in order[i : i + size]] for i in range(0, len(rows), size)]


def loss_of(context: StepContext) -> Loss:
    """The mean loss of a batch by the task."""
    task = task_of(context.task, context.data.label_names)
    return partial(task.mean_loss, labels=context.data.train.labels)


def gradients(
    model: PreTrainedModel,
    batches: Sequence[dict[str, Any]],
    *,
    bf16: bool,
    tick: Callable[[int], None],
    mean_loss: Loss = lambda model, batch: model(**batch).loss,
) -> tuple[list[Array], list[Array]]:
    """Gradients of each batch's mean loss with respect to masks on the heads and on the neurons.

    For each layer an array of shape (batches, heads) and one of shape (batches, neurons). The model is put into
    evaluation mode. Sums of their squares over the batches are the diagonal of the empirical Fisher matrix, up to a
    factor.
    """
    import torch

    from edgeopt.models.masks import masked, ones

    device = next(model.parameters()).device
    masks = ones(model, gates=False, hidden=False)
    assert masks.heads is not None and masks.neurons is not None
    alive = [t.requires_grad_(True) for t in masks.tensors() if t.numel()]
    rows: dict[int, list[Array]] = {id(t): [] for t in alive}
    needed = [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    with masked(model, masks):
        for number, batch in enumerate(batches, 1):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = mean_loss(model, {k: v.to(device) for k, v in batch.items()})
            for tensor, gradient in zip(alive, torch.autograd.grad(loss, alive), strict=True):
                rows[id(tensor)].append(gradient.double().cpu().numpy())
            tick(number)
    for parameter, was in zip(model.parameters(), needed, strict=True):
        parameter.requires_grad_(was)

    def gathered(tensor: torch.Tensor) -> Array:
        return np.stack(rows[id(tensor)]) if tensor.numel() else np.zeros((len(batches), 0))

    return [gathered(t) for t in masks.heads], [gathered(t) for t in masks.neurons]


def rearranged(gradients: Array, keep: int) -> list[int]:
    """Which `keep` columns of one layer's gradients, shape (batches, n), to keep, in order of position.

    The others start as the ones of least importance on their own. Then each of the rest in turn may take the place of
    one of them, where the importance of what is gone together, cross terms included, becomes less: the squared length
    of the sum of its columns (Kwon et al. 2022, section 4.2, greedy).
    """
    count = gradients.shape[1]
    alone = (gradients**2).sum(0)
    order = np.argsort(alone, kind="stable")
    gone = order[: count - keep].copy()
    if len(gone) == 0 or keep == 0:
        return sorted(set(range(count)) - set(gone.tolist()))
    total = gradients[:, gone].sum(1)
    for candidate in order[count - keep :]:
        with_it = total + gradients[:, candidate]
        # of the sum without each one in turn: |u − g|² = |u|² − 2u·g + |g|²
        lengths = with_it @ with_it - 2 * with_it @ gradients[:, gone] + alone[gone]
        best = int(np.argmin(lengths))
        if lengths[best] < total @ total:
            total = with_it - gradients[:, gone[best]]
            gone[best] = candidate
    return sorted(set(range(count)) - set(gone.tolist()))
