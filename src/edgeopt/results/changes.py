"""What changed between two records of a recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from edgeopt.spec.steps import address


class Change(NamedTuple):
    """A value that two locks do not share, by its path as --set takes it. Null where one of them has none."""

    at: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.at}: {short(self.old)} → {short(self.new)}"


def changes(old: object, new: object, at: str = "") -> Iterator[Change]:
    """What differs between two values as JSON has them.

    Entries of lists are held against those of the same name, so that one more or less is one change; another order is
    one, too.
    """
    one, other = (_named(old), _named(new)) if isinstance(old, list) and isinstance(new, list) else (None, None)
    if one is not None and other is not None:
        old, new = one, other
        common = [[name for name in a if name in b] for a, b in ((one, other), (other, one))]
        if common[0] != common[1]:
            yield Change(f"{at}: order" if at else "order", *common)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from changes(old.get(key), new.get(key), f"{at}.{key}" if at else key)
    elif old != new:
        yield Change(at, old, new)


def _named(entries: list[Any]) -> dict[str, Any] | None:
    """The entries of a list by what --set calls them, else by their number; None for a list of plain values."""
    if not all(isinstance(entry, dict) for entry in entries):
        return None
    names = [name for entry in entries if (name := address(entry)) is not None]
    return (
        dict(zip(names, entries, strict=True))
        if len({*names}) == len(entries)
        else {str(i): e for i, e in enumerate(entries)}
    )


def short(value: object, room: int = 40) -> str:
    """A value in at most so many characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= room else text[: room - 3] + "…"
