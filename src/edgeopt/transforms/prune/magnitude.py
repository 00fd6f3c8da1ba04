"""Unstructured magnitude pruning, with an optional fine-tune that keeps the zeros."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from edgeopt.contract import Contract, Fact, facts
from edgeopt.errors import step_failed
from edgeopt.recipe.schema import StepParams, TrainParams
from edgeopt.store import State
from edgeopt.transforms.base import Figures, StepContext, Transform


class MagnitudeParams(StepParams):
    """What is set to zero: `amount` of the weights of the encoder's linear layers."""

    amount: float = Field(gt=0, lt=1, description="share of the weights that become zero")
    granularity: Literal["unstructured"] = "unstructured"
    criterion: Literal["l1", "random"] = Field("l1", description="l1: the smallest absolute values go first")
    scope: Literal["layer", "global"] = Field("global", description="compare within each matrix, or across the model")
    recover: TrainParams | None = Field(None, description="fine-tune afterwards, the zeros kept")


class MagnitudePrune(Transform[MagnitudeParams]):
    """Set single weights to zero. In ONNX Runtime zeros compress on disk and bring no speed."""

    name = "prune.magnitude"
    summary = "set the smallest weights to zero"
    Params = MagnitudeParams
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.TRAINED_HEAD), forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER), adds=facts(Fact.SPARSE), data="train", needs=("torch",)
    )
    training = "recover"

    def apply(self, state: State, params: MagnitudeParams, context: StepContext) -> None:
        import torch

        from edgeopt.models.load import copy_tokenizer, load_model, prunable, save_model
        from edgeopt.training import train

        model = load_model(state.folder)
        generator = torch.Generator().manual_seed(context.seed)
        weights = [m.weight for _, m in prunable(model)]
        scores = [w.detach().abs() if params.criterion == "l1" else _random(w, generator) for w in weights]
        with torch.no_grad():
            for weight, keep in zip(weights, masks(scores, params.amount, params.scope), strict=True):
                weight.mul_(keep)
        if params.recover is not None:
            context.figures.update(train(model, state.folder, params.recover, context, keep_zeros=True))
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)

    def observe(self, before: State, after: Path, params: MagnitudeParams) -> Figures:
        from edgeopt.models.load import load_model, prunable

        weights = [m.weight for _, m in prunable(load_model(after))]
        sparsity = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
        if sparsity < params.amount - 1e-3:
            raise step_failed("E403", f"the model is {sparsity:.3f} zeros after pruning to {params.amount}", help="report it with the recipe")
        return {"sparsity": round(sparsity, 6)}


def _random(weight: Any, generator: Any) -> Any:
    """Random scores; weights that are zero already rank lowest, so that pruning twice adds up."""
    import torch

    return torch.rand(weight.shape, generator=generator) * (weight != 0)


def masks(scores: list[Any], amount: float, scope: str) -> list[Any]:
    """0/1 masks of the scores' shapes with exactly round(amount·n) zeros: in each matrix (layer) or over
    all of them (global). The lowest scores go; ties go in order of position."""
    import torch

    if scope == "layer":
        return [masks([s], amount, "global")[0] for s in scores]
    flat = torch.cat([s.reshape(-1) for s in scores])
    keep = torch.ones_like(flat)
    order = torch.sort(flat, stable=True).indices
    keep[order[: round(amount * flat.numel())]] = 0
    parts = torch.split(keep, [s.numel() for s in scores])
    return [part.reshape(s.shape) for part, s in zip(parts, scores, strict=True)]
