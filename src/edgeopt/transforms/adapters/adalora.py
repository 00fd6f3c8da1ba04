"""AdaLoRA through peft (Zhang et al. 2023): the ranks are moved to where they matter while training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.transform import Figures, Found
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.transforms.adapters.method import MERGEABLE, Adapter, LowRankParams, for_task, peft_model, targets

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class AdaLoraParams(LowRankParams):
    """AdaLoRA's parameters, in peft's words.

    `tinit` and `tfinal` are shares of the optimizer steps, because their number follows from the rows.
    """

    init_r: int = Field(12, ge=1, le=1024, description="initial rank of every matrix")
    target_r: int = Field(8, ge=1, le=1024, description="average rank per matrix at the end")
    alpha: float = Field(32, gt=0, description="scale: alpha / init_r")
    tinit: float = Field(0.1, ge=0, lt=1, description="share of the steps before ranks are reduced")
    tfinal: float = Field(0.3, ge=0, lt=1, description="share of the steps at the end in which ranks stay fixed")
    delta_t: int = Field(1, ge=1, description="optimizer steps between two reallocations of ranks")
    beta1: float = Field(0.85, gt=0, lt=1, description="smoothing of a rank's importance")
    beta2: float = Field(0.85, gt=0, lt=1, description="smoothing of the importance's uncertainty")
    orth_reg_weight: float = Field(0.5, ge=0, description="how strongly the singular vectors are kept orthogonal")
    learning_rate: float = Field(1e-3, gt=0, lt=1, description="highest learning rate, reached after the warm-up")


class AdaLora(Adapter[AdaLoraParams]):
    """Low-rank updates in the form of a singular value decomposition; the least important values are masked."""

    name = "adapter.adalora"
    summary = "low-rank adapter of learned ranks and head, the base frozen"
    Params = AdaLoraParams
    contract = MERGEABLE

    def check(self, params: AdaLoraParams, task: TaskSpec) -> Found:
        found = super().check(params, task)
        if params.target_r > params.init_r:
            found.append(
                (
                    ("target_r",),
                    f"target_r is {params.target_r}, more than init_r, {params.init_r}",
                    "ranks are only ever reduced: lower target_r",
                )
            )
        if params.tinit + params.tfinal >= 1:
            found.append(
                (
                    ("tfinal",),
                    "tinit and tfinal leave no steps in which ranks are reduced",
                    "their sum must be less than 1",
                )
            )
        for key in ("class_weights", "label_smoothing", "distill"):
            if getattr(params, key):  # peft adds the orthogonality to the loss that the model computes, and to no other
                found.append(
                    (
                        (key,),
                        f"{key} would replace the loss, to which AdaLoRA adds a term of its own",
                        "take the key out, or use adapter.lora",
                    )
                )
        return found

    def attach(self, model: PreTrainedModel, params: AdaLoraParams) -> PeftModel:
        from peft import AdaLoraConfig

        # total_step, tinit and tfinal are set when the number of steps is known
        config = AdaLoraConfig(
            init_r=params.init_r,
            target_r=params.target_r,
            lora_alpha=params.alpha,
            lora_dropout=params.dropout,
            deltaT=params.delta_t,
            beta1=params.beta1,
            beta2=params.beta2,
            orth_reg_weight=params.orth_reg_weight,
            total_step=1,
            target_modules=targets(model, params),
            **for_task(model),
        )
        return peft_model(model, config)

    def training_options(self, model: PeftModel, params: AdaLoraParams) -> dict[str, Any]:
        from edgeopt.training.ranks import AllocateRanks

        return {"callbacks": [AllocateRanks(model, params.tinit, params.tfinal)]}

    def observe(self, before: State, after: Path, params: AdaLoraParams) -> Figures:
        import numpy as np
        from safetensors import safe_open

        from edgeopt.models.adapter_files import ADAPTER, ADAPTER_WEIGHTS

        with safe_open(after / ADAPTER / ADAPTER_WEIGHTS, "numpy") as weights:
            values = [weights.get_tensor(k) for k in weights.keys() if k.endswith(".lora_E")]  # noqa: SIM118
        left = sum(int(np.count_nonzero(v)) for v in values)
        if left > params.target_r * len(values):
            raise step_failed(
                "E403",
                f"{left} ranks are left, more than {params.target_r} in each of {len(values)} matrices",
                help="report it with the recipe",
            )
        return {**super().observe(before, after, params), "ranks": left}
