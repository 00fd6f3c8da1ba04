"""How the packages of edgeopt depend on each other: `python scripts/house.py [SOURCE]`.

Prints the packages in the order of ARCHITECTURE.md with how many modules each has, how many modules stand loose beside
them, every import against the order, and every circle of packages and of modules. Imports within functions count;
SOURCE is `src/edgeopt` by default.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "edgeopt"
#: From the ground up: a package imports only what stands in a line before its own, and itself.
ORDER = (
    "device",
    "support",
    "statistics",
    "spec",
    "store",
    "models",
    "export",
    "tasks",
    "data",
    "corpus",
    "results",
    "step",
    "measure",
    "recipe",
    "training",
    "transforms",
    "gates",
    "plan",
    "report",
    "track",
    "run",
    "bundle",
    "predict",
    "page",
    "ship",
    "push",
    "testing",
    "api",
    "plugins",
    "cli",
)
Graph = dict[str, set[str]]


def modules_of(source: Path) -> dict[str, Path]:
    """Every module below a package's folder, by its dotted name; a package by its own."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join([source.name, *parts]).removesuffix(".__init__")] = path
    return found


@cache
def parsed(text: str) -> ast.Module:
    """The tree of a module's text, which several rules walk through."""
    return ast.parse(text)


def imports_of(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules among those known that a file imports anywhere.

    `from a import b` imports a.b, if there is such a module, else a.
    """
    for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known or node.module in known:
                    yield name if name in known else node.module


def graph_of(source: Path) -> Graph:
    known = modules_of(source)
    return {name: set(imports_of(path, known)) - {name} for name, path in known.items()}


def room(module: str) -> str:
    """The package just below edgeopt that a module is in; a loose module's own name; nothing for edgeopt itself."""
    return module.partition(".")[2].partition(".")[0]


def against(graph: Graph) -> list[tuple[str, str]]:
    """Imports of a package that stands behind, or in no place."""
    place = {name: i for i, name in enumerate(ORDER)}
    wrong = []
    for module, imported in graph.items():
        for other in imported:
            a, b = room(module), room(other)
            if a and b and a != b and a != "__main__" and place.get(b, len(ORDER)) >= place.get(a, -1):
                wrong.append((module, other))
    return sorted(wrong)


def circles(graph: Graph) -> list[list[str]]:
    """Groups that import each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph.get(name, ()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return sorted(found)


def of_rooms(graph: Graph) -> Graph:
    """The graph of the packages: which has a module that imports one of which."""
    found: Graph = {}
    for module, imported in graph.items():
        found.setdefault(room(module), set()).update(r for r in map(room, imported) if r and r != room(module))
    found.pop("", None)
    return found


def loose(source: Path) -> list[str]:
    """Modules beside the packages, but for `__init__` and `__main__`."""
    return sorted(p.stem for p in source.glob("*.py") if p.stem not in ("__init__", "__main__"))


def main(source: Path = SOURCE) -> None:
    graph = graph_of(source)
    count = Counter(room(module) for module in graph)
    packages = sorted(p.name for p in source.iterdir() if (p / "__init__.py").exists())
    for name in [*(n for n in ORDER if n in count), *sorted(set(packages) - set(ORDER))]:
        print(f"{name:12} {count[name]:3} modules{'' if name in ORDER else ', and no place in the order'}")
    print(f"\n{len(packages)} packages, {len(loose(source))} loose modules: {', '.join(loose(source)) or 'none'}")
    wrong, rooms, modules = against(graph), circles(of_rooms(graph)), circles(graph)
    print(f"{len(wrong)} imports against the order" + "".join(f"\n  {a} imports {b}" for a, b in wrong))
    for what, groups in (("packages", rooms), ("modules", modules)):
        print(f"{len(groups)} circles of {what}" + "".join(f"\n  {', '.join(group)}" for group in groups))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
