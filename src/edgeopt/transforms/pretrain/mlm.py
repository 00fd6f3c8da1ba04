"""Masked language modeling: pre-training on plain text, or more of it on one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from edgeopt.models.words_head import FOR_WORDS
from edgeopt.step.transform import StepContext
from edgeopt.transforms.pretrain.params import PretrainParams, Replace
from edgeopt.transforms.pretrain.pretraining import Pretraining

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.training.masked_words import MaskedWords
    from edgeopt.training.text_feed import TextFeed


class MlmParams(PretrainParams):
    """The text, and which of its tokens are guessed."""

    mask: float = Field(0.15, gt=0, lt=1, description="share of the tokens that are guessed, drawn anew in every epoch")
    replace: Replace = Field(Replace(), description="what the model is shown in their place, see the table below")
    whole_word: bool = Field(False, description="choose whole words instead of single tokens")

    @property
    def by_words(self) -> bool:
        return self.whole_word


class PretrainMlm(Pretraining[MlmParams]):
    """Train the encoder to guess hidden tokens of plain text (BERT: Devlin et al. 2019).

    It leaves a model with a head that guesses words, in transformers' format. The planner puts the task's head on it,
    which is a new one.
    """

    name = "pretrain.mlm"
    summary = "train on plain text by guessing hidden tokens"
    Params = MlmParams
    head = FOR_WORDS
    counted_head = "words"
    head_figure = "words_head"

    def objective(
        self, model: PreTrainedModel, params: MlmParams, context: StepContext, text: TextFeed
    ) -> tuple[MaskedWords, TextFeed]:
        from edgeopt.training.masked_words import MaskedWords

        return MaskedWords(), text
