"""The keys of `prune.cofi`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgeopt.spec.recipe import (
    Distillation,
    Mended,
    Name,
    Numbers,
    Share,
    StepParams,
    Strict,
    Taught,
    Training,
    TrainParams,
)
from edgeopt.transforms.prune.rounding import DESCRIPTION, Multiple

#: What a mask may stand for.
Kind = Literal["heads", "neurons", "hidden", "blocks"]


class CofiLosses(Strict):
    """The terms that follow the teacher, each with its weight; labels are not learned from."""

    hidden: Share = Field(
        0.9,
        description="sum of the mean squared distances between hidden states of matched layers; the paper "
        "uses 0.9, 0.7 "
        "and 0.5",
    )
    logits: Share = Field(
        0.1,
        description="T²·KL of the logits, or for a regression the squared distance of the scores; the paper uses 0.1, "
        "0.3 and 0.5",
    )

    @model_validator(mode="after")
    def _something(self) -> CofiLosses:
        if not (self.hidden or self.logits):
            raise ValueError("both weights are 0, so nothing is learned")
        return self


class Recovery(TrainParams):
    """The training of the model that is left."""

    epochs: float = Field(20.0, gt=0)
    learning_rate: float = Field(2e-5, gt=0, lt=1)
    distill: Distillation | None = Field(
        None,
        description="learn in another way, see [training.distill](#trainingdistill). Default: follow the teacher "
        "of the step, with its `losses`, `temperature` and `match`",
    )


class CofiParams(StepParams, Taught, Training):
    """How much goes, and how the masks are learned."""

    teacher: Name | None = Field(
        None,
        description="`baseline`, the id of an earlier step, or a checkpoint with a trained head and the same "
        "tokenizer; "
        "default: the model that the step gets, before pruning",
    )
    losses: CofiLosses = Field(CofiLosses(), description="see the table below")
    match: Literal["uniform", "dynamic"] | Numbers = Field(
        "dynamic",
        description="layers compared by `losses.hidden`. dynamic: four evenly spread layers of the teacher, each with "
        "the student's nearest layer that is not pruned, in order; uniform: every k-th layer of the deeper "
        "model; or a list: for each layer of the student, the number of the teacher's layer, from 0",
    )
    sparsity: float = Field(gt=0, lt=1, description="share of the weights in the dense model's layers to remove")
    epochs: float = Field(
        20.0,
        gt=0,
        description="passes over train; the paper takes 100 for small datasets such as MRPC, 20 for large ones",
    )
    learning_rate: float = Field(
        2e-5, gt=0, lt=1, description="highest learning rate of the weights, reached after the warm-up"
    )
    masks: Literal["auto"] | Annotated[list[Kind], Field(min_length=1)] = Field(
        "auto",
        description="what gets masks: heads, neurons, hidden (dimensions), blocks (a layer's whole attention or "
        "feed-forward). auto: all of them, as in the paper; in trainings of less than 2,000 optimizer steps heads "
        "and neurons, up to a sparsity of 0.94",
    )
    start: Literal["auto", "open", "fisher"] = Field(
        "auto",
        description="where the masks start. open: open, neurons less so, as in the authors' code; fisher: heads and "
        "neurons in the order of their importance, as prune.fisher estimates it from 1,024 rows and their labels. "
        "auto: fisher in trainings of less than 2,000 steps",
    )
    sparsity_warmup: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of the training in which the target of the masks rises to `sparsity`; the paper uses 0.1 to "
        "0.2",
    )
    mask_learning_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="learning rate of the masks' log α, constant over the training; log α has a range of 9.2, "
        "and of 11.5 in short trainings. Default: 0.01, as in the paper, and in trainings of less than 2,000 steps "
        "20 / steps, at most 0.1",
    )
    multiple: Multiple = Field("auto", description=DESCRIPTION.format(", and the hidden dimensions,"))
    weight_decay: float = Field(0.0, ge=0, lt=1)
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    freeze: Literal["none", "embeddings", "encoder"] = Field("embeddings", description="as in every training")
    recover: Recovery | None = Field(
        Recovery(), description="train what is left once more; null skips this. See the table below"
    )

    @model_validator(mode="after")
    def _keys_fit(self) -> CofiParams:
        if self.match != "dynamic" and not self.losses.hidden:
            raise ValueError("'match' belongs to 'hidden' of 'losses'")
        if self.start == "fisher" and self.masks != "auto" and not {"heads", "neurons"} & {*self.masks}:
            what = "'start: fisher' ranks heads and neurons, and 'masks' has neither"
            raise Mended(what, "add heads or neurons to 'masks', or leave 'start' out")
        return self
