"""The device's side of `edgeopt ship`: python -c SOURCE.

The standard library alone; nothing of it stays on the device.

Requests and replies are JSON, a line each; the bytes of a file follow their request. Below the root:

    current -> versions/ID      what services open; changed by one rename
    versions/ID/                whole bundles, ID being the start of the digest of the manifest
    incoming/ID/                what has arrived of one
    history.json                IDs in the order in which they became current, the last is current
    .lock                       held as long as a ship lasts; the kernel frees it
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HELLO = "edgeopt agent 1"
#: The name of a version.
ID = "[0-9a-f]{16}"
#: Seconds without a byte after which the other side is taken to be gone.
IDLE = 600


class Refused(Exception):
    """What the other side is told."""


class Agent:
    """What this process does on the device: each public method is a request that the other side may make."""

    def __init__(self) -> None:
        self.root = Path()
        self.id = ""
        self.lock: Any = None

    # requests

    def probe(self, path: str, id: str) -> dict[str, Any]:
        """What this device is, and what is below the root. Writes nothing."""
        self.root, self.id = Path(os.path.expanduser(path[1:] if path.startswith("/~") else path)), id
        there = next(p for p in (self.root, *self.root.absolute().parents) if p.is_dir())
        partial = self.root / "incoming" / id
        return {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "machine": platform.machine(),
            "cpu": cpu_name(),
            "flags": sorted(cpu_flags()),
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            "packages": {name: version(name) for name in ("onnxruntime", "tokenizers", "numpy")},
            "free_bytes": shutil.disk_usage(there).free,
            "writable": os.access(there, os.W_OK | os.X_OK),
            "partial_bytes": sum(p.stat().st_size for p in partial.rglob("*") if p.is_file())
            if id and partial.is_dir()
            else 0,
            "current": self.current(),
            "foreign": self.foreign(),
            "history": self.history(),
        }

    def begin(self, files: dict[str, list[Any]] | None = None, wait: float = 3.0) -> dict[str, Any]:
        """Take the lock. files: [size, sha256] by name.

        Says whether that version is whole, and what has arrived of it. wait: seconds for which the agent of a ship that
        was cut off may still write down what arrived.
        """
        import fcntl

        self.root.mkdir(parents=True, exist_ok=True)
        self.lock, end = open(self.root / ".lock", "a"), time.monotonic() + wait  # noqa: SIM115
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:
                    raise Refused("another `edgeopt ship` to this folder of the device is running") from None
                time.sleep(0.05)
        if files is None:
            return {}
        if is_whole(self.version(), files):
            return {"whole": True, "have": {}}
        self.incoming().mkdir(parents=True, exist_ok=True)
        for path in self.incoming().rglob("*"):
            if not path.is_dir() and path.relative_to(self.incoming()).as_posix() not in files:
                path.unlink()
        return {
            "whole": False,
            "have": {n: [self.file(n).stat().st_size, digest(self.file(n))] for n in files if self.file(n).is_file()},
        }

    def put(self, name: str, offset: int, size: int) -> dict[str, Any]:
        """Write the bytes that follow into a file, from that place on."""
        left = size
        try:
            path = self.file(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab", buffering=0) as out:
                out.truncate(offset)
                while left:
                    data = read(min(left, 1 << 16))
                    left -= len(data)
                    out.write(data)
                os.fsync(out.fileno())
        except (OSError, Refused):
            while left:  # else what follows would be taken for requests
                left -= len(read(min(left, 1 << 16)))
            raise
        return {}

    def seal(self, files: dict[str, list[Any]]) -> dict[str, Any]:
        """Check every byte that arrived and make it a version."""
        for name, (size, sha256) in files.items():
            if self.file(name).stat().st_size != size or digest(self.file(name)) != sha256:
                self.file(name).unlink()
                raise Refused(name + " arrived damaged; the other files that arrived are kept")
        final = self.version()
        final.parent.mkdir(exist_ok=True)
        damaged = self.root / "incoming" / (self.id + ".damaged")
        if final.exists():
            final.rename(damaged)
        self.incoming().rename(final)
        sync(final.parent)
        shutil.rmtree(damaged, ignore_errors=True)
        return {}

    def check(self, what: str, seconds: float, id: str = "") -> dict[str, Any]:
        """Run device.py of a version, in a process of its own that ends when the connection does."""
        script = self.root / "versions" / (id or self.id) / "device.py"
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-B", str(script), what],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        end = time.monotonic() + seconds
        try:
            while True:
                try:
                    out = child.communicate(timeout=0.2)[0]
                    return {"status": child.returncode, "out": out}
                except subprocess.TimeoutExpired:
                    if select.select([sys.stdin], [], [], 0)[0]:
                        sys.exit("the connection was lost")  # nothing else is sent now
                    if time.monotonic() > end:
                        raise Refused(f"{what} of the bundle took more than {seconds:.0f} seconds") from None
        finally:
            child.kill()
            child.wait()

    def switch(self, keep: int) -> dict[str, Any]:
        """Make this version current, and remove all but the last ones; nothing that no ship brought."""
        kept = [*(i for i in self.history() if i != self.id and (self.root / "versions" / i).is_dir()), self.id][-keep:]
        self.link(self.id, kept)
        for folder in (self.root / "versions", self.root / "incoming"):
            for old in folder.iterdir() if folder.is_dir() else ():
                if re.fullmatch(ID + r"(\.damaged)?", old.name) and old.name not in kept:
                    shutil.rmtree(old, ignore_errors=True)
        return {"history": kept}

    def drop(self) -> dict[str, Any]:
        """Remove this version, after going back to the one before where it is current."""
        back = self.back() if self.current() == self.id else {}
        if self.current() != self.id:
            shutil.rmtree(self.version(), ignore_errors=True)
        return {"current": self.current(), **back}

    def previous(self) -> dict[str, Any]:
        """The version that was current before."""
        history, current = [i for i in self.history() if (self.root / "versions" / i).is_dir()], self.current()
        place = history.index(current) if current in history else 0
        return {"id": history[place - 1] if place else None}

    def back(self) -> dict[str, Any]:
        """Make the version current that was so before."""
        before = self.previous()["id"]
        if before is not None:
            history = self.history()
            self.link(before, history[: history.index(before) + 1])
        return {"current": self.current()}

    # what they need

    def link(self, id: str, history: list[str]) -> None:
        """Let `current` be a version and write the history down; at every moment it is the old one or the new one."""
        if found := self.foreign():
            raise Refused(f"{' and '.join(found)} exists, but `edgeopt ship` did not make it, so it is not replaced")
        beside, listed = self.root / ".edgeopt-current", self.root / ".edgeopt-history"
        if beside.is_symlink():
            beside.unlink()
        beside.symlink_to(Path("versions") / id)
        os.replace(beside, self.root / "current")
        listed.write_text(json.dumps(history))
        os.replace(listed, self.root / "history.json")
        sync(self.root)

    def current(self) -> str | None:
        """The ID of the version that is current, None where no ship made one so."""
        link = self.root / "current"
        found = re.fullmatch(f"versions/({ID})", os.readlink(link)) if link.is_symlink() else None
        return found and found[1]

    def foreign(self) -> list[str]:
        """What has a name that a ship writes to, and is of somebody else."""
        there = {"current": self.current() is not None, "history.json": self._listed() is not None}
        return [name for name, ours in there.items() if not ours and os.path.lexists(self.root / name)]

    def history(self) -> list[str]:
        """The IDs of versions in the order in which they became current; empty where no ship wrote any down."""
        return self._listed() or []

    def _listed(self) -> list[str] | None:
        """What history.json holds, None where that is nothing that a ship writes."""
        try:
            found = json.loads((self.root / "history.json").read_text())
            return found if isinstance(found, list) and all(re.fullmatch(ID, i) for i in found) else None
        except (OSError, ValueError, TypeError):
            return None

    def version(self) -> Path:
        """The folder of this version, once it is whole."""
        return self.root / "versions" / self.id

    def incoming(self) -> Path:
        """The folder of what has arrived of this version."""
        return self.root / "incoming" / self.id

    def file(self, name: str) -> Path:
        """Where a file arrives. Raises Refused for a name that leads out of the bundle."""
        if name.startswith("/") or not set(name.split("/")).isdisjoint({"", ".", ".."}):
            raise Refused(name + " is not a path inside the bundle")
        return self.incoming() / name


def is_whole(folder: Path, files: dict[str, list[Any]]) -> bool:
    """Whether every file is there as it must be; files: [size, sha256] by name."""
    try:
        return all(
            (folder / n).stat().st_size == size and digest(folder / n) == sha256 for n, (size, sha256) in files.items()
        )
    except OSError:
        return False


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            found.update(data)
    return found.hexdigest()


def sync(folder: Path) -> None:
    """Let a rename in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def version(name: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    import importlib.metadata
    import importlib.util

    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # such as onnxruntime of a distribution of another name


def cpu_flags() -> set[str]:
    """The processor's instructions by Linux's names; empty where the system does not say."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo(), re.MULTILINE)
    return set(found[1].split()) if found else set()


def cpu_name() -> str:
    """What the processor is called, or its kind where the system does not say."""
    found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def cpuinfo() -> str:
    """What Linux says of the processor; empty elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ""


def read(most: int) -> bytes:
    """Some bytes of what the other side sends; ends this process where it is gone."""
    signal.alarm(IDLE)
    data = os.read(0, most)
    signal.alarm(0)
    if not data:
        sys.exit(1)  # the other side is gone
    return data


def read_line() -> bytes:
    """The next line of what the other side sends, read byte by byte: what follows a line may be a file's."""
    line = b""
    while not line.endswith(b"\n"):
        line += read(1)
    return line


def main() -> None:
    """Answer requests until the other side is gone."""
    agent = Agent()
    print(HELLO, flush=True)
    while True:
        request = json.loads(read_line())
        try:
            reply = getattr(agent, request.pop("do"))(**request)
        except Refused as error:
            reply = {"error": str(error)}
        except OSError as error:
            reply = {"error": f"{error.filename or 'the device'}: {error.strerror}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
