"""Distillation as a step: a student made of the model, or another one, and trained towards a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from edgeopt.models.source import ModelSource, structure_in
from edgeopt.models.structure import Structure, of_config, weights_of
from edgeopt.spec.recipe import Distillation, Numbers, StepParams, Strict, TaskSpec, Training
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, Reference, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.tasks import task_type
from edgeopt.transforms.prune.figures import of_one_stack, shape_figures, size_figures

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Student(Strict):
    """What is trained: the model that the step is given, or as much of it as these keys say; or another checkpoint."""

    layers: Literal["alternate"] | Numbers | None = Field(
        None,
        description="numbers of the layers to keep, from 0; alternate: every second layer including the "
        "last, such as 1, "
        "3, 5, 7, 9 and 11 of twelve",
    )
    first: int | None = Field(None, ge=1, description="or: number of layers to keep from the start")
    last: int | None = Field(None, ge=1, description="or: number of layers to keep at the end")
    hidden: int | None = Field(None, ge=1, description="hidden dimensions to keep")
    heads: int | None = Field(None, ge=1, description="attention heads to keep in each layer")
    neurons: int | None = Field(None, ge=1, description="feed-forward neurons to keep in each layer")
    keep: Literal["norm", "first"] = Field(
        "norm",
        description="which `hidden`, `heads` and `neurons` to keep: those with the largest weights (L2), or the first",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="or, in place of all other keys: a checkpoint (a folder, or a hub id with its owner), "
        "which gets the "
        "task's head",
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Student:
        if sum(x is not None for x in (self.layers, self.first, self.last)) > 1:
            raise ValueError("give one of 'layers', 'first' and 'last'")
        if isinstance(self.layers, list) and len(set(self.layers)) < len(self.layers):
            raise ValueError("a layer is named twice")
        if self.model is not None and (self.narrows or self.shortens):
            raise ValueError(
                "'model' is a complete student: leave out the other keys, which cut the student from the step's input"
            )
        return self

    @property
    def shortens(self) -> bool:
        """Whether only some of the layers stay."""
        return self.layers is not None or self.first is not None or self.last is not None

    @property
    def narrows(self) -> bool:
        """Whether layers keep only some of their dimensions, heads or neurons."""
        return self.hidden is not None or self.heads is not None or self.neurons is not None

    @property
    def count(self) -> int | None:
        """Layers of the student, where the keys say so."""
        return len(self.layers) if isinstance(self.layers, list) else self.first or self.last

    def numbers(self, count: int) -> list[int]:
        """The layers that stay, of so many."""
        if isinstance(self.layers, list):
            return sorted(self.layers)
        if self.layers == "alternate":
            return list(range((count - 1) % 2, count, 2))
        return list(range(self.first)) if self.first is not None else list(range(count))[-(self.last or count) :]


class DistillParams(StepParams, Distillation, Training):
    """The student, and what it learns from."""

    student: Student = Field(Student(), description="see the table below; default: the whole model that the step gets")


class Distill(Transform[DistillParams]):
    """Train a student towards a teacher.

    The student is the model itself, to recover what pruning cost; a part of its layers or of its width; or another
    checkpoint. With `losses: {labels: 1, logits: 0}` it learns from the labels alone, without a teacher.
    """

    name = "distill"
    summary = "train the model, a part of it or another model to match a teacher"
    Params = DistillParams
    contract = Contract(
        requires=facts(Fact.TORCH),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        adds=facts(Fact.TRAINED_HEAD),
        data="train",
        needs=("torch",),
    )
    training = ""
    keeps_tokenizer = False  # another checkpoint may be the student
    cuts_first = True

    def contract_of(self, params: DistillParams) -> Contract:
        if params.student.model is not None:
            return replace(self.contract, removes=facts(Fact.SPARSE, Fact.UNEVEN))
        return (
            replace(self.contract, adds=self.contract.adds | facts(Fact.UNEVEN))
            if params.student.heads is not None
            else self.contract
        )

    def references(self, params: DistillParams) -> list[Reference]:
        name = params.student.model
        return [
            *super().references(params),
            *([Reference(("student", "model"), name, "student")] if name is not None else []),
        ]

    def check(self, params: DistillParams, task: TaskSpec) -> Found:
        found: Found = []
        student, match = params.student, params.match
        if student.shortens or student.narrows:
            found += [
                (("student",), message, "leave 'student' out, or give another checkpoint in 'model'")
                for _, message, _ in of_one_stack(self.name, task)
            ]
        if student.hidden is not None and task_type(task.type).embeds:
            what = f"a narrower student of {task.type} would give embeddings of another width"
            found.append((("student", "hidden"), what, "leave 'hidden' out, or give another checkpoint in 'model'"))
        if isinstance(match, list) and student.count is not None and len(match) != student.count:
            what = f"'match' names {len(match)} layers of the teacher, and the student has {student.count} layers"
            found.append((("match",), what, "name one for each"))
        return found

    def fit(self, params: DistillParams, task: TaskSpec, model: ModelSource) -> Found:
        try:
            return problems(params.student, of_config(model.config or {}).dense.structure)
        except ValueError:  # not downloaded yet, or a config that leaves numbers to transformers' defaults
            return []

    def leaves(self, params: DistillParams, shape: Structure) -> float | None:
        student, dense = params.student, shape.dense
        if not (student.shortens or student.narrows):
            return None
        of_layer = replace(shape, hidden=student.hidden or shape.hidden)
        left = weights_of(of_layer, student.heads or dense.heads, student.neurons or dense.neurons)
        return len(student.numbers(len(shape.layers))) * left / shape.weights

    def apply(self, state: State, params: DistillParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.training import train

        student = params.student
        source = state if student.model is None else context.states[student.model]
        model = load_model(source.folder)
        if student.shortens or student.narrows:
            _shrink(model, student)
        context.figures.update(train(model, source.folder, params, context, keep_zeros=Fact.SPARSE in source.facts))
        save_model(model, context.output)
        copy_tokenizer(source.folder, context.output)

    def observe(self, before: State, after: Path, params: DistillParams) -> Figures:
        try:
            figures = {**shape_figures(after), **size_figures(after)}
        except ValueError:  # an encoder and a decoder have no one structure
            return {}
        for what, has, asked in _sizes(params.student, structure_in(before.folder), structure_in(after)):
            if has != asked:
                raise step_failed(
                    "E403",
                    f"the student has {has} {what}, and {asked} were asked for",
                    help="report it with the recipe",
                )
        return figures


def _sizes(student: Student, before: Structure, after: Structure) -> Iterator[tuple[str, Any, Any]]:
    """(what, what the student has of it, what was asked for) of each size that the keys name."""
    if student.shortens:
        yield (
            "layers",
            [x.origin for x in after.layers],
            [before.layers[n].origin for n in student.numbers(len(before.layers))],
        )
    if student.hidden is not None:
        yield "hidden dimensions", after.hidden, student.hidden
    if student.heads is not None:
        yield (
            "heads in a layer",
            {x.head_count for x in after.layers if x.heads is not None} or {student.heads},
            {student.heads},
        )
    if student.neurons is not None:
        yield (
            "neurons in a layer",
            {x.neuron_count for x in after.layers if x.neurons is not None} or {student.neurons},
            {student.neurons},
        )


def problems(student: Student, structure: Structure) -> Found:
    """Why the student cannot be cut out of a model of that structure; nothing where it can."""
    count: int = len(structure.layers)
    found: Found = []
    for name, asked in (("first", student.first), ("last", student.last)):
        if asked is not None and asked > count:
            found.append((("student", name), f"the model has {count} layers, fewer than {asked}", "give fewer"))
    if isinstance(student.layers, list) and (wrong := [n for n in student.layers if n >= count]):
        found.append(
            (
                ("student", "layers"),
                f"there is no layer {wrong[0]}: the model has {count}, numbered from 0",
                f"layers: 0 to {count - 1}",
            )
        )
    sizes = {
        "hidden": structure.hidden,
        "heads": max(x.head_count for x in structure.layers),
        "neurons": max(x.neuron_count for x in structure.layers),
    }
    for name, most in sizes.items():
        asked = getattr(student, name)
        if asked is not None and asked > most:
            found.append((("student", name), f"a student of {asked} {name}: the model has {most}", "give fewer"))
    return found


def _shrink(model: PreTrainedModel, student: Student) -> None:
    from edgeopt.models.narrow import narrower
    from edgeopt.models.slicing import cut, keep_layers, structure_of

    structure = structure_of(model)
    for _, message, help in problems(student, structure):  # an earlier step may have cut it
        raise bad_input("E106", message, help=help)
    if student.shortens:
        keep_layers(model, student.numbers(len(structure.layers)))
    if student.narrows:
        try:
            cut(
                model,
                narrower(model, hidden=student.hidden, heads=student.heads, neurons=student.neurons, by=student.keep),
            )
        except ValueError as error:
            raise bad_input("E106", str(error), help="give fewer") from None
