"""Packages with plugins, installed for one test: on sys.path, with the metadata that pip would write."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeopt.support import registry

#: A package with a plugin of each kind.
EXAMPLE = Path(__file__).parent / "plugin_package"


def describe(folder: Path, name: str, entries: Mapping[str, Mapping[str, str]]) -> None:
    """Write `name`-1.0.dist-info into the folder. entries: by group, what each name leads to."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in named.items())
        for group, named in entries.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@contextmanager
def on_path(*folders: Path) -> Iterator[None]:
    """Within, what these folders hold is installed."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(str(folder))
        registry.forget()
        yield
    registry.forget()


@contextmanager
def example(work: Path) -> Iterator[None]:
    """Within, the example package is installed, by its own pyproject.toml. work: where its metadata is written."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    describe(work, project["name"], project["entry-points"])
    with on_path(work, EXAMPLE / "src", EXAMPLE):
        yield
