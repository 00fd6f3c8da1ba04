"""More datasets to train on: read, brought to the task's classes, and rid of the rows that the report split also has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeopt.data.files import read_rows
from edgeopt.data.sources import is_local, local_files, split_of
from edgeopt.data.task_data import Extra, Split, TaskData
from edgeopt.errors import InputError, Place, bad_input
from edgeopt.recipe.problems import closest
from edgeopt.recipe.schema import TaskSpec, TrainSource
from edgeopt.store import file_digest
from edgeopt.tasks import task_of
from edgeopt.tasks.cells import Raw

#: Where a path of keys stands in the recipe.
PlaceOf = Callable[[tuple[str | int, ...]], Place]


def with_extra(data: TaskData, task: TaskSpec, folder: Path, place_of: PlaceOf) -> TaskData:
    """`data` with the rows of `task.train_with`. Raises InputError as `load_data` does, at the key that names the file, and
    E106 for a class that the task does not have."""
    return replace(data, extra=tuple(_load(source, i, data, task, folder, place_of) for i, source in enumerate(task.train_with)))


def without(rows: Split, other: Split) -> Split:
    """The rows whose text `other` does not have: the same texts but for case, spaces and punctuation count as one."""
    seen = {_bare(texts) for texts in other.texts}
    return rows.take([i for i, texts in enumerate(rows.texts) if _bare(texts) not in seen], rows.name)


def _bare(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Letters and digits alone, as datasets differ in how they cut words; a text that has none stays as it is."""
    folded = [unicodedata.normalize("NFKC", text).casefold() for text in texts]
    return tuple(re.sub(r"[\W_]+", "", text) or text.strip() for text in folded)


def _load(source: TrainSource, number: int, data: TaskData, task: TaskSpec, folder: Path, place_of: PlaceOf) -> Extra:
    at = ("task", "train_with", number)
    with _placed(number, source, place_of):
        raw, names, shown = _raw(source, task, folder)
        if not raw:
            raise bad_input("E305", "the train split has no rows", help="give a file with rows in it")
        if names is None:
            rows = split_of("train", raw, task_of(task, data.label_names))
        else:
            _known(names, data.label_names, place_of((*at, "labels")), number)
            rows = split_of("train", [(texts, _each(label, lambda x: _named(x, names)), place) for texts, label, place in raw], task_of(task, names))
            rows = replace(rows, labels=tuple(_each(label, lambda x: data.label_names.index(names[x])) for label in rows.labels))
    kept = without(rows, data.report)
    if not len(kept):
        raise bad_input("E305", f"all rows of {shown} are in the {data.report.name} split too", place=place_of(at), help="take the dataset out")
    return Extra(shown, kept.first(source.dataset.max_rows.train), len(rows) - len(kept))


def _raw(source: TrainSource, task: TaskSpec, folder: Path) -> tuple[list[Raw], list[str] | None, str]:
    """Rows of train with the task's columns, the names of its class numbers where they are stated, and what to call it."""
    view = task.model_copy(update={"dataset": source.dataset, "text": source.text or task.text, "label": source.label or task.label})
    files = local_files(source.dataset, folder)
    if files is None:
        from edgeopt.data.hub import load_hub

        raw, names, shown = load_hub(view, only={"train"})
        return raw.get("train", []), source.labels or names, shown
    read = task_of(view).read_all
    rows = [r for path in files["train"] for number, row in read_rows(path) for r in read(row, Place.of(path, number))]
    return rows, source.labels, str(source.dataset.path or files["train"][0].parent.name or ".")


def _known(names: Sequence[str], classes: Sequence[str], place: Place, number: int) -> None:
    for name in names:
        if name not in classes:
            guess = closest(name, classes)
            meant = f"did you mean '{guess}'?" if guess else f"say in task.train_with.{number}.labels which of {', '.join(classes)} each class number is"
            raise bad_input("E106", f"'{name}' is no class of the task", place=place, help=meant)


def _each(label: Any, change: Callable[[Any], Any]) -> Any:
    """A changed label, or a row's changed tags."""
    return tuple(map(change, label)) if isinstance(label, tuple) else change(label)


def _named(label: Any, names: Sequence[str]) -> Any:
    """The name of a class that is given by its number."""
    if isinstance(label, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", label):
        label = int(label)
    number = int(label) if isinstance(label, int | float) and float(label).is_integer() else -1
    return names[number] if 0 <= number < len(names) else label


def _file_key(number: int, source: TrainSource) -> tuple[str | int, ...]:
    """The key that names the files of the train split."""
    return ("task", "train_with", number, "dataset", *(("path",) if source.dataset.path else ("data_files", "train")))


@contextmanager
def _placed(number: int, source: TrainSource, place_of: PlaceOf) -> Iterator[None]:
    """An error about a file as a whole stands where the recipe names the file, and its help speaks of that dataset."""
    own = rf"task.train_with.{number}.\1"
    try:
        yield
    except InputError as error:
        place = place_of(_file_key(number, source))
        raise InputError(
            [replace(i, place=i.place or place, help=i.help and re.sub(r"\btask\.(dataset|text|label)\b", own, i.help)) for i in error.issues]
        ) from None


def local_digests(task: TaskSpec, folder: Path, place_of: PlaceOf) -> list[str]:
    """SHA-256 of the files of those datasets that are local, for a plan that cannot have all rows yet because some are the
    hub's. Raises InputError E301 where a train file is absent, E302 where its first row is not readable."""
    files = (local_files(task.dataset, folder) or {}) if is_local(task.dataset, folder) else {}
    paths = [path for split in files.values() for path in split if path.is_file()]
    for number, source in enumerate(task.train_with):
        if is_local(source.dataset, folder):
            with _placed(number, source, place_of):
                more = (local_files(source.dataset, folder) or {})["train"]
                for path in more:
                    next(read_rows(path), None)
            paths += more
    return [file_digest(path) for path in paths]
