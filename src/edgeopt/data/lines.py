"""Lines of a text file, compressed or not; a byte that is no text is refused with its place."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from edgeopt.support.errors import InputError, Place, bad_input


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file; of a name that ends in .gz, decompressed."""
    open_it: Any = gzip.open if path.name.lower().endswith(".gz") else open
    return open_it(path, "rb")  # type: ignore[no-any-return]


def text_lines(path: Path, most: int = -1) -> Iterator[str]:
    """The lines of a file with their ends, without a byte order mark. most: characters; a longer line comes in parts.

    Raises InputError E306 where it is not UTF-8 or has a NUL byte.
    """
    with opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="\n") as lines:
        try:
            for line in iter(partial(lines.readline, most), ""):
                if "\0" in line:
                    raise _no_text(path)
                yield line
        except UnicodeDecodeError:
            raise _no_text(path) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines as `text_lines` gives them, with their numbers from 1."""
    return enumerate(text_lines(path), 1)


def _no_text(path: Path) -> InputError:
    """The first byte of a file that is no text, and its place, which the quick reading does not know."""
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                return bad_input(
                    "E306",
                    f"byte {error.object[error.start]:#04x} is not UTF-8",
                    place=Place.of(path, number, error.start + 1),
                    help="save the file as UTF-8, for example with iconv",
                )
            if "\0" in text:
                return bad_input("E306", "a NUL byte: this is not a text file", place=Place.of(path, number))
    return bad_input("E306", "the file changed while it was read", place=Place.of(path))
