"""Where the rows come from: files, a folder of files, or a dataset of the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from edgeopt.data.drawn import drawn
from edgeopt.data.files import SUFFIXES, read_rows, stem_and_suffix
from edgeopt.data.leaks import unleaked
from edgeopt.data.missing_labels import Labeled
from edgeopt.data.raw import ColumnPlace, raw_rows
from edgeopt.data.searched import Searched, searched_of
from edgeopt.data.slice_columns import by_column, slices_of
from edgeopt.data.task_data import TaskData, renumbered
from edgeopt.spec.recipe import DatasetSpec, TaskSpec
from edgeopt.support.errors import InputError, Issue, Path_, Place, bad_input
from edgeopt.support.paths import expanded, is_there, looks_local, nearest
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.class_order import in_heads_order, order_stated
from edgeopt.tasks.columns import SCALAR, NoClass, Raw, Read, value
from edgeopt.tasks.split import Split

Files = dict[str, list[Path]]


#: Where a path of keys stands in the recipe, if there is one.
PlaceOf = Callable[[Path_], Place | None]


#: More classes than this, of fewer than two rows each, are taken for something else.
_MANY = 1000
#: What the files of a split are called.
FOLDER_NAMES = {"train": ("train", "training"), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}


def local_folder(path: str, folder: Path, what: str, *, of_a_file: str, give: str) -> Path | None:
    """The folder that a path relative to `folder` names; None where there is none, and the path may be a hub id.

    what: what the folder is to hold. of_a_file, give: what to do about a file in its place, and about nothing there.
    Raises InputError E301 for these.
    """
    root = folder / expanded(path)
    if is_there(root, Path.is_file):
        raise bad_input("E301", f"{what} path {Place.of(root).source} is a file", help=of_a_file)
    if is_there(root, Path.is_dir):
        return root
    if looks_local(path):
        help = f"{nearest(path, folder)} {give}".lstrip()
        raise bad_input("E301", f"{what} folder {Place.of(root).source} does not exist", help=help)
    return None


def local_files(spec: DatasetSpec, folder: Path, *, train: bool = True) -> Files | None:
    """Files of each split where the dataset is local, else None.

    Paths are relative to `folder`. train: whether there must be that split. Raises InputError E301 where `path` is a
    folder without data files.
    """
    if spec.data_files is not None:
        given = spec.data_files.model_dump(exclude_none=True)
        return {split: [folder / expanded(p) for p in ([v] if isinstance(v, str) else v)] for split, v in given.items()}
    assert spec.path is not None
    root = local_folder(
        spec.path,
        folder,
        "dataset",
        of_a_file="give its folder, or name the file in task.dataset.data_files.train",
        give="give a folder with train.jsonl and validation.jsonl, or a hub id",
    )
    if root is None:
        return None
    found: Files = {}
    for split, names in FOLDER_NAMES.items():
        matches = sorted(
            p for p in root.iterdir() if (found_name := stem_and_suffix(p))[0] in names and found_name[1] in SUFFIXES
        )
        if len(matches) > 1:
            raise bad_input(
                "E301",
                f"{root} has more than one {split} file: {', '.join(p.name for p in matches)}",
                help="name the one you mean in task.dataset.data_files",
            )
        if matches:
            found[split] = matches
    if train and "train" not in found:
        raise bad_input(
            "E301",
            f"dataset folder {root} has no train file",
            help=f"name it train{SUFFIXES[0]}, or use task.dataset.data_files",
        )
    return found


def at_hand(spec: DatasetSpec, folder: Path) -> bool:
    """Whether any file of a local dataset is here; one that is here but cannot be read is."""
    if spec.path is not None:
        return is_there(folder / expanded(spec.path), Path.exists)
    return any(is_there(path, Path.exists) for paths in (local_files(spec, folder) or {}).values() for path in paths)


def train_at_hand(spec: DatasetSpec, folder: Path) -> bool:
    """Whether the files of train are here. Raises InputError E301 as `local_files`."""
    files = local_files(spec, folder, train=False) if at_hand(spec, folder) else None
    paths = (files or {}).get("train", [])
    return bool(paths) and all(is_there(path, Path.exists) for path in paths)


def is_local(spec: DatasetSpec, folder: Path) -> bool:
    """Whether the rows are, or should be, files here; else they are the hub's."""
    return spec.path is None or looks_local(spec.path) or is_there(folder / expanded(spec.path), Path.exists)


