"""What a transform is: model state in, model state out, with a contract that the planner checks.

Importing a transform's module must not import torch: `plan`, `validate` and `schema` read its
parameters and contract. Heavy imports belong inside `apply` and `observe`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from edgeopt.models.cost import Pass, Trained
from edgeopt.results.figures import Told, told
from edgeopt.spec.recipe import StepParams, TaskSpec, Taught, Training
from edgeopt.step.contract import Contract

if TYPE_CHECKING:
    from edgeopt.corpus.source import Corpus
    from edgeopt.data import TaskData
    from edgeopt.models.source import ModelSource
    from edgeopt.models.structure import Structure
    from edgeopt.spec.corpus import CorpusSpec
    from edgeopt.store.store import State
    from edgeopt.support.progress import Progress

#: What is wrong with a step: (path below the step, message, help).
Found = list[tuple[tuple[str, ...], str, str]]
P = TypeVar("P", bound=StepParams)
Figures = dict[str, Any]


class TrainedAlong(Exception):
    """Raised by the training loop in every process but the first: its part of the step is done."""


class BatchTooLarge(Exception):
    """Raised by the training loop where memory ran out and a smaller batch may be tried: apply the step anew.

    rows: of the batch that was too large.
    """

    def __init__(self, rows: int) -> None:
        super().__init__(f"memory ran out with batches of {rows} rows")
        self.rows = rows


@dataclass
class StepContext:
    """What a transform gets besides its input state and parameters.

    output: an empty folder; the transform writes the new state there and nowhere else.
    work: a folder that survives a crash: training checkpoints. Empty the first time.
    seed: the step's seed, the recipe's where the step names none.
    processes: how many train together. helps: this one only trains along, process 0 keeps the result.
    figures: facts in numbers that the transform wants kept with the state and shown in the report.
    shared: a folder of the store for what is measured of this machine, kept between runs; None: there is none.
    answers: a folder of the store for what teachers answer, kept between runs; None: it is kept in `work`.
    states: the states that the step's references name.
    corpus: the plain text that the step reads. corpora: a folder of the store for texts in tokens, as `answers` is.
    """

    task: TaskSpec
    data: TaskData
    output: Path
    work: Path
    seed: int
    progress: Progress
    processes: int = 1
    helps: bool = False
    figures: Figures = field(default_factory=dict)
    shared: Path | None = None
    answers: Path | None = None
    states: Mapping[str, State] = field(default_factory=dict)
    corpus: Corpus | None = None
    corpora: Path | None = None

    @property
    def told(self) -> Told:
        """Those of the figures that a report shows by name."""
        return told(self.figures)


@dataclass(frozen=True)
class Reference:
    """A model that a step needs besides its input: `baseline`, an earlier step's id, or a checkpoint.

    path: of the key below the step that names it. role: what it is for. tokens: its tokens must be the student's. task:
    which of several tasks it knows; None: all that there are.
    """

    path: tuple[str | int, ...]
    name: str
    role: Literal["teacher", "student", "auxiliary"]
    tokens: bool = False
    task: str | None = None

    @property
    def key(self) -> str:
        """What its state is called among those that a step is given: a checkpoint has the head of its task."""
        return self.name if self.task is None else f"{self.name} of {self.task}"


class Transform(ABC, Generic[P]):
    """Base of every transform. Subclasses set the class variables and write `apply`."""

    name: ClassVar[str]
    #: Raise it when the same parameters give another result: it is part of the step's key.
    version: ClassVar[int] = 1
    summary: ClassVar[str]
    Params: ClassVar[type[StepParams]]
    contract: ClassVar[Contract]
    #: Which parameters hold a Training: "" for the step's own, else the name of the field; several in a tuple.
    training: ClassVar[str | tuple[str, ...] | None] = None
    #: Whether the result depends on the seed. Where it does not, recipes that differ in their seed share the state.
    seeded: ClassVar[bool] = True
    #: Whether the state has the tokenizer that it was given.
    keeps_tokenizer: ClassVar[bool] = True
    #: Whether the result depends on the task's type and classes, also where no rows are read.
    shaped_by_task: ClassVar[bool] = False
    #: Whether what it wrote is compared with the model on report rows, so that these belong to the key.
    compared_on_rows: ClassVar[bool] = False
    #: Whether it leaves the model with another head than the task's, so that the planner loads it again behind it.
    other_head: ClassVar[bool] = False
    #: Whether what it cuts off is gone before it trains.
    cuts_first: ClassVar[bool] = False
    #: What of the model its trainings train, where they do not freeze it.
    trained: ClassVar[Trained] = "all"

    def check(self, params: P, task: TaskSpec) -> Found:
        """What parameters and task together make impossible."""
        return []

    def fit(self, params: P, task: TaskSpec, model: ModelSource) -> Found:
        """What the model, as far as it is known before a download, or this machine makes impossible."""
        return []

    def trains(self, params: P) -> bool:
        """Whether these parameters make the step train, and so run on every process of the group."""
        return bool(self.trainings(params))

    def trainings(self, params: P) -> list[tuple[str, Training]]:
        """The trainings that these parameters ask for, each with the field that holds it."""
        fields = (self.training,) if isinstance(self.training, str) else self.training or ()
        found = [(field, getattr(params, field) if field else params) for field in fields]
        return [(field, training) for field, training in found if isinstance(training, Training)]

    def judges(self, params: P) -> bool:
        """Whether the step decides something by the selection rows (`context.data.carve`).

        Which checkpoint is kept does not count. Every training before such a step leaves those rows out.
        """
        return False

    def references(self, params: P) -> list[Reference]:
        """The models that the step needs besides its input: the teachers of its trainings."""
        return [
            Reference((*at, *path), name, "teacher", taught.reads_alike, str(path[-1]) if taught.by_task else None)
            for at, taught in self.taught(params)
            for path, name in taught.named.items()
        ]

    def taught(self, params: P) -> list[tuple[tuple[str, ...], Taught]]:
        """What its trainings learn from teachers, each with the path of its keys below the step."""
        return [
            ((*((at,) if at else ()), *t.taught_at), taught)
            for at, t in self.trainings(params)
            if (taught := t.taught) is not None
        ]

    def corpus(self, params: P) -> CorpusSpec | None:
        """The plain text that the step reads."""
        return None

    def passes(self, params: P, training: Training, models: Mapping[str, Mapping[str, Any]]) -> list[Pass]:
        """The models that the rows of a training go through, as far as their costs are counted; the trained one first.

        models: their configs: the step's own under "", and those that its references name.
        """
        students = [r.name for r in self.references(params) if r.role == "student" and r.name in models]
        how = "none" if training.freeze == "encoder" else self.trained
        config = models[students[0] if students else ""]
        taught, kept = training.taught, training.distillation is not None
        return [
            Pass("main", config, how, recomputed=training.gradient_checkpointing),
            *(
                Pass(
                    "teacher",
                    models[name],
                    "none",
                    once=kept,
                    task=str(path[-1]) if taught and taught.by_task else None,
                )
                for path, name in (taught.named if taught else {}).items()
                if name in models
            ),
        ]

    def leaves(self, params: P, shape: Structure) -> float | None:
        """Share of the layers' weights that these parameters leave of a model of that shape.

        None: they do not say it, or the step cuts nothing.
        """
        return None

    def contract_of(self, params: P) -> Contract:
        """The contract with these parameters, where it depends on them."""
        return self.contract

    @abstractmethod
    def apply(self, state: State, params: P, context: StepContext) -> None:
        """Write the new state's files into `context.output`. Raise StepError to fail the step."""

    def observe(self, before: State, after: Path, params: P) -> Mapping[str, Any]:
        """Measure on the files written that what the step promised is true; return what was measured.

        Raise StepError (E403) where it is not. The facts of the contract are observed besides this.
        """
        return {}


AnyTransform = Transform[Any]
