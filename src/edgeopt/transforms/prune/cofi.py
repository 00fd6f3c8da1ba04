"""Structured pruning that is learned: CoFi (Xia et al. 2022), with distillation from a teacher.

The cut model is kept in the work folder, so that an interrupted recovery does not learn the masks again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from edgeopt.models.source import ModelSource, structure_in
from edgeopt.models.structure import Structure, of_config
from edgeopt.results.figures import Told
from edgeopt.spec.recipe import Name, Numbers, Share, StepParams, Strict, TaskSpec, Taught, Training
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.tasks import task_type
from edgeopt.transforms.prune.figures import TOLERANCE, of_one_stack, shape_figures, size_figures
from edgeopt.transforms.prune.rounding import DESCRIPTION, Multiple, resolved

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.training.teacher import Teacher

#: The model behind the first training, in the work folder, and what is known of it.
_CUT, _FIGURES = "cut", "figures.json"
#: Figures of trainings that add up.
_SUMS = ("train_seconds", "loading_seconds", "computing_seconds", "optimizer_steps")


class CofiLosses(Strict):
    """The terms that follow the teacher, each with its weight; labels are not learned from."""

    hidden: Share = Field(
        0.9,
        description="sum of the mean squared distances between hidden states of matched layers; the paper "
        "uses 0.9, 0.7 "
        "and 0.5",
    )
    logits: Share = Field(
        0.1,
        description="T²·KL of the logits, or for a regression the squared distance of the scores; the paper uses 0.1, "
        "0.3 and 0.5",
    )

    @model_validator(mode="after")
    def _something(self) -> CofiLosses:
        if not (self.hidden or self.logits):
            raise ValueError("both weights are 0, so nothing is learned")
        return self


class CofiParams(StepParams, Taught, Training):
    """How much goes, and how the masks are learned."""

    teacher: Name | None = Field(
        None,
        description="`baseline`, the id of an earlier step, or a checkpoint with a trained head and the same "
        "tokenizer; "
        "default: the model that the step gets, before pruning",
    )
    losses: CofiLosses = Field(
        CofiLosses(), description="see the table below; `recover` only uses the logits, at the same temperature"
    )
    match: Literal["uniform", "dynamic"] | Numbers = Field(
        "dynamic",
        description="layers compared by `losses.hidden`. dynamic: four evenly spread layers of the teacher, each with "
        "the student's nearest layer that is not pruned, in order; uniform: every k-th layer of the deeper "
        "model; or a list: for each layer of the student, the number of the teacher's layer, from 0",
    )
    sparsity: float = Field(gt=0, lt=1, description="share of the weights in the dense model's layers to remove")
    epochs: float = Field(
        20.0,
        gt=0,
        description="passes over train; the paper takes 100 for small datasets such as MRPC, 20 for large ones",
    )
    learning_rate: float = Field(
        2e-5, gt=0, lt=1, description="highest learning rate of the weights, reached after the warm-up"
    )
    sparsity_warmup: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of the training in which the target of the masks rises to `sparsity`; the paper uses 0.1 to "
        "0.2",
    )
    mask_learning_rate: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="learning rate of the masks' log α, constant over the training; log α has a range of 9.2",
    )
    multiple: Multiple = Field("auto", description=DESCRIPTION.format(", and the hidden dimensions,"))
    recover: Training | None = Field(
        Training(epochs=20.0, learning_rate=2e-5),
        description="fine-tune the pruned model with the teacher's logits; null skips this. Its keys have the defaults "
        "of [training](#training)",
    )

    @model_validator(mode="after")
    def _match_fits(self) -> CofiParams:
        if self.match != "dynamic" and not self.losses.hidden:
            raise ValueError("'match' belongs to 'hidden' of 'losses'")
        return self


class CofiPrune(Transform[CofiParams]):
    """Learn which hidden dimensions, heads, neurons and whole blocks the model can do without, and cut them away.

    Meanwhile it follows the layers and logits of a teacher, by default of the model as it was, and what is left is
    trained towards the same logits. No labels are used. The sparsity asked for is reached as nearly as one threshold on
    the masks allows; figures and a note say where it was not.
    """

    name = "prune.cofi"
    version = 2
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

    def check(self, params: CofiParams, task: TaskSpec) -> Found:
        found = of_one_stack(self.name, task)
        for field, training in self.trainings(params):
            given = {
                "class_weights": training.class_weights is not None,
                "label_smoothing": training.label_smoothing > 0,
            }
            found += [
                (
                    _at(field, key),
                    f"'{key}' needs labels, but this step only learns from the teacher's logits",
                    "take the key out",
                )
                for key in given
                if given[key]
            ]
        for key in ("keep_best", "early_stopping"):
            if getattr(params, key):
                found.append(
                    (
                        (key,),
                        f"'{key}' would end before the sparsity is reached",
                        "move it to 'recover', or remove it",
                    )
                )
        return found

    def fit(self, params: CofiParams, task: TaskSpec, model: ModelSource) -> Found:
        try:
            return problems(params.sparsity, of_config(model.config or {}))
        except ValueError:  # not downloaded yet, or a config that leaves numbers to transformers' defaults
            return []

    def apply(self, state: State, params: CofiParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_base, load_model, save_model
        from edgeopt.training import train
        from edgeopt.training.teacher import DistillLogits, Teacher

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
        if not cut.exists():
            model = load_model(state.folder)
            # an earlier step may have cut it
            for _, message, help in problems(params.sparsity, structure_in(state.folder)):
                raise bad_input("E106", message, help=help)
            within = replace(context, work=context.work / "masks", helps=context.helps and params.recover is None)
            _learn(model, teacher(params), state, params, within, zeros)
            if not context.helps:
                _remember(model, cut, context.figures)
        # from the folder even where nothing was interrupted: the same either way
        if model is None or not context.helps:
            model = load_base(cut)
            context.figures.update(json.loads((cut / _FIGURES).read_text(encoding="utf-8")))
        if params.recover is not None:
            objective = DistillLogits(teacher(params.recover), params.temperature)
            within = replace(context, work=context.work / "recover")
            _add(
                context.figures,
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


def problems(sparsity: float, structure: Structure) -> Found:
    """Why a model of that structure cannot be pruned to the sparsity; nothing where it can."""
    dense = structure.dense.structure.weights
    if structure.weights <= (1 - sparsity) * dense:
        has = 1 - structure.weights / dense
        return [
            (
                ("sparsity",),
                f"{has:.3f} of the dense model's weights are gone before the step, and it is to reach {sparsity:g}",
                "ask for more",
            )
        ]
    least = 2 if any(x.neuron_count for x in structure.layers) else 4 * structure.dense.head_size
    if (1 - sparsity) * dense < least:
        return [
            (
                ("sparsity",),
                f"a sparsity of {sparsity:g} leaves nothing of a model of {dense:,} weights",
                "ask for less",
            )
        ]
    return []


def _asked_alike(teacher: State, student: State) -> bool:
    """Whether both have a use for the same of a batch: the teacher is asked what the student is."""
    from edgeopt.models.load import takes_of

    return "token_type_ids" not in takes_of(teacher.folder) ^ takes_of(student.folder)


def _at(field: str, key: str) -> tuple[str, ...]:
    return (field, key) if field else (key,)


def _learn(
    model: PreTrainedModel, teacher: Teacher, state: State, params: CofiParams, context: StepContext, zeros: bool
) -> None:
    """Train weights and masks together, and cut away what the masks close; in place."""
    from edgeopt.models.masks import kept
    from edgeopt.models.slicing import cut, structure_of
    from edgeopt.training import train
    from edgeopt.training.sparsify import Sparsify

    objective = Sparsify(
        model,
        teacher,
        target=params.sparsity,
        warmup=params.sparsity_warmup,
        rate=params.mask_learning_rate,
        temperature=params.temperature,
        match=params.match,
        **params.losses.model_dump(),
    )
    context.figures.update(train(model, state.folder, params, context, keep_zeros=zeros, objective=objective))
    dense = structure_of(model).dense
    multiple = resolved(params.multiple, dense.neurons), resolved(params.multiple, dense.hidden)
    cut(model, kept(model, objective.gates.binary((1 - params.sparsity) * dense.structure.weights, *multiple)))
    got = 1 - structure_of(model).weights / dense.structure.weights
    context.told["multiple"] = multiple[0]
    context.told["asked_sparsity"] = {
        "asked": params.sparsity,
        "learned": round(float(objective.gates.sparsity().detach()), 4),
        "got": round(got, 4),
        "reached": abs(got - params.sparsity) <= TOLERANCE,
    }


def _remember(model: PreTrainedModel, folder: Path, figures: Figures) -> None:
    """Keep what is left and its figures, so that an interrupted run goes on behind the first training."""
    from edgeopt.models.load import save_model

    part = folder.with_suffix(".part")
    part.mkdir(exist_ok=True)
    save_model(model, part)
    (part / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")
    part.replace(folder)


def _add(figures: Figures, last: Figures) -> None:
    """Update the figures with those of the last training, but add up seconds and steps, and keep the larger peaks."""
    before = {k: figures[k] for k in (*_SUMS, "peak_rss_bytes", "peak_gpu_bytes") if k in figures}
    figures.update(last)
    for key, value in before.items():
        figures[key] = round(value + last[key], 3) if key in _SUMS else max(value, last.get(key, 0))
