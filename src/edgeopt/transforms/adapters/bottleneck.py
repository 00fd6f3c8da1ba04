"""Bottleneck adapters of Houlsby et al. (2019) and Pfeiffer et al. (2020); the networks are in models/bottleneck.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edgeopt.step.contract import Contract
from edgeopt.transforms.adapters.method import STAYS, Adapter, AdapterParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class BottleneckParams(AdapterParams):
    """Where the networks are and how narrow; the head is trained besides them."""

    placement: Literal["houlsby", "pfeiffer"] = Field(
        "pfeiffer",
        description="houlsby: after the projections of attention and of feed-forward; pfeiffer: only after that of "
        "feed-forward",
    )
    reduction: int = Field(16, ge=1, le=1024, description="width of the layers divided by the width of the bottleneck")
    activation: Literal["relu", "gelu", "silu", "tanh"] = Field(
        "gelu", description="activation between the two matrices"
    )
    learning_rate: float = Field(1e-3, gt=0, lt=1, description="highest learning rate, reached after the warm-up")


class BottleneckAdapter(Adapter[BottleneckParams]):
    """Small residual networks in every layer, the rest frozen.

    They cannot be merged: the export has them in the graph.
    """

    name = "adapter.bottleneck"
    summary = "bottleneck networks and head, the base frozen; stay in the graph"
    Params = BottleneckParams
    contract = Contract(requires=STAYS.requires, forbids=STAYS.forbids, adds=STAYS.adds, data="train")

    def attach(self, model: PreTrainedModel, params: BottleneckParams) -> PreTrainedModel:
        from edgeopt.models import bottleneck

        return bottleneck.attach(
            model, placement=params.placement, reduction=params.reduction, activation=params.activation
        )

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        from edgeopt.models import bottleneck

        bottleneck.save(model, folder)
