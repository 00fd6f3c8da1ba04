"""What to write in place of a value of the wrong kind, for the `help` line of its error."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from edgeopt.spec.renamed import in_flow

_NUMBER = re.compile(r"([-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)\s*(\S*)")
_TRUE, _FALSE = ("yes", "on", "y", "1", "true"), ("no", "off", "n", "0", "false")


def number(key: str, value: object, *, whole: bool = False) -> str | None:
    """A number in quotes, with the unit of its key, in percent, or with a fraction where a whole one is needed."""
    if isinstance(value, float) and whole:
        return f"write `{key}: {round(value)}`" if round(value) else None
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    given, unit = float(found[1]), found[2]
    if not unit:
        return f"write `{key}: {found[1]}`, without quotes"
    if unit == "%" and not whole:
        return f"write `{key}: {given / 100:g}`"
    if unit.casefold() in ("x", key.rpartition("_")[2]):
        return f"write `{key}: {found[1]}`, without the unit"
    return "write a number without a unit"


def text(value: object) -> str | None:
    """A number where text is needed."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f'put quotes around it: "{value}"' if number else None


def switch(key: str, value: object) -> str | None:
    """Words for true and false that YAML no longer takes for them."""
    said = str(value).casefold()
    return f"write `{key}: {'true' if said in _TRUE else 'false'}`" if said in (*_TRUE, *_FALSE) else None


def listed(key: str, value: object, first: str | None) -> str | None:
    """One entry where a list is needed, or a mapping of names to entries.

    first: the key that an entry must have, which would take the name.
    """
    if isinstance(value, str) and value.strip():
        return f"write `{key}: {in_flow([part.strip() for part in value.split(',')])}`"
    if isinstance(value, bool | int | float):
        return f"write `{key}: {in_flow([value])}`"
    if isinstance(value, dict) and first is not None:
        return entries(value, first)
    return None


def entries(value: dict[str, object], first: str) -> str:
    """A mapping of names to entries as the list that it should be: its first entry, written out."""
    name, rest = next(iter(value.items()), ("…", None))
    entry = {first: name, **(rest if isinstance(rest, dict) else {})}
    return f"write each entry of the list with a dash: `- {in_flow(entry)}`"


def mapping(key: str, value: object, known: Collection[str], needed: Sequence[str]) -> str | None:
    """Something else where a mapping of keys is needed. known: its keys; needed: those that it must have."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        return f"take the dash below `{key}:` away"
    if not known:
        return None
    example = ", ".join(f"{k}: …" for k in needed or list(known)[:1])
    return (f"write `{key}: {{{example}}}`; " if example else "") + f"known keys: {', '.join(known)}"


def share(key: str, value: object, most: object) -> str | None:
    """A percentage where a fraction of 1 is needed. most: the bound that the value is above."""
    if most != 1 or not isinstance(value, int | float) or not 1 <= value < 100:
        return None
    return f"this is a fraction, not a percentage: for {value:g}% write `{key}: {value / 100:g}`"


def step(entry: object, transforms: Collection[str], closest: Callable[[str], str | None]) -> str | None:
    """A step that is its transform's name alone, or has it as a key: as it should be written."""
    given: dict[str, object] = {entry: None} if isinstance(entry, str) else entry if isinstance(entry, dict) else {}
    for word, params in given.items():
        use = word if word in transforms else closest(word)
        if use is not None and (isinstance(entry, str) or isinstance(params, dict) or params is None):
            rest = {k: v for k, v in given.items() if k != word}
            return f"write `- {in_flow({'use': use, **rest, **(params if isinstance(params, dict) else {})})}`"
    return None
