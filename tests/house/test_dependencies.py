"""The bounds of pyproject.toml, and the exact versions that are installed within them."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [Requirement(line) for line in PROJECT["dependencies"]]


@pytest.fixture
def lowest() -> list[str]:
    spec = importlib.util.spec_from_file_location("lowest", ROOT / "scripts" / "lowest_constraints.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.lowest())


def test_every_dependency_has_a_lowest_version_that_is_tested(lowest: list[str]) -> None:
    pinned = {name: version for name, _, version in (line.partition("==") for line in lowest)}
    assert {r.name for r in REQUIREMENTS} <= set(pinned)
    assert all(r.specifier.contains(pinned[r.name]) for r in REQUIREMENTS)


def test_what_make_setup_installs_is_within_the_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    exact = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    assert not [str(r) for r in REQUIREMENTS if not r.specifier.contains(exact[r.name.lower()])]


def test_a_dependency_has_an_upper_bound_only_with_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text[text.index("\ndependencies = [") : text.index("\n]\n", text.index("\ndependencies = ["))].splitlines()
    assert not [line for line in listed if "<" in line.split("#")[0] and "#" not in line]
