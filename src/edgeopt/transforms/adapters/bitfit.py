"""BitFit (Ben Zaken et al. 2021): of the encoder only the bias terms are trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from edgeopt.models.anatomy import family
from edgeopt.models.source import ModelSource
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.transforms.adapters.method import AdapterParams, freeze_all_but_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class BitFitParams(AdapterParams):
    """How biases and head are trained: BitFit has no keys but those of a training."""

    learning_rate: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="highest learning rate, reached after the warm-up; biases need higher rates than matrices",
    )


class BitFit(Transform[BitFitParams]):
    """Train every bias of the encoder, LayerNorm's too, and the head.

    The state is a plain model: there is nothing to merge.
    """

    name = "adapter.bitfit"
    summary = "train biases and head, with all matrices frozen"
    Params = BitFitParams
    contract = Contract(
        requires=facts(Fact.TORCH),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        adds=facts(Fact.TRAINED_HEAD),
        data="train",
    )
    training = ""
    trained = "added"

    def fit(self, params: BitFitParams, task: TaskSpec, model: ModelSource) -> Found:
        shape = family(model.model_type)
        if shape is None or shape.has_biases(model.config or {}):
            return []
        what = f"{self.name} trains biases, and the layers of this {model.model_type} have none"
        return [(("use",), what, "use adapter.lora")]

    def apply(self, state: State, params: BitFitParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.training import train

        model = load_model(state.folder)
        freeze_all_but_biases(model)
        context.figures.update(train(model, state.folder, params, context))
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)

    def observe(self, before: State, after: Path, params: BitFitParams) -> Figures:
        from edgeopt.models.load import load_model
        from edgeopt.models.parts import head_of, is_inside

        old, model = load_model(before.folder).state_dict(), load_model(after)
        head = head_of(model)
        for name, weight in model.state_dict().items():
            if not name.endswith(".bias") and not is_inside(name, head) and not weight.equal(old[name]):
                raise step_failed("E403", f"a matrix was trained: {name}", help="report it with the recipe")
        return {}


def freeze_all_but_biases(model: PreTrainedModel) -> None:
    """Let only biases and the head require a gradient."""
    freeze_all_but_head(model)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.requires_grad_(True)
