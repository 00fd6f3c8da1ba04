"""Task types: how rows become model inputs, and outputs become metrics. One file each; spec/tasks.py lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from edgeopt.spec.recipe import SEVERAL, TaskSpec
from edgeopt.spec.tasks import TASKS
from edgeopt.tasks.base import Task

__all__ = ["TASKS", "Task", "called", "task_of", "task_type", "task_types"]


def task_type(name: str) -> type[Task]:
    """The class of a type's tasks, which knows what is true of all of them. Raises KeyError where there is none."""
    if name == SEVERAL:
        from edgeopt.tasks.several import Several

        return Several
    return cast(type[Task], TASKS[name])


def called(name: str) -> str:
    """What a message calls a type of tasks."""
    return "several tasks" if name == SEVERAL else name


def task_types() -> dict[str, type[Task]]:
    """The classes of all types of tasks, by name, without the plugins that cannot be used."""
    return cast(dict[str, type[Task]], TASKS.usable())


def task_of(spec: TaskSpec, names: Sequence[str] = (), *, stated: bool = True) -> Task:
    """The task that a recipe describes; names: its classes, where they are known; stated: see Task."""
    if spec.corpus is not None:
        from edgeopt.tasks.retrieval import Retrieval

        return Retrieval(spec, names, stated=stated)
    return task_type(spec.type)(spec, names, stated=stated)
