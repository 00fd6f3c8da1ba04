"""QLoRA through peft and bitsandbytes (Dettmers et al. 2023): LoRA beside a base in 4-bit NormalFloat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from edgeopt.models.source import CONFIG, ModelSource
from edgeopt.models.structure import FIELD, of_config
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support import host
from edgeopt.support.errors import step_failed
from edgeopt.transforms.adapters.lora import LoraParams, config, ranks
from edgeopt.transforms.adapters.method import MERGEABLE, Adapter, peft_model

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

#: Weights that share a scale. bitsandbytes' kernels for the CPU take it that a row begins with a new block.
BLOCK = 64
_WIDTHS = ("hidden_size", "embedding_size", "intermediate_size", "dim", "hidden_dim")


class QloraParams(LoraParams):
    """LoRA's parameters, and those of the 4-bit base."""

    target_modules: Literal["attention", "all-linear"] | list[str] = Field(
        "all-linear",
        description="attention: query, key and value; all-linear: every linear layer of the encoder; or a "
        "list of names",
    )
    double_quant: bool = Field(True, description="also quantize the scales: 0.127 instead of 0.5 bits per weight")
    compute_dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="type that the 4-bit weights are expanded to for computing"
    )
    paged_optimizer: bool = Field(False, description="AdamW that can move its state to the host's memory; CUDA only")


class Qlora(Adapter[QloraParams]):
    """LoRA on a frozen base whose linears but the head are in NF4.

    Merging gives float weights again: those that the 4-bit ones stand for, plus the adapter's.
    """

    name = "adapter.qlora"
    summary = "low-rank adapter and head on a base in NF4"
    Params = QloraParams
    base_stays = False  # it is in 4 bits
    contract = Contract(
        requires=MERGEABLE.requires,
        forbids=MERGEABLE.forbids | facts(Fact.NF4),
        adds=MERGEABLE.adds | facts(Fact.NF4),
        data="train",
        needs=("peft", "bitsandbytes"),
        extra="qlora",
    )

    def fit(self, params: QloraParams, task: TaskSpec, model: ModelSource) -> Found:
        if host.has_cuda():
            return []
        found: Found = []
        if params.paged_optimizer:
            found.append(
                (("paged_optimizer",), "a paged optimizer needs CUDA, which is not here", "leave paged_optimizer out")
            )
        widths = {k: v for config in model.stacks for k in _WIDTHS if isinstance(v := config.get(k), int) and v % BLOCK}
        if widths:
            shown = ", ".join(f"{k} {v}" for k, v in widths.items())
            found.append(
                (
                    ("use",),
                    "bitsandbytes computes 4-bit matrices wrongly on the CPU "
                    f"where a row is no multiple of {BLOCK} weights: {shown}",
                    "use adapter.lora, or a GPU",
                )
            )
        return found

    def load(self, state: State, params: QloraParams) -> PreTrainedModel:
        from edgeopt.models.nf4 import quantized

        odd = None if host.has_cuda() else _odd_width(state)
        if odd is not None:  # the plan knows the width of the model, not what a step before this one cuts it to
            raise step_failed(
                "E408",
                f"pruning left rows of {odd} weights, and 4-bit matrices on the CPU need a multiple of {BLOCK}",
                help="use adapter.lora, or a GPU",
            )
        return quantized(state.folder, double_quant=params.double_quant, compute_dtype=params.compute_dtype)

    def save_base(self, model: PreTrainedModel, state: State, output: Path) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import save_model

        save_model(model, output)
        copy_tokenizer(state.folder, output)

    def attach(self, model: PreTrainedModel, params: QloraParams) -> PeftModel:
        return peft_model(model, config(model, params))

    def promised(self, shapes: Mapping[str, list[int]], params: QloraParams) -> Iterator[tuple[str, int, int]]:
        return ranks(shapes, params.r)

    def observe(self, before: State, after: Path, params: QloraParams) -> Figures:
        from edgeopt.models.load import load_base
        from edgeopt.models.nf4 import dequantized, weight_error

        error = weight_error(load_base(before.folder), dequantized(load_base(after)))
        return {**super().observe(before, after, params), "nf4_weight_error": round(error, 6)}

    def training_options(self, model: PeftModel, params: QloraParams) -> dict[str, Any]:
        return {"optimizer": "paged_adamw_32bit"} if params.paged_optimizer else {}


def _odd_width(state: State) -> int | None:
    """A width that is left in some layer and is no whole number of blocks."""
    config = json.loads((state.folder / CONFIG).read_text(encoding="utf-8"))
    if FIELD not in config:
        return None
    structure = of_config(config)
    widths = [w for x in structure.layers for w in (x.head_count * structure.dense.head_size, x.neuron_count)]
    return next((w for w in (structure.hidden, *widths) if w % BLOCK), None)
