"""Which files are which split, what stands between their cells, and the rows that a guess is made by."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from edgeopt.data.files import SUFFIXES, read_rows, stem_and_suffix
from edgeopt.data.lines import text_lines
from edgeopt.data.sources import FOLDER_NAMES, local_files
from edgeopt.data.tables import header_delimiter
from edgeopt.spec.recipe import DatasetSpec
from edgeopt.support.errors import Place, bad_input
from edgeopt.support.paths import is_there
from edgeopt.tasks.columns import Cells

#: Rows that the columns are told by.
_LOOKED_AT = 5000
#: What a file of passages to search in is called.
PASSAGES = ("passages", "corpus", "documents", "docs")


@dataclass(frozen=True)
class Table:
    """The data that somebody has. dataset: as `task.dataset` says it, without a split. rows: the first of train.

    whole: whether those are all. drawn: whether there is no split to report on, so that its rows are drawn from train.
    place: the file of the first row. passages: a file beside them whose name says that it has passages to search in.
    """

    dataset: dict[str, Any]
    rows: Sequence[Cells]
    whole: bool
    drawn: bool
    place: Place
    passages: Path | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in their order."""
        return list(dict.fromkeys(str(name) for row in self.rows for name in row))


def look(given: Sequence[Path], folder: Path) -> Table:
    """The data of a folder or of files. folder: that of the recipe, to which the paths are made relative.

    Raises InputError E301 where it is not clear which file is which split, and what reading them raises.
    """
    beside, given = _passages(given)
    if len(given) == 1 and is_there(given[0], Path.is_dir):
        dataset: dict[str, Any] = {"path": relative(given[0], folder)}
    else:
        dataset = {"data_files": _named(given, folder)}
    files = local_files(DatasetSpec.model_validate(dataset), folder) or {}
    first = files["train"][0]
    if delimiter := _delimiter(first):
        dataset["delimiter"] = delimiter
    rows = [cells for _, cells in islice(read_rows(first, delimiter), _LOOKED_AT + 1)]
    if not rows:
        raise bad_input("E305", "the file has no rows", place=Place.of(first), help="give a file with rows in it")
    whole = len(rows) <= _LOOKED_AT and len(files["train"]) == 1
    return Table(dataset, rows[:_LOOKED_AT], whole, not {"validation", "test"} & {*files}, Place.of(first), beside)


def _passages(given: Sequence[Path]) -> tuple[Path | None, Sequence[Path]]:
    """The file of passages in a folder, or among several files, and the rest of what is given."""
    if len(given) == 1 and is_there(given[0], Path.is_dir):
        found = [p for p in sorted(given[0].iterdir()) if stem_and_suffix(p)[0] in PASSAGES and _is_data(p)]
        return next(iter(found), None), given
    found = [p for p in given if {*_words(p)} & {*PASSAGES}] if len(given) > 1 else []
    return next(iter(found), None), [p for p in given if p not in found[:1]]


def _is_data(path: Path) -> bool:
    return stem_and_suffix(path)[1] in SUFFIXES


def relative(path: Path, folder: Path) -> str:
    """A path as a recipe in `folder` names it."""
    found = Path(os.path.relpath(path.expanduser().resolve(), folder.resolve())).as_posix()
    return found if found.startswith(".") else f"./{found}"


def _named(given: Sequence[Path], folder: Path) -> dict[str, str | list[str]]:
    """The files of each split: one file alone is train, of several their names tell."""
    found: dict[str, list[str]] = {}
    for path in given:
        split = _split(path) if len(given) > 1 else "train"
        if split is None:
            raise bad_input(
                "E301",
                f"whether {path.name} is to train on or to report on is not clear",
                help="give one file, whose rows are then parted; or give files names such as train.csv, "
                "validation.csv and test.csv",
            )
        found.setdefault(split, []).append(relative(path, folder))
    if "train" not in found:
        raise bad_input("E301", "none of the files is called train", help="name the one to train on train.csv")
    return {split: paths[0] if len(paths) == 1 else paths for split, paths in found.items()}


def _split(path: Path) -> str | None:
    """The split that a file's name tells, as reviews_train.csv and dev.jsonl.gz do."""
    return next((split for split, names in FOLDER_NAMES.items() if {*_words(path)} & {*names}), None)


def _words(path: Path) -> list[str]:
    return re.split(r"[^a-z]+", stem_and_suffix(path)[0])


def _delimiter(path: Path) -> str | None:
    """What stands between the cells of a table whose header, read as usual, is one column of several."""
    usual = {".csv": ",", ".tsv": "\t"}.get(stem_and_suffix(path)[1])
    if usual is None or not is_there(path, Path.is_file):
        return None
    header = next((line for line in text_lines(path) if line.strip()), "")
    return header_delimiter(next(csv.reader([header.rstrip("\r\n")], delimiter=usual), []))
