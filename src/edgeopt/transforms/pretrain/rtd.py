"""Replaced token detection: ELECTRA, and Fast-ELECTRA with an auxiliary model that is not trained."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from edgeopt.models.cost import Pass, generator_config
from edgeopt.models.source import ModelSource
from edgeopt.models.words_head import DETECTORS, FOR_DETECTION, FOR_WORDS
from edgeopt.spec.recipe import Name, Strict, TaskSpec, Training
from edgeopt.step.transform import Found, Reference, StepContext
from edgeopt.support.errors import bad_input
from edgeopt.transforms.pretrain.params import PretrainParams, Replace
from edgeopt.transforms.pretrain.pretraining import Pretraining

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.training.held_out import OnText
    from edgeopt.training.replaced_tokens import ReplacedTokens
    from edgeopt.training.text_feed import TextFeed

JOINT = "joint"
#: The share of the heat of the beginning that may be left where losses are compared.
_WARM = 0.05


class Joint(Strict):
    """A generator that is trained along with the model (ELECTRA). It is not kept."""

    width: float = Field(0.25, gt=0, le=1, description="its width, heads and neurons, as a share of the model's")
    weight: float = Field(50.0, gt=0, description="weight of the detection's loss beside the generator's")
    share_embeddings: bool = Field(True, description="both have the same embeddings")


class Temperature(Strict):
    """How an auxiliary model guesses worse at first: T = 1 + (start − 1)·exp(−u/decay), u the share that is done."""

    start: float = Field(2.0, ge=1, description="temperature in the beginning")
    decay: float = Field(0.1, gt=0, description="share of the training in which it falls to a third")

    def left(self, done: float) -> float:
        """The share of the heat of the beginning that is left when so much of the training is done."""
        return exp(-done / self.decay) if self.start > 1 else 0.0


class RtdParams(PretrainParams):
    """The text, and what replaces its tokens."""

    mask: float = Field(0.15, gt=0, lt=1, description="share of the tokens that are filled in by the auxiliary model")
    replace: Replace = Field(
        Replace(mask=0.85, random=0.0, keep=0.15), description="what the auxiliary model sees in their place, see below"
    )
    auxiliary: Joint | Name = Field(
        JOINT,
        description="`joint`, or a mapping: a generator that is trained along. Or a model that stays as it is: the id "
        "of an earlier `pretrain.mlm`, or a folder or hub id (with its owner) of a model that guesses words",
    )
    temperature: Temperature | None = Field(
        None, description="of an auxiliary model that stays as it is; default: `{start: 2.0, decay: 0.1}`"
    )
    offline: bool = Field(
        False,
        description="let an auxiliary model that stays as it is replace the tokens once, before the training, and keep "
        "them in the store: same result, without the auxiliary model in memory; needs a `batch_size` in numbers",
    )

    @property
    def frozen(self) -> str | None:
        """The auxiliary model that stays as it is; None: it is trained along."""
        return self.auxiliary if isinstance(self.auxiliary, str) and self.auxiliary != JOINT else None

    @property
    def joint(self) -> Joint:
        """The generator that is trained along."""
        return self.auxiliary if isinstance(self.auxiliary, Joint) else Joint()

    @model_validator(mode="after")
    def _of_the_frozen(self) -> RtdParams:
        if self.temperature is not None and self.frozen is None:
            raise ValueError("'temperature' belongs to an auxiliary model that stays as it is")
        if self.offline and self.frozen is None:
            raise ValueError("'offline' needs an auxiliary model that stays as it is: one that learns guesses anew")
        if self.offline and self.batch_size == "auto":
            raise ValueError("'offline' needs a 'batch_size' in numbers: it decides which row comes when")
        return self

    @property
    def heat(self) -> Temperature:
        """The temperature of an auxiliary model that stays as it is."""
        return self.temperature or Temperature()

    def alike(self, step: int, steps: int) -> bool:
        # the better the auxiliary model guesses, the harder it is to tell
        return self.frozen is None or self.heat.left(step / max(steps, 1)) <= _WARM


class PretrainRtd(Pretraining[RtdParams]):
    """Train an ELECTRA to tell which tokens of plain text another model has replaced (Clark et al. 2020).

    The other one is trained along, or stays as it is (Fast-ELECTRA: Dong et al. 2024). It leaves a model with a head
    that detects, in transformers' format. The planner puts the task's head on it, which is a new one.
    """

    name = "pretrain.rtd"
    version = 3
    summary = "train on plain text by telling which tokens were replaced"
    Params = RtdParams
    head = FOR_DETECTION
    counted_head = "detection"
    head_figure = "detection_head"

    def references(self, params: RtdParams) -> list[Reference]:
        return [] if params.frozen is None else [Reference(("auxiliary",), params.frozen, "auxiliary", tokens=True)]

    def passes(self, params: RtdParams, training: Training, models: Mapping[str, Mapping[str, Any]]) -> list[Pass]:
        found = super().passes(params, training, models)
        if params.frozen is not None:
            config = models.get(params.frozen)
            beside = [] if config is None else [Pass("auxiliary", config, "none", "words", once=params.offline)]
            return [*found, *beside]
        config, joint = generator_config(models[""], params.joint.width), params.joint
        return [*found, Pass("auxiliary", config, "all", "words", shares_embeddings=joint.share_embeddings)]

    def fit(self, params: RtdParams, task: TaskSpec, model: ModelSource) -> Found:
        kind = model.model_type
        return [*super().fit(params, task, model), *([] if kind in (None, *DETECTORS) else [_undetecting(str(kind))])]

    def objective(
        self, model: PreTrainedModel, params: RtdParams, context: StepContext, text: TextFeed
    ) -> tuple[OnText, TextFeed]:
        if params.frozen is None:
            from edgeopt.models.generator import generator_of
            from edgeopt.training.replaced_tokens import ReplacedTokens

            joint = params.joint
            made = generator_of(model, joint.width, share=joint.share_embeddings)
            return ReplacedTokens(made, joint=True, weight=joint.weight, bf16=params.precision == "bf16"), text
        text.batches.draws = True
        return _offline(params, context, text) if params.offline else (_frozen(params, context), text)


def _frozen(params: RtdParams, context: StepContext) -> ReplacedTokens:
    """What an auxiliary model that stays as it is replaces."""
    from edgeopt.models.words_head import with_head
    from edgeopt.training.replaced_tokens import ReplacedTokens

    auxiliary, guesses = with_head(context.states[str(params.frozen)].folder, FOR_WORDS)
    if not guesses:
        raise bad_input(
            "E208",
            f"the auxiliary model '{params.frozen}' has no head that guesses words",
            help="name an earlier pretrain.mlm, or a checkpoint that was saved with that head",
        )
    heat, bf16 = params.heat, params.precision == "bf16"
    return ReplacedTokens(auxiliary, joint=False, weight=1.0, start=heat.start, decay=heat.decay, bf16=bf16)


def _offline(params: RtdParams, context: StepContext, text: TextFeed) -> tuple[OnText, TextFeed]:
    """The text with its tokens replaced, which is made where the store does not have it."""
    from edgeopt.training.corrupted import CorruptedBatches, Detection
    from edgeopt.training.corrupting import Corruption, corrupt, told
    from edgeopt.training.schedule import Schedule

    schedule = Schedule(
        text.feed.lengths,
        params.batch,
        params.accumulation,
        context.processes,
        context.seed,
        params.epochs,
        params.max_steps,
    )
    asked = Corruption(
        {"corpus": text.address, "max_length": params.max_length, "pack": params.corpus.pack},
        context.states[str(params.frozen)].digest,
        text.batches,
        schedule,
        text.feed.rows,
        text.held_out,
        params.heat.start,
        params.heat.decay,
        params.precision == "bf16",
    )
    root = context.corpora or context.work / "corpora"
    folder, whole = corrupt(asked, root, lambda: _frozen(params, context), context.progress)
    batches = CorruptedBatches(folder, text.batches, schedule, text.held_out)
    return Detection(schedule.steps, whole, told(folder, whole)), text.with_batches(batches)


def _undetecting(kind: str) -> tuple[tuple[str, ...], str, str]:
    what = f"pretrain.rtd trains models of the type {' or '.join(DETECTORS)}, and this one is '{kind}'"
    return (), what, "use pretrain.mlm, or begin with `model: {config: electra-small, tokenizer: …}`"
