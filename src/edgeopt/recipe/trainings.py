"""What of a training does not go together with the task or its classes, found before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from edgeopt.recipe.problems import dotted
from edgeopt.recipe.yaml import Document
from edgeopt.spec.recipe import SeveralTasks, TaskSpec, Training
from edgeopt.support.errors import Issue, Path_
from edgeopt.support.words import a, meant
from edgeopt.tasks import called, task_type

#: path below the training's keys, message, help
_Found = list[tuple[Path_, str, str]]
_LABELS = "give distill.losses.labels a weight"


def training_issues(
    document: Document, trainings: Iterable[tuple[Path_, Training]], task: TaskSpec, classes: Sequence[str] | None
) -> list[Issue]:
    """One issue for each misfit of each training, with its place.

    classes: the task's class names, None where they are not known yet.
    """
    issues = []
    for at, params in trainings:
        for path, message, help in [
            *_loss(params, task, classes),
            *_several(params, task),
            *_sampling(params, task),
            *_pairs(at, params, task),
            *_distillation(at, params, task),
        ]:
            where = (*at, *path)
            issues.append(Issue("E106", f"'{dotted(where, document)}': {message}", document.place(where), help))
    return issues


def _loss(params: Training, task: TaskSpec, classes: Sequence[str] | None) -> _Found:
    given = params.class_weights
    if not task_type(task.type).has_classes:
        found: _Found = (
            [(("class_weights",), f"{_kind(task)} has no classes", "remove the key")] if given is not None else []
        )
        return found + (
            [(("label_smoothing",), f"{_kind(task)} has no classes", "remove the key")]
            if params.label_smoothing
            else []
        )
    if classes is None or not isinstance(given, dict | list):
        return []
    if isinstance(given, list):
        many = f"{len(given)} weights for {len(classes)} classes"
        return (
            [(("class_weights",), many, f"give one for each of {', '.join(classes)}")]
            if len(given) != len(classes)
            else []
        )
    out: _Found = []
    for name in given:
        if name not in classes:
            out.append((("class_weights", name), f"there is no class '{name}'", meant(name, classes, "classes")))
    return out


def _kind(task: TaskSpec) -> str:
    return f"a model of {called(task.type)}" if isinstance(task, SeveralTasks) else a(task.type)


def _several(params: Training, task: TaskSpec) -> _Found:
    """What a training on several tasks does not have yet."""
    if not isinstance(task, SeveralTasks):
        return []
    found: _Found = []
    fixed = [name for name, part in task.parts.items() if part.head == "cosine"]
    if params.freeze == "encoder" and fixed:
        message = f"leaves nothing to learn for {', '.join(fixed)}: the head cosine has no weights"
        found.append((("freeze",), message, "give it `head: bi-encoder` or `head: pair`, or remove the key"))
    if params.class_weights is not None:
        found.append((("class_weights",), "does not say of which task the classes are", "remove the key"))
    return found + _teachers(params, task)


def _teachers(params: Training, task: SeveralTasks) -> _Found:
    """What of the teachers does not fit several tasks."""
    taught, below = params.distillation, params.taught_at
    if taught is None:
        return []
    found: _Found = []
    if taught.unlabelled is not None:
        found.append(((*below, "unlabelled"), "does not say of which task the rows are", "remove the key"))
    if (named := taught.by_task) is None:
        return found
    for name in named:
        if name not in task.parts:
            found.append(((*below, "teacher", name), f"there is no task '{name}'", meant(name, task.parts, "tasks")))
    if lacking := [name for name in task.parts if name not in named]:
        help = "name one for each task; `baseline` is the model with all of them"
        found.append(((*below, "teacher"), f"names no teacher of {', '.join(lacking)}", help))
    apart = [name for name, part in task.parts.items() if part.head != "pair"]
    if apart and not (taught.losses.labels or taught.losses.logits):
        message = f"leaves nothing to learn for {', '.join(apart)}: a teacher reads both texts in one sequence"
        found.append(((*below, "losses"), message, "give logits or labels a weight"))
    return found


def _pairs(at: Path_, params: Training, task: TaskSpec) -> _Found:
    """What of the losses on pairs does not fit the task's rows."""
    kind, spec, texts = task_type(task.type), params.of_pairs, task.texts_a_row
    if spec and not kind.point_losses:
        return [(("losses",), f"{_kind(task)} has no losses on pairs", "remove the key")]
    given = [name for name in ("contrastive", "cosent", "cosine", "mse", "bce") if spec and getattr(spec, name)]
    if odd := [name for name in given if name not in kind.point_losses]:
        return [(("losses", odd[0]), f"{_kind(task)} has no such loss", f"losses: {', '.join(kind.point_losses)}")]
    taught = params.distillation
    labels = taught.losses.labels if taught is not None else 1.0
    if not kind.embeds and spec:
        if not labels:
            return [(("losses",), "the training only learns from its teacher", _LABELS)]
        if spec.mini_batch_size:
            return [(("losses", "mini_batch_size"), "belongs to losses that compare the rows of a batch", "remove it")]
    if not kind.embeds:
        return []
    if texts < 2 and labels:
        what = "texts without a pair say nothing to learn"
        return [((), what, "give task.text two columns, or a teacher: distill: {teacher: …}")]
    if texts < 2 and params.selects:
        key = "keep_best" if params.keep_best else "early_stopping"
        return [((key,), "texts without a pair have nothing that a checkpoint is selected by", "remove the key")]
    if spec is None:
        return []
    found: _Found = []
    if not labels:
        found.append((("losses",), "the training only learns from its teacher", _LABELS))
    if (spec.cosent or spec.cosine) and not task.label:
        found.append((("losses",), "'cosent' and 'cosine' need labels", "name their column in task.label"))
    if spec.mini_batch_size and taught is not None:
        found.append((("losses", "mini_batch_size"), "does not work with a teacher", "remove the key"))
    return found


