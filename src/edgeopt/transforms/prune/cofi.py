"""Structured pruning that is learned: CoFi (Xia et al. 2022), with distillation from a teacher.

The cut model is kept in the work folder, so that an interrupted recovery does not learn the masks again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models.cost import Pass
from edgeopt.models.source import ModelSource, structure_in
from edgeopt.models.structure import Structure, of_config, weights_of
from edgeopt.results.figures import Told
from edgeopt.spec.recipe import (
    TaskSpec,
    Training,
)
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.tasks import called, task_type
from edgeopt.transforms.prune.cofi_params import CofiParams
from edgeopt.transforms.prune.figures import of_one_stack, shape_figures, size_figures

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from edgeopt.training.teacher import Teacher

#: The model behind the first training, in the work folder, and what is known of it.
_CUT, _FIGURES = "cut", "figures.json"
#: The map between the widths, which the recovery goes on from; there too.
_TRANSFORM = "transform.safetensors"
#: Figures of trainings that add up.
_SUMS = ("train_seconds", "loading_seconds", "computing_seconds", "computed_steps", "optimizer_steps")


class CofiPrune(Transform[CofiParams]):
    """Learn which hidden dimensions, heads, neurons and whole blocks the model can do without, and cut them away.

    Meanwhile it follows the layers and logits of a teacher, by default of the model as it was, and what is left is
    trained on towards the same layers and logits. Labels serve to rank heads and neurons at most. Curves hold the
    ramp: at each hundredth of the training the sparsity that was asked of the masks and what they gave.
    """

    name = "prune.cofi"
    version = 4
    summary = "learn which dimensions, heads, neurons and blocks to remove, up to a sparsity"
    Params = CofiParams
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.TRAINED_HEAD),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        adds=facts(Fact.UNEVEN),
        data="train",
        needs=("torch",),
    )
    training = ("", "recover")

    def passes(self, params: CofiParams, training: Training, models: Mapping[str, Mapping[str, Any]]) -> list[Pass]:
        found = super().passes(params, training, models)
        if len(found) > 1 or (training is params.recover and training.taught is not None):
            return found
        return [*found, Pass("teacher", models.get(params.teacher or "", models[""]), "none")]

    def check(self, params: CofiParams, task: TaskSpec) -> Found:
        found = of_one_stack(self.name, task)
        if task_type(task.type).embeds or task_type(task.type).several:
            found.append(((), f"{self.name} does not work for {called(task.type)}", "use prune.fisher or prune.layers"))
        for field, training in self.trainings(params):
            taught = training.distillation
            given = {
                "class_weights": training.class_weights is not None,
                "label_smoothing": training.label_smoothing > 0,
            }
            found += [
                (
                    _at(field, key),
                    f"'{key}' needs labels, but this training only learns from the teacher",
                    "take the key out, or give labels a weight in `recover: {distill: {losses: {labels: 1}}}`",
                )
                for key in given
                if given[key] and not (taught and taught.losses.labels)
            ]
        if params.early_stopping:
            found.append(
                (
                    ("early_stopping",),
                    "'early_stopping' could end before the sparsity is reached",
                    "use 'keep_best', which chooses among checkpoints that have reached it, or move it to 'recover'",
                )
            )
        return found

    def fit(self, params: CofiParams, task: TaskSpec, model: ModelSource) -> Found:
        try:
            return problems(params, of_config(model.config or {}))
        except ValueError:  # not downloaded yet, or a config that leaves numbers to transformers' defaults
            return []

    def leaves(self, params: CofiParams, shape: Structure) -> float | None:
        return 1 - params.sparsity

    def apply(self, state: State, params: CofiParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_base, load_model, save_model
        from edgeopt.training import train
        from edgeopt.training.teacher import Teacher
        from edgeopt.transforms.prune.cofi_training import follow, learn

        teaches = state if params.teacher is None else context.states[params.teacher]
        if not _asked_alike(teaches, state):
            raise bad_input(
                "E208",
                "only one of teacher and model reads token types",
                help="give a teacher of the same family, or leave 'teacher' out",
            )

        def teacher(training: Training) -> Teacher:
            bf16 = training.precision == "bf16"
            return Teacher(load_model(teaches.folder), scores=not task_type(context.task.type).softmax, bf16=bf16)

        zeros, cut = Fact.SPARSE in state.facts, context.work / _CUT
        model: Any = None
        transform: Any = None
        if not cut.exists():
            model = load_model(state.folder)
            # an earlier step may have cut it
            for _, message, help in problems(params, structure_in(state.folder)):
                raise bad_input("E106", message, help=help)
            within = replace(context, work=context.work / "masks", helps=context.helps and params.recover is None)
            transform = learn(model, teacher(params), state, params, within, zeros)
            if not context.helps:
                _remember(model, transform, cut, context.figures)
        # from the folder even where nothing was interrupted: the same either way
        if model is None or not context.helps:
            model, transform = load_base(cut), _remembered(cut)
            context.figures.update(json.loads((cut / _FIGURES).read_text(encoding="utf-8")))
        if params.recover is not None:
            objective = None
            if params.recover.distill is None:
                objective = follow(model, teacher(params.recover), structure_in(state.folder), params, transform)
            within = replace(context, work=context.work / "recover")
            _add(
                context,
                train(model, state.folder, params.recover, within, keep_zeros=zeros, objective=objective),
            )
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)

    def observe(self, before: State, after: Path, params: CofiParams) -> Told:
        left, had = structure_in(after).weights, structure_in(before.folder).weights
        if left >= had:  # how near it came to `sparsity` is in figures and notes
            raise step_failed(
                "E403",
                f"nothing was cut: {left:,} weights are left in the layers, and there were {had:,}",
                help="train longer, or ask for more",
            )
        return {**shape_figures(after), **size_figures(after)}


def problems(params: CofiParams, structure: Structure) -> Found:
    """Why a model of that structure cannot be pruned to the sparsity; nothing where it can."""
    dense, sparsity = structure.dense.structure.weights, params.sparsity
    allowed = (1 - sparsity) * dense
    if structure.weights <= allowed:
        has = 1 - structure.weights / dense
        return [
            (
                ("sparsity",),
                f"{has:.3f} of the dense model's weights are gone before the step, and it is to reach {sparsity:g}",
                "ask for more",
            )
        ]
    shape = structure.dense
    of_head, of_neuron = shape.per_head * shape.head_size, shape.per_neuron
    least = of_neuron if any(x.neuron_count for x in structure.layers) else of_head
    if allowed < least:
        return [
            (
                ("sparsity",),
                f"a sparsity of {sparsity:g} leaves nothing of a model of {dense:,} weights",
                "ask for less",
            )
        ]
    if allowed < (stays := without_masks(params, structure)):
        most = 1 - stays / dense
        return [
            (
                ("masks",),
                f"masks of {' and '.join(params.masks)} can remove {most:.3f} of the weights, "
                f"and the step is to reach {sparsity:g}",
                "add what else may go, such as heads and neurons, or ask for less",
            )
        ]
    return []


def without_masks(params: CofiParams, structure: Structure) -> int:
    """How many weights stay in any case, because `masks` has nothing that could remove them."""
    learned = {"heads", "neurons"} if params.masks == "auto" else {*params.masks}
    if learned & {"blocks", "hidden"}:
        return 0
    return sum(
        weights_of(
            structure,
            0 if "heads" in learned else layer.head_count,
            0 if "neurons" in learned else layer.neuron_count,
        )
        for layer in structure.layers
    )


def _asked_alike(teacher: State, student: State) -> bool:
    """Whether both have a use for the same of a batch: the teacher is asked what the student is."""
    from edgeopt.models.load import takes_of

    return "token_type_ids" not in takes_of(teacher.folder) ^ takes_of(student.folder)


def _at(field: str, key: str) -> tuple[str, ...]:
    return (field, key) if field else (key,)


def _remember(model: PreTrainedModel, transform: nn.Linear, folder: Path, figures: Figures) -> None:
    """Keep what is left and its figures, so that an interrupted run goes on behind the first training."""
    from safetensors.torch import save_model as save_module

    from edgeopt.models.load import save_model

    part = folder.with_suffix(".part")
    part.mkdir(exist_ok=True)
    save_model(model, part)
    save_module(transform, str(part / _TRANSFORM))
    (part / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")
    part.replace(folder)


def _remembered(folder: Path) -> nn.Linear:
    from safetensors.torch import load_file
    from torch import nn

    weights = load_file(folder / _TRANSFORM)
    transform = nn.Linear(*reversed(weights["weight"].shape))
    transform.load_state_dict(weights)
    return transform


def _add(context: StepContext, last: Figures) -> None:
    """Update the figures with those of the last training, but add up seconds and steps, and keep the larger peaks.

    Its curves go on where those of the first end.
    """
    figures, curves = context.figures, context.told["curves"]
    before = {k: figures[k] for k in (*_SUMS, "peak_rss_bytes", "peak_gpu_bytes") if k in figures}
    steps = figures["optimizer_steps"]
    figures.update(last)
    for name, points in context.told["curves"].items():
        curves[name] = [*curves.get(name, []), *((step + steps, value) for step, value in points)]
    context.told["curves"] = curves
    for key, value in before.items():
        figures[key] = round(value + last[key], 3) if key in _SUMS else max(value, last.get(key, 0))
