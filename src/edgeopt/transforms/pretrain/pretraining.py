"""What every training on plain text shares: the task's head replaced, rows of the corpus, and text that is held out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from edgeopt.models.cost import Head, Pass
from edgeopt.models.source import ModelSource
from edgeopt.models.tokenizer import mask_token, read_tokenizer
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.spec.recipe import StepParams, TaskSpec, Training
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Found, StepContext, TrainedAlong, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import InputError
from edgeopt.tasks import task_type
from edgeopt.transforms.load import Load
from edgeopt.transforms.pretrain.params import PretrainParams
from edgeopt.transforms.pretrain.step_cost import config_in, step_cost

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.training.held_out import OnText
    from edgeopt.training.text_feed import TextFeed

P = TypeVar("P", bound=PretrainParams)


class Pretraining(Transform[P]):
    """Base of the trainings on plain text. Each leaves a model with the head that it trains, in transformers' format.

    head: which of `words_head`. counted_head: the same for its cost. head_figure: the figure that says whether the
    checkpoint had it.
    """

    contract = Contract(
        requires=facts(Fact.TORCH),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        removes=facts(Fact.TRAINED_HEAD),
        needs=("torch", "transformers", "tokenizers"),
    )
    training = ""
    other_head = True
    head: ClassVar[str]
    counted_head: ClassVar[Head]
    head_figure: ClassVar[str]

    @abstractmethod
    def objective(
        self, model: PreTrainedModel, params: P, context: StepContext, text: TextFeed
    ) -> tuple[OnText, TextFeed]:
        """What the model, which has the head, is trained for, and on what: the text, or what is made of it."""

    def corpus(self, params: P) -> CorpusSpec:
        return params.corpus

    def contract_of(self, params: P) -> Contract:
        return self.contract if params.probe is None else replace(self.contract, data="train")

    def passes(self, params: P, training: Training, models: Mapping[str, Mapping[str, Any]]) -> list[Pass]:
        return [Pass("main", models[""], "all", self.counted_head, recomputed=training.gradient_checkpointing)]

    def check(self, params: P, task: TaskSpec) -> Found:
        if params.probe is not None and task_type(task.type).embeds:
            what = f"a probe fine-tunes on labels, and {task.type} learns from pairs"
            return [(("probe",), what, "remove the key")]
        if not task_type(task.type).has_decoder:
            return []
        what = f"{self.name} trains an encoder, but the model of {task.type} also has a decoder"
        return [((), what, "remove the step")]

    def fit(self, params: P, task: TaskSpec, model: ModelSource) -> Found:
        return [*_too_long(params, model), *_no_mask(model)]

    def apply(self, state: State, params: P, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.words_head import save_with_pooler, with_head
        from edgeopt.support.quiet import quiet_libraries

        quiet_libraries()
        import torch

        from edgeopt.training import train
        from edgeopt.training.divergence import WatchLoss
        from edgeopt.training.held_out import HeldOut
        from edgeopt.training.probe import Copies, probed
        from edgeopt.training.text_feed import text_feed

        torch.manual_seed(context.seed)
        model, has_head = with_head(state.folder, self.head)
        plain = text_feed(state.folder, params, params.mask, params.replace, context, whole_word=params.by_words)
        objective, text = self.objective(model, params, context, plain)
        watch = WatchLoss(params.alike, context.progress)
        probe = params.probe

        def save(made: PreTrainedModel, folder: Path) -> None:
            save_with_pooler(made, state.folder, folder)
            copy_tokenizer(state.folder, folder)

        figures = train(
            model,
            state.folder,
            params,
            replace(context, helps=context.helps and probe is None),
            keep_zeros=Fact.SPARSE in state.facts,
            callbacks=[
                HeldOut(objective, text.held_out, text.batches.held_out),
                watch,
                *([Copies(probe.every, context.work, save)] if probe else []),
            ],
            objective=objective,
            feed=text.feed,
        )
        context.figures.update(
            {**figures, **watch.figures(), self.head_figure: "the checkpoint's" if has_head else "new"}
        )
        models = {"": model.config.to_dict()}
        models |= {r.name: config_in(context.states[r.name].folder) for r in self.references(params)}
        context.told.update(step_cost(self.passes(params, params, models), params, context, text))
        if not context.helps:
            save(model, context.output)
        if probe is not None:
            found = probed(probe, params, figures["optimizer_steps"], partial(_begin, context), context)
            context.told["curves"] |= found.pop("curves")
            context.told.update(found)
        if context.helps:
            raise TrainedAlong


def _begin(context: StepContext, copy: Path, folder: Path) -> None:
    """Give a copy a new head of the task, as the planner puts one behind the step."""
    Load().apply(State(copy, {}), StepParams(), replace(context, output=folder, figures={}))


def _no_mask(model: ModelSource) -> Found:
    """Why the model's tokenizer hides no tokens."""
    if model.folder is None:
        return []
    try:
        mask_token(read_tokenizer(model.folder, str(model.model_type)))
    except InputError as error:
        return [((), issue.message, issue.help or "") for issue in error.issues]
    return []


def _too_long(params: PretrainParams, model: ModelSource) -> Found:
    """Why rows of that length do not go into the model."""
    if model.positions is None or params.max_length <= model.positions:
        return []
    what = f"max_length is {params.max_length}, but the model only has {model.positions} positions"
    return [(("max_length",), what, f"set it to {model.positions} or less")]
