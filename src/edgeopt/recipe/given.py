"""A recipe that a program gives as a mapping, in place of a file; and values that it gives in place of `--set`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path, PurePath

from edgeopt.recipe.yaml import MAX_DEPTH, Document, parse
from edgeopt.support.errors import Issue, Path_, Place, bad_input
from edgeopt.support.words import a

#: Where the file's name would stand in messages, in the lock and in the report.
NAME = "<dict>"


@dataclass(frozen=True)
class Given:
    """A recipe given as a mapping. data: what a file would hold; folder: what relative paths in it are relative to."""

    data: Mapping[str, object]
    folder: Path

    @property
    def path(self) -> Path:
        """Where its file would be."""
        return self.folder.resolve() / NAME


def as_document(data: Mapping[str, object]) -> Document:
    """What YAML with the same content would be, without lines: the place of `steps[0]["use"]` is `<dict>:steps.0.use`.

    The mapping itself stays as it is. What YAML cannot hold is in the document's issues.
    """
    document = Document(NAME)
    document.data = _plain(document, data, ())
    return document


def as_overrides(values: Mapping[str, object]) -> list[str]:
    """Keys and values as `--set` takes them. Raises InputError E109 for a value that cannot stand there."""
    return [f"{key}={_written(key, value)}" for key, value in values.items()]


def _place(at: Path_) -> Place:
    return Place(f"{NAME}:{'.'.join(map(str, at))}" if at else NAME)


def _plain(document: Document, value: object, at: Path_) -> object:
    place = document.values[at] = _place(at)
    if len(at) > MAX_DEPTH:
        document.issues.append(Issue("E102", f"nesting beyond {MAX_DEPTH} levels is not read", place))
        return None
    if isinstance(value, Mapping):
        return {key: _plain(document, child, (*at, key)) for key, child in value.items() if _is_key(document, key, at)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(document, child, (*at, i)) for i, child in enumerate(value)]
    if isinstance(value, str | PurePath):
        return _text(document, str(value), place)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    document.issues.append(
        Issue(
            "E102",
            f"{a(type(value).__name__)} has no place in a recipe",
            place,
            "give text, a number, true or false, a list or a mapping",
        )
    )
    return None


def _is_key(document: Document, key: object, at: Path_) -> bool:
    if not isinstance(key, str):
        document.issues.append(Issue("E102", f"a key must be a plain word, and this is {key!r}", _place(at)))
        return False
    _text(document, key, _place(at))
    return True


def _text(document: Document, text: str, place: Place) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        document.issues.append(
            Issue("E102", "half of a surrogate pair is no character", place, "write the character itself")
        )
    return text


def _written(key: str, value: object) -> str:
    document = Document("set")
    plain = _plain(document, value, ())
    if not document.issues:
        ways = [plain] if isinstance(plain, str) else []
        ways += [json.dumps(plain, ensure_ascii=ascii_alone) for ascii_alone in (False, True)]
        for text in ways:
            read = parse(text, Path("set"))
            if not read.issues and read.data == plain and type(read.data) is type(plain):
                return text
    raise bad_input(
        "E109",
        f"the value of '{key}' cannot be set: {value!r:.60}",
        help="give text, a number, True, False, None, a list or a mapping of these",
    )
