"""A step applied until the batches of its trainings fit into memory, where `batch_size: auto` leaves them open."""

from __future__ import annotations

import gc
import shutil

from edgeopt.plan import PlannedStep
from edgeopt.results.figures import told
from edgeopt.step.transform import BatchTooLarge, StepContext
from edgeopt.store.store import State
from edgeopt.training.batches import found_in


def apply(step: PlannedStep, before: State, context: StepContext) -> None:
    """Let the transform write the new state, anew and from nothing as often as a batch was too large."""
    while (rows := _too_large(step, before, context)) is not None:
        _forget(context)
        context.progress.say(f"{step.id}: memory ran out with batches of {rows} rows; begins again with {rows // 2}")
    if found := found_in(context.work):
        told(context.figures)["batches"] = found


def _too_large(step: PlannedStep, before: State, context: StepContext) -> int | None:
    """The rows of a batch that was too large; None where the step is done."""
    try:
        step.transform.apply(before, step.params, context)
    except BatchTooLarge as error:
        return error.rows
    return None


def _forget(context: StepContext) -> None:
    """Leave nothing of an attempt: neither files, nor figures, nor the model that its error's trace still held."""
    import torch

    for path in context.output.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    context.figures.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
