"""YAML with the line and column of every key and value kept, by the 1.2 core schema.

PyYAML reads YAML 1.1, where `3e-4` is a string, `no` is false and `1:30` is ninety; a recipe needs
1.2, so scalars are resolved here. Aliases are refused: a recipe has no use for them, and they are the
way to make a small file enormous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edgeopt.support.errors import Issue, Path_, Place

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
MAX_DEPTH = 32
#: What PyYAML says (the beginning of it), what that means, and how to mend it.
_PLAIN = (
    (
        "mapping values are not allowed here",
        "a key cannot stand here",
        "start the line in the same column as the keys above it; put quotes around a value that has ': ' in it",
    ),
    (
        "could not find expected ':'",
        "a line here or just above has no colon",
        "write `key: value`, with a space after the colon",
    ),
    ("found character '\\t'", "there is a tab", "indent with spaces: YAML takes no tabs"),
    (
        "found character",
        "a value begins with a character that YAML keeps for itself",
        "put quotes around the value",
    ),
    (
        "expected <block end>, but found",
        "this line does not fit the lines above it",
        "start it in the same column as they do; entries of a list each begin with a dash, keys of a mapping never do",
    ),
    ("found unexpected end of stream", "a quote is not closed", "add the closing quotation mark"),
    ("expected ',' or '", "a bracket is not closed, or a comma is missing", "check the brackets on the lines above"),
)


def scalar(text: str) -> Any:
    """The value of a plain (unquoted) YAML 1.2 scalar."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        # int() refuses thousands of digits, which is no number that a recipe means
        return int(text.replace("_", "")) if len(text) <= 400 else text
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


class _AliasError(yaml.MarkedYAMLError):
    """An alias was met."""


class _Loader(yaml.SafeLoader):
    """A loader that stops at the first alias, at its own place: once composed, it is the very node it stands for."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise _AliasError(problem_mark=event.start_mark)
        return super().compose_node(parent, index)


@dataclass
class Document:
    """A parsed file: its data, and for every path in it the place of the key and of the value."""

    source: str
    data: Any = None
    keys: dict[Path_, Place] = field(default_factory=dict)
    values: dict[Path_, Place] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)

    def at(self, path: Path_) -> Any:
        """The value at a path; None where there is none."""
        found = self.data
        for part in path:
            known = isinstance(found, dict) or (isinstance(found, list) and isinstance(part, int) and part < len(found))
            found = (found.get(part) if isinstance(found, dict) else found[part]) if known else None
        return found

    def place(self, path: Path_) -> Place:
        """The key's place where there is one, else the value's, else the nearest parent's."""
        while path:
            found = self.keys.get(path) or self.values.get(path)
            if found:
                return found
            path = path[:-1]
        return self.values.get((), Place(self.source, 1))


def _in_plain_words(problem: str, place: Place) -> tuple[str, Place, str]:
    """What PyYAML says, as message, place and help."""
    for begins, means, help in _PLAIN:
        if problem.startswith(begins):
            return f"this is not YAML: {means}", place, help
    return f"this is not YAML: {problem}", place, "check the indentation, quotes and brackets at that place"


def parse(text: str, path: Path) -> Document:
    """The document of a text; problems are collected in `issues`, and `data` is None when nothing could be read."""
    base = Place.of(path)
    document = Document(base.source)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(base.source, mark.line + 1, mark.column + 1) if mark else base
        if isinstance(error, _AliasError):
            document.issues.append(Issue("E102", "aliases are not read", place, "write the value out where it is used"))
            return document
        problem = error.problem or error.context or ""
        problem = f"{error.context}, {problem}" if problem.startswith("but ") else problem
        document.issues.append(Issue("E102", *_in_plain_words(problem, place)))
        return document
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.issues.append(
            Issue(
                "E102",
                f"the character U+{int(error.character):04X} may not stand in YAML",
                Place(base.source, line),
                "take it out, or write it as an escape within double quotes",
            )
        )
        return document
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        document.issues.append(Issue("E102", f"this is not YAML: {' '.join(str(error).split())}", base))
        return document
    if node is None:
        document.issues.append(Issue("E102", "the file is empty", base, "start from `edgeopt recipes copy quickstart`"))
        return document

    def build(node: yaml.Node, at: Path_) -> Any:
        place = Place(base.source, node.start_mark.line + 1, node.start_mark.column + 1)
        document.values[at] = place
        if len(at) > MAX_DEPTH:
            document.issues.append(Issue("E102", f"nesting beyond {MAX_DEPTH} levels is not read", place))
            return None
        if isinstance(node, yaml.MappingNode):
            return mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [build(child, (*at, i)) for i, child in enumerate(node.value)]
        if any("\ud800" <= c <= "\udfff" for c in node.value):
            document.issues.append(
                Issue("E102", "half of a surrogate pair is no character", place, "write the character itself")
            )
        return scalar(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else node.value

    def mapping(node: yaml.MappingNode, at: Path_) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place(base.source, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                document.issues.append(Issue("E102", "a key must be a plain word", place))
                continue
            key = str(key_node.value)
            if any("\ud800" <= c <= "\udfff" for c in key):
                document.issues.append(
                    Issue("E102", "half of a surrogate pair is no character", place, "write the character itself")
                )
                continue
            if key in out:
                first = document.keys[(*at, key)].line
                document.issues.append(
                    Issue("E103", f"key '{key}' stands twice (first on line {first})", place, "keep one of the two")
                )
                continue
            document.keys[(*at, key)] = place
            out[key] = build(value_node, (*at, key))
        return out

    document.data = build(node, ())
    return document
