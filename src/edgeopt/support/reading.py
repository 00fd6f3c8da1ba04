"""How edgeopt reads back what it, or somebody, wrote: limits, UTF-8, JSON, a strict schema, one clear error.

The limits are of size and of depth. A file that was once ours may since have been cut, edited or made up. So nothing in
it is taken for granted: whoever wants a part of it gets that part in its type and range, or an `InputError` that names
the file and the first part that is wrong.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NoReturn, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from edgeopt.support.errors import InputError, Place, bad_input

T = TypeVar("T")

#: Bytes of a file at most, of a line of one, and how deep lists and objects may be nested in each other.
MB = 1_000_000
LARGEST, LONGEST_LINE, DEEPEST = 256 * MB, 64 * MB, 40
#: The largest whole number that every reader of JSON has exactly.
LARGEST_INTEGER = 2**53
#: What a metric of float32 may differ by from that of the same numbers read back.
ROUNDING = 1e-5

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _below(name: str) -> str:
    """A name of a file below a folder, with forward slashes, that stays there."""
    if (
        not name
        or "\0" in name
        or "\\" in name
        or name.startswith("/")
        or any(part in ("", ".", "..") for part in name.split("/"))
    ):
        raise ValueError("must be a path inside the folder")
    return name


#: Path of a file below the folder of the file that names it.
Below = Annotated[str, Field(max_length=4096), AfterValidator(_below)]


@dataclass(frozen=True)
class Reader:
    """What is said of a file that cannot be read.

    what: `report`, `lock`; code and help: of the error; absent: the help where there is no file; most: bytes;
    not_finite: whether there may be numbers that the shape has to judge: NaN and Infinity, as a broken model answers
    them, and whole ones of any size.
    """

    what: str
    code: str
    help: str | None = None
    absent: str | None = None
    most: int = LARGEST
    not_finite: bool = False

    def model(self, path: Path, shape: type[T]) -> T:
        """The file as `shape`: a pydantic model, or any type that pydantic checks. Raises InputError."""
        return self.check(self.json(path), shape, Place.of(path))

    def json(self, path: Path) -> Any:
        """What the file holds, within the limits. Raises InputError."""
        return self.parse(self.text(path), Place.of(path))

    def text(self, path: Path) -> str:
        """The text of a file. Raises InputError."""
        return self.decode(self.content(path), Place.of(path))

    def content(self, path: Path) -> bytes:
        """The bytes of a regular file. Raises InputError."""
        with self._opened(path) as file:
            data = file.read(self.most + 1)
        if len(data) > self.most:
            raise self.wrong(f"is larger than {self.most / MB:g} MB", Place.of(path))
        return data

    def lines(self, path: Path) -> Iterator[tuple[Any, Place]]:
        """What each line of a file holds, with its place. Raises InputError."""
        with self._opened(path) as file:
            number = 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                place = Place.of(path, number)
                if len(line) > LONGEST_LINE:
                    raise self.wrong(f"has a line of more than {LONGEST_LINE / MB:g} MB", place)
                yield self.parse(self.decode(line, place), place), place

    @contextmanager
    def _opened(self, path: Path) -> Iterator[BinaryIO]:
        try:
            with open(path, "rb", opener=_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise self.wrong("is no plain file", Place.of(path))
                yield file
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise self.missing(path, error) from None

    def decode(self, data: bytes, place: Place) -> str:
        """Bytes as UTF-8. Raises InputError."""
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong("is not UTF-8", place) from None

    def parse(self, text: str, place: Place) -> Any:
        """JSON, within the limits. Raises InputError."""
        try:
            found = json.loads(text, object_pairs_hook=_once, parse_constant=None if self.not_finite else _no_number)
        except json.JSONDecodeError as error:
            line = error.lineno if place.line is None else place.line
            raise self.wrong(f"is not JSON: {error.msg}", Place(place.source, line, error.colno)) from None
        except RecursionError:
            raise self.wrong(f"is nested deeper than {DEEPEST} levels", place) from None
        except ValueError as error:  # a key twice, a constant, a number of thousands of digits
            raise self.wrong(f"is not JSON: {str(error).splitlines()[0]}", place) from None
        if problem := _problem(found, halves="\\ud" in text or "\\uD" in text, not_finite=self.not_finite):
            raise self.wrong(problem, place)
        return found

    def check(self, found: object, shape: type[T], place: Place) -> T:
        """What was read, as `shape`. Raises InputError that names its first wrong part."""
        try:  # as JSON, where a list may stand for a tuple and nothing else for anything else
            made: T = _adapter(shape).validate_json(json.dumps(found), strict=True)
            return made
        except ValidationError as error:
            raise self.wrong(f"is damaged: {first_wrong(error)}", place) from None

    def wrong(self, problem: str, place: Place) -> InputError:
        """The error for a file that is there and cannot be used."""
        return bad_input(self.code, f"the {self.what} {problem}", place=place, help=self.help)

    def missing(self, path: Path, error: Exception) -> InputError:
        """The error for a file that cannot be opened."""
        help = self.absent or self.help
        if isinstance(error, FileNotFoundError):
            return bad_input(self.code, f"there is no {self.what} at {shown_path(path)}", help=help)
        reason = getattr(error, "strerror", None) or str(error)
        return bad_input(self.code, f"the {self.what} {shown_path(path)} cannot be read: {reason}", help=help)


def first_wrong(error: ValidationError) -> str:
    """`gates.0.bound must be a number`: where the first wrong part stands, and what is wrong with it."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:200]
    message = (
        first["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "must be")
        .replace("Field required", "is missing")
    )
    message = message.replace("Extra inputs are not permitted", "is not known").replace("Input ", "")
    return f"{where} {message}" if where else message


def shown_path(path: Path) -> str:
    """A path as it can be shown: a zero byte, which no path may hold, is written out."""
    return str(path).replace("\0", "\\0")


_adapter: Callable[[Any], TypeAdapter[Any]] = lru_cache(maxsize=64)(TypeAdapter)


def _at_once(name: str, flags: int) -> int:
    """Opens without waiting, as a pipe that nobody writes to would have us do."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _problem(value: object, *, halves: bool, not_finite: bool) -> str | None:
    """What of the whole is beyond the limits. halves: whether texts may hold half of a surrogate pair."""
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for v in level:
            kind = type(v)
            if kind is dict:
                inner += v.values()
                if halves:
                    inner += v
            elif kind is list:
                inner += v
            elif kind is int:
                if not not_finite and not -LARGEST_INTEGER <= v <= LARGEST_INTEGER:
                    return "holds a whole number of more than 53 bits"
            elif kind is float:
                if not not_finite and not -1.8e308 < v < 1.8e308:
                    return "holds a number that is not finite"
            elif kind is str and halves and any("\ud800" <= c <= "\udfff" for c in v):
                return "holds half of a surrogate pair, which is no character"
        if not inner:
            return None
        level = inner
    return f"is nested deeper than {DEEPEST} levels"
