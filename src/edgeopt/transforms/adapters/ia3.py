"""IA³ through peft (Liu et al. 2022): keys, values and feed-forward activations, each scaled by a learned vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from edgeopt.models.anatomy import anatomy
from edgeopt.step.contract import Contract
from edgeopt.store.facts import Fact, facts
from edgeopt.transforms.adapters.method import MERGEABLE, Adapter, AdapterParams, for_task, peft_model

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Ia3Params(AdapterParams):
    """How the vectors are trained, and the head besides them; where they are is the paper's choice."""

    learning_rate: float = Field(
        3e-3,
        gt=0,
        lt=1,
        description="highest learning rate, reached after the warm-up; vectors need higher rates than matrices",
    )


class Ia3(Adapter[Ia3Params]):
    """Scale keys, values and feed-forward activations; queries too where one matrix makes all three.

    Merging multiplies rows and columns, so that pruned zeros stay zero.
    """

    name = "adapter.ia3"
    summary = "scaling vectors and head, the base frozen"
    Params = Ia3Params
    contract = Contract(
        requires=MERGEABLE.requires,
        forbids=MERGEABLE.forbids - facts(Fact.SPARSE),
        adds=MERGEABLE.adds,
        data="train",
        needs=("peft",),
    )

    def attach(self, model: PreTrainedModel, params: Ia3Params) -> PeftModel:
        from peft import IA3Config
        from torch import nn

        shape = anatomy(model.config.model_type)
        named = [(name, shape.part_of(name)) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        inner = [name for name, part in named if part == shape.projections[1]]
        scaled = [name for name, part in named if part in (shape.attention if shape.fused else shape.attention[1:])]
        config = IA3Config(target_modules=scaled + inner, feedforward_modules=inner, **for_task(model))
        return peft_model(model, config)
