"""The store: immutable states under the key of the step that made them.

<root>/states/<key>/state.json + files     complete, renamed into place as the last act
<root>/building/<key>.<random>/            a state being written; swept when its lock is free
<root>/work/<key>/                         training checkpoints, kept until the state is complete
<root>/locks/<key>.lock                    held while a state is built; the kernel frees it on a crash
<root>/seen/<recipe>/<chain>/<step>.json   the key parts a step had last time: why it is stale now
<root>/sources/<name>.json                 what a hub name turned out to be, so that plan needs no network
<root>/measured/<name>.json                how long pieces of a model take on this machine
<root>/answers/<key>/<item>.npy            what a teacher answers to the rows of a training
<root>/corpora/<key>/<piece>/              plain text in tokens
<root>/begun/<key>/                        a model with random weights, and its tokenizer
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from edgeopt.store.facts import Fact, Facts
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.files import _UMASK, file_digest, key_of, write_json
from edgeopt.support.reading import Below, Count, Digest, NotNegative, Reader

log = logging.getLogger("edgeopt")

MANIFEST = "state.json"
#: The name of a state, and with an ending that of one that is being built.
_KEY = re.compile(r"[0-9a-f]{64}(\.[a-z0-9_]+)?")

os.umask(_UMASK)
FORMAT = 1
_BROKEN = Reader("state", "E157", "`edgeopt cache gc` removes it, and the next run rebuilds the step", not_finite=True)
_MEMORY = Reader("memory of the store", "E157")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sha256: Digest
    size: Count


class _Manifest(BaseModel):
    """What state.json holds. seal: SHA-256 of all else in it; states of earlier versions have none."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    key: str
    parts: dict[str, Any]
    use: str
    facts: list[Fact]
    figures: dict[str, Any]
    files: dict[Below, _File]
    digest: Digest
    seconds: NotNegative
    created: NotNegative
    seal: Digest | None = None


class _Seen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str
    parts: dict[str, Any]


class _Source(BaseModel):
    """What the rows of a hub dataset turned out to be; the fingerprint is in steps' keys."""

    model_config = ConfigDict(extra="allow")

    fingerprint: str
    labels: list[str]
    unlabelled: dict[str, str] = {}


@dataclass(frozen=True)
class State:
    """A complete state: its folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.manifest["key"])

    @property
    def digest(self) -> str:
        """SHA-256 over the files' digests and the facts: equal for equal content, however it was made."""
        return str(self.manifest["digest"])

    @property
    def facts(self) -> Facts:
        return frozenset(Fact(f) for f in self.manifest["facts"])

    @property
    def figures(self) -> dict[str, Any]:
        """What the step that made it wanted kept and shown in reports."""
        return dict(self.manifest["figures"])

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """`sha256` and `size` of each file, by its name."""
        return dict(self.manifest["files"])

    @property
    def seconds(self) -> float:
        return float(self.manifest["seconds"])

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(int(f["size"]) for f in self.files.values())


def content_digest(files: dict[str, dict[str, Any]], facts: Facts) -> str:
    """SHA-256 over the digests of a state's files, by their names, and its facts."""
    return key_of({"files": {name: entry["sha256"] for name, entry in files.items()}, "facts": sorted(facts)})


