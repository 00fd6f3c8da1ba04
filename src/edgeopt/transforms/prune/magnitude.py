"""Magnitude pruning of single weights, rows or columns, with an optional fine-tune that keeps the zeros."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from edgeopt.results.figures import told
from edgeopt.spec.recipe import StepParams, TaskSpec, TrainParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import InputError, bad_input, step_failed
from edgeopt.transforms.prune.figures import of_one_stack, shape_figures, size_figures

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class MagnitudeParams(StepParams):
    """What is set to zero: `amount` of the weights of the encoder's linear layers."""

    amount: float = Field(gt=0, lt=1, description="share of the weights (or of the rows or columns) to set to zero")
    granularity: Literal["unstructured", "row", "column"] = Field(
        "unstructured",
        description="single weights, or whole rows (outputs) or columns (inputs) of the matrices; these are removed if "
        "nothing else reads them",
    )
    criterion: Literal["l1", "l2", "random"] = Field(
        "l1",
        description="what is pruned first: the smallest by absolute value or by the norm of a row or column, "
        "or a random "
        "choice",
    )
    scope: Literal["layer", "global"] = Field(
        "global",
        description="compare within each matrix, or across the whole model (rows and columns by the mean of their "
        "weights)",
    )
    steps: int = Field(
        1, ge=1, le=100, description="number of pruning steps, most pruning early, each followed by `recover`"
    )
    recover: TrainParams | None = Field(None, description="fine-tune afterwards, keeping the zeros")

    @model_validator(mode="after")
    def _steps_recover(self) -> MagnitudeParams:
        if self.steps > 1 and self.recover is None:
            raise ValueError("'steps' without 'recover' gives the same result as one step: add 'recover'")
        return self


class MagnitudePrune(Transform[MagnitudeParams]):
    """Set weights to zero.

    In ONNX Runtime zeros compress on disk and bring no speed. Of whole rows or columns, the neurons and heads that
    nothing is left of are cut away, which brings both.
    """

    name = "prune.magnitude"
    version = 2
    summary = "set the smallest weights, rows or columns to zero"
    Params = MagnitudeParams
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.TRAINED_HEAD),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        adds=facts(Fact.SPARSE),
        data="train",
        needs=("torch",),
    )
    training = "recover"

    def check(self, params: MagnitudeParams, task: TaskSpec) -> Found:
        return (
            [] if params.granularity == "unstructured" else of_one_stack(f"{self.name} by {params.granularity}", task)
        )

    def apply(self, state: State, params: MagnitudeParams, context: StepContext) -> None:
        import torch

        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.models.parts import prunable
        from edgeopt.models.slicing import structure_of
        from edgeopt.models.zeros import cut_zeros
        from edgeopt.transforms.prune.masks import masks, scores

        model = load_model(state.folder)
        weights = [m.weight for _, m in prunable(model)]
        generator = torch.Generator().manual_seed(context.seed)
        total = sum(w.numel() for w in weights)
        done = _resume(model, context)
        for step in range(done, params.steps):
            amount = schedule(params.amount, step + 1, params.steps)
            chosen = masks(
                scores(weights, params.granularity, params.criterion, generator),
                weights,
                amount,
                params.scope,
                params.granularity,
            )
            with torch.no_grad():
                for weight, keep in zip(weights, chosen, strict=True):
                    weight.mul_(keep)
            if not any(bool(keep.any()) for keep in chosen):
                raise _nothing(params)
            if params.recover is not None:
                last = step + 1 == params.steps
                within = replace(context, work=context.work / f"step-{step}", helps=context.helps and last)
                _recover(model, state, params.recover, within, context.figures)
                if not last:
                    _remember(model, step + 1, context)
        if params.granularity != "unstructured":
            zeros = sum(int((w == 0).sum()) for w in weights)
            cut_zeros(model)
            if not structure_of(model).weights:
                raise _nothing(params)
            context.figures["pruned_share"] = round(zeros / total, 6)
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)

    def observe(self, before: State, after: Path, params: MagnitudeParams) -> Figures:
        from edgeopt.models.load import load_model
        from edgeopt.models.parts import prunable

        left = [m.weight for _, m in prunable(load_model(after))]
        zeros, size = sum(int((w == 0).sum()) for w in left), sum(w.numel() for w in left)
        old = [m.weight.shape for _, m in prunable(load_model(before.folder))]
        total = sum(s.numel() for s in old)
        share = (total - size + zeros) / total
        # counts of rows and columns are rounded in each matrix
        slack = 1e-3 if params.granularity == "unstructured" else 1 / min(min(s) for s in old)
        if share < params.amount - slack:
            raise step_failed(
                "E403",
                f"{share:.3f} of the weights are gone after pruning {params.amount}",
                help="report it with the recipe",
            )
        figures = {"sparsity": round(zeros / max(size, 1), 6), **size_figures(after)}
        return figures if params.granularity == "unstructured" else {**figures, **shape_figures(after)}


def _nothing(params: MagnitudeParams) -> InputError:
    """That no weight is left, or none that another still reads."""
    return bad_input("E106", f"'amount' of {params.amount:g} leaves no weight of the model", help="ask for less")


def schedule(amount: float, step: int, steps: int) -> float:
    """The share that is pruned after step 1…steps: most of it early, when there is most to spare.

    Zhu and Gupta 2017, "To prune, or not to prune", section 3.
    """
    return amount * (1 - (1 - step / steps) ** 3)


def _recover(model: PreTrainedModel, state: State, params: TrainParams, context: StepContext, figures: Figures) -> None:
    """Train with the zeros kept. Figures are those of the last of several trainings; its seconds, of all."""
    from edgeopt.training import train

    so_far = told(figures)
    before = so_far.get("train_seconds", 0.0)
    figures.update(train(model, state.folder, params, context, keep_zeros=True))
    so_far["train_seconds"] = round(before + so_far["train_seconds"], 3)


def _remember(model: PreTrainedModel, done: int, context: StepContext) -> None:
    """Keep the model after a step, so that an interrupted run goes on behind it."""
    from safetensors.torch import save_file

    if not context.helps:
        target = context.work / f"done-{done}.safetensors"
        save_file({n: t.contiguous() for n, t in model.state_dict().items()}, f"{target}.part")
        Path(f"{target}.part").replace(target)


def _resume(model: PreTrainedModel, context: StepContext) -> int:
    """How many steps an interrupted run had finished; the model is as it was then."""
    from safetensors.torch import load_file

    found = max((int(p.stem.rpartition("-")[2]) for p in context.work.glob("done-*.safetensors")), default=0)
    if found:
        model.load_state_dict(load_file(context.work / f"done-{found}.safetensors"))
    return found
