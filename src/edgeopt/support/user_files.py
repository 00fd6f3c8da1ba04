"""Files that a command writes where its user says: no one else's is overwritten, and each appears whole."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from edgeopt.support.errors import bad_input
from edgeopt.support.files import appearing, write_text

#: Bytes that a kind is recognized by.
_ENOUGH = 4096


@dataclass(frozen=True)
class Kind:
    """A kind of file that edgeopt writes.

    begins: how each of them begins, by which an earlier one is known and may be replaced.
    """

    name: str
    begins: str


JUNIT = Kind("JUnit file", '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="edgeopt"')
BASELINE = Kind("baseline", '{"baseline":1,')


def check_output(flag: str, path: Path, kind: Kind) -> None:
    """Refuse, before anything is computed, a place where the file cannot or must not be written.

    Raises InputError E156 where a file lies there that edgeopt did not write as such, E114 where nothing can be
    written: a device, a pipe, a link, a folder, or a place without leave or room.
    """
    found = _there(flag, path)
    if found is not None and found.st_size and not _is(kind, path):
        raise bad_input(
            "E156",
            f"{flag} {path} is there, and is no {kind.name} that edgeopt wrote",
            help="give another name, or remove the file: edgeopt only overwrites its own files",
        )
    _check_room(flag, path)


def check_new(flag: str, path: Path, *, overwrite: bool) -> None:
    """Refuse, before anything is computed, a place where a file is, or can not be written.

    overwrite: whether the user asked to replace a file that is there. Raises InputError E114.
    """
    if _there(flag, path) is not None and not overwrite:
        raise bad_input("E114", f"{flag} {path} is there already", help="give another name, or --overwrite")
    _check_room(flag, path)


@contextmanager
def new_output(flag: str, path: Path, *, overwrite: bool) -> Iterator[TextIO]:
    """The file to write into, which is there, whole, once the block has ended. Raises as `check_new` does."""
    check_new(flag, path, overwrite=overwrite)
    try:
        with appearing(path, overwrite=overwrite) as file:
            yield file
    except FileExistsError:
        check_new(flag, path, overwrite=overwrite)
        raise


def _there(flag: str, path: Path) -> os.stat_result | None:
    """The plain file at a path, None where there is nothing. Raises InputError E114 for anything else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unwritable(flag, path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        what = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}.get(stat.S_IFMT(found.st_mode), "a device or a pipe")
        raise bad_input(
            "E114",
            f"{flag} {path} is {what}, but edgeopt only writes plain files",
            help="give the name of a file",
        )
    return found


def _check_room(flag: str, path: Path) -> None:
    parent = next(p for p in path.absolute().parents if p.exists() or p == p.parent)
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise _unwritable(flag, path, error.strerror) from None


def forget_output(flag: str, path: Path, kind: Kind) -> None:
    """Remove what an earlier command left, so that nobody takes it for this one's. Raises as `check_output` does."""
    check_output(flag, path, kind)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(flag, path, error.strerror) from None


def write_output(flag: str, path: Path, kind: Kind, text: str) -> None:
    """Write the whole file, last of all. Raises as `check_output` does."""
    assert text.startswith(kind.begins)
    check_output(flag, path, kind)  # it may have become another while edgeopt was computing
    try:
        write_text(path, text)
    except OSError as error:
        raise _unwritable(flag, path, error.strerror) from None


def _is(kind: Kind, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_ENOUGH).startswith(kind.begins.encode())
    except OSError:
        return False


def _unwritable(flag: str, path: Path, reason: str | None) -> Exception:
    return bad_input(
        "E114", f"{flag} {str(path)!r} cannot be written: {reason}", help="give a file in a folder of your own"
    )
