"""What every adapter method shares: the base frozen, the adapter attached, trained, saved beside it and looked at."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from edgeopt.models.anatomy import anatomy
from edgeopt.models.parts import head_of, is_inside
from edgeopt.spec.recipe import Mended, TaskSpec, TrainedStepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.support.files import file_digest

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel, TaskType
    from transformers import PreTrainedModel

P = TypeVar("P", bound="AdapterParams")

#: Of a method that changes matrices: merging it would fill the zeros of a pruned one.
MERGEABLE = Contract(
    requires=facts(Fact.TORCH),
    forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER, Fact.SPARSE),
    adds=facts(Fact.ADAPTER, Fact.TRAINED_HEAD),
    data="train",
    needs=("peft",),
)
#: Of a method that adds to the computation: it cannot be merged and leaves every weight of the base as it is.
STAYS = Contract(
    requires=facts(Fact.TORCH),
    forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
    adds=facts(Fact.GRAPH_ADAPTER, Fact.TRAINED_HEAD),
    data="train",
    needs=("peft",),
)


class AdapterParams(TrainedStepParams):
    """Parameters of a method that leaves the model's weights as they are."""

    @field_validator("freeze")
    @classmethod
    def _is_frozen(cls, freeze: str) -> str:
        if freeze != "none":
            raise Mended(
                "an adapter's step itself says what is trained, and leaves the matrices of the encoder as they are",
                "leave 'freeze' out",
            )
        return freeze


class TargetedParams(AdapterParams):
    """Parameters of a method that adapts linear layers of choice."""

    target_modules: Literal["attention", "all-linear"] | list[str] = Field(
        "attention",
        description="attention: query, key and value; all-linear: every linear layer of the encoder; or a "
        "list of names",
    )


class LowRankParams(TargetedParams):
    """Parameters of a method with a dropout of its own, which is what `dropout` says there."""

    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="dropout on the adapter's input during training; the model's own stays as its config says",
    )

    @property
    def model_dropout(self) -> None:
        return None


