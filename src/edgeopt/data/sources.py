"""Where the rows come from: files, a folder of files, or a dataset of the hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgeopt.data.files import SUFFIXES, is_there, read_rows
from edgeopt.data.slices import by_column, slices_of
from edgeopt.data.task_data import Split, TaskData, renumbered
from edgeopt.errors import InputError, Issue, Place, bad_input
from edgeopt.recipe.schema import DatasetSpec, TaskSpec
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.cells import Cells, Raw
from edgeopt.tasks.names import in_heads_order

Files = dict[str, list[Path]]
#: Rows of a task from a row of the data and its place.
Read = Callable[[Cells, Place], Sequence[Raw]]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_FOLDER_NAMES = {"train": ("train", "training"), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}


def local_files(spec: DatasetSpec, folder: Path, *, train: bool = True) -> Files | None:
    """Files of each split where the dataset is local, else None. Paths are relative to `folder`. train: whether there must be
    that split. Raises InputError E301 where `path` is a folder without data files."""
    if spec.data_files is not None:
        given = spec.data_files.model_dump(exclude_none=True)
        return {split: [folder / expanded(p) for p in ([v] if isinstance(v, str) else v)] for split, v in given.items()}
    assert spec.path is not None
    root = folder / expanded(spec.path)
    if is_there(root, Path.is_file):
        raise bad_input("E301", f"dataset path {root} is a file", help="give its folder, or name the file in task.dataset.data_files.train")
    if not is_there(root, Path.is_dir):
        if looks_local(spec.path):
            raise bad_input("E301", f"dataset folder {root} does not exist", help="give a folder with train.jsonl and validation.jsonl, or a hub id")
        return None
    found: Files = {}
    for split, names in _FOLDER_NAMES.items():
        matches = sorted(p for p in root.iterdir() if p.stem.lower() in names and p.suffix.lower() in SUFFIXES)
        if len(matches) > 1:
            raise bad_input(
                "E301", f"{root} has more than one {split} file: {', '.join(p.name for p in matches)}", help="name the one you mean in task.dataset.data_files"
            )
        if matches:
            found[split] = matches
    if train and "train" not in found:
        raise bad_input("E301", f"dataset folder {root} has no train file", help=f"name it train{SUFFIXES[0]}, or use task.dataset.data_files")
    return found


def is_local(spec: DatasetSpec, folder: Path) -> bool:
    """Whether the rows are, or should be, files here; else they are the hub's."""
    return spec.path is None or looks_local(spec.path) or is_there(folder / expanded(spec.path), Path.exists)


def looks_local(name: str) -> bool:
    """Whether a model or dataset name can only be a path: no id of the hub looks like it."""
    return not _HUB_ID.fullmatch(name)


