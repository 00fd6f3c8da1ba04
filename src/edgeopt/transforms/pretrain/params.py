"""What every training on plain text takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from edgeopt.spec.corpus import CorpusSpec
from edgeopt.spec.recipe import BATCH, StepParams, Strict, Training

#: Keys of a training that are about labels, or choose a checkpoint by them.
_ON_LABELS = ("class_weights", "label_smoothing", "sampling", "early_stopping", "keep_best")


class Replace(Strict):
    """What becomes of a token that is to be guessed: shares that add up to 1."""

    mask: float = Field(0.8, ge=0, le=1, description="share that becomes the mask token")
    random: float = Field(0.1, ge=0, le=1, description="share that becomes any token")
    keep: float = Field(0.1, ge=0, le=1, description="share that stays as it is")

    @model_validator(mode="after")
    def _whole(self) -> Replace:
        if abs(self.mask + self.random + self.keep - 1) > 1e-6:
            raise ValueError(f"'mask', 'random' and 'keep' add up to {self.mask + self.random + self.keep:g}, not to 1")
        return self


class Probe(Strict):
    """How far the pre-training is of use to the task: copies of the model are fine-tuned, and the metric is a curve."""

    every: int = Field(
        ge=1, description="optimizer steps from one copy to the next; the first and the last are kept too"
    )
    epochs: float = Field(1.0, gt=0, description="of the fine-tuning")
    max_steps: int | None = Field(None, ge=1, description="optimizer steps of the fine-tuning; overrides epochs")
    learning_rate: float = Field(5e-5, gt=0, lt=1, description="of the fine-tuning")
    batch_size: int = Field(BATCH, ge=1, description="of the fine-tuning")

    def training(self, precision: Literal["auto", "fp32", "bf16"]) -> Training:
        """The fine-tuning, which looks at the selection rows."""
        return Training(**self.model_dump(exclude={"every"}), precision=precision, keep_best=True)


class PretrainParams(StepParams, Training):
    """Training keys but those that are about labels, and the text. A class of it says how tokens are hidden."""

    corpus: CorpusSpec = Field(description="the text, see [corpus](#corpus)")
    max_length: int = Field(128, ge=8, le=8192, description="tokens of a row")
    bias_correction: bool = Field(
        True,
        description="of Adam's moments. false: as ELECTRA was trained, with an epsilon of 1e-6, where the first steps "
        "are larger and warm-up matters more",
    )
    probe: Probe | None = Field(
        None, description="fine-tune copies of the model on the task after the pre-training, which stays as it is"
    )
    mask: float
    replace: Replace

    @property
    def corrects_bias(self) -> bool:
        return self.bias_correction

    @property
    def by_words(self) -> bool:
        """Whether whole words are hidden instead of single tokens."""
        return False

    def alike(self, step: int, steps: int) -> bool:
        """Whether behind so many of all optimizer steps the task is as hard as it will be later."""
        return True

    @model_validator(mode="after")
    def _no_labels(self) -> PretrainParams:
        defaults = Training.model_fields
        wrong = [key for key in _ON_LABELS if getattr(self, key) != defaults[key].default]
        if wrong:
            raise ValueError(f"'{wrong[0]}' belongs to a training on labels; plain text has none")
        if self.freeze == "encoder":
            raise ValueError("'freeze: encoder' leaves nothing for plain text to train")
        return self
