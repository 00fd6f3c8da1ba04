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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from edgeopt.bundle.manifest import MAX_BYTES, MAX_FILES, is_safe, refused
from edgeopt.support.errors import bad_input

#: The first day that a zip knows: of all entries.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = (stat.S_IFREG | 0o644) << 16
#: Bytes of an entry's two headers, without its name, and of the record at the end.
_LOCAL_HEADER, _CENTRAL_HEADER, _END = 30, 46, 22


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
        raise bad_input("E140", f"{path} is neither a folder nor a file", help="give what `edgeopt bundle RUN` wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            yield _Zip(archive, _entries(archive, path))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise refused(f"{path.name} is not a whole zip: {error}") from None


def write_zip(folder: Path, path: Path) -> None:
    """Write every file of the folder into a zip, in order of their names.

    Python's own writer adds extensions from 2 GB on, where a zip without them holds 4.
    """
    central, count, date = b"", 0, (1 << 5) | 1  # in a zip's own form: 1 January of its first year
    with path.open("wb") as archive:
        for name, size in sorted(_walk(folder, "")):
            common = struct.pack(
                "<HHHHHIIIHH", 20, 0, zipfile.ZIP_STORED, 0, date, _checksum(folder / name), size, size, len(name), 0
            )
            central += (
                b"PK\1\2"
                + struct.pack("<BB", 20, 3)
                + common
                + struct.pack("<HHHII", 0, 0, 0, _MODE, archive.tell())
                + name.encode("ascii")
            )
            archive.write(b"PK\3\4" + common + name.encode("ascii"))
            with (folder / name).open("rb") as source:
                shutil.copyfileobj(source, archive, 1 << 20)
            count += 1
        start = archive.tell()
        archive.write(central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), start, 0))


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
        # not through a link that took the file's place since
        return os.fdopen(os.open(self.root / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


@dataclass(frozen=True)
class _Zip:
    archive: zipfile.ZipFile
    sizes: Mapping[str, int]

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)


def _walk(root: Path, below: str) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files; of folders only those that hold some."""
    with os.scandir(root / below) as scanned:
        entries = list(scanned)
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if not is_safe(name):
            raise refused(f"{name!r} is not a name that a bundle has")
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
    """Names and sizes of a zip's files. Raises InputError E142 where it is not of the form that `write_zip` gives."""
    sizes: dict[str, int] = {}
    end = 0
    for entry in archive.infolist():
        name = entry.orig_filename  # filename is cut at a zero byte
        if not is_safe(name):
            raise refused(f"{name!r} is no plain path inside the bundle")
        if name.lower() in map(str.lower, sizes):
            raise refused(f"{name} stands twice in the zip")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise refused(f"{name} is compressed, and a bundle's files never are")
        if entry.external_attr != _MODE or entry.flag_bits or entry.extra or entry.comment or entry.date_time != _DATE:
            raise refused(f"{name} is not a plain file as `edgeopt bundle` writes it")
        if entry.header_offset != end:
            raise refused("something stands between the zip's entries")
        end += _LOCAL_HEADER + len(name) + entry.file_size
        sizes[name] = entry.file_size
        if end > min(MAX_BYTES, path.stat().st_size) or len(sizes) > MAX_FILES:
            raise refused("its entries claim more than there is, or than a bundle may hold")
    if archive.start_dir != end or path.stat().st_size != end + sum(_CENTRAL_HEADER + len(n) for n in sizes) + _END:
        raise refused("something stands behind the zip's entries, or before them")
    return sizes
