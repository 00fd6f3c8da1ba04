"""Prompt tuning and prefix tuning through peft: learned tokens before the text's own.

Lester et al. 2021, "The power of scale for parameter-efficient prompt tuning"; Li and Liang 2021, "Prefix-tuning".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from edgeopt.models.anatomy import family
from edgeopt.models.parts import head_of
from edgeopt.models.source import ModelSource
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Found
from edgeopt.store.facts import Fact, facts
from edgeopt.support.errors import step_failed
from edgeopt.tasks import called, task_type
from edgeopt.transforms.adapters.method import STAYS, Adapter, AdapterParams, for_task

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


class VirtualTokensParams(AdapterParams):
    """How many tokens are learned; the head is trained besides them."""

    virtual_tokens: int = Field(
        20, ge=1, le=512, description="number of learned tokens before the text; they use up positions of the model"
    )
    learning_rate: float = Field(1e-2, gt=0, lt=1, description="highest learning rate, reached after the warm-up")


class _VirtualTokens(Adapter[VirtualTokensParams]):
    Params = VirtualTokensParams
    contract = STAYS

    def check(self, params: VirtualTokensParams, task: TaskSpec) -> Found:
        kind = task_type(task.type)
        if not kind.one_output:  # where each token has an output, tokens that are not the text's have no place
            why = (
                "both of its stacks of layers would need tokens"
                if kind.has_decoder
                else "virtual tokens would take the place of the text's outputs"
            )
            what = f"{self.name} does not work for {called(task.type)}: {why}"
            return [((), what, "use adapter.lora or adapter.bottleneck")]
        return []

    def fit(self, params: VirtualTokensParams, task: TaskSpec, model: ModelSource) -> Found:
        needed = task.max_length + params.virtual_tokens
        if model.positions is not None and needed > model.positions:
            return [
                (
                    ("virtual_tokens",),
                    f"task.max_length and virtual_tokens are {needed} together, "
                    f"and the model has {model.positions} positions",
                    f"set task.max_length to {max(model.positions - params.virtual_tokens, 1)} or less, "
                    "or take fewer virtual tokens",
                )
            ]
        return []

    def wrapped(self, model: PreTrainedModel, config: PeftConfig) -> PeftModel:
        """The model under peft, with the tokens that the config asks for."""
        from peft import get_peft_model

        return get_peft_model(model, config)

    def promised(self, shapes: Mapping[str, list[int]], params: VirtualTokensParams) -> Iterator[tuple[str, int, int]]:
        found = [shape[0] for name, shape in shapes.items() if "prompt_embeddings" in name]
        yield from (("virtual tokens", count, params.virtual_tokens) for count in found or [0])

    @abstractmethod
    def config(self, model: PreTrainedModel, params: VirtualTokensParams) -> PeftConfig:
        """The config of peft for the model."""

    def attach(self, model: PreTrainedModel, params: VirtualTokensParams) -> PeftModel:
        adapted = self.wrapped(model, self.config(model, params))
        trained = {part for n, p in adapted.named_parameters() if p.requires_grad for part in n.split(".")}
        assert set(head_of(model)) <= trained, "peft takes the head for granted by its name"
        return adapted


class Prompt(_VirtualTokens):
    """Learn the embeddings of tokens that stand before every text.

    They stay in the graph and lengthen every sequence.
    """

    name = "adapter.prompt"
    summary = "virtual tokens and head, the base frozen; stay in the graph"

    def wrapped(self, model: PreTrainedModel, config: PeftConfig) -> PeftModel:
        if config.task_type is not None:
            return super().wrapped(model, config)
        from edgeopt.models.choices import PromptedChoices

        return PromptedChoices(model, config)

    def config(self, model: PreTrainedModel, params: VirtualTokensParams) -> PeftConfig:
        from peft import PromptTuningConfig

        # ELECTRA's embeddings may be narrower than its layers, and hidden dimensions may be cut
        width = model.get_input_embeddings().embedding_dim
        return PromptTuningConfig(token_dim=width, **_shape(model, params), **for_task(model))


class Prefix(_VirtualTokens):
    """Learn keys and values that every layer attends to besides the text's. They stay in the graph."""

    name = "adapter.prefix"
    summary = "virtual keys and values and head, the base frozen; stay in the graph"
    contract = Contract(
        requires=STAYS.requires,
        forbids=STAYS.forbids | facts(Fact.UNEVEN),
        adds=STAYS.adds,
        data=STAYS.data,
        needs=STAYS.needs,
    )

    def check(self, params: VirtualTokensParams, task: TaskSpec) -> Found:
        found = super().check(params, task)
        if not found and not task_type(task.type).takes_prefix:
            why = "its model passes no keys and values to the encoder"
            found.append(((), f"{self.name} does not work for {called(task.type)}: {why}", "use adapter.prompt"))
        return found

    def fit(self, params: VirtualTokensParams, task: TaskSpec, model: ModelSource) -> Found:
        kind, shape = model.model_type, family(model.model_type)
        if kind is not None and not (shape and shape.takes_prefix):
            return [
                (
                    ("use",),
                    f"{self.name} does not work with {kind}, because its attention takes no keys and values "
                    f"from outside",
                    "use adapter.prompt",
                )
            ]
        return super().fit(params, task, model)

    def config(self, model: PreTrainedModel, params: VirtualTokensParams) -> PeftConfig:
        from peft import PrefixTuningConfig

        from edgeopt.models.slicing import structure_of

        structure = structure_of(model)  # prune.magnitude may have cut heads away, which only a run shows
        if any(layer.head_count != structure.dense.heads for layer in structure.layers):
            raise step_failed(
                "E408",
                f"{self.name} needs the same number of heads in every layer, but some were removed",
                help="use adapter.prompt",
            )
        return PrefixTuningConfig(token_dim=model.config.hidden_size, **_shape(model, params), **for_task(model))


def _shape(model: PreTrainedModel, params: VirtualTokensParams) -> dict[str, int]:
    """The sizes that peft would otherwise read from the model's config by names that DistilBERT's does not have."""
    shape = model.config
    return {
        "num_virtual_tokens": params.virtual_tokens,
        "num_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
    }
