"""csv, tsv, jsonl, json, parquet and conll rows, also gzipped, with the line of whatever cannot be read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from edgeopt.data import conll
from edgeopt.data.json_rows import json_rows
from edgeopt.data.lines import numbered_lines, opened
from edgeopt.data.tables import table_rows
from edgeopt.support.errors import Place, bad_input
from edgeopt.support.paths import is_there, nearest

#: (line in the file, row); for parquet the number of the row, from 1; a row of a conll file is a document
Row = tuple[int, dict[str, Any]]

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".conll")
_FORMATS = "csv, tsv, jsonl, json, parquet or conll, each also with .gz"


def read_rows(
    path: Path, delimiter: str | None = None, suffix: str | None = None, *, blank: bool = False
) -> Iterator[Row]:
    """Rows of a data file. delimiter: between the cells of a csv or tsv file; None: a comma, a tab.

    suffix: of its format, where its name does not say. blank: whether rows of a table that have empty cells alone are
    given, too. Raises InputError E301 (absent), E302 (malformed), E306 (not
    UTF-8).
    """
    if not is_there(path, Path.is_file):
        what = "is a folder, not a data file" if is_there(path, Path.is_dir) else "does not exist"
        near = nearest(path.name, path.parent, Path.is_file)
        help = (
            f"{near} give a data file ({_FORMATS}); the path is relative to the recipe's folder, or absolute".lstrip()
        )
        raise bad_input("E301", f"data file {Place.of(path).source} {what}", help=help)
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".jsonl": json_rows,
        ".json": json_rows,
        ".csv": partial(table_rows, delimiter=delimiter or ",", blank=blank),
        ".tsv": partial(table_rows, delimiter=delimiter or "\t", blank=blank),
        ".parquet": _parquet,
        ".conll": _conll,
    }
    reader = readers.get(suffix or stem_and_suffix(path)[1])
    if reader is None:
        raise bad_input(
            "E302",
            f"data file {Place.of(path).source} is not {_FORMATS}",
            place=Place.of(path),
            help="convert it, or rename it to end in the format it has",
        )
    with readable(path):
        yield from reader(path)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Within, a file that is cut short or cannot be read is an InputError E302 or E301."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        what = "is cut short" if isinstance(error, EOFError) else "is not what gzip writes"
        raise bad_input(
            "E302",
            f"this compressed file {what}",
            place=Place.of(path),
            help="copy it again, or decompress it with gunzip",
        ) from None
    except OSError as error:
        raise bad_input("E301", f"data file {path} cannot be read: {error.strerror}") from None


def stem_and_suffix(path: Path) -> tuple[str, str]:
    """`train` and `.jsonl` of train.jsonl and of train.jsonl.gz, in small letters."""
    name = Path(path.name.lower().removesuffix(".gz"))
    # CoNLL-2012's own files end in .v4_gold_conll and the like
    return name.stem, ".conll" if name.suffix.endswith("_conll") else name.suffix


def _conll(path: Path) -> Iterator[Row]:
    for line, sentences in conll.documents(path, numbered_lines(path)):
        yield line, {"sentences": sentences}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with opened(path) as file:
            table = pq.read_table(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, gzip.BadGzipFile):
            raise
        raise bad_input(
            "E302", f"this is not a Parquet file: {(str(error).splitlines() or [''])[0]}", place=Place.of(path)
        ) from None
    names = table.column_names
    if len(set(names)) != len(names):
        raise bad_input("E302", "two columns have one name", place=Place.of(path))
    columns = [_values(path, table, name) for name in names]
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        yield number, dict(zip(names, cells, strict=True))


def _values(path: Path, table: Any, name: str) -> list[Any]:
    """The values of a column.

    Raises InputError E302 at the first row whose value is damaged: strings that are no UTF-8, dates that no calendar
    has.
    """
    column = table.column(name)
    try:
        return list(column.to_pylist())
    except Exception:
        for row in range(len(column)):
            try:
                column[row].as_py()
            except Exception as error:
                what = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise bad_input(
                    "E302",
                    f"the value of column '{name}' in this row is damaged: {what}",
                    place=Place.of(path, row + 1),
                    help="write the file again",
                ) from None
        raise