def load_data(
    spec: TaskSpec,
    folder: Path,
    place_of: PlaceOf = lambda _: None,
    *,
    train: bool = True,
    names: Callable[[], Sequence[str]] = tuple,
) -> TaskData:
    """Read and check train and the report split. place_of: where the recipe's keys stand.

    train: whether it must be there. names: of the model's classes, which are asked for where it is not. Raises
    InputError: E301-E306 for what is wrong with a file, E305 for an empty or missing split, E327 for rows without a
    label, E328 where rows of the report split stand in train and may not, E312 where the hub cannot be reached.
    """
    task, at = task_of(spec), place_of(_dataset(spec))
    rows = _Rows(task, folder, place_of, train=train)
    report = rows.report
    if not train and "train" not in rows.splits:
        reported, task = load_reported(spec, folder, names(), place_of)
        return TaskData(Split("train", (), ()), reported, tuple(task.names), rows.source)
    raw = {name: rows.read(name) for name in ("train", report)}
    values = {column: tuple(values) for column, values in slices_of(spec, rows.sliced(report), at).items()}
    given = spec.class_names or rows.names
    classes = task.classes(raw["train"], given)
    _check_classes(classes, len(raw["train"]), bool(given), at)
    limits, task = spec.dataset.max_rows.model_dump(), task_of(spec, classes, stated=bool(given))
    searched = searched_of(task, folder, place_of)
    learned, reported = (
        _split_in(searched, name, raw[name], task, place_of, train=name == "train") for name in ("train", report)
    )
    reported, dropped = unleaked(spec, replace(reported, slices=values), learned, place_of(("task", "leaks")))
    return TaskData(
        learned.first(limits["train"]),
        reported.first(limits[report]),
        tuple(classes),
        rows.source,
        dropped=dropped,
        left_out=rows.left_out,
        drawn=rows.drawn,
    )


def load_reported(
    spec: TaskSpec, folder: Path, names: Sequence[str], place_of: PlaceOf = lambda _: None, *, hub: bool | None = None
) -> tuple[Split, Task]:
    """The report split alone, which is all that a finished model is measured on, and its task.

    The rows are those that `load_data` reports on; train is read where the recipe says what becomes of rows that stand
    in it. names: of the model's classes. hub: whether the dataset is the hub's; None: unless there is a folder of that
    name. Raises InputError as that.
    """
    task = task_of(spec)
    rows = _Rows(task, folder, place_of, train=False, hub=hub)
    raw = rows.read(rows.report)
    values = {
        column: tuple(values)
        for column, values in slices_of(spec, rows.sliced(rows.report), place_of(_dataset(spec))).items()
    }
    if not task.names_outputs:
        task = task_of(spec, task.classes(raw, spec.class_names or rows.names or names))
        reported = _split_in(searched_of(task, folder, place_of), rows.report, raw, task, place_of)
    else:
        own = spec.class_names or rows.names or task.spelled(raw)
        place = place_of(_dataset(spec))
        columns = isinstance(spec.label, list)  # a class without a column would count as none of every row
        order = in_heads_order(own, names, stated=order_stated(spec, names), whole=columns, place=place)
        task = task_of(spec, order)
        # a number among the hub's rows is one of its own names
        numbers_of = own if rows.names or spec.class_names else task.names
        reported = renumbered(split_of(rows.report, raw, task_of(spec, numbers_of)), numbers_of, task.names)
    reported = replace(reported, slices=values)
    if spec.leaks != "report":
        train = rows.read("train")
        reported, _ = unleaked(
            spec,
            reported,
            Split("train", tuple(texts for texts, _, _ in train), (0,) * len(train)),
            place_of(("task", "leaks")),
        )
    return reported.first(spec.dataset.max_rows.model_dump()[rows.report]), task


def _split_in(
    searched: Searched | None, name: str, raw: list[Raw], task: Task, place_of: PlaceOf, *, train: bool = False
) -> Split:
    """The checked split, as queries in a corpus where there is one."""
    if searched is None:
        return split_of(name, raw, task, _listed(task.spec, place_of))
    searched.check(raw)
    rows = split_of(name, raw, task)
    return searched.train(rows) if train else searched.report(rows, place_of(_dataset(task.spec)))