def expanded(path: str) -> Path:
    """The path with ~ filled in, where there is such a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def load_data(spec: TaskSpec, folder: Path, *, place: Place | None = None, places: Mapping[str, Place] | None = None) -> TaskData:
    """Read and check train and the report split. place: of the dataset in the recipe; places: of each split's files.

    Raises InputError: E301-E306 for what is wrong with a file, E305 for an empty or missing split,
    E312 where the hub cannot be reached."""
    task = task_of(spec)
    with _placed(place):
        files = local_files(spec.dataset, folder)
    columns = by_column(task)
    if files is None:
        from edgeopt.data.hub import load_hub

        with _placed(place):
            raw, names, source = load_hub(spec)
            values = load_hub(spec, [_report_split(spec, list(raw), place)], columns)[0] if spec.slices else {}
    else:
        report = _report_split(spec, list(files), place)
        raw = {}
        for split in ("train", report):
            with _placed((places or {}).get(split, place)):
                raw[split] = rows_of(files[split], task.read_all)
        values = {report: rows_of(files[report], columns)} if spec.slices else {}
        names, source = None, shown(spec.dataset, files)
    report = _report_split(spec, list(raw), place)
    for split in ("train", report):
        if not raw[split]:
            raise bad_input("E305", f"the {split} split has no rows", place=place, help="give a file with rows in it")
    classes = task.classes(raw["train"], spec.labels or names)
    _check_classes(classes, place)
    limits = spec.dataset.max_rows.model_dump()
    train, reported = (split_of(name, raw[name], task_of(spec, classes)) for name in ("train", report))
    reported = replace(reported, slices=slices_of(spec, values.get(report, []), place))
    return TaskData(train.first(limits["train"]), reported.first(limits[report]), tuple(classes), source)


def load_reported(
    spec: TaskSpec, folder: Path, names: Sequence[str], place: Place | None = None, split_place: Place | None = None, *, hub: bool | None = None
) -> tuple[Split, Task]:
    """The report split alone, which is all that a finished model is measured on, and its task. names: of the model's classes.
    split_place: of the split's files in the recipe. hub: whether the dataset is the hub's; None: unless there is a folder of that
    name. The rows are those that `load_data` reports on. Raises InputError as that."""
    task = task_of(spec)
    with _placed(place):
        files = None if hub else local_files(spec.dataset, folder, train=False)
        if hub is False and files is None:
            raise bad_input("E301", f"dataset folder {folder / expanded(spec.dataset.path or '')} does not exist", place=place)
    if files is None:
        from edgeopt.data.hub import load_hub

        with _placed(place):
            raw, given, _ = load_hub(spec)
        name = _report_split(spec, list(raw), place)
        rows = raw[name]
    else:
        name, given = _report_split(spec, list(files), place), None
        with _placed(split_place or place):
            rows = rows_of(files[name], task.read_all)
    if not rows:
        raise bad_input("E305", f"the {name} split has no rows", place=place, help="give a file with rows in it")
    if not task.names_outputs:
        task = task_of(spec, task.classes(rows, spec.labels or given or names))
        return split_of(name, rows, task).first(spec.dataset.max_rows.model_dump()[name]), task
    own = spec.labels or given or task.spelt(rows)
    task = task_of(spec, in_heads_order(own, names, stated=bool(spec.labels), whole=False, place=place))
    numbers_of = own if given and not spec.labels else task.names  # a number among the hub's rows is one of its own names
    found = renumbered(split_of(name, rows, task_of(spec, numbers_of)), numbers_of, task.names)
    return found.first(spec.dataset.max_rows.model_dump()[name]), task


def rows_of(paths: Sequence[Path], read: Read) -> list[Raw]:
    """What `read` makes of the rows of files. Raises InputError E301 to E306."""
    return [r for path in paths for number, row in read_rows(path) for r in read(row, Place.of(path, number))]


def shown(spec: DatasetSpec, files: Files) -> str:
    """What a dataset of such files is called."""
    return str(spec.path or files["train"][0].parent.name or ".")


def split_of(name: str, rows: list[Raw], task: Task) -> Split:
    """The checked split. Raises InputError E304 at the row that does not fit."""
    task.check(rows)
    labels = task.labels(rows)
    return Split(name, tuple(texts for texts, _, _ in rows), labels, task.documents(labels))


@contextmanager
def _placed(place: Place | None) -> Iterator[None]:
    """An error about a file as a whole stands where the recipe names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(tuple(replace(i, place=i.place or place) for i in error.issues)) from None


def _report_split(task: TaskSpec, have: list[str], place: Place | None) -> str:
    wanted = task.report or ("validation" if "validation" in have else "test")
    if wanted in have:
        return wanted
    raise InputError(
        Issue(
            "E305",
            f"there is no {task.report or 'validation or test'} split to report on",
            place,
            "add validation (or test) to task.dataset; figures are never measured on train",
        )
    )


def _check_classes(classes: list[str], place: Place | None) -> None:
    if len(classes) == 1:
        raise bad_input(
            "E305",
            f"the train split has one class only: {classes[0]}",
            place=place,
            help="a classification needs two classes; for scores use task.type text-regression",
        )
    if len(classes) > 1000:
        raise bad_input("E304", f"the label column has {len(classes)} different values", place=place, help="for scores use task.type text-regression")
