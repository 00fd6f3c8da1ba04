"""More datasets to train on: read, brought to the task's classes or left without, rid of the report split's rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeopt.data.files import read_rows
from edgeopt.data.missing_labels import Labeled
from edgeopt.data.sources import column_place, is_local, local_files, rows_of, shown, split_of
from edgeopt.data.task_data import Extra, TaskData
from edgeopt.spec.recipe import TaskSpec, TextSource, TrainSource, Unlabelled
from edgeopt.support.errors import InputError, Path_, Place, bad_input
from edgeopt.support.files import file_digest
from edgeopt.support.words import closest
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.columns import Raw, Read
from edgeopt.tasks.split import Split

#: Where a path of keys stands in the recipe.
PlaceOf = Callable[[Path_], Place]


def with_extra(data: TaskData, task: TaskSpec, folder: Path, place_of: PlaceOf) -> TaskData:
    """`data` with the rows of `task.train_with`.

    Raises InputError as `load_data` does, at the key that names the file, and E106 for a class that the task does not
    have.
    """
    sources = enumerate(task.train_with)
    return replace(
        data,
        extra=tuple(_load(source, ("task", "train_with", i), data, task, folder, place_of) for i, source in sources),
    )


def with_unlabelled(
    data: TaskData, task: TaskSpec, sources: Iterable[tuple[Path_, Unlabelled]], folder: Path, place_of: PlaceOf
) -> TaskData:
    """`data` with the rows of datasets without labels, each read once. sources: with the path of their keys.

    Raises InputError as `with_extra` does.
    """
    first = {source.key: (source, at) for at, source in reversed(list(sources))}
    return replace(
        data,
        unlabelled={
            key: _load(source, at, data, task, folder, place_of) for key, (source, at) in reversed(first.items())
        },
    )


def without(rows: Split, other: Split) -> Split:
    """The rows whose text `other` does not have: the same texts but for case, spaces and punctuation count as one."""
    seen = {other.bare(texts) for texts in other.texts}
    return rows.take([i for i, texts in enumerate(rows.texts) if other.bare(texts) not in seen], rows.name)


def _load(
    source: TrainSource | Unlabelled, at: Path_, data: TaskData, task: TaskSpec, folder: Path, place_of: PlaceOf
) -> Extra:
    with _placed(at, source, place_of):
        raw, names, name, no_label = _raw(source, task, folder, at, place_of)
        if not raw:
            raise bad_input("E305", "the train split has no rows", help="give a file with rows in it")
        labeled, classes = isinstance(source, TrainSource), data.label_names
        rows = _labeled(raw, names, classes, task, at, place_of) if labeled else _blank(raw, task_of(task, classes))
    kept = without(rows, data.report)
    if not len(kept):
        raise bad_input(
            "E305",
            f"all rows of {name} are in the {data.report.name} split too",
            place=place_of(at),
            help="remove the dataset",
        )
    return Extra(name, kept.first(source.dataset.max_rows.train), len(rows) - len(kept), no_label)


def _raw(
    source: TrainSource | Unlabelled, task: TaskSpec, folder: Path, at: Path_, place_of: PlaceOf
) -> tuple[list[Raw], list[str] | None, str, int]:
    """Rows of train with the task's columns, the names of its class numbers, what to call it, and rows without a label.

    The names are None where they are not stated; of the rows that had no label it is their number.
    """
    view = task.model_copy(update={"dataset": source.dataset, "text": source.text or task.text, "slices": None})
    stated: list[str] | None = None
    reader: Labeled | None = None
    if isinstance(source, TrainSource):
        view = view.model_copy(update={"label": source.label or task.label})
        stated, reader = source.labels, Labeled(task_of(view))
    read: Read = reader or task_of(view).read_unlabelled

    def column(name: str) -> Place | None:
        own = column_place(view, at, place_of, name)
        inherited = (
            not isinstance(source, TrainSource) or source.label is None if name == view.label else source.text is None
        )
        return column_place(view, ("task",), place_of, name) if inherited else own

    files = local_files(source.dataset, folder)
    if files is None:
        from edgeopt.data.hub import open_hub

        hub = open_hub(view, folder)
        raw, names, name = hub.read("train", read, column) if "train" in hub.splits else [], hub.names, hub.source
    else:
        raw, names, name = (
            rows_of(files["train"], read, column, source.dataset.delimiter),
            None,
            shown(source.dataset, files),
        )
    if reader is not None:
        reader.check("train")
    return raw, stated or names, name, reader.left_out if reader else 0


def _labeled(
    raw: list[Raw], names: Sequence[str] | None, classes: Sequence[str], task: TaskSpec, at: Path_, place_of: PlaceOf
) -> Split:
    """The checked rows, with the task's classes. names: those of their class numbers, where they are stated."""
    if names is None:
        return split_of("train", raw, task_of(task, classes, stated=bool(task.class_names)))
    _known(names, classes, (*at, "labels"), place_of)
    rows = split_of(
        "train",
        [(texts, _each(label, lambda x: _named(x, names)), place) for texts, label, place in raw],
        task_of(task, names),
    )
    return replace(rows, labels=tuple(_each(label, lambda x: classes.index(names[x])) for label in rows.labels))


