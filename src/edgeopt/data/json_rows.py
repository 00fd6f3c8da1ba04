"""Rows of a JSON file: an object a line, or one list of objects over any number of lines.

Python's json takes the last of two values that an object gives to one key. A row that does so is refused: which of the
two labels is right, nothing tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgeopt.data.lines import numbered_lines
from edgeopt.support.errors import InputError, Place, bad_input

#: What stands between two entries of a list.
_BETWEEN = re.compile(r"\s*(,?)\s*")


class _Twice(ValueError):
    """An object gives a key two values."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.msg = f"it names the key {json.dumps(key, ensure_ascii=False)} twice"


def _whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(next(key for key in keys if keys.count(key) > 1))
    return row


_DECODER = json.JSONDecoder(object_pairs_hook=_whole)
#: The scanner of json in C, without the preparations of `json.loads`, which take longer than a short row does.
_SCAN: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file, each with the line that it begins on.

    Raises InputError E302 for what is not JSON, E306 for what is not text.
    """
    lines = numbered_lines(path)
    for number, line in lines:
        if line.lstrip().startswith("["):
            yield from _list(path, number, line, lines)
            return
        if line.strip():
            yield number, _object(path, number, line)
            break
    for number, line in lines:
        row, end = _plain(line, 0)
        if row is not None and line[end:] in ("\n", "\r\n", ""):
            yield number, row
        elif line.strip():
            yield number, _object(path, number, line)


def _plain(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    """The object that begins there and its end, read quickly; None where it must be looked at closely."""
    try:
        row, end = _SCAN(text, at)
    except (StopIteration, ValueError, RecursionError):  # StopIteration: nothing of JSON begins here
        return None, at
    # a colon for each key and none besides: no key stands twice
    return (row, end) if type(row) is dict and text.count(":", at, end) == len(row) else (None, at)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    """The object of a line, looked at closely."""
    try:
        row = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        what = "may be read in two ways" if isinstance(error, _Twice) else "is not JSON"
        raise bad_input(
            "E302",
            f"this line {what}: {_what(error)}",
            place=Place.of(path, number, getattr(error, "colno", None)),
            help="JSON Lines has one complete object per line; a JSON file may also be one list of objects",
        ) from None
    if not isinstance(row, dict):
        help = 'write one object a line: {"text": …, "label": …}'
        raise bad_input(
            "E302", f"this line holds a {type(row).__name__}, not an object", place=Place.of(path, number), help=help
        )
    return row


def _list(path: Path, line: int, begin: str, rest: Iterable[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a list. line: on which it begins. begin: that line. rest: those that follow."""
    text = begin + "".join(more for _, more in rest)
    ends = "put commas between the objects of a list, and end it with ]"
    at = counted = 0

    def bad(message: str, help: str) -> InputError:
        return bad_input("E302", message, place=Place.of(path, line + text.count("\n", counted, at)), help=help)

    def after(at: int) -> tuple[bool, int]:
        """Whether a comma stands there, and where what follows begins."""
        found = _BETWEEN.match(text, at)
        assert found is not None
        return bool(found[1]), found.end()

    comma, at = after(text.index("[") + 1)
    if comma:
        raise bad("the list begins with a comma", ends)
    while comma or (text[at : at + 1] != "]"):
        line, counted = line + text.count("\n", counted, at), at
        row, end = _plain(text, at)
        if row is None:
            try:
                row, end = _DECODER.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                at = getattr(error, "pos", at)
                what = "this may be read in two ways" if isinstance(error, _Twice) else "this is not JSON"
                raise bad(f"{what}: {_what(error)}", ends) from None
            if not isinstance(row, dict):
                help = 'write a list of objects: [{"text": …, "label": …}, …]'
                raise bad(f"this entry of the list is a {type(row).__name__}, not an object", help)
        yield line, row
        comma, at = after(end)
        if not comma and text[at : at + 1] != "]":
            whole = at < len(text)
            what = "continues without a comma" if whole else "does not end: the file may have been cut short"
            raise bad(f"the list {what}", f"{ends}; JSON lines have no brackets around them")
    comma, at = after(at + 1)
    if comma or at < len(text):
        raise bad("something follows the list", "a JSON file is one list; JSON lines have no brackets around them")


def _what(error: BaseException) -> str:
    """What json says of its error; a bare ValueError is a number of thousands of digits."""
    return getattr(error, "msg", "nested too deep, or a number too long")
