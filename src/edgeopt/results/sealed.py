"""Whether the folder of a finished run is what was written: digests of every file, in a chain whose end is report.json.

recipe.lock holds SHA-256 and size of every file that was exported or measured; report.json holds SHA-256 of
recipe.lock, of its own renderings and of all else that it says itself. So a changed, missing or added byte is found, be
it a weight, a prediction, a bound or a figure. It guards against accidents and careless changes: who computes all
digests anew can write what he likes.

What is not listed is not the run's: `devices/`, `page/` and bundles, which other commands leave there, and a user's own
files.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from edgeopt.results.coherent import incoherence
from edgeopt.results.locked import LockOfRun
from edgeopt.results.model import Report
from edgeopt.spec.tasks import TASKS
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.files import file_digest, key_of
from edgeopt.support.reading import Reader

REPORT, LOCK, LOG = "report.json", "recipe.lock", "log.txt"
#: What is made of report.json alone, and made again when a device adds to it.
RENDERINGS = ("report.md", "report.html", "model/README.md")
_SHOWN = 3
_LISTED = 12
_HELP = "type the `apply` that made it again, or copy the folder again from where it was made"
#: A model that is broken may have metrics that are no number.
_REPORT = Reader(
    "report", "E115", _HELP, f"give the folder that `apply --out` wrote, with its {REPORT}", not_finite=True
)
_LOCK = Reader("lock", "E115", _HELP)


class File(BaseModel):
    """A file of a run, as recipe.lock knows it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: int = Field(ge=0)


_FILES = TypeAdapter(dict[str, File])


class Run(NamedTuple):
    """A run whose folder is whole. lock and report: of the very bytes that were checked."""

    folder: Path
    report: Report
    lock: dict[str, Any]


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What recipe.lock says of the files in a run's folder that is just being made.

    Those are all but itself, the report and its renderings.
    """
    found = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {
        n: {"sha256": file_digest(p), "size": p.stat().st_size}
        for n, p in found.items()
        if n not in (LOCK, REPORT, *RENDERINGS)
    }


def sealed(report: Report, folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """report.json with its seal. names: of recipe.lock and the renderings, which are in the folder."""
    content = json.loads(json.dumps(report.model_dump(mode="json", exclude={"seal"})))
    return {
        **content,
        "seal": {"content": key_of(content), "files": {name: file_digest(folder / name) for name in names}},
    }


def open_run(path: Path) -> Run:
    """The run whose folder, or report.json, that is.

    Raises InputError E115 for what is no run's folder, and E150 where a file of it is not as it was written.
    """
    folder = path if path.is_dir() else path.parent
    report, content = _read_report(path)
    if report.seal is None:
        raise _changed(folder, [f"{REPORT} has no seal, as those of earlier versions"])
    wrong = [] if report.seal.content == content else [f"{REPORT} says something else"]
    lock, listed = _read_lock(folder, report.seal.files.get(LOCK), wrong)
    wrong += [f"{name} {why}" for name, why in _differences(folder, listed, report.seal.files)]
    if wrong:
        raise _changed(folder, wrong)
    _check_task(lock, Place.of(folder / LOCK))
    # as it was written, and yet it may not be what edgeopt writes
    _LOCK.check(lock, LockOfRun, Place.of(folder / LOCK))
    if problem := incoherence(report):
        raise _REPORT.wrong(f"is damaged: {problem}", Place.of(folder / REPORT))
    return Run(folder, report, lock)


def _check_task(lock: Mapping[str, Any], place: Place) -> None:
    """Raises InputError E122 for a task of a plugin that is not here: it alone knows what may be in a lock."""
    types: list[object] = []
    with suppress(KeyError, TypeError, AttributeError):
        resolved = lock["recipe"]["resolved"]
        types = [task["type"] for task in (resolved.get("tasks") or {"": resolved["task"]}).values()]
    for task in types:
        if isinstance(task, str):
            TASKS.needed(task, place)


def check_none_below(path: Path) -> None:
    """Raises InputError E115 for a folder of runs, or of a matrix, which is taken for one run."""
    below = sorted(str(p.parent) for pattern in (f"*/{REPORT}", f"cells/*/{REPORT}") for p in path.glob(pattern))
    if below:
        more = f" and {len(below) - _LISTED} more" if len(below) > _LISTED else ""
        raise bad_input(
            "E115",
            f"{path} holds runs and is none itself",
            place=Place.of(path),
            help=f"the runs below it: {' '.join(below[:_LISTED])}{more}",
        )


def _read_report(path: Path) -> tuple[Report, str]:
    """The report, and the SHA-256 of all but the seal as it stands in the file."""
    file = path / REPORT if path.is_dir() else path
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        raise bad_input(
            "E115",
            "that is a recipe; give the run's folder",
            place=Place.of(path),
            help=f"the folder that `apply {path} --out FOLDER` wrote",
        )
    if path.is_dir() and not file.exists():
        check_none_below(path)
    raw, place = _REPORT.json(file), Place.of(file)
    report = _REPORT.check(raw, Report, place)
    return report, key_of({name: value for name, value in raw.items() if name != "seal"})


def _read_lock(folder: Path, digest: str | None, wrong: list[str]) -> tuple[dict[str, Any], dict[str, File]]:
    """The lock and the files that it lists; what is wrong with it is added to `wrong`, and then it lists nothing."""
    try:
        data = _LOCK.content(folder / LOCK)
    except InputError:
        wrong.append(f"{LOCK} is missing")
        return {}, {}
    if hashlib.sha256(data).hexdigest() != digest:
        wrong.append(f"{LOCK} has other bytes")
        return {}, {}
    place = Place.of(folder / LOCK)
    lock = _LOCK.parse(_LOCK.decode(data, place), place)
    try:
        return lock, listed_files(lock)
    except (ValueError, KeyError, TypeError, RecursionError):
        wrong.append(f"{LOCK} does not list the files of a run")
        return {}, {}


def own_files(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the files that a run wrote into a folder, as far as its lock and its report tell.

    The two need not fit together. Nothing is taken of what a lock or report says that is not whole.
    """
    found: dict[str, str] = {}
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        listed = listed_files(json.loads((folder / LOCK).read_text(encoding="utf-8")))
        found |= {**{name: entry.sha256 for name, entry in listed.items()}, LOCK: file_digest(folder / LOCK)}
    with suppress(OSError, InputError):
        report, content = _read_report(folder)
        if report.seal is not None and report.seal.content == content:
            found |= {
                **{n: d for n, d in report.seal.files.items() if n in RENDERINGS},
                REPORT: file_digest(folder / REPORT),
            }
    return found