def _dataset(spec: TaskSpec) -> Path_:
    """The path of the recipe's key that names the dataset."""
    return ("task", "dataset") if spec.dataset.path is None else ("task", "dataset", "path")


def _listed(spec: TaskSpec, place_of: PlaceOf) -> Place | None:
    """The place where the recipe lists the classes, if it does."""
    return place_of(("task", "labels")) if spec.labels else None


class _Rows:
    """The raw rows of a task's splits.

    source: what the dataset is called. names: those of the class numbers, where the hub states them. splits: those
    that there are. report: which split is reported on. left_out: of each split, how many rows had no label.
    """

    def __init__(
        self, task: Task, folder: Path, place_of: PlaceOf, *, train: bool = True, hub: bool | None = None
    ) -> None:
        self.task, self.spec, self.place_of = task, task.spec, place_of
        self.left_out: dict[str, int] = {}
        self.names: list[str] | None = None
        at = place_of(_dataset(self.spec))
        with _placed(at):
            train = train or self.spec.dataset.split is not None
            self._files = None if hub else local_files(self.spec.dataset, folder, train=train)
            if hub is False and self._files is None:
                raise bad_input(
                    "E301",
                    f"dataset folder {Place.of(folder / expanded(self.spec.dataset.path or '')).source} does not exist",
                )
            if self._files is None:
                from edgeopt.data.hub import open_hub

                self._hub = open_hub(self.spec, folder)
                self.names, self.source = self._hub.names, self._hub.source
            else:
                self.source = shown(self.spec.dataset, self._files)
        have = [*(self._files if self._files is not None else self._hub.splits)]
        self.splits = [*have, *self._parted]
        if self._parted and "validation" in have:
            raise bad_input(
                "E106",
                "'task.dataset.split' draws validation rows from train, but the dataset already has a validation split",
                place=place_of(("task", "dataset", "split")),
                help="remove 'split', or name only the train file: `data_files: {train: …}`",
            )
        self.report = _report_split(self.spec, self.splits, at)

    def read(self, split: str) -> list[Raw]:
        """The rows that have a label. Raises InputError E301 to E306, E327."""
        return self._checked(split) if split not in self._parted else self._part(split, self._train)

    def sliced(self, split: str) -> list[Raw]:
        """The values of task.slices for each row of a split, in the place of its texts."""
        if not self.spec.slices:
            return []
        read = by_column(self.task, Labeled(self.task))
        return self._read(split, read) if split not in self._parted else self._part(split, self._read("train", read))

    @property
    def drawn(self) -> str:
        """What is to be said of rows that were drawn from train; nothing where none were."""
        if not (split := self.spec.dataset.split):
            return ""
        return (
            f"{len(self._drawn):,} of the {len(self._train):,} rows of train are the validation rows: "
            f"task.dataset.split drew them with seed {split.seed}, and they are not used for training."
        )

    @property
    def _parted(self) -> tuple[str, ...]:
        """The splits that are parts of the one that the data have."""
        return ("train", "validation") if self.spec.dataset.split else ()

    @cached_property
    def _train(self) -> list[Raw]:
        return self._checked("train")

    @cached_property
    def _drawn(self) -> set[int]:
        split = self.spec.dataset.split
        assert split is not None
        if found := drawn(split, self.task, self._train):
            return found
        rows = len(self._train)
        classes = len({value(label) for _, label, _ in self._train if isinstance(label, SCALAR)})
        why = (
            f"there are {rows:,}, and it asks for {split.validation:g} of them; each class keeps some rows in train, "
            "and copies of one text stay together"
        )
        help = "ask for a larger share, or give validation rows in a file"
        if self.task.one_class and 2 * classes > rows > 1:
            why = f"the label column has {classes:,} different values in {rows:,} rows, and each keeps a row in train"
            help = "name the column of the classes in task.label; for scores use task.type text-regression"
        raise bad_input(
            "E305",
            f"task.dataset.split draws no row: {why}",
            place=self.place_of(("task", "dataset", "split")),
            help=help,
        )

    def _part(self, split: str, rows: list[Raw]) -> list[Raw]:
        """The rows of train that are drawn, or those that are left."""
        return [row for number, row in enumerate(rows) if (number in self._drawn) == (split == "validation")]

    def _checked(self, split: str) -> list[Raw]:
        """The rows of the data's own split. Raises InputError E301 to E306, E327."""
        reader = Labeled(self.task)
        raw = self._read(split, reader)
        reader.check(split)
        if reader.left_out:
            self.left_out[split] = reader.left_out
        if not raw:
            what = (
                f"all {reader.left_out} rows of the {split} split have no label"
                if reader.left_out
                else f"the {split} split has no rows"
            )
            raise bad_input("E305", what, place=self.place_of(_dataset(self.spec)), help="give a file with rows in it")
        return raw

    def _read(self, split: str, read: Read) -> list[Raw]:
        at = partial(column_place, self.spec, ("task",), self.place_of)
        if self._files is None:
            return self._hub.read(split, read, at)
        if split not in self._files:
            raise bad_input(
                "E305",
                f"there is no {split} split",
                place=self.place_of(_dataset(self.spec)),
                help=f"add {split} to task.dataset",
            )
        key: Path_ = ("task", "dataset", "data_files", split) if self.spec.dataset.data_files else _dataset(self.spec)
        with _placed(self.place_of(key)):
            return rows_of(self._files[split], read, at, self.spec.dataset.delimiter)


