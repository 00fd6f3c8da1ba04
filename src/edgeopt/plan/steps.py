"""A planned step, and a plan: both chains with what the planner adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from edgeopt.corpus.source import Corpus
from edgeopt.data import SeveralData, TaskData
from edgeopt.models.source import ModelSource
from edgeopt.recipe.load import Recipe
from edgeopt.spec.recipe import StepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import AnyTransform
from edgeopt.store.store import State
from edgeopt.support.errors import Place
from edgeopt.training.precision import Decision, asks, settled

Chain = Literal["baseline", "candidate"]


Status = Literal["cached", "new", "stale"]


@dataclass(frozen=True)
class PlannedStep:
    """A step of a chain. key and state are None where the input is not built yet."""

    id: str
    use: str
    chain: Chain
    transform: AnyTransform
    params: StepParams
    place: Place | None
    implied: bool = False
    note: str = ""
    key: str | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    status: Status = "new"
    why: str = ""
    state: State | None = None
    #: Whether `precision: auto` stood in the parameters, in which its place is taken by what was decided.
    auto: bool = False
    #: Whether its trainings leave the selection rows out, whatever they say themselves.
    held_out: bool = False

    @property
    def looks_at_selection(self) -> bool:
        """Whether the rows that are carved out of train for selection decide something.

        That is which checkpoint is kept, or what the step does.
        """
        return self.transform.judges(self.params) or any(
            training.selects for _, training in self.transform.trainings(self.params)
        )

    @property
    def contract(self) -> Contract:
        """What the step requires, adds and removes, with these parameters."""
        return self.transform.contract_of(self.params)


@dataclass
class Plan:
    """What `apply` will do. `data` is None where the rows must first come from the hub."""

    recipe: Recipe
    source: ModelSource
    data: TaskData | None
    chains: dict[Chain, list[PlannedStep]]
    #: Checkpoints that steps name, besides the recipe's model.
    checkpoints: dict[str, ModelSource] = field(default_factory=dict)
    #: Plain text that steps read, by the steps' ids.
    corpora: dict[str, Corpus] = field(default_factory=dict)
    #: What `precision: auto` means for the model here; None: it is not measured yet.
    precision: Decision | None = None
    #: Rows of a batch that the trainings with `batch_size: auto` begin with, by the step's full name and training.
    batches: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def decided(self, precision: Decision | None) -> Plan:
        """The plan with `precision: auto` replaced in its steps, where it is known what that means."""
        if precision is None:
            return self
        chains = {name: [_settled(step, precision) for step in steps] for name, steps in self.chains.items()}
        return replace(self, chains=chains, precision=precision)

    def of_task(self, name: str) -> Plan:
        """The plan as if the recipe had this one of its several tasks alone, with its rows."""
        head = self.recipe.head
        alone = head.model_copy(update={"task": head.task.each["tasks", name], "tasks": None})
        data = self.data.parts[name] if isinstance(self.data, SeveralData) else None
        return replace(self, recipe=replace(self.recipe, head=alone), data=data)

    @property
    def steps(self) -> list[PlannedStep]:
        """The steps of both chains in the order of the building."""
        return [step for chain in self.chains.values() for step in chain]


def _settled(step: PlannedStep, precision: Decision) -> PlannedStep:
    return replace(step, params=settled(step.params, precision.precision), auto=True) if asks(step.params) else step