def export_folders(names: Iterable[str]) -> set[str]:
    """The folders among the files of a run that may hold nothing else: those of its exports."""
    return {name.partition("/")[0] for name in names if "/" in name}


def listed_files(lock: Mapping[str, Any]) -> dict[str, File]:
    """What a lock says of the run's files.

    Raises ValueError, KeyError or TypeError where it says nothing that could be.
    """
    found = _FILES.validate_python(lock["files"])
    if bad := next((name for name in found if not is_inside(name)), None):
        raise ValueError(f"{bad!r} is no path inside the folder")
    return found


def is_inside(name: str) -> bool:
    """Whether a name is a relative path with forward slashes that stays in its folder."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in name
        and path.as_posix() == name
    )


def _differences(folder: Path, listed: Mapping[str, File], others: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, what differs) of every file that is not as listed, or lies where only listed ones may.

    That is in the folders of exports.
    """
    for name, entry in listed.items():
        if why := _why_other(folder / name, entry.sha256, entry.size):
            yield name, why
    for name, digest in others.items():
        if name != LOCK and (
            why := _why_other(folder / name, digest, None) if is_inside(name) else "is no path inside the folder"
        ):
            yield name, why
    for top in sorted(export_folders(listed)):
        for path in sorted((folder / top).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if (path.is_symlink() or not path.is_dir()) and name not in listed and name not in others:
                yield name, "was added"


def _why_other(path: Path, sha256: str, size: int | None) -> str | None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "is no file"
        if size is not None and found.st_size != size:
            return f"has {found.st_size:,} bytes, and had {size:,}"
        return None if file_digest(path) == sha256 else "has other bytes"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _changed(folder: Path, wrong: list[str]) -> InputError:
    more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return bad_input(
        "E150", f"the run {folder} is not as it was written: {'; '.join(wrong[:_SHOWN])}{more}", help=_HELP
    )
