"""The model and the rows that a recipe names, found and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edgeopt.corpus.documents import looked_at
from edgeopt.corpus.source import Corpus, find_corpus
from edgeopt.data import TaskData, is_local, is_local_task, load_data
from edgeopt.data.extra import local_digests, with_extra, with_unlabelled
from edgeopt.models.source import ModelSource, find_model
from edgeopt.plan.begun import find_begun
from edgeopt.recipe.load import Recipe
from edgeopt.recipe.trainings import training_issues
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.spec.recipe import TextSource
from edgeopt.support.errors import InputError, Path_
from edgeopt.support.paths import not_here
from edgeopt.tasks import task_of, task_type
from edgeopt.tasks.class_order import in_heads_order, order_stated

T = TypeVar("T")
#: Asks for the names of a model's classes.
Names = Callable[[], Sequence[str]]


class Inputs:
    """Models and rows, each found once however many recipes name it."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def model(self, recipe: Recipe) -> ModelSource:
        """The model that a recipe names. Raises InputError as `find_model` does."""
        spec, task = recipe.head.model, recipe.head.task
        place = recipe.document.place(("model", "id"))
        head, embeds = task_of(task).head, task_type(task.type).embeds
        if spec.config is not None:
            return self._once(f"{spec!r} {task.type} {recipe.head.seed}", lambda: find_begun(recipe, head))
        return self._once(
            f"{spec!r} {task.type}", lambda: find_model(spec, recipe.folder, place, head=head, embeds=embeds)
        )

    def rows(self, recipe: Recipe) -> TaskData | None:
        """The rows that a recipe names; None where they are the hub's. Raises InputError as `load_rows` does."""
        found: TaskData | None = self._once(recipe.rows_key, lambda: _local_data(recipe, self.model))
        return found

    def corpus(self, spec: CorpusSpec, folder: Path) -> Corpus:
        """The plain text that a recipe of that folder names, looked at. Raises InputError as `find_corpus` does."""
        found: Corpus = self._once(f"corpus {spec!r} {folder}", lambda: looked_at(find_corpus(spec, folder)))
        return found

    def _once(self, key: str, find: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = find()
        found: T = self._found[key]
        return found


def _local_data(recipe: Recipe, model: Callable[[Recipe], ModelSource]) -> TaskData | None:
    """The rows, read and checked, where they are files; None where they are the hub's.

    model: finds the recipe's. Of a recipe that names both, the files are looked at all the same.
    """
    task, folder = recipe.head.task, recipe.folder
    here = is_local_task(task, folder)
    if here and all(is_local(source.dataset, folder) for _, source in other_sources(recipe)):
        return _rows(recipe, lambda: model(recipe).names)
    if here:
        _task_rows(recipe, lambda: model(recipe).names)
    local_digests(task, other_sources(recipe), folder, recipe.document.place)
    return None


def model_in_words(source: ModelSource) -> str:
    """Where the model is; one that nobody has looked at may be a misspelled folder, and that is said."""
    if source.local:
        return source.id
    return (
        f"{source.id}, from the hub's cache on this machine"
        if source.folder
        else f"{source.id} on the hub, not checked; {source.absent}"
    )


def rows_in_words(recipe: Recipe, data: TaskData | None) -> str:
    """How many rows there are, and of those that nobody has looked at that their names may be misspelled folders."""
    if data is not None:
        return data.summary()
    specs = [
        *(part.dataset for part in recipe.head.task.each.values()),
        *(source.dataset for _, source in other_sources(recipe)),
    ]
    hub = [spec.path for spec in specs if spec.path is not None and not is_local(spec, recipe.folder)]
    return "; ".join(dict.fromkeys(f"{path} on the hub, not checked; {not_here(path, recipe.folder)}" for path in hub))


def other_sources(recipe: Recipe) -> list[tuple[Path_, TextSource]]:
    """The datasets besides the task's, with the path of their keys."""
    return [*((("task", "train_with", i), s) for i, s in enumerate(recipe.head.task.train_with)), *recipe.unlabelled()]


def load_rows(recipe: Recipe, source: ModelSource) -> TaskData:
    """All rows, from files or the hub, read and checked. Raises InputError as `load_data` and `with_extra` do."""
    return _rows(recipe, lambda: source.names)


def in_order(recipe: Recipe, source: ModelSource, data: TaskData) -> TaskData:
    """The rows with their classes in the order of the model's trained head, if it has one.

    Raises InputError E318 where that is not known, and E106 where a training does not fit the classes.
    """
    task = recipe.head.task
    if task_of(task).names_outputs:
        place = recipe.document.place(("task", "labels") if task.labels else ("model", "id"))
        stated = order_stated(task, source.names)
        data = data.with_classes(in_heads_order(data.label_names, source.names, stated=stated, place=place))
    check_classes(recipe, data)
    return data


def _rows(recipe: Recipe, names: Names) -> TaskData:
    task, folder, place_of = recipe.head.task, recipe.folder, recipe.document.place
    return with_unlabelled(
        with_extra(_task_rows(recipe, names), task, folder, place_of), task, recipe.unlabelled(), folder, place_of
    )


def check_classes(recipe: Recipe, data: TaskData) -> None:
    """Raises InputError E106 where a training does not fit the classes."""
    issues = training_issues(recipe.document, recipe.trainings(), recipe.head.task, data.label_names)
    if issues:
        raise InputError(issues)


def _task_rows(recipe: Recipe, names: Names) -> TaskData:
    return load_data(recipe.head.task, recipe.folder, recipe.document.place, train=recipe.reads_train, names=names)
