"""Whole layers dropped: the plainest way to a shorter model, and the usual start of a student."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from edgeopt.models.anatomy import family
from edgeopt.models.source import ModelSource, structure_in
from edgeopt.models.structure import Structure, of_config
from edgeopt.results.figures import Told
from edgeopt.spec.recipe import Numbers, StepParams, TaskSpec
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.transforms.prune.figures import of_one_stack, shape_figures, size_figures


class LayersParams(StepParams):
    """Which layers stay: either list, numbered from 0 as the step gets the model. The others keep their weights."""

    drop: Numbers | None = Field(None, description="layers that go")
    keep: Numbers | None = Field(
        None, description="numbers of the layers to keep, from 0; they stay in the model's order"
    )

    @model_validator(mode="after")
    def _one_list(self) -> LayersParams:
        if (self.drop is None) == (self.keep is None):
            raise ValueError("give exactly one of 'drop' and 'keep', a list of layer numbers")
        given = self.drop or self.keep or []
        if len(set(given)) < len(given):
            raise ValueError("a layer is named twice")
        return self


class DropLayers(Transform[LayersParams]):
    """Drop layers. What follows them was trained to read others: fine-tune behind it."""

    name = "prune.layers"
    summary = "drop whole layers"
    Params = LayersParams
    contract = Contract(requires=facts(Fact.TORCH), forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER), needs=("torch",))

    def check(self, params: LayersParams, task: TaskSpec) -> Found:
        return of_one_stack(self.name, task)

    def fit(self, params: LayersParams, task: TaskSpec, model: ModelSource) -> Found:
        try:
            return problems(params, len(of_config(model.config or {}).layers), first=_first_stays(model.config or {}))
        except ValueError:  # not downloaded yet, or a config that leaves numbers to transformers' defaults
            return []

    def leaves(self, params: LayersParams, shape: Structure) -> float | None:
        count = len(shape.layers)
        return sum(stays(params, n) for n in range(count)) / count

    def apply(self, state: State, params: LayersParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.models.slicing import keep_layers, structure_of

        model = load_model(state.folder)
        count = len(structure_of(model).layers)
        for _, message, help in problems(
            params, count, first=_first_stays(model.config.to_dict())
        ):  # an earlier step may have dropped some
            raise bad_input("E106", message, help=help)
        keep_layers(model, [n for n in range(count) if stays(params, n)])
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)

    def observe(self, before: State, after: Path, params: LayersParams) -> Told:
        wanted = [x.origin for n, x in enumerate(structure_in(before.folder).layers) if stays(params, n)]
        left = [x.origin for x in structure_in(after).layers]
        if left != wanted:
            raise step_failed(
                "E403",
                f"the layers that are left are {left} of the dense model's, and {wanted} were to stay",
                help="report it with the recipe",
            )
        return {**shape_figures(after), **size_figures(after)}


def stays(params: LayersParams, layer: int) -> bool:
    """Whether the layer of that number is kept."""
    return layer in params.keep if params.keep is not None else layer not in (params.drop or ())


def _first_stays(config: Mapping[str, Any]) -> bool:
    """Whether something stands behind the first layer that must stay there."""
    shape = family(config.get("model_type"))
    return shape is not None and shape.stays(config, 0)


def problems(params: LayersParams, count: int, *, first: bool = False) -> Found:
    """Why these layers cannot be dropped from a model of `count` layers; nothing where they can.

    first: whether the first must stay.
    """
    key = "drop" if params.keep is None else "keep"
    wrong = [n for n in params.drop or params.keep or () if n >= count]
    if wrong:
        return [
            (
                (key,),
                f"there is no layer {wrong[0]}: the model has {count}, numbered from 0",
                f"layers: 0 to {count - 1}",
            )
        ]
    left = sum(stays(params, n) for n in range(count))
    if left == 0:
        return [((key,), "every layer is dropped", "keep at least one")]
    if first and not stays(params, 0):
        return [((key,), "layer 0 cannot be dropped: a convolution stands behind it", "drop other layers")]
    if left == count:
        return [((key,), "every layer is kept: the step would change nothing", "leave out the layers to remove")]
    return []
