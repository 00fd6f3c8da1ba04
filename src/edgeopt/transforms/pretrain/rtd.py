"""Replaced token detection: ELECTRA, and Fast-ELECTRA with an auxiliary model that is not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from edgeopt.models.source import ModelSource
from edgeopt.models.words_head import DETECTORS, FOR_DETECTION, FOR_WORDS
from edgeopt.spec.recipe import Name, Strict, TaskSpec
from edgeopt.step.transform import Found, Reference, StepContext
from edgeopt.support.errors import bad_input
from edgeopt.transforms.pretrain.params import PretrainParams, Replace
from edgeopt.transforms.pretrain.pretraining import Pretraining

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.training.replaced_tokens import ReplacedTokens

JOINT = "joint"


class Joint(Strict):
    """A generator that is trained along with the model (ELECTRA). It is not kept."""

    width: float = Field(0.25, gt=0, le=1, description="its width, heads and neurons, as a share of the model's")
    weight: float = Field(50.0, gt=0, description="weight of the detection's loss beside the generator's")
    share_embeddings: bool = Field(True, description="both have the same embeddings")


class Temperature(Strict):
    """How an auxiliary model guesses worse at first: T = 1 + (start − 1)·exp(−u/decay), u the share that is done."""

    start: float = Field(2.0, ge=1, description="temperature in the beginning")
    decay: float = Field(0.1, gt=0, description="share of the training in which it falls to a third")


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
        return self


class PretrainRtd(Pretraining[RtdParams]):
    """Train an ELECTRA to tell which tokens of plain text another model has replaced (Clark et al. 2020).

    The other one is trained along, or stays as it is (Fast-ELECTRA: Dong et al. 2024). It leaves a model with a head
    that detects, in transformers' format. The planner puts the task's head on it, which is a new one.
    """

    name = "pretrain.rtd"
    summary = "train on plain text by telling which tokens were replaced"
    Params = RtdParams
    head = FOR_DETECTION
    head_figure = "detection_head"

    def references(self, params: RtdParams) -> list[Reference]:
        return [] if params.frozen is None else [Reference(("auxiliary",), params.frozen, "auxiliary", tokens=True)]

    def fit(self, params: RtdParams, task: TaskSpec, model: ModelSource) -> Found:
        kind = model.model_type
        return [*super().fit(params, task, model), *([] if kind in (None, *DETECTORS) else [_undetecting(str(kind))])]

    def objective(self, model: PreTrainedModel, params: RtdParams, context: StepContext) -> ReplacedTokens:
        from edgeopt.models.generator import generator_of
        from edgeopt.models.words_head import with_head
        from edgeopt.training.replaced_tokens import ReplacedTokens

        if params.frozen is None:
            joint = params.joint
            made = generator_of(model, joint.width, share=joint.share_embeddings)
            return ReplacedTokens(made, joint=True, weight=joint.weight)
        auxiliary, guesses = with_head(context.states[params.frozen].folder, FOR_WORDS)
        if not guesses:
            raise bad_input(
                "E208",
                f"the auxiliary model '{params.frozen}' has no head that guesses words",
                help="name an earlier pretrain.mlm, or a checkpoint that was saved with that head",
            )
        heat = params.temperature or Temperature()
        return ReplacedTokens(auxiliary, joint=False, weight=1.0, start=heat.start, decay=heat.decay)


def _undetecting(kind: str) -> tuple[tuple[str, ...], str, str]:
    what = f"pretrain.rtd trains models of the type {' or '.join(DETECTORS)}, and this one is '{kind}'"
    return (), what, "use pretrain.mlm, or begin with `model: {config: electra-small, tokenizer: …}`"
