"""LoRA through peft (Hu et al. 2021), with rsLoRA (Kalajdzievski 2023) and DoRA (Liu et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edgeopt.transforms.adapters.method import MERGEABLE, Adapter, LowRankParams, for_task, peft_model, targets

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel


class LoraParams(LowRankParams):
    """LoRA's parameters, in peft's words; the head is trained besides the adapter."""

    r: int = Field(16, ge=1, le=1024, description="rank")
    alpha: float = Field(32, gt=0, description="scale: alpha / r (with rsLoRA: alpha / √r)")
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    use_dora: bool = False
    learning_rate: float = Field(3e-4, gt=0, lt=1)


class Lora(Adapter[LoraParams]):
    """Low-rank updates beside frozen weights; the state holds base and adapter in peft's layout."""

    name = "adapter.lora"
    version = 2
    summary = "low-rank adapter and head, the base frozen"
    Params = LoraParams
    contract = MERGEABLE

    def attach(self, model: PreTrainedModel, params: LoraParams) -> PeftModel:
        return peft_model(model, config(model, params))

    def promised(self, shapes: Mapping[str, list[int]], params: LoraParams) -> Iterator[tuple[str, int, int]]:
        return ranks(shapes, params.r)


def ranks(shapes: Mapping[str, list[int]], r: int) -> Iterator[tuple[str, int, int]]:
    """("rank", its rank, r) of each pair of matrices of an adapter, of which there is one at least."""
    found = [shape[0] for name, shape in shapes.items() if ".lora_A" in name or ".lora_embedding_A" in name]
    yield from (("rank", rank, r) for rank in found or [0])


def config(model: PreTrainedModel, params: LoraParams) -> LoraConfig:
    """The LoraConfig of peft for the model."""
    from peft import LoraConfig

    return LoraConfig(
        r=params.r,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        bias=params.bias,
        target_modules=targets(model, params),
        use_rslora=params.use_rslora,
        use_dora=params.use_dora,
        **for_task(model),
    )
