"""csv, tsv, jsonl, parquet and conll rows, with the line of whatever cannot be read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeopt.data import conll
from edgeopt.errors import InputError, Place, bad_input

#: (line in the file, row); for parquet the number of the row, from 1; a row of a conll file is a document
Row = tuple[int, dict[str, Any]]

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".conll")
_FORMATS = "csv, tsv, jsonl, parquet or conll"


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a data file. Raises InputError E301 (absent), E302 (malformed), E306 (not UTF-8)."""
    if not is_there(path, Path.is_file):
        what = "is a folder, not a data file" if is_there(path, Path.is_dir) else "does not exist"
        raise bad_input("E301", f"data file {path} {what}", help=f"give a {_FORMATS} file, absolute or relative to the recipe")
    # CoNLL-2012's own files end in .v4_gold_conll and the like
    suffix = ".conll" if path.suffix.lower().endswith("_conll") else path.suffix.lower()
    reader = {".jsonl": _jsonl, ".json": _jsonl, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet, ".conll": _conll}.get(suffix)
    if reader is None:
        raise bad_input("E302", f"data file {path} is not one of {_FORMATS}", place=Place.of(path), help="convert it, or rename it to end in the format it has")
    try:
        yield from reader(path)
    except OSError as error:
        raise bad_input("E301", f"data file {path} cannot be read: {error.strerror}") from None


def is_there(path: Path, kind: Callable[[Path], bool]) -> bool:
    """`path.is_file()` and the like, with a name too long for the file system or a closed folder as no."""
    try:
        return kind(path)
    except OSError:
        return False


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise bad_input(
                    "E306",
                    f"byte {error.object[error.start]:#04x} is not UTF-8",
                    place=Place.of(path, number, error.start + 1),
                    help="save the file as UTF-8, for example with iconv",
                ) from None
            if "\0" in text:
                raise bad_input("E306", "a NUL byte: this is not a text file", place=Place.of(path, number))
            yield number, text


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError alone: a number of thousands of digits
            column = getattr(error, "colno", None)
            raise bad_input(
                "E302",
                f"this line is not JSON: {getattr(error, 'msg', 'nested too deep, or a number too long')}",
                place=Place.of(path, number, column),
                help="JSON Lines holds one whole object a line",
            ) from None
        if not isinstance(row, dict):
            raise bad_input(
                "E302",
                f"this line holds a {type(row).__name__}, not an object",
                place=Place.of(path, number),
                help='write one object a line: {"text": …, "label": …}',
            )
        yield number, row


def _csv(path: Path) -> Iterator[Row]:
    yield from _table(path, csv.reader((text for _, text in _lines(path)), strict=True))


def _tsv(path: Path) -> Iterator[Row]:
    # as GLUE's files are: a quotation mark is a character of the text
    yield from _table(path, csv.reader((text for _, text in _lines(path)), delimiter="\t", quoting=csv.QUOTE_NONE))


def _table(path: Path, reader: Any) -> Iterator[Row]:
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except InputError:
            raise
        except csv.Error as error:
            raise bad_input("E302", f"this row is not readable: {error}", place=Place.of(path, line), help="check the quotation marks of this row") from None
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) != len(header):
                raise bad_input("E302", "the header names a column twice", place=Place.of(path, line))
            continue
        if len(cells) != len(header):
            raise bad_input(
                "E302",
                f"this row has {len(cells)} cells, the header {len(header)}",
                place=Place.of(path, line),
                help="quote cells that hold the separator, and give every row every cell",
            )
        yield line, dict(zip(header, cells, strict=True))


def _conll(path: Path) -> Iterator[Row]:
    for line, sentences in conll.documents(path, _lines(path)):
        yield line, {"sentences": sentences}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise bad_input("E302", f"this is not a Parquet file: {str(error).splitlines()[0]}", place=Place.of(path)) from None
    yield from enumerate(table.to_pylist(), 1)
