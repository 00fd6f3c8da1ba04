"""Masked language modeling: pre-training on plain text, or more of it on one's own."""

from __future__ import annotations

from pydantic import Field

from edgeopt.models.source import ModelSource
from edgeopt.models.tokenizer import mask_token, read_tokenizer
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import InputError
from edgeopt.tasks import task_type
from edgeopt.transforms.pretrain.params import PretrainParams, Replace


class MlmParams(PretrainParams):
    """The text, and which of its tokens are guessed."""

    mask: float = Field(0.15, gt=0, lt=1, description="share of the tokens that are guessed, drawn anew in every epoch")
    replace: Replace = Field(Replace(), description="what the model is shown in their place, see the table below")
    whole_word: bool = Field(False, description="choose whole words instead of single tokens")


class PretrainMlm(Transform[MlmParams]):
    """Train the encoder to guess hidden tokens of plain text (BERT: Devlin et al. 2019).

    It leaves a model with a head that guesses words, in transformers' format. The planner puts the task's head on it,
    which is a new one.
    """

    name = "pretrain.mlm"
    summary = "train on plain text by guessing hidden tokens"
    Params = MlmParams
    contract = Contract(
        requires=facts(Fact.TORCH),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        removes=facts(Fact.TRAINED_HEAD),
        needs=("torch", "transformers", "tokenizers"),
    )
    training = ""
    other_head = True

    def corpus(self, params: MlmParams) -> CorpusSpec:
        return params.corpus

    def check(self, params: MlmParams, task: TaskSpec) -> Found:
        return not_a_pair(self.name, task)

    def fit(self, params: MlmParams, task: TaskSpec, model: ModelSource) -> Found:
        return [*too_long(params, model), *no_mask(model)]

    def apply(self, state: State, params: MlmParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.words_head import FOR_WORDS, save_with_pooler, with_head
        from edgeopt.support.quiet import quiet_libraries

        quiet_libraries()
        import torch

        from edgeopt.training import train
        from edgeopt.training.held_out import HeldOut
        from edgeopt.training.masked_words import MaskedWords
        from edgeopt.training.text_feed import text_feed

        torch.manual_seed(context.seed)
        model, has_head = with_head(state.folder, FOR_WORDS)
        text = text_feed(state.folder, params, params.mask, params.replace, context, whole_word=params.whole_word)
        objective = MaskedWords()
        looks = HeldOut(objective, text.held_out, text.batches.held_out)
        figures = train(
            model,
            state.folder,
            params,
            context,
            keep_zeros=Fact.SPARSE in state.facts,
            callbacks=[looks],
            objective=objective,
            feed=text.feed,
        )
        context.figures.update({**figures, "words_head": "the checkpoint's" if has_head else "new"})
        save_with_pooler(model, state.folder, context.output)
        copy_tokenizer(state.folder, context.output)


def not_a_pair(name: str, task: TaskSpec) -> Found:
    """Why the task's model cannot be trained on plain text: it is an encoder and a decoder."""
    if not task_type(task.type).has_decoder:
        return []
    return [((), f"{name} trains an encoder, but the model of {task.type} also has a decoder", "remove the step")]


def no_mask(model: ModelSource) -> Found:
    """Why the model's tokenizer hides no tokens."""
    if model.folder is None:
        return []
    try:
        mask_token(read_tokenizer(model.folder, str(model.model_type)))
    except InputError as error:
        return [((), issue.message, issue.help or "") for issue in error.issues]
    return []


def too_long(params: PretrainParams, model: ModelSource) -> Found:
    """Why rows of that length do not go into the model."""
    if model.positions is None or params.max_length <= model.positions:
        return []
    what = f"max_length is {params.max_length}, but the model only has {model.positions} positions"
    return [(("max_length",), what, f"set it to {model.positions} or less")]