class Store:
    """A folder of states that any number of runs may share."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()

    @classmethod
    def default(cls) -> Store:
        """`EDGEOPT_STORE`, else ~/.cache/edgeopt."""
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return cls(Path(os.environ.get("EDGEOPT_STORE") or Path(cache) / "edgeopt"))

    def prepare(self) -> None:
        """Make the folders. Raises InputError E113 where the place cannot be written."""
        try:
            for name in ("states", "building", "work", "locks", "seen", "sources"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "locks"):
                pass  # the folders may be there on a file system that is read-only
        except OSError as error:
            raise bad_input(
                "E113",
                f"the store {self.root} cannot be written: {error.strerror}",
                help="set EDGEOPT_STORE or give --store with a folder of your own",
            ) from None

    @property
    def measured(self) -> Path:
        """The folder of what is measured of this machine, kept between runs."""
        return self.root / "measured"

    @property
    def answers(self) -> Path:
        """The folder of what teachers answer to the rows of trainings."""
        return self.root / "answers"

    @property
    def corpora(self) -> Path:
        """The folder of plain text in tokens."""
        return self.root / "corpora"

    @property
    def begun(self) -> Path:
        """The folder of models that are begun from nothing."""
        return self.root / "begun"

    def forget_answers(self, older_than: float) -> int:
        """Remove what is kept to be quicker and is so many seconds old; returns the bytes freed.

        That is teachers' answers, texts in tokens, and models that are begun from nothing.
        """
        freed, now = 0, time.time()
        kept = [each for area in ("answers", "corpora", "begun") for each in self._own(area)]
        for folder in filter(Path.is_dir, kept):
            files = [p.stat() for p in folder.rglob("*") if p.is_file()]
            if max((f.st_mtime for f in files), default=0.0) <= now - older_than:
                freed += sum(f.st_size for f in files)
                shutil.rmtree(folder, ignore_errors=True)
        return freed

    # -- states ---------------------------------------------------------------------------------

    def find(self, key: str) -> State | None:
        """The state of that key, its files verified by digest; a damaged one counts as absent."""
        state = self._read(key)
        return state if isinstance(state, State) and not self.damage(state) else None

    def _read(self, key: str) -> State | str:
        """The state in the folder of that name, or why there is none that could be used."""
        folder = self.root / "states" / key
        path = folder / MANIFEST
        try:
            manifest = _BROKEN.json(path)
            _BROKEN.check(manifest, _Manifest, Place.of(path))
        except InputError as error:
            return error.issues[0].message
        if manifest["key"] != key:
            return f"the state is that of key {manifest['key'][:12]}"
        if "seal" in manifest and manifest["seal"] != _seal(manifest):
            return f"{MANIFEST} is not as it was written"
        return State(folder, manifest)

    def unverified(self, key: str) -> State | None:
        """The state of that key by what its manifest says alone."""
        return state if isinstance(state := self._read(key), State) else None

    def why_damaged(self, key: str) -> str | None:
        """Why a state that is there cannot be used; None where it can, or where none is there."""
        if not os.path.lexists(self.root / "states" / key):
            return None
        state = self._read(key)
        if isinstance(state, str):
            return state
        damaged = self.damage(state)
        return f"{damaged} is not as it was written" if damaged else None

    def damage(self, state: State) -> str | None:
        """Name of the first file that is absent or not what the manifest says, else None."""
        for name, entry in state.files.items():
            path = state.folder / name
            try:
                if path.stat().st_size != entry["size"] or file_digest(path) != entry["sha256"]:
                    return name
            except OSError:
                return name
        return None if content_digest(state.files, state.facts) == state.digest else MANIFEST

    def states(self) -> list[State]:
        """All complete states, oldest first; files are not verified."""
        found = [s for name in self._names() if isinstance(s := self._read(name), State)]
        return sorted(found, key=lambda s: float(s.manifest["created"]))

    def broken(self) -> dict[str, str]:
        """What lies among the states and is none, by name, with why."""
        return {name: why for name in self._names() if isinstance(why := self._read(name), str)}

    def _names(self) -> list[str]:
        return [p.name for p in self._own("states")]

    def _own(self, area: str) -> list[Path]:
        """What a folder of the store has under a key. All else is of somebody who has a `work/` there, and stays."""
        root = self.root / area
        return sorted(p for p in root.iterdir() if _KEY.fullmatch(p.name)) if root.is_dir() else []

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a key's lock: one run at a time builds a key; another one waits here and then finds the state."""
        self.prepare()
        lock = FileLock(self.root / "locks" / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another run that is at the same work …")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def building(self, key: str) -> Iterator[Path]:
        """A fresh folder to write a state into; it is removed unless `commit` renamed it away. The key is locked."""
        self._clear(key)
        try:
            folder = Path(tempfile.mkdtemp(dir=self.root / "building", prefix=f"{key}."))
            folder.chmod(0o755)
            yield folder
        finally:
            self._clear(key)  # by the key: Ctrl-C may come before the folder has a name here

    def _clear(self, key: str) -> None:
        for left in (self.root / "building").glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)

    def work(self, key: str) -> Path:
        """The folder of a key's checkpoints, which survives a crash; it goes when the state is complete."""
        folder = self.root / "work" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(
        self,
        folder: Path,
        *,
        key: str,
        parts: dict[str, Any],
        use: str,
        facts: Facts,
        figures: dict[str, Any],
        seconds: float,
    ) -> State:
        """Seal the folder: digest every file, write the manifest last, rename, drop the work folder."""
        files: dict[str, dict[str, Any]] = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            files[path.relative_to(folder).as_posix()] = {"sha256": file_digest(path), "size": path.stat().st_size}
        manifest = {
            "format": FORMAT,
            "key": key,
            "parts": parts,
            "use": use,
            "facts": sorted(facts),
            "figures": figures,
            "files": files,
            "digest": content_digest(files, facts),
            "seconds": round(seconds, 3),
            "created": time.time(),
        }
        manifest["seal"] = _seal(json.loads(json.dumps(manifest)))
        write_json(folder / MANIFEST, manifest)
        final = self.root / "states" / key
        _remove(final)  # damaged: `find` refused it, or this would not have been built
        os.rename(folder, final)
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)
        return State(final, manifest)

    def remove(self, key: str) -> bool:
        """Remove a state unless a run is building or rebuilding it just now."""
        try:
            with FileLock(self.root / "locks" / f"{key}.lock", timeout=0):
                _remove(self.root / "states" / key)
                _remove(self.root / "work" / key)
        except (Timeout, OSError):  # OSError: a name that is too long for a lock, or a place without leave
            return False
        return True

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other processes from removing states, as a run does from its first look at a state to its last."""
        self.prepare()
        with (self.root / "locks" / "in-use").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def is_in_use(self) -> bool:
        """Whether a run is using the store now. The kernel answers for it, so a crashed run does not count."""
        self.prepare()
        with (self.root / "locks" / "in-use").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
            return False

    def sweep(self) -> int:
        """Remove what crashed runs left in building/ and work/; returns the bytes freed."""
        freed = 0
        for area in ("building", "work"):
            for left in self._own(area):
                key = left.name.partition(".")[0]
                with contextlib.suppress(Timeout), FileLock(self.root / "locks" / f"{key}.lock", timeout=0):
                    freed += sum(p.stat().st_size for p in left.rglob("*") if p.is_file())
                    shutil.rmtree(left, ignore_errors=True)
        return freed

    # -- memory of earlier runs -----------------------------------------------------------------

    def _seen(self, recipe: str, chain: str, step: str) -> Path:
        return self.root / "seen" / recipe / chain / f"{step}.json"

    def remember(self, recipe: str, chain: str, step: str, key: str, parts: dict[str, Any]) -> None:
        """Keep the key of a recipe's step, and the parts that it is made of, for `recall`."""
        write_json(self._seen(recipe, chain, step), {"key": key, "parts": parts})

    def recall(self, recipe: str, chain: str, step: str) -> dict[str, Any] | None:
        """{"key", "parts"} of the last time this recipe ran this step."""
        found: dict[str, Any] | None = _remembered(self._seen(recipe, chain, step), _Seen)
        return found

    def remember_source(self, name: str, value: object) -> None:
        """Keep what a hub name turned out to be, for `recall_source`."""
        write_json(self._source(name), value)

    def recall_source(self, name: str) -> Any:
        """What `remember_source` kept of a hub name; None where it is not known or no longer readable."""
        return _remembered(self._source(name), _Source)

    def _source(self, name: str) -> Path:
        return self.root / "sources" / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


def _remembered(path: Path, shape: type[BaseModel]) -> Any:
    """What the store remembers of earlier runs, None where it is nothing of that shape: it is made anew by the next."""
    try:
        found = _MEMORY.json(path)
        _MEMORY.check(found, shape, Place.of(path))
    except InputError:
        return None
    return found


def _seal(manifest: dict[str, Any]) -> str:
    return key_of({name: value for name, value in manifest.items() if name != "seal"})


def _remove(path: Path) -> None:
    """Remove a folder, a file or a link, whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
