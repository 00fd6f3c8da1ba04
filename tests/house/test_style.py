"""What ruff has no rule for: arguments say what they are, and a docstring can be read by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
#: The share of arguments that may be Any, as those of libraries without types are.
UNTYPED = 0.02
#: How a docstring begins that only says something together with the one above it.
LEANING = ("Of ", "The same ")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Read(NamedTuple):
    """What the code says of itself: docstrings with their files, the number of arguments, and those that are Any."""

    docstrings: list[tuple[str, str]]
    arguments: int
    untyped: list[str]


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Every statement below a node; expressions, which hold no definition, are passed by."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
            yield from statements(child)


@pytest.fixture(scope="module")
def read() -> Read:
    docstrings, arguments, untyped = [], 0, []
    for path in (p for folder in ("src", "exporters") for p in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in (tree, *statements(tree)):
            if isinstance(node, ast.Module | ast.ClassDef | Function):
                docstrings.append((name, ast.get_docstring(node, clean=False) or ""))
            if isinstance(node, Function):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                arguments += sum(one.arg not in ("self", "cls") for one in given)
                anything = [one for one in given if isinstance(one.annotation, ast.Name) and one.annotation.id == "Any"]
                untyped += [f"{name}:{node.lineno} {node.name} {one.arg}" for one in anything]
    return Read(docstrings, arguments, untyped)


def test_arguments_say_what_they_are(read: Read) -> None:
    assert len(read.untyped) < UNTYPED * read.arguments, "\n".join(read.untyped)


def test_docstrings_stand_alone(read: Read) -> None:
    leaning = [f"{name}: {text.splitlines()[0]}" for name, text in read.docstrings if text.startswith(LEANING)]
    assert not leaning, "\n".join(leaning)
