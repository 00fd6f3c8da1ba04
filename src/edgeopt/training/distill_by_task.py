"""The objective of a distillation on several tasks: a batch, which is of one task, follows the teachers of that task.

A teacher is a model of the task alone, or a model of all tasks. One of the task alone reads both texts of a row in one
sequence. So its layers are compared with those of a student that does the same, and its answers with any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgeopt.data import Split
from edgeopt.models.heads import has_heads
from edgeopt.models.parts import bare
from edgeopt.models.slicing import structure_of
from edgeopt.models.source import structure_in
from edgeopt.spec.recipe import Distillation, Training
from edgeopt.step.transform import Reference, StepContext
from edgeopt.store.store import State
from edgeopt.tasks import Task
from edgeopt.tasks.losses import LabelLoss
from edgeopt.tasks.several import Several
from edgeopt.tasks.several.losses import PartLoss, SeveralLosses
from edgeopt.training.distill_objective import Distilled, answers_of, figures_of, kinds
from edgeopt.training.distill_terms import question, recorded
from edgeopt.training.matching import Matching
from edgeopt.training.objective import ROW, Objective
from edgeopt.training.rows import TrainRows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Lesson:
    """What one task learns from its teachers.

    task: its name. first: the number of its first row. loss: that on its labels.
    """

    task: str
    taught: Distilled
    first: int
    loss: PartLoss


class DistilledByTask(Objective):
    """The weighted sum of what the labels ask and what the teachers of the batch's task ask, by the task's weight.

    lessons: those of each task, by its number. label_loss: of all tasks, each by its weight.
    """

    numbered = True

    def __init__(self, spec: Distillation, label_loss: LabelLoss, lessons: Sequence[Lesson]) -> None:
        self.losses, self.label_loss, self.on_selection, self.lessons = spec.losses, label_loss, label_loss, lessons
        learned = {str(n): m for n, each in enumerate(lessons) if (m := each.taught.module) is not None}
        self.module = nn.ModuleDict(learned) if learned else None

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            written = {kind: stack.enter_context(recorded(model, kind)) for kind in kinds(self.losses)}
            for each in self.lessons:
                each.taught.written = written
            yield

    def weight(self, batches: Sequence[dict[str, Any]]) -> torch.Tensor | None:
        return self.label_loss.total(batches) if self.losses.labels else None

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        logits = model(**asked).logits
        (number,) = set(labels[:, 0].long().tolist())
        lesson = self.lessons[number]
        rows = [row - lesson.first for row in batch[ROW].tolist()]
        answers = logits[:, 1 : 1 + lesson.loss.outputs]
        asks = lesson.taught.taught(answers, rows, labels, asked)
        terms = [lesson.loss.weight * term.float() for term in asks]
        if self.losses.labels:
            terms.append(self.losses.labels * self.label_loss({"logits": logits}, labels, self.mean_weight))
        return torch.stack(terms).sum()

    def figures(self) -> dict[str, Any]:
        alone = [each.task for each in self.lessons if self.losses.layered and each.taught.matching is None]
        told = figures_of([answers for each in self.lessons for answers in each.taught.answers])
        return {**told, **({"answers_alone": alone} if alone else {})}


def distilled_by_task(
    model: PreTrainedModel,
    params: Training,
    context: StepContext,
    task: Task,
    pool: TrainRows,
    asked: Sequence[dict[str, Any]],
    label_loss: LabelLoss | None,
) -> DistilledByTask:
    """The objective of the training's distillation on several tasks. See `distilled`."""
    spec = params.distillation
    assert spec is not None
    assert isinstance(task, Several)
    assert isinstance(label_loss, SeveralLosses)
    first, lessons = 0, []
    for name, size, loss in zip(task.parts, pool.sizes, label_loss.parts, strict=True):
        rows, own = pool.rows.take(range(first, first + size), name), asked[first : first + size]
        lessons.append(Lesson(name, _taught(model, params, context, task, name, spec, loss, rows, own), first, loss))
        first += size
    return DistilledByTask(spec, label_loss, lessons)


def _taught(
    model: PreTrainedModel,
    params: Training,
    context: StepContext,
    task: Several,
    name: str,
    spec: Distillation,
    loss: PartLoss,
    rows: Split,
    asked: Sequence[dict[str, Any]],
) -> Distilled:
    """What a task learns from its teachers on its rows. asked: their inputs, as the student gets them."""
    states, part = _states(spec, name, context), task.parts[name]
    shared = [has_heads(state.folder) for state in states]
    if spec.losses.layered and not all(shared) and task.specs[name].head != "pair":
        context.progress.say(f"{name}: the student reads each text by itself, so layers are not compared")
        losses = spec.losses.model_copy(update={"hidden": 0.0, "cosine": 0.0, "attention": 0.0, "values": 0.0})
        spec = spec.model_copy(update={"losses": losses, "match": "uniform"})
        states = states if losses.logits else []
    matching = None
    if spec.losses.layered:
        matching = Matching(spec, structure_of(bare(model)), structure_in(states[0].folder))
    alone = replace(rows, texts=tuple(x[1:] for x in rows.texts), labels=tuple(label for _, label in rows.labels))
    answers = []
    for state, of_all in zip(states, shared, strict=False):
        whose, given = (task, rows) if of_all else (part, alone)
        answers.append(answers_of(spec, state, matching, params, context, whose, given, asked))
    brought = partial(_brought, loss=loss, of_all=any(shared), cosine=task.specs[name].head == "cosine")
    scores = not part.softmax
    return Distilled(spec, answers, matching, scores=scores, seed=context.seed, label_loss=None, brought=brought)


def _states(spec: Distillation, name: str, context: StepContext) -> list[State]:
    """The teachers of a task."""
    if spec.teachers and spec.by_task is not None:
        return [context.states[Reference((), spec.by_task[name], "teacher", task=name).key]]
    return [context.states[teacher] for teacher in spec.teachers]


def _brought(logits: torch.Tensor, loss: PartLoss, of_all: bool, cosine: bool) -> torch.Tensor:
    """What a teacher answers to a task's rows, as the student's head does: scores from 0 to 1 where that is a cosine.

    of_all: whether the teacher is a model of all tasks, whose answers stand behind the number of the task.
    """
    if of_all:
        return logits[:, 1 : 1 + loss.outputs]
    return (logits - loss.low) / ((loss.high - loss.low) or 1.0) if cosine else logits