def _sampling(params: Training, task: TaskSpec) -> _Found:
    if params.sampling is None:
        return []
    several = len(task.each) > 1
    if params.sampling.method == "round-robin" and not several:
        return [(("sampling", "method"), "takes turns among tasks, and there is one", "give `tasks`, or use uniform")]
    if not several and not task.train_with and not (params.distillation and params.distillation.unlabelled):
        return [
            (
                ("sampling",),
                "there is only one dataset to draw from",
                "add more in task.train_with, or remove the key",
            )
        ]
    if params.sampling.method == "annealed" and params.max_steps is None and math.ceil(params.epochs) < 2:
        return [
            (
                ("sampling", "method"),
                "annealing needs more than one epoch",
                "give more epochs; sampling.steps_per_epoch makes them shorter",
            )
        ]
    return []


def _distillation(at: Path_, params: Training, task: TaskSpec) -> _Found:
    distillation, below = params.distillation, params.taught_at
    if distillation is None:
        return []
    if at[:1] == ("baseline",):
        return [
            (
                below,
                "the baseline is what the candidate is compared with, so it only learns from labels",
                "put it in a step",
            )
        ]
    found: _Found = []
    if distillation.by_task is not None and not isinstance(task, SeveralTasks):
        found.append(((*below, "teacher"), "names a teacher for each of several tasks, and there is one", "name one"))
    if not distillation.losses.labels:
        labels = ".".join((*below, "losses", "labels"))
        given = {"class_weights": params.class_weights is not None, "label_smoothing": params.label_smoothing > 0}
        found += [
            ((key,), f"needs labels, but {labels} is 0", f"remove the key, or give {labels} a weight")
            for key in given
            if given[key]
        ]
    kind = task_type(task.type)
    if distillation.losses.layered and kind.has_decoder:
        found.append(
            (
                (*below, "losses"),
                f"layer losses need a single encoder, but the model of {task.type} also has a decoder",
                "keep labels and logits",
            )
        )
    if distillation.unlabelled is not None and kind.annotated:
        found.append(
            ((*below, "unlabelled"), f"{kind.annotated}: the teacher cannot be asked without", "remove the key")
        )
    return found
