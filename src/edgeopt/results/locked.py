"""The shape of recipe.lock, for whoever reads one back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edgeopt.spec.recipe import GateSpec, ModelSpec, OneTask, Target, TaskSpec, task_in
from edgeopt.spec.tasks import MEASURED

#: What stands before a column of task.slices where a lock has the SHA-256 of its values.
SLICES = "slices."


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be a path")
    return text


class _Open(BaseModel):
    """A part that may hold more than is read here: a recipe's other keys, which are compared as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class _Entry(_Open):
    id: str
    use: str | None = None


class Resolved(_Open):
    """What a recipe asked for, with its defaults, as far as a verdict needs it."""

    name: str = Field(max_length=200)
    model: ModelSpec
    task: TaskSpec | None = None
    tasks: dict[str, OneTask] | None = None
    steps: list[_Entry] = []
    targets: list[Target] = Field(min_length=1)
    gates: list[GateSpec]

    @model_validator(mode="after")
    def _gates_fit(self) -> Resolved:
        task = task_in({"task": self.task, "tasks": self.tasks})
        targets = {t.name: t for t in self.targets}
        for i, gate in enumerate(self.gates):
            target = targets.get(gate.target or self.targets[0].name)
            if target is None:
                raise ValueError(f"gates.{i} is on target {gate.target!r}, which is not there")
            if gate.sequence is not None and gate.sequence not in target.sequence:
                raise ValueError(f"gates.{i} is on sequence {gate.sequence}, at which {target.name} is not measured")
            if gate.metric not in MEASURED and gate.measured not in task.known_metrics:
                raise ValueError(f"gates.{i} is on {gate.measured}, which {task.type} does not have")
        return self


class _Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    digest: str
    resolved: Resolved
    overrides: list[str]


class _Step(_Open):
    key: str
    digest: str
    batches: dict[str, int] = {}


class _Place(_Open):
    recipe: Annotated[str, AfterValidator(_path)]
    relative: Annotated[str, AfterValidator(_path)]
    rows: Literal["files", "hub"]


class Lock(_Open):
    """A lock as it is read back: what a run was made of. What nothing was known of when it was written is null."""

    lock: Literal[1]
    edgeopt: str
    recipe: _Recipe
    model: str | None
    data: dict[str, str] | None
    packages: dict[str, str | None]
    steps: dict[str, _Step] | None
    place: _Place | None = None
    files: dict[str, Any] | None = None


class LockOfRun(Lock):
    """The lock beside a run, which also says where its recipe stood."""

    place: _Place
