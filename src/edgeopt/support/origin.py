"""What decides the results of a plugin's class besides what it is given: the code that it is made of."""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import Any

from edgeopt.support.declared import is_ours


def source_of(made: object) -> str | None:
    """SHA-256 of the modules that define a class, or an instance's, and its bases; None for one of edgeopt's own.

    Neither edgeopt's modules nor Python's own are among them, nor what a module imports. They are read once for each
    class: what is edited later is not what runs, and a notebook that reloads a module has another class.
    """
    return _source(made if isinstance(made, type) else type(made))


@functools.cache
def _source(kind: type[Any]) -> str | None:
    if is_ours(kind):
        return None
    names = dict.fromkeys(each.__module__ for each in kind.__mro__ if not is_ours(each))
    digest = hashlib.sha256()
    for name in names:
        if name.partition(".")[0] not in sys.stdlib_module_names or name == "__main__":
            digest.update(_content(name))
    return digest.hexdigest()


def _content(module: str) -> bytes:
    """What a module's file holds; nothing where it has none, as in a notebook."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return Path(file).read_bytes() if file else b""
    except OSError:
        return b""
