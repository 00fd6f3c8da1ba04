"""Files that appear whole or not at all, and their digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_UMASK = os.umask(0o022)


def key_of(parts: dict[str, Any]) -> str:
    """SHA-256 of a step's key parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, data: object) -> None:
    """Write JSON with sorted keys, whole or not at all. Raises OSError as `write_text` does."""
    write_text(path, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Write beside and rename: a reader sees the old file or the new one.

    Raises OSError, also where no plain file lies there.
    """
    with appearing(path) as file:
        file.write(text)


@contextlib.contextmanager
def appearing(path: Path, *, overwrite: bool = True) -> Iterator[TextIO]:
    """A file to write into, which is at `path` once the block has ended, and not at all where it raised.

    overwrite: whether a file that is there meanwhile is replaced. Raises OSError as `write_text` does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        # a rename would put a file in the place of a device or a link
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_UMASK)  # mkstemp makes files that nobody else may read
        if not overwrite:
            os.link(name, path)  # unlike a rename it fails where there is one
            os.unlink(name)
        else:
            os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
