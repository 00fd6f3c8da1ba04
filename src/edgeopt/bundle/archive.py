"""A bundle's files in a folder or a zip, read without trusting any name or size in it.

The same files give the same bytes. A zip holds its entries one after the other, uncompressed. So it is the same
whatever zlib is installed, nothing in it can grow when it is opened, and there is no room between entries.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from edgeopt.bundle.manifest import MAX_BYTES, MAX_FILES, is_safe, refused
from edgeopt.support.errors import bad_input

#: What a push and a hub put beside a bundle's files in a folder (push/hub.py), and its client leaves there: never read.
BESIDE = ("README.md", "sbom.cdx.json", ".gitattributes", ".cache")
_MODE = (stat.S_IFREG | 0o644) << 16


class Source(Protocol):
    """Where a bundle's files are read from. sizes: every file by its name, with its size in bytes."""

    @property
    def sizes(self) -> Mapping[str, int]: ...

    def open(self, name: str) -> IO[bytes]: ...


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The files of a folder or zip, names and sizes checked.

    Raises InputError E142 for one that no bundle can be, E140 where there is none.
    """
    if path.is_dir():
        yield _Folder(path, dict(_walk(path, "")))
        return
    if not path.is_file():
        raise bad_input(
            "E140",
            f"{path} is neither a folder nor a file",
            help="give the folder or the zip that `edgeopt bundle RUN` wrote",
        )
    with _readable(path.name):
        path.open("rb").close()
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Zip(archive, _entries(archive, path))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise refused(f"{path.name} is not a complete zip: {error}") from None


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused(f"{name} cannot be read: {error.strerror}") from None


def write_zip(folder: Path, path: Path) -> None:
    """Write every file of the folder into a zip, in order of their names.

    Python's own writer adds extensions from 2 GB on, where a zip without them holds 4.
    """
    listed = []
    with path.open("wb") as archive:
        for name, size in sorted(_walk(folder, "")):
            before, entry = _headers(name, size, _checksum(folder / name), archive.tell())
            listed.append(entry)
            archive.write(before)
            with (folder / name).open("rb") as source:
                shutil.copyfileobj(source, archive, 1 << 20)
        archive.write(_end(listed, archive.tell()))


def _headers(name: str, size: int, checksum: int, start: int) -> tuple[bytes, bytes]:
    """What stands before the bytes of an entry, and its line in the list at the end. start: where the first stands."""
    date = (1 << 5) | 1  # in a zip's own form: 1 January of its first year
    kind, path = zipfile.ZIP_STORED, name.encode("ascii")
    common = struct.pack("<HHHHHIIIHH", 20, 0, kind, 0, date, checksum, size, size, len(path), 0)
    where = struct.pack("<HHHII", 0, 0, 0, _MODE, start)
    return b"PK\3\4" + common + path, b"PK\1\2" + struct.pack("<BB", 20, 3) + common + where + path


def _end(listed: Sequence[bytes], start: int) -> bytes:
    """The list of the entries, which begins at `start`, and the record of it."""
    count, size = len(listed), sum(map(len, listed))
    return b"".join(listed) + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, size, start, 0)


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            found = zlib.crc32(data, found)
    return found


@dataclass(frozen=True)
class _Folder:
    root: Path
    sizes: Mapping[str, int]

    def open(self, name: str) -> IO[bytes]:
        with _readable(name):  # and not through a link that took the file's place since
            return os.fdopen(os.open(self.root / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


@dataclass(frozen=True)
class _Zip:
    archive: zipfile.ZipFile
    sizes: Mapping[str, int]

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)


def _walk(root: Path, below: str) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files; of folders only those that hold some."""
    with _readable(below or "the folder"), os.scandir(root / below) as scanned:
        entries = list(scanned)
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if name in BESIDE:
            continue
        if not is_safe(name):
            raise refused(f"{name!r} is not a valid name for a file of a bundle")
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(root, name)
        elif stat.S_ISREG(found.st_mode):
            yield name, found.st_size
        else:
            raise refused(f"{name} is a {'link' if entry.is_symlink() else 'special file'}")
    if not entries:
        raise refused(f"{below or 'the folder'} is empty")


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, int]:
    """Names and sizes of a zip's files.

    Raises InputError E142 where a byte around them is another than `write_zip` writes: all programs read the same.
    """
    sizes: dict[str, int] = {}
    listed, end, whole = list[bytes](), 0, path.stat().st_size
    for entry in archive.infolist():
        name = entry.orig_filename  # filename is cut at a zero byte
        if not is_safe(name):
            raise refused(f"{name!r} is not a plain path inside the bundle")
        if name.lower() in map(str.lower, sizes):
            raise refused(f"{name} is in the zip twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise refused(f"{name} is compressed, but files of a bundle never are")
        if entry.header_offset != end or name < max(sizes, default=""):
            raise refused("there is data between the zip's entries, or they are out of order")
        if end + entry.file_size > min(MAX_BYTES, whole) or len(sizes) == MAX_FILES:
            raise refused("its entries declare more data than the zip holds or a bundle may hold")
        before, line = _headers(name, entry.file_size, entry.CRC, end)
        if _bytes(path, end, len(before)) != before:
            raise refused(f"{name} is not a plain file as `edgeopt bundle` writes it")
        listed.append(line)
        end += len(before) + entry.file_size
        sizes[name] = entry.file_size
    last = _end(listed, end)
    if archive.start_dir != end or _bytes(path, end, len(last) + 1) != last:
        raise refused("there is data before or after the zip's entries")
    return sizes


def _bytes(path: Path, start: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(count)
