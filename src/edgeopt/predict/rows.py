"""The rows of a file, or of stdin, that a model is to answer: checked before anything is computed, and read twice."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeopt.data.files import SUFFIXES, read_rows, stem_and_suffix
from edgeopt.data.lines import numbered_lines
from edgeopt.data.tables import header_delimiter
from edgeopt.spec.recipe import is_delimiter
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.paths import is_there
from edgeopt.tasks import Task
from edgeopt.tasks.base import Texts
from edgeopt.tasks.columns import NoColumn

#: What a file may be, besides what rows of training may be; and what stdin is where nobody says.
TEXT = ".txt"
FORMATS = tuple(suffix.removeprefix(".") for suffix in (*SUFFIXES, TEXT) if suffix != ".conll")
STDIN = "<stdin>"

#: A row as the file has it, and what the model reads of it.
Row = tuple[dict[str, Any], Texts]


@dataclass(frozen=True)
class Rows:
    """Rows that can be read over and over.

    path: where they lie; source: what their place is called. format: without the dot.
    """

    path: Path
    source: str
    format: str
    delimiter: str | None
    task: Task

    def __iter__(self) -> Iterator[Row]:
        """Every row with its texts.

        Raises InputError E301, E302 and E306 for a file that is none of its format, E303 and E304 for a row that is not
        as the task has them.
        """
        for line, row in self._read():
            place = Place(self.source, line)
            try:
                texts = self.task.read_query(row, place)
            except NoColumn as error:
                raise self._no_column(error) from None
            if self.task.names:
                self.task.check([(texts, None, place)])
            yield row, texts

    def _read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            if self.format == TEXT[1:]:
                yield from self._lines()
            else:
                yield from read_rows(self.path, self.delimiter, f".{self.format}", blank=True)
        except InputError as error:
            here = str(Place.of(self.path))
            raise InputError([replace(i, place=_called(i.place, here, self.source)) for i in error.issues]) from None

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """A text a line, in the one column that the task reads; of words, as spaces part them.

        Lines without one are none at the end of a file, and before it an error: left out they would shift the others.
        """
        (column,) = self.task.query_columns
        blank: int | None = None
        for line, text in numbered_lines(self.path):
            text = text.rstrip("\r\n")
            if not text or text.isspace():
                blank = blank or line
            elif blank:
                raise bad_input(
                    "E304", "this line has no text", place=Place.of(self.path, blank), help="take the line out"
                )
            else:
                yield line, {column: text.split() if self.task.reads_words else text}

    def _no_column(self, error: NoColumn) -> InputError:
        (issue,) = error.issues
        found = header_delimiter(error.have)
        help = (
            f"the header looks like several: give --delimiter {found!r}"
            if found
            else f"{issue.help}; name yours with --text"
        )
        return InputError(replace(issue, help=help))


def _called(place: Place | None, here: str, source: str) -> Place | None:
    return place._replace(source=source) if place and place.source == here else place


@contextmanager
def rows_of(path: Path, task: Task, format: str | None, delimiter: str | None) -> Iterator[Rows]:
    """The rows of a file, or with `-` of stdin, while the block runs. Those of a pipe are kept till then.

    format: of the file, where its name does not say; of stdin txt. Raises InputError E301 for a file that is not there,
    E302 for a format that is none or does not fit the task.
    """
    stdin = str(path) == "-"
    if stdin or is_there(path, Path.is_fifo):
        with tempfile.TemporaryDirectory(prefix="edgeopt-rows-") as folder:
            kept = Path(folder) / f"rows.{format or TEXT[1:]}"
            with kept.open("wb") as file, nullcontext(sys.stdin.buffer) if stdin else path.open("rb") as given:
                shutil.copyfileobj(given, file)
            yield _rows(kept, STDIN if stdin else str(path), format or TEXT[1:], delimiter, task)
        return
    if not is_there(path, Path.is_file):
        what = "is a folder" if is_there(path, Path.is_dir) else "does not exist"
        raise bad_input("E301", f"the file {path} {what}", help="give a file of rows, or - for stdin")
    own = stem_and_suffix(path)[1].removeprefix(".")
    yield _rows(path, str(Place.of(path)), format or own, delimiter, task)


def _rows(path: Path, source: str, format: str, delimiter: str | None, task: Task) -> Rows:
    if format not in FORMATS:
        raise bad_input("E302", f"{source} is not one of {', '.join(FORMATS)}", help="say which it is: --from FORMAT")
    if format == TEXT[1:] and len(task.query_columns) > 1:
        shown = ", ".join(task.query_columns)
        raise bad_input("E302", f"a txt file has one text a line, and this model reads {shown}", help=_SEVERAL)
    if delimiter is not None and (format not in ("csv", "tsv") or not is_delimiter(delimiter)):
        what = "belongs to csv and tsv" if is_delimiter(delimiter) else "is a character that stands in no cell"
        raise bad_input("E100", f"--delimiter {what}", help="such as ';'; --from says what the rows are")
    return Rows(path, source, format, delimiter, task)


_SEVERAL = "give csv or jsonl, whose rows have these columns; of stdin with --from"


def looked_over(
    rows: Rows, taken: Sequence[str], check: Callable[[dict[str, Any]], object] = lambda row: None
) -> tuple[int, list[str]]:
    """How many rows there are, and every column that one has, in the order in which they appear.

    taken: columns to be added. check: is given every row. Raises what reading raises, and InputError E100 where the
    rows have one of those.
    """
    count, columns = 0, dict[str, None]()
    for row, _ in rows:
        check(row)
        count += 1
        columns.update(dict.fromkeys(row))
    if both := [name for name in taken if name in columns]:
        raise bad_input(
            "E100",
            f"{rows.source} has a column '{both[0]}' already",
            help="give --prefix, with which the names of new columns begin",
        )
    return count, list(columns)