def _blank(raw: list[Raw], task: Task) -> Split:
    """The checked rows, without labels."""
    task.check(raw)
    return Split("train", tuple(texts for texts, _, _ in raw), tuple(task.blank(texts) for texts, _, _ in raw))


def _known(names: Sequence[str], classes: Sequence[str], at: Path_, place_of: PlaceOf) -> None:
    for name in names:
        if name not in classes:
            guess, place = closest(name, classes), place_of(at)
            meant = (
                f"did you mean '{guess}'?"
                if guess
                else f"say in {_dotted(at)} which of {', '.join(classes)} each class number is"
            )
            raise bad_input("E106", f"'{name}' is no class of the task", place=place, help=meant)


def _each(label: object, change: Callable[[Any], object]) -> object:
    """A changed label, or a row's changed tags."""
    return tuple(map(change, label)) if isinstance(label, tuple) else change(label)


def _named(label: object, names: Sequence[str]) -> object:
    """The name of a class that is given by its number."""
    if isinstance(label, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", label):
        label = int(label)
    number = int(label) if isinstance(label, int | float) and float(label).is_integer() else -1
    return names[number] if 0 <= number < len(names) else label


def _dotted(at: Path_) -> str:
    """The dataset's key as a help names it: without the step, whose number says little."""
    return ".".join(map(str, at if at[0] == "task" else at[-2:]))


@contextmanager
def _placed(at: Path_, source: TextSource, place_of: PlaceOf) -> Iterator[None]:
    """An error about a file as a whole stands where the recipe names the file, and its help speaks of that dataset."""
    try:
        yield
    except InputError as error:
        place = place_of((*at, "dataset", *(("path",) if source.dataset.path else ("data_files", "train"))))
        raise InputError(
            [replace(i, place=i.place or place, help=i.help and _own(i.help, at, source)) for i in error.issues]
        ) from None


def _own(help: str, at: Path_, source: TextSource) -> str:
    """A help that speaks of the task's keys, with those of this dataset instead."""
    if not isinstance(source, TrainSource):
        help = help.replace(" and task.label", "")
    return re.sub(r"\btask\.(dataset|text|label)\b", rf"{_dotted(at)}.\1", help)


def local_digests(
    task: TaskSpec, sources: Iterable[tuple[Path_, TextSource]], folder: Path, place_of: PlaceOf
) -> list[str]:
    """SHA-256 of the files of those datasets that are local.

    It is for a plan that cannot have all rows yet because some are the hub's. sources: the datasets besides the task's.
    Raises InputError E301 where a train file is absent, E302 where its first row is not readable.
    """
    here = [part.dataset for part in task.each.values() if is_local(part.dataset, folder)]
    files = [paths for dataset in here for paths in (local_files(dataset, folder) or {}).values()]
    paths = [path for split in files for path in split if path.is_file()]
    for at, source in sources:
        if is_local(source.dataset, folder):
            with _placed(at, source, place_of):
                more = (local_files(source.dataset, folder) or {})["train"]
                for path in more:
                    next(read_rows(path, source.dataset.delimiter), None)
            paths += more
    return [file_digest(path) for path in paths]
