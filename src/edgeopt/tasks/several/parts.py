"""Which tasks share the encoder, each as its own class has it, and which head each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

from edgeopt.models.heads import Head
from edgeopt.spec.recipe import OneTask, SeveralTasks, TaskSpec
from edgeopt.spec.tasks import TASKS
from edgeopt.tasks.base import Task


class Parts(Task):
    """Base of what several tasks are: the tasks by name, numbered in the order of their names."""

    def __init__(self, spec: TaskSpec, names: Sequence[str] = (), *, stated: bool = True) -> None:
        super().__init__(spec, names, stated=stated)
        assert isinstance(spec, SeveralTasks)
        self.specs: dict[str, OneTask] = spec.parts
        self._parts = {
            name: cast(type[Task], TASKS[part.type])(part, own_classes(name, names), stated=stated)
            for name, part in spec.parts.items()
        }

    @property
    def parts(self) -> Mapping[str, Task]:
        return self._parts

    @cached_property
    def listed(self) -> list[Task]:
        """The tasks in the order of their numbers."""
        return [*self.parts.values()]

    @cached_property
    def task_heads(self) -> tuple[Head, ...]:
        """The heads, in the order of the tasks' numbers."""
        return tuple(Head(name, self.specs[name].head, part.outputs or 1) for name, part in self.parts.items())

    def number_of(self, name: str) -> int:
        """The number of a task. Raises ValueError where there is none of that name."""
        return [*self.parts].index(name)


def own_classes(name: str, names: Sequence[str]) -> list[str]:
    """The classes of one task, of the names of all tasks' classes."""
    return [each.removeprefix(f"{name}.") for each in names if each.startswith(f"{name}.")]
