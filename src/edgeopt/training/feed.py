"""What a training is fed: rows by their numbers, how a batch is made of them, and what a checkpoint is selected by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgeopt.data import Split
from edgeopt.models.load import takes
from edgeopt.spec.recipe import Training
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, Features, length
from edgeopt.tasks.losses import LabelLoss
from edgeopt.training.objective import ROW
from edgeopt.training.rows import TrainRows, gather_rows
from edgeopt.training.weights import class_weights

if TYPE_CHECKING:
    from transformers import EvalPrediction, PreTrainedModel

    from edgeopt.step.transform import StepContext
    from edgeopt.training.mixture import Mixture

Batch = dict[str, Any]


class Epochs(Protocol):
    """What is told of the epoch that begins, as batches may differ by it."""

    def set_epoch(self, epoch: int) -> None: ...


Metrics = Callable[["EvalPrediction"], dict[str, float]]


@dataclass(frozen=True)
class Feed:
    """What a training is fed.

    rows: queries with their targets, by number. lengths: tokens of each. collate: makes a batch of some, which says
    under ROW which they are where the rows do. selection: queries to select a checkpoint by, perhaps none. metrics: of
    what the model gives for those; None: their loss selects. metric: the name of what selects. loss: on the labels;
    None where it is the model's own. mixture: how epochs draw from several datasets. figures: of how many epochs were
    trained, what is told of the rows. follows: what is told of every epoch.
    """

    rows: Sequence[dict[str, Any]]
    lengths: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]
    collate: Callable[[list[Any]], Batch]
    figures: Callable[[float], Mapping[str, Any]]
    selection: Sequence[dict[str, Any]] = ()
    metrics: Metrics | None = None
    metric: str = "loss"
    loss: LabelLoss | None = None
    mixture: Mixture | None = None
    follows: Sequence[Epochs] = ()


@dataclass(frozen=True)
class TaskFeed:
    """The rows of the recipe's task as what a training is fed, and what a distillation asks of them besides."""

    feed: Feed
    task: Task
    pool: TrainRows


def task_feed(model: PreTrainedModel, folder: Path, params: Training, context: StepContext) -> TaskFeed:
    """The rows of the task, and those of further datasets. folder: where tokenizer.json is."""
    task, encoder = task_of(context.task, context.data.label_names), Encoder(folder, context.task.max_length)
    pool, selection = gather_rows(context.data, params, context.task.selection)
    labels = pool.rows.labels[: pool.labeled]
    several = len(labels) if task.several_classes else None
    weights = class_weights(params, task.class_numbers(labels), task.names, several)
    accepted = takes(model)
    rows, features = task.training_rows(encoder, pool.rows, accepted)
    pool = pool.in_queries(features.rows)
    chosen = selection or pool.rows.take([], "selection")
    select_rows, select_features = task.training_rows(encoder, chosen, accepted)
    mixture = pool.mixture(params, params.batch * context.processes, context.seed)

    def figures(epochs: float) -> dict[str, Any]:
        named = zip(context.data.label_names, (round(w, 6) for w in weights or ()), strict=True) if weights else ()
        return {
            "train_rows": len(pool.rows),
            **pool.figures(mixture, epochs),
            **({"class_weights": dict(named)} if weights else {}),
        }

    feed = Feed(
        rows,
        [length(row) for row in rows],
        _numbered(task.collator(encoder)),
        figures,
        select_rows,
        None if task.selection_metric == "loss" else _metrics(task, chosen, select_features),
        task.selection_metric,
        task.training_loss(params, weights, pool.rows.labels[: pool.labeled]),
        mixture,
    )
    return TaskFeed(feed, task, pool)


def _numbered(collate: Callable[[list[Any]], Batch]) -> Callable[[list[Any]], Batch]:
    """The collator, whose batches also say which rows of the training they have."""
    import torch

    return lambda rows: {**collate(rows), **({ROW: torch.tensor([r[ROW] for r in rows])} if ROW in rows[0] else {})}


def _metrics(task: Task, rows: Split, features: Features) -> Metrics:
    """The task's metrics of what the model gives for the rows, as Trainer asks for them."""

    def metrics(found: EvalPrediction) -> dict[str, float]:
        outputs = task.gather(found.predictions, features)
        return task.selection_scores(task.stack_labels(rows.labels), task.compared(outputs, outputs, rows.labels))

    return metrics
