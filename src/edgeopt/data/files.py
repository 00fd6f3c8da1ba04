"""csv, tsv, jsonl, json, parquet and conll rows, also gzipped, with the line of whatever cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from edgeopt.data import conll
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.paths import is_there

#: (line in the file, row); for parquet the number of the row, from 1; a row of a conll file is a document
Row = tuple[int, dict[str, Any]]

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".conll")
_FORMATS = "csv, tsv, jsonl, json, parquet or conll, each also with .gz"
_SCAN: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_SPACE = re.compile(r"\s*")
#: What separates cells in files that are called csv.
_DELIMITERS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'"}


def read_rows(path: Path, delimiter: str | None = None) -> Iterator[Row]:
    """Rows of a data file. delimiter: between the cells of a csv or tsv file; None: a comma, a tab.

    Raises InputError E301 (absent), E302 (malformed), E306 (not UTF-8).
    """
    if not is_there(path, Path.is_file):
        what = "is a folder, not a data file" if is_there(path, Path.is_dir) else "does not exist"
        raise bad_input(
            "E301", f"data file {path} {what}", help=f"give a file of {_FORMATS}, absolute or relative to the recipe"
        )
    _, suffix = stem_and_suffix(path)
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".jsonl": _json,
        ".json": _json,
        ".parquet": _parquet,
        ".conll": _conll,
    }
    readers |= {
        ".csv": partial(_table, delimiter=delimiter or ","),
        ".tsv": partial(_table, delimiter=delimiter or "\t"),
    }
    reader = readers.get(suffix)
    if reader is None:
        raise bad_input(
            "E302",
            f"data file {path} is not one of {_FORMATS}",
            place=Place.of(path),
            help="convert it, or rename it to end in the format it has",
        )
    try:
        yield from reader(path)
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


def _opened(path: Path) -> IO[bytes]:
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    return opened(path, "rb")  # type: ignore[no-any-return]


def _texts(path: Path) -> Iterator[str]:
    """The lines of a file with their ends, without a byte order mark."""
    with _opened(path) as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                raise bad_input(
                    "E306",
                    f"byte {error.object[error.start]:#04x} is not UTF-8",
                    place=Place.of(path, number, error.start + 1),
                    help="save the file as UTF-8, for example with iconv",
                ) from None
            if "\0" in text:
                raise bad_input("E306", "a NUL byte: this is not a text file", place=Place.of(path, number))
            yield text if number > 1 else text.removeprefix("\ufeff")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return enumerate(_texts(path), 1)


def _json(path: Path) -> Iterator[Row]:
    """An object a line, or one list of objects over any number of lines."""
    lines = _lines(path)
    for number, line in lines:
        if line.lstrip().startswith("["):
            yield from _json_list(path, number, line, lines)
            return
        if line.strip():
            yield number, _object(path, number, line)
            break
    for number, line in lines:
        if line.strip():
            yield number, _object(path, number, line)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = _loads(line)
    except (ValueError, RecursionError) as error:
        help = "JSON Lines holds one whole object a line; a JSON file may also be one list of objects"
        raise bad_input(
            "E302",
            f"this line is not JSON: {_what(error)}",
            place=Place.of(path, number, getattr(error, "colno", None)),
            help=help,
        ) from None
    if not isinstance(row, dict):
        help = 'write one object a line: {"text": …, "label": …}'
        raise bad_input(
            "E302", f"this line holds a {type(row).__name__}, not an object", place=Place.of(path, number), help=help
        )
    return row


def _loads(line: str) -> Any:
    """json.loads without its preparations, which take longer than a short row does."""
    try:
        value, end = _SCAN(line, 0)
    except StopIteration:  # spaces before it, or no JSON
        return json.loads(line)
    return value if end == len(line) or line[end:].isspace() else json.loads(line)


def _json_list(path: Path, line: int, begin: str, rest: Iterable[tuple[int, str]]) -> Iterator[Row]:
    """line: on which the list begins. begin: that line. rest: those that follow."""
    text = begin + "".join(more for _, more in rest)
    decode, at, counted = json.JSONDecoder().raw_decode, text.index("[") + 1, 0

    def bad(message: str, help: str) -> InputError:
        return bad_input("E302", message, place=Place.of(path, line + text.count("\n", counted, at)), help=help)

    at = _skipped(text, at)
    while not text.startswith("]", at):
        line, counted = line + text.count("\n", counted, at), at
        try:
            row, end = decode(text, at)
        except (ValueError, RecursionError) as error:
            at = getattr(error, "pos", at)
            raise bad(
                f"this is not JSON: {_what(error)}", "a list holds objects with commas between, and ends with ]"
            ) from None
        if not isinstance(row, dict):
            raise bad(
                f"this entry of the list is a {type(row).__name__}, not an object",
                'write a list of objects: [{"text": …, "label": …}, …]',
            )
        yield line, row
        at = _skipped(text, end)
        if text.startswith(",", at):
            at = _skipped(text, at + 1)
        elif not text.startswith("]", at):
            what = (
                "the list goes on without a comma"
                if at < len(text)
                else "the list does not end: the file may have been cut short"
            )
            raise bad(
                what,
                "a list holds objects with commas between, and ends with ]; JSON lines have no brackets around them",
            )
    at = _skipped(text, at + 1)
    if at < len(text):
        raise bad("something follows the list", "a JSON file is one list; JSON lines have no brackets around them")


def _skipped(text: str, at: int) -> int:
    """Where the next character stands that is no space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _what(error: BaseException) -> str:
    """Of a ValueError alone: a number of thousands of digits."""
    return getattr(error, "msg", "nested too deep, or a number too long")


