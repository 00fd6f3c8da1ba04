"""Rows of csv and tsv files: whether quotation marks are a writer's or the text's, and rows that a stray one hides."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from edgeopt.data.lines import text_lines
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.words import is_number

#: What separates cells in files that are called csv.
_DELIMITERS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'"}
_TABS = (
    "a cell with a tab or a line break in it must stand in quotation marks, as pandas writes it, and then so must "
    "every cell with a quotation mark; otherwise give the rows as jsonl"
)
#: A column with more values than this is told by its numbers, not by its values.
_FEW = 50


def table_rows(path: Path, delimiter: str, *, blank: bool = False) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table below its header, each with the line that it begins on.

    blank: whether those with empty cells alone are given, too; else they are left out, as empty lines are.

    Raises InputError E302 for a row that is not as the header says, or that has swallowed others because of a stray
    quotation mark; E306 for what is not text.
    """
    # of its own csv stops at 131,072 characters
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    if delimiter == "\t" and not _quoted(path):
        # as GLUE's files are: a quotation mark is a character of the text
        reader = csv.reader(text_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = _reader(path, delimiter)
    rows = 0
    for row in _rows(path, reader, delimiter, blank=blank):
        rows += 1
        yield row
    if reader.line_num > rows + 1 and delimiter != "\t" and (found := _swallowed(path, delimiter)):
        raise found


def _reader(path: Path, delimiter: str) -> Any:
    return csv.reader(text_lines(path), delimiter=delimiter, strict=True)


def _quoted(path: Path) -> bool:
    """Whether a file with tabs is what a csv writer such as pandas writes.

    The cells that hold a quotation mark, a tab or a line break stand in quotation marks and no others do, or all do,
    and no cell holds whole rows. Else, as in GLUE's files, a quotation mark is one of the text.
    """
    if not any('"' in line for line in text_lines(path)):
        return False
    taken: list[str] = []
    reader = csv.reader((taken.append(line) or line for line in text_lines(path)), delimiter="\t", strict=True)  # type: ignore[func-returns-value]
    every = spans = False
    try:
        for number, cells in enumerate(reader):
            spans = spans or len(taken) > 1
            source = "".join(taken).rstrip("\r\n")
            taken.clear()
            every = every or (number == 0 and source == _written(cells, csv.QUOTE_ALL))
            if not every and '"' in source and source != _written(cells, csv.QUOTE_MINIMAL):
                return False
    except csv.Error:
        return False
    return every or not spans or _swallowed(path, "\t") is None


def _written(cells: list[str], quoting: Literal[0, 1]) -> str:
    """The line that a csv writer makes of the cells."""
    out = io.StringIO()
    csv.writer(out, delimiter="\t", lineterminator="\n", quoting=quoting).writerow(cells)
    return out.getvalue()[:-1]


def _rows(path: Path, reader: Any, delimiter: str, *, blank: bool) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if cells and len(cells) == len(header):
                if blank or (cells[0] and not cells[0].isspace()) or not _blank(cells):
                    yield line, dict(zip(header, cells, strict=True))
            elif not _blank(cells):
                if header:
                    raise _ragged(path, line, cells, header, delimiter)
                header = [cell.strip() for cell in cells]
                if len(set(header)) != len(header):
                    raise bad_input("E302", "the header names a column twice", place=Place.of(path, line))
            line = reader.line_num + 1
    except csv.Error as error:
        raise bad_input(
            "E302",
            f"this row is not readable: {error}",
            place=Place.of(path, line),
            help=delimiter_guess(header) or "check the quotation marks of this row",
        ) from None


def _blank(cells: list[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _ragged(path: Path, line: int, cells: list[str], header: list[str], delimiter: str) -> InputError:
    quote = "put quotes around cells that contain the separator, and give every row all cells"
    return bad_input(
        "E302",
        f"this row has {len(cells)} cells, but the header has {len(header)}",
        place=Place.of(path, line),
        help=delimiter_guess(header) or (_TABS if delimiter == "\t" else quote),
    )


def header_delimiter(columns: Iterable[object]) -> str | None:
    """What stands between the names of columns that were read as one; None where nothing seems to."""
    only, *others = [str(c) for c in columns] or [""]
    found = max(_DELIMITERS, key=only.count)
    return None if others or found not in only else found


def delimiter_guess(columns: Iterable[object]) -> str | None:
    """What to do where the names of all columns were read as one because something else stands between them."""
    only = [str(c) for c in columns]
    if (found := header_delimiter(only)) is None:
        return None
    return (
        f"the header looks like {only[0].count(found) + 1} columns with {_DELIMITERS[found]} between them: "
        f"set delimiter: {_DELIMITERS[found]} where the recipe names the file"
    )


def _swallowed(path: Path, delimiter: str) -> InputError | None:
    """The error of a row whose quotation mark, meant as one of the text, has taken rows after it for its cell.

    The lines of a cell are rows where they have the cells that rows would have, and where a column has the values that
    it has in other rows. With tabs the number of cells decides alone: no text has them so by chance.
    """
    suspects, rows_of = list[tuple[int, int, int, list[dict[int, str]]]](), _cells(path, delimiter)
    *_, header = next(rows_of, (0, 0, list[str]()))
    for begin, end, cells in rows_of:
        for k, cell in enumerate(cells):
            lines = cell.replace("\r\n", "\n").split("\n") if "\n" in cell else []
            if lines and (rows := _rows_in(lines, k, len(header), delimiter)):
                suspects.append((begin, end, k, rows))
    values = list[set[str]]()
    if suspects and delimiter != "\t":  # a table of texts has too many of them to hold for nothing
        taken, values = {(begin, k) for begin, _, k, _ in suspects}, [set() for _ in header]
        for begin, _, cells in islice(_cells(path, delimiter), 1, None):
            for k, cell in enumerate(cells):
                if cell and (begin, k) not in taken:
                    values[k].add(cell)
    for begin, end, k, rows in suspects:
        if delimiter == "\t" or any(
            _alike([row[c] for row in rows if c in row], seen) for c, seen in enumerate(values) if c != k
        ):
            return bad_input(
                "E302",
                f"the cell of column '{header[k].strip()}' in this row goes on to line {end}, and its lines are rows "
                "themselves: a quotation mark of the text has swallowed them",
                place=Place.of(path, begin),
                help='double it ("") and put the whole cell in quotation marks, as csv writers do; or give jsonl',
            )
    return None


def _cells(path: Path, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
    """First line, last line and cells of each row of a table that has as many as the header, which comes first."""
    reader, width, line = _reader(path, delimiter), 0, 1
    for cells in reader:
        width = width or (0 if _blank(cells) else len(cells))
        if width and len(cells) == width:
            yield line, reader.line_num, cells
        line = reader.line_num + 1


def _rows_in(lines: list[str], k: int, width: int, delimiter: str) -> list[dict[int, str]]:
    """The cells by column that the lines of a cell in column k would have as rows of a table; nothing if they are none.

    The first line began in column k, and the last ends there.
    """
    found = [line.split(delimiter) for line in lines]
    wanted = [width - k, *[width] * (len(lines) - 2), k + 1]
    if list(map(len, found)) != wanted:
        return []
    return [dict(enumerate(cells, k if i == 0 else 0)) for i, cells in enumerate(found)]


def _alike(cells: list[str], seen: set[str]) -> bool:
    """Whether cells are values of a column that has those seen: the same, or numbers where they are many numbers."""
    if not cells or not all(cells):
        return False
    return all(cell in seen for cell in cells) or (len(seen) > _FEW and all(map(is_number, (*cells, *seen))))
