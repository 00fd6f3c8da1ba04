"""The rows of a recipe's task, or those of each of its `tasks` one after the other.

A row of several tasks begins with the name of its task, so that no two tasks have a row in common, and its label is
(number of the task, label). Each task's rows are read, checked and carved as those of a task alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from edgeopt.data import sources
from edgeopt.data.sources import PlaceOf
from edgeopt.data.task_data import TaskData
from edgeopt.spec.recipe import SeveralTasks, TaskSpec
from edgeopt.support.errors import InputError, Path_, Place
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.several import own_classes
from edgeopt.tasks.split import Split


@dataclass(frozen=True)
class SeveralData(TaskData):
    """The rows of several tasks. parts: those of each, by its name, in the order of their numbers."""

    parts: Mapping[str, TaskData] = field(default_factory=dict)

    def carve(self, share: float) -> tuple[Split, Split]:
        carved = {name: part.carve(share) for name, part in self.parts.items()}
        rest, chosen = ({name: both[i] for name, both in carved.items()} for i in (0, 1))
        return _joined("train", rest), _joined("selection", chosen)

    def remarks(self) -> list[str]:
        return [f"{name}: {remark}" for name, part in self.parts.items() for remark in part.remarks()]

    def summary(self) -> str:
        return "; ".join(f"{name}: {part.summary()}" for name, part in self.parts.items())

    def sizes(self, rows: Split) -> dict[str, int]:
        """How many of some rows belong to each task."""
        numbers = [label[0] for label in rows.labels]
        return {name: numbers.count(number) for number, name in enumerate(self.parts)}


def is_local_task(task: TaskSpec, folder: Path) -> bool:
    """Whether all rows of a task are, or should be, files here."""
    return all(sources.is_local(part.dataset, folder) for part in task.each.values())


def at_hand(task: TaskSpec, folder: Path) -> bool:
    """Whether any file of local rows is here. See `sources.at_hand`."""
    return any(sources.at_hand(part.dataset, folder) for part in task.each.values())


def train_at_hand(task: TaskSpec, folder: Path) -> bool:
    """Whether the files of train are here. Raises InputError E301 as `sources.train_at_hand`."""
    return all(sources.train_at_hand(part.dataset, folder) for part in task.each.values())


def load_data(
    spec: TaskSpec,
    folder: Path,
    place_of: PlaceOf = lambda _: None,
    *,
    train: bool = True,
    names: Callable[[], Sequence[str]] = tuple,
) -> TaskData:
    """The rows of a task, or of several. See `sources.load_data`."""
    if not isinstance(spec, SeveralTasks):
        return sources.load_data(spec, folder, place_of, train=train, names=names)
    found = {}
    for name, part in spec.parts.items():
        with _speaking_of(name):
            own = partial(_own_classes, name, names)
            found[name] = sources.load_data(part, folder, _places(name, place_of), train=train, names=own)
    return SeveralData(
        _joined("train", {name: data.train for name, data in found.items()}),
        _joined(_report_name([data.report for data in found.values()]), {n: data.report for n, data in found.items()}),
        tuple(f"{name}.{label}" for name, data in found.items() for label in data.label_names),
        ", ".join(dict.fromkeys(data.source for data in found.values())),
        dropped=sum(data.dropped for data in found.values()),
        parts=found,
    )


def load_reported(
    spec: TaskSpec, folder: Path, names: Sequence[str], place_of: PlaceOf = lambda _: None, *, hub: bool | None = None
) -> tuple[Split, Task]:
    """The report split alone of a task, or of several. See `sources.load_reported`."""
    if not isinstance(spec, SeveralTasks):
        return sources.load_reported(spec, folder, names, place_of, hub=hub)
    rows, classes = {}, list[str]()
    for name, part in spec.parts.items():
        with _speaking_of(name):
            own = None if hub and sources.is_local(part.dataset, folder) else hub
            rows[name], task = sources.load_reported(
                part, folder, own_classes(name, names), _places(name, place_of), hub=own
            )
        classes += [f"{name}.{label}" for label in task.names]
    return _joined(_report_name([*rows.values()]), rows), task_of(spec, classes)


def _own_classes(name: str, names: Callable[[], Sequence[str]]) -> Sequence[str]:
    return own_classes(name, names())


def _report_name(reported: Sequence[Split]) -> str:
    names = {rows.name for rows in reported}
    return names.pop() if len(names) == 1 else "report"


def _joined(name: str, parts: Mapping[str, Split]) -> Split:
    """The rows of all tasks, one task after the other."""
    texts = tuple((task, *texts) for task, rows in parts.items() for texts in rows.texts)
    labels = tuple((number, label) for number, rows in enumerate(parts.values()) for label in rows.labels)
    return Split(name, texts, labels)


def _places(name: str, place_of: PlaceOf) -> Callable[[Path_], Place | None]:
    """Where the keys of one of several tasks stand, by their path in a task alone."""
    return lambda at: place_of(("tasks", name, *at[1:]) if at[:1] == ("task",) else at)


@contextmanager
def _speaking_of(name: str) -> Iterator[None]:
    """Errors of one of several tasks name its keys, not those of a task alone."""
    try:
        yield
    except InputError as error:
        raise InputError(
            [
                replace(
                    issue,
                    message=f"task {name}: {_own(issue.message, name)}",
                    help=issue.help and _own(issue.help, name),
                )
                for issue in error.issues
            ]
        ) from None


def _own(text: str, name: str) -> str:
    return re.sub(r"\btask\.(?=[a-z])", f"tasks.{name}.", text)