def _table(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # of its own csv stops at 131,072 characters
    texts = _texts(path)
    if delimiter == "\t" and not _quoted(path):
        # as GLUE's files are: a quotation mark is a character of the text
        return _cells(path, csv.reader(texts, delimiter="\t", quoting=csv.QUOTE_NONE), delimiter)
    return _cells(path, csv.reader(texts, delimiter=delimiter, strict=True), delimiter)


def _quoted(path: Path) -> bool:
    """Whether a file with tabs is what a csv writer such as pandas writes: the cells that hold a quotation mark, a tab
    or a line break stand in quotation marks and no others do, or all do. Else, as in GLUE's files, a quotation mark is
    one of the text.
    """
    if not any('"' in line for line in _texts(path)):
        return False
    taken: list[str] = []
    reader = csv.reader((taken.append(line) or line for line in _texts(path)), delimiter="\t", strict=True)  # type: ignore[func-returns-value]
    every = False
    try:
        for number, cells in enumerate(reader):
            source = "".join(taken).rstrip("\r\n")
            taken.clear()
            every = every or (number == 0 and source == _written(cells, csv.QUOTE_ALL))
            if not every and '"' in source and source != _written(cells, csv.QUOTE_MINIMAL):
                return False
    except csv.Error:
        return False
    return True


def _written(cells: list[str], quoting: Literal[0, 1]) -> str:
    """The line that a csv writer makes of the cells."""
    out = io.StringIO()
    csv.writer(out, delimiter="\t", lineterminator="\n", quoting=quoting).writerow(cells)
    return out.getvalue()[:-1]


def _cells(path: Path, reader: Any, delimiter: str) -> Iterator[Row]:
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
            raise bad_input(
                "E302",
                f"this row is not readable: {error}",
                place=Place.of(path, line),
                help=(header and delimiter_guess(header)) or "check the quotation marks of this row",
            ) from None
        if header is not None and len(cells) == len(header):
            if (whole := "".join(cells)) and not whole.isspace():
                yield line, dict(zip(header, cells, strict=True))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) != len(header):
                raise bad_input("E302", "the header names a column twice", place=Place.of(path, line))
            continue
        raise bad_input(
            "E302",
            f"this row has {len(cells)} cells, the header {len(header)}",
            place=Place.of(path, line),
            help=delimiter_guess(header)
            or (_TABS if delimiter == "\t" else "quote cells that hold the separator, and give every row every cell"),
        )


_TABS = (
    "a cell with a tab or a line break in it must stand in quotation marks, as pandas writes it, and then so must every cell with a quotation mark; "
    "otherwise give the rows as jsonl"
)


def delimiter_guess(columns: Iterable[object]) -> str | None:
    """What to do where the names of all columns were read as one because something else stands between them; else None."""
    only, *others = [str(c) for c in columns] or [""]
    found = max(_DELIMITERS, key=only.count)
    if others or found not in only:
        return None
    return f"the header looks like {only.count(found) + 1} columns with {_DELIMITERS[found]} between them: set task.dataset.delimiter: {_DELIMITERS[found]}"


def _conll(path: Path) -> Iterator[Row]:
    for line, sentences in conll.documents(path, _lines(path)):
        yield line, {"sentences": sentences}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _opened(path) as file:
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
