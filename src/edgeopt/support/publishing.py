"""How a folder that edgeopt writes comes to its place: built apart, then published whole, beside what others keep.

A folder that is not there yet is renamed into place. Into one that is there (an earlier run's, a volume's mount point,
the working directory) the files are moved one by one: what says that the folder is finished goes first and comes back
last, and a publication that is cut off is completed by the next command. Nobody else's file is touched: what goes is
only what the old folder's own record names and is still as it was written; a file that was changed since is put aside
into `changed-N/`.

The folder is built on the same file system: inside the one that is there, else beside it. A marker says that what was
built is complete. So at every moment there is the old folder, the new one, or one without the file that comes last.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeopt.support.errors import bad_input, step_failed
from edgeopt.support.files import file_digest

log = logging.getLogger("edgeopt")

_LOCK, _BUILDING, _FILES, _COMPLETE = ".edgeopt.lock", ".edgeopt-building-", "files", "complete"
#: What lies in a folder that is empty for us: a volume's own, and what a run that was killed left.
_NOTHING = ("lost+found", _LOCK)


@dataclass(frozen=True)
class Record:
    """What a folder of ours is known by.

    name: the file that lists the others; last: what comes behind that, and goes first, each time in this order.
    digests: SHA-256 by the name of each file that is the folder's own, nothing where it is none of ours. alone: folders
    below it that may hold nothing else.
    """

    name: str
    last: tuple[str, ...]
    digests: Callable[[Path], dict[str, str]]
    alone: Callable[[Mapping[str, str]], set[str]] = lambda digests: set()


def writable(out: Path, ours: Sequence[str], but: Sequence[str] = ()) -> None:
    """Refuse, before anything is computed, a folder that holds something and is not one of ours, or cannot be written.

    ours: names of the files that one of ours has. but: what may lie in any. Raises InputError E114.
    """
    if out.exists() and not out.is_dir():
        raise bad_input("E114", f"--out {out} is a file", help="give a folder")
    try:
        there = [p.name for p in out.iterdir()] if out.is_dir() else []
        is_ours = all(name in there for name in ours) or any(_is_building(name, _BUILDING) for name in there)
        if not is_ours and any(name not in but and not is_nothing(name) for name in there):
            raise bad_input(
                "E114",
                f"--out {out} has files that do not belong to a run of edgeopt",
                help="give a new or empty folder, or the folder of an earlier run",
            )
        if not out.is_dir():
            out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=_home(out)):
            pass
    except OSError as error:
        raise bad_input(
            "E114", f"--out {out} cannot be written: {error.strerror}", help="give a folder of your own"
        ) from None


def _home(out: Path) -> Path:
    """Where a folder for `out` is built: in it where it is there, else beside it.

    Only so is that sure to be on the same file system.
    """
    return out if out.is_dir() else out.parent


def _beside(out: Path) -> str:
    """How the folders begin that are built beside `out`."""
    return f".{out.name}.building-"


def _is_building(name: str, prefix: str) -> bool:
    """Whether `building` gave a folder that name: the prefix and what mkdtemp adds.

    `.x.building-y.building-1` is of `x.building-y`, and not of `x`.
    """
    return name.startswith(prefix) and re.fullmatch("[a-z0-9_]{8}", name.removeprefix(prefix)) is not None


def is_nothing(name: str) -> bool:
    """Whether what has that name in a folder is neither its own nor a user's: a volume's, a lock, or being built."""
    first = name.partition("/")[0]
    return first in _NOTHING or _is_building(first, _BUILDING)


@contextmanager
def turn(out: Path) -> Iterator[None]:
    """Held while something is made for `out`: another process, whatever its store, waits here.

    The lock is beside a folder that is not there yet, and in one that is.
    """
    with ExitStack() as held:
        if not out.is_dir():
            held.enter_context(_locked(out.parent / f".{out.name}.lock"))
        if out.is_dir():
            held.enter_context(_locked(out / _LOCK))
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock of the kernel's on a file that is there only as long as somebody holds or awaits it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _take(path)
    try:
        yield
    finally:
        if handle is not None:
            with suppress(OSError):
                path.unlink()
            os.close(handle)


def _take(path: Path) -> int | None:
    """The locked file; None on a file system without locks."""
    waiting = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                log.info("waiting for another run that is at the same work …")
            waiting = True
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            os.close(handle)
            return None
        with suppress(FileNotFoundError):  # who held it has removed it, so that another process may hold a new one
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """A folder to write into; gone again with all that was not published."""
    folder = Path(tempfile.mkdtemp(dir=_home(out), prefix=_BUILDING if out.is_dir() else _beside(out)))
    files = folder / _FILES
    files.mkdir(mode=0o755)
    try:
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def taken(out: Path, record: Record) -> Iterator[Path]:
    """A folder to write into, by who has the turn, with what was cut off before made good."""
    with turn(out), disk_errors(out):
        recover(out, record)
        with building(out) as folder:
            yield folder


def recover(out: Path, record: Record) -> None:
    """Complete a publication that was cut off, and remove what else a killed process left. By who has the turn."""
    places = (out, _BUILDING), (out.parent, _beside(out))
    for folder in [p for home, prefix in places for p in _entries(home) if _is_building(p.name, prefix)]:
        # no link is of ours
        if (folder / _COMPLETE).is_file() and not any(p.is_symlink() for p in [folder, *folder.rglob("*")]):
            _publish(folder / _FILES, out, record)
        shutil.rmtree(folder, ignore_errors=True)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def publish(folder: Path, out: Path, record: Record) -> None:
    """Bring what `building` gave to `out`. From here on a cut is made good by `recover`."""
    (folder.parent / _COMPLETE).touch()
    _publish(folder, out, record)


def _publish(folder: Path, out: Path, record: Record) -> None:
    if not folder.exists():
        return
    with suppress(OSError):  # it is there, with something in it
        if not out.is_dir():
            folder.rename(out)
            return
    if (folder / record.name).exists():
        _make_way(folder, out, record)
        for name in _names(folder):
            if name not in (record.name, *record.last):
                _move(folder / name, out / name)
        _move(folder / record.name, out / record.name)
    for name in record.last:
        if (folder / name).exists():
            _move(folder / name, out / name)


def _make_way(folder: Path, out: Path, record: Record) -> None:
    """Take away the old folder's own files, and put aside what else is in the way."""
    old, new = record.digests(out), record.digests(folder)
    aside = _Aside(out)
    for name in record.last:
        aside.clear(name, {old.get(name), new.get(name)})
    coming = set(_names(folder))
    for name in dict.fromkeys([*coming, *(n for n in old if n not in new)]):
        if name not in (record.name, *record.last):
            aside.clear(name, {old.get(name), new.get(name)})
    for top in record.alone(new):
        for name in _names(out / top):
            whole = f"{top}/{name}"
            if whole in coming or whole not in new:
                aside.clear(whole, {old.get(whole), new.get(whole)})
    if (out / record.name).exists() and record.name not in old:
        aside.put(record.name)