def column_place(spec: TaskSpec, at: Path_, place_of: PlaceOf, column: str) -> Place | None:
    """Where the recipe names a column. at: the key that holds those of the columns."""
    for key in ("text", "choices", "slices", "label", "group"):
        named = getattr(spec, key)
        if named == column:
            return place_of((*at, key))
        if isinstance(named, list) and column in named:
            return place_of((*at, key, named.index(column)))
    if spec.passages is not None and column == spec.passages.relevant:
        return place_of((*at, "corpus", "relevant")) or place_of((*at, "corpus"))
    return None


def rows_of(paths: Sequence[Path], read: Read, column_place: ColumnPlace, delimiter: str | None = None) -> list[Raw]:
    """What `read` makes of the rows of files. column_place: where the recipe names a column.

    Raises InputError E301 to E306.
    """
    return [
        raw for path in paths for raw in raw_rows(Place.of(path).source, read_rows(path, delimiter), read, column_place)
    ]


def shown(spec: DatasetSpec, files: Files) -> str:
    """What a dataset of files is called: its path, the name of its only file, or the folder of its first."""
    if spec.path is not None:
        return spec.path
    first, *others = (path for paths in files.values() for path in paths)
    return first.parent.name or "." if others else first.name


def split_of(name: str, rows: list[Raw], task: Task, at: Place | None = None) -> Split:
    """The checked split. at: where the recipe lists the classes.

    Raises InputError E304 at the row that does not fit; where several rows have a label that the recipe does not list,
    it is the list that does not fit.
    """
    task.check(rows)
    try:
        labels = task.labels(rows)
    except NoClass as error:
        (issue,) = error.issues
        odd = next((label for _, label, place in rows if place == issue.place), None)
        if at is None or sum(label == odd for _, label, _ in rows) < 2:
            raise
        message = f"{issue.message}, which task.labels lists, in {issue.place} and other rows"
        raise InputError(
            replace(issue, message=message, place=at, help="list every class of the data, spelled as in the rows")
        ) from None
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
            "add validation (or test) to task.dataset, or draw it from train: `split: {validation: 0.1}`; figures are "
            "never measured on train",
        )
    )


def _check_classes(classes: Sequence[str], rows: int, stated: bool, place: Place | None) -> None:
    """Raises InputError E305 for a single class, E304 for labels that do not look like classes.

    stated: whether the classes are the recipe's or the hub's, which are taken as they are.
    """
    if len(classes) == 1:
        raise bad_input(
            "E305",
            f"the train split has one class only: {classes[0]}",
            place=place,
            help="a classification needs two classes; for scores use task.type text-regression",
        )
    if not stated and len(classes) > _MANY and 2 * len(classes) > rows:
        raise bad_input(
            "E304",
            f"the label column has {len(classes):,} different values in {rows:,} rows, nearly one for each: they do "
            "not look like classes",
            place=place,
            help="name the column of the classes in task.label, or list them in task.labels; for scores use task.type "
            "text-regression",
        )
