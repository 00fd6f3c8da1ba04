"""Short forms of a recipe: `model: FOLDER`, `dataset: FOLDER`, `export: onnx`, `targets: mobile`.

And one entry alone where a list is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgeopt.recipe.yaml import Document
from edgeopt.support.errors import Path_

#: Keys that hold a list and may hold its one entry.
LISTS: tuple[tuple[str, ...], ...] = (("export",), ("targets",), ("gates",), ("task", "metrics"), ("task", "slices"))
#: Keys whose mapping, or whose entries' mapping, may be given by the value of one key alone.
MAPPINGS: dict[tuple[str, ...], str] = {("model",): "id", ("task", "dataset"): "path", ("export",): "format"}


def spell_out(document: Document) -> None:
    """Write short forms out, with their places. What is written out already stays as it is."""
    for path in _each(document, LISTS):
        holder = _holder(document.data, path)
        value = None if holder is None else holder.get(path[-1])
        if holder is not None and (isinstance(value, str) or (isinstance(value, dict) and not _of_entries(value))):
            holder[path[-1]] = [value]
            _copy_places(document, path, (*path, 0))
    for path in _each(document, MAPPINGS):
        key = MAPPINGS[("task", *path[2:]) if path[0] == "tasks" else path]
        if (holder := _holder(document.data, path)) is None:
            continue
        value = holder.get(path[-1])
        if isinstance(value, str):
            holder[path[-1]] = {key: value}
            _copy_places(document, path, (*path, key))
        entries: list[Any] = value if isinstance(value, list) else []
        for i, entry in enumerate(entries):
            if isinstance(entry, str):
                entries[i] = {key: entry}
                _copy_places(document, (*path, i), (*path, i, key))


def _each(document: Document, paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The paths, those of a task also for each of several tasks."""
    tasks = _holder(document.data, ("tasks", "")) or {}
    more = [
        ("tasks", name, *path[1:]) for path in paths if path[0] == "task" for name in tasks if isinstance(name, str)
    ]
    return [*paths, *more]


def _of_entries(value: dict[str, Any]) -> bool:
    """Whether a mapping is no entry but has entries by name, which is refused with the list that it should be."""
    return bool(value) and all(isinstance(each, dict) for each in value.values())


def _holder(data: object, path: tuple[str, ...]) -> dict[str, Any] | None:
    """The mapping that has the path's last key, if there is one."""
    for part in path[:-1]:
        data = data.get(part) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else None


def _copy_places(document: Document, path: Path_, to: Path_) -> None:
    for places in (document.keys, document.values):
        for known in [p for p in places if p[: len(path)] == path]:
            places.setdefault((*to, *known[len(path) :]), places[known])
