"""Full fine-tuning."""

from __future__ import annotations

from edgeopt.spec.recipe import TrainedStepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State


class Finetune(Transform[TrainedStepParams]):
    """Train every weight. Zeros that an earlier step pruned stay zero."""

    name = "finetune"
    summary = "train every weight"
    Params = TrainedStepParams
    contract = Contract(
        requires=facts(Fact.TORCH),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        adds=facts(Fact.TRAINED_HEAD),
        data="train",
    )
    training = ""

    def apply(self, state: State, params: TrainedStepParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.training import train

        model = load_model(state.folder)
        context.figures.update(train(model, state.folder, params, context, keep_zeros=Fact.SPARSE in state.facts))
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)