@dataclass(frozen=True)
class _Aside:
    """Where files go that are in the way and not ours: `changed-1/`, or the next number where that name is free."""

    out: Path

    def clear(self, name: str, digests: set[str | None]) -> None:
        """Remove a file that has one of those digests; put anything else that is there aside."""
        for part in [*reversed(PurePosixPath(name).parents)][1:]:
            if (self.out / part).is_symlink() or (self.out / part).is_file():
                self.put(part.as_posix())
        path = self.out / name
        if not path.exists() and not path.is_symlink():
            return
        if path.is_file() and not path.is_symlink() and file_digest(path) in digests:
            path.unlink()
            for parent in path.relative_to(self.out).parents:
                if parent.parts:
                    with suppress(OSError):
                        (self.out / parent).rmdir()
        else:
            self.put(name)

    def put(self, name: str) -> None:
        target = next(p for n in range(1, 1_000_000) if not os.path.lexists(p := self.out / f"changed-{n}" / name))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.out / name, target)
        log.info("%s was changed since it was written: kept as %s", self.out / name, target)


def _names(folder: Path) -> list[str]:
    """Names of all files below a folder."""
    return [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir()]


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(path, to)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a folder in `out` is a mount point of its own
            raise
        beside = to.with_name(f".{to.name}.new")
        shutil.copyfile(path, beside)
        os.replace(beside, to)
        path.unlink()


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """A full disk outside a step: while exports, figures or reports are written."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error, _home(out)):
            raise step_failed(
                "E405",
                f"the disk is full: the run folder {out} could not be written",
                help="free space there and type the same command again: every finished step is kept",
            ) from error
        raise


#: How the system, torch and safetensors say that a file could not be written whole.
_FULL = ("No space left on device", "PytorchStreamWriter failed", "unexpected pos ", "os error 28")


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether an error, or what caused it, is the disk's being full.

    torch and safetensors say so in words, and some say nothing, so that the space left where `folder` is decides.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(seen) for words in _FULL):
            return True
        seen = seen.__cause__ or seen.__context__
    return folder.exists() and shutil.disk_usage(folder).free < 100_000
