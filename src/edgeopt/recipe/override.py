"""`--set key.path=value`: values written over a recipe, steps addressed by their id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeopt.recipe.yaml import Document, parse
from edgeopt.spec.steps import address
from edgeopt.support.errors import Issue, Path_, Place
from edgeopt.support.words import meant


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Write each override into the document; what cannot be placed is added to its issues."""
    for text in overrides:
        if any("\ud800" <= c <= "\udfff" for c in text):  # what stands for bytes that are no UTF-8
            shown = text.encode("utf-8", "backslashreplace").decode()
            document.issues.append(
                Issue("E109", f"'{shown}' is not UTF-8", Place(f"--set {shown}"), "give the value as UTF-8")
            )
            continue
        place = Place(f"--set {text}")
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            document.issues.append(
                Issue(
                    "E109",
                    f"'{text}' is not of the form key.path=value",
                    place,
                    "for example --set steps.prune.amount=0.3",
                )
            )
            continue
        parsed = parse(value, Path("--set"))
        if parsed.issues and value.lstrip()[:1] in ("[", "{"):
            document.issues.append(
                Issue("E109", f"'{value}' is not YAML: {parsed.issues[0].message.partition(': ')[2]}", place)
            )
            continue
        set_value(document, key.strip().split("."), value if parsed.issues else parsed.data, place)


def set_value(document: Document, parts: list[str], value: object, place: Place, key: Place | None = None) -> None:
    """Write a value at a key path, a step by its id, so that errors in it are reported at `place`.

    key: where the path is written, where that is elsewhere: mappings that it makes are reported there.
    """
    current, at = document.data, ()  # type: Any, Path_
    for i, part in enumerate(parts):
        rest = ".".join(parts[i:])
        whole = isinstance(current, dict) and rest in current  # an axis of a matrix may be a key path itself
        last = whole or i == len(parts) - 1
        index: str | int = rest if whole else part
        if isinstance(current, list):
            found = _index(current, part)
            if found is None:
                ids = [name for item in current if (name := address(item)) is not None]
                where = ".".join(parts[:i])
                document.issues.append(
                    Issue(
                        "E109",
                        f"'{where}' has no entry '{part}'",
                        place,
                        meant(part, ids, "entries", none=_numbers(current)),
                    )
                )
                return
            index = found
        elif not isinstance(current, dict):
            document.issues.append(Issue("E109", f"'{'.'.join(parts[:i])}' is a value and has no key '{part}'", place))
            return
        at = (*at, index)
        if last:
            current[index] = value
            _mark(document, at, value, place)
            return
        if isinstance(current, dict) and (index not in current or current[index] is None):
            current[index] = {}
            document.keys[at] = document.values[at] = key or place
        current = current[index]


def _numbers(entries: list[Any]) -> str:
    return f"0 to {len(entries) - 1}" if entries else "none"


def _index(entries: list[Any], part: str) -> int | None:
    for i, entry in enumerate(entries):
        if address(entry) == part:
            return i
    if part.isdecimal() and int(part) < len(entries):
        return int(part)
    return None


def _mark(document: Document, at: Path_, value: object, place: Place) -> None:
    """Let errors in an overridden value be reported at the flag, not at the line it replaced."""
    document.keys[at] = document.values[at] = place
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        _mark(document, (*at, key), child, place)