class Adapter(Transform[P]):
    """Base of the adapter methods: a subclass says what is attached, `train` and the files are the same for all."""

    training = ""
    trained = "added"
    #: Whether the base in the new state is the one that was given, byte for byte.
    base_stays: ClassVar[bool] = True

    @abstractmethod
    def attach(self, model: PreTrainedModel, params: P) -> PreTrainedModel | PeftModel:
        """The model with a fresh adapter; only what is to be trained requires a gradient.

        Random numbers are torch's, which `apply` has seeded. Raises StepError E408 where the model lacks what is to be
        adapted.
        """

    def check(self, params: P, task: TaskSpec) -> Found:
        if getattr(params, "target_modules", None) == []:
            return [
                (
                    ("target_modules",),
                    "target_modules is empty: nothing would be adapted",
                    "name linear layers, or leave the key out",
                )
            ]
        return []

    def load(self, state: State, params: P) -> PreTrainedModel:
        """The base to be adapted."""
        from edgeopt.models.load import load_model

        return load_model(state.folder)

    def save_base(self, model: PreTrainedModel, state: State, output: Path) -> None:
        """Write the base as the adapter is trained on it, which is the one that was given. Nothing is attached yet."""
        from edgeopt.models.files import copy_base

        copy_base(state.folder, output)

    def save(self, model: PreTrainedModel | PeftModel, folder: Path) -> None:
        """Write the adapter, and the head trained with it, in peft's layout."""
        from edgeopt.models.adapter import save_adapter

        save_adapter(model, folder)

    def training_options(self, model: PreTrainedModel | PeftModel, params: P) -> dict[str, Any]:
        """More for `training.train`: callbacks, an optimizer."""
        return {}

    def apply(self, state: State, params: P, context: StepContext) -> None:
        import torch

        from edgeopt.models.adapter_files import ADAPTER
        from edgeopt.training import train

        base = self.load(state, params)
        self.save_base(base, state, context.output)
        head = head_of(base)
        torch.manual_seed(context.seed)
        model = self.attach(base, params)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad and not is_inside(n, head)}
        start = {n: p.detach().clone() for n, p in trained.items()}
        context.figures.update(train(model, state.folder, params, context, **self.training_options(model, params)))
        if all(torch.equal(p.detach().to(start[n].device), start[n]) for n, p in trained.items()):
            raise step_failed(
                "E402",
                "training left the adapter as it was at the start",
                help="raise epochs, max_steps or learning_rate",
            )
        self.save(model, context.output / ADAPTER)

    def promised(self, shapes: Mapping[str, list[int]], params: P) -> Iterator[tuple[str, int, int]]:
        """(what, what the written adapter has, what was asked for) of each size that the parameters name.

        shapes: of the adapter's tensors, by name.
        """
        yield from ()

    def observe(self, before: State, after: Path, params: P) -> Figures:
        import numpy as np
        from safetensors import safe_open

        from edgeopt.models.adapter_files import ADAPTER, ADAPTER_WEIGHTS
        from edgeopt.models.source import WEIGHTS

        path = after / ADAPTER / ADAPTER_WEIGHTS
        with safe_open(path, "numpy") as weights:
            if not all(np.isfinite(weights.get_tensor(k)).all() for k in weights.keys()):  # noqa: SIM118
                raise step_failed("E403", "the adapter holds values that are not numbers")
            shapes = {k: list(weights.get_slice(k).get_shape()) for k in weights.keys()}  # noqa: SIM118
        if self.base_stays and file_digest(after / WEIGHTS) != before.files[WEIGHTS]["sha256"]:
            raise step_failed("E403", "the base beside the adapter is not the one that the step was given")
        for what, has, asked in self.promised(shapes, params):
            if has != asked:
                raise step_failed(
                    "E403", f"the adapter has {what} {has}, and {asked} was asked for", help="report it with the recipe"
                )
        return {"adapter_bytes": path.stat().st_size, "base_bytes": (after / WEIGHTS).stat().st_size}


def peft_model(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """The model under peft with a fresh adapter. Raises StepError E408 where the target modules are not in it."""
    import torch
    from peft import get_peft_model

    try:
        return get_peft_model(model, config)
    except ValueError as error:
        linears = sorted({n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
        raise step_failed(
            "E408", f"target_modules does not fit the model: {error}", help=f"linear layers: {', '.join(linears)}"
        ) from None


def targets(model: PreTrainedModel, params: TargetedParams) -> list[str]:
    """Full names of the linears to adapt: for the two words those of the encoder, so that the head is never adapted."""
    from edgeopt.models.parts import prunable

    if isinstance(params.target_modules, list):
        return params.target_modules
    head = head_of(model)
    names = [name for name, _ in prunable(model) if not is_inside(f"{name}.weight", head)]
    if params.target_modules == "attention":
        names = [n for n in names if n.endswith(anatomy(model.config.model_type).attention)]
    return names


def for_task(model: PreTrainedModel) -> dict[str, Any]:
    """The arguments of every peft config that follow from the model's task.

    task_type: peft's name for it, which decides the class that wraps the model. modules_to_save: the head, which is
    trained besides every adapter.
    """
    return {"task_type": task_type(model), "modules_to_save": head_of(model)}


def task_type(model: PreTrainedModel) -> TaskType | None:
    """The name that peft has for the model's task; None where it has none."""
    from peft import TaskType

    kinds = {"ForSequenceClassification": TaskType.SEQ_CLS, "ForTokenClassification": TaskType.TOKEN_CLS}
    return next((task for suffix, task in kinds.items() if type(model).__name__.endswith(suffix)), None)


def freeze_all_but_head(model: PreTrainedModel) -> None:
    """Let only the head require a gradient."""
    head = head_of(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_inside(name, head))
