"""Task types: how rows become model inputs, and outputs become metrics. One file each."""

from __future__ import annotations

from collections.abc import Sequence

from edgeopt.spec.recipe import TaskSpec
from edgeopt.tasks.base import Task
from edgeopt.tasks.classification import Classification
from edgeopt.tasks.coreference import Coreference
from edgeopt.tasks.multiple_choice import MultipleChoice
from edgeopt.tasks.regression import Regression
from edgeopt.tasks.summarization import Summarization
from edgeopt.tasks.token_classification import TokenClassification

__all__ = ["TASKS", "Task", "task_of", "task_type"]

TASKS: dict[str, type[Task]] = {
    "text-classification": Classification,
    "text-regression": Regression,
    "multiple-choice": MultipleChoice,
    "token-classification": TokenClassification,
    "coreference": Coreference,
    "summarization": Summarization,
}


def task_type(name: str) -> type[Task]:
    """The class of a type's tasks, which answers what is true of all of them. Raises KeyError where there is none."""
    return TASKS[name]


def task_of(spec: TaskSpec, names: Sequence[str] = (), *, stated: bool = True) -> Task:
    """The task that a recipe describes; names: its classes, where they are known; stated: see Task."""
    return task_type(spec.type)(spec, names, stated=stated)
