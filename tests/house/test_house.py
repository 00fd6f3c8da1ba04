"""Which package may import which, as ARCHITECTURE.md has it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import house

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def graph() -> house.Graph:
    return house.graph_of(house.SOURCE)


def test_every_package_has_its_place_and_its_caption() -> None:
    packages = [p.name for p in house.SOURCE.iterdir() if (p / "__init__.py").exists()]
    assert set(packages) <= set(house.ORDER)
    table = re.findall(r"^\| `(\w+)/` \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.M)
    assert table == [name for name in house.ORDER if name in packages]
    assert len(house.loose(house.SOURCE)) <= 3


def test_nothing_imports_against_the_order(graph: house.Graph) -> None:
    assert house.against(graph) == []


def test_nothing_imports_in_a_circle(graph: house.Graph) -> None:
    assert house.circles(house.of_rooms(graph)) == [] and house.circles(graph) == []


def test_the_script_counts(tmp_path: Path) -> None:
    """Two packages that import each other, one of them against the order, a loose module, and one within a function."""
    source = tmp_path / "edgeopt"
    files = {
        "__init__": "",
        "loose": "",
        "support/__init__": "",
        "support/a": "from edgeopt.store import b",
        "store/__init__": "",
        "store/b": "def f():\n    import edgeopt.support.a",
    }
    for name, text in files.items():
        path = source / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = house.graph_of(source)
    assert house.against(graph) == [("edgeopt.support.a", "edgeopt.store.b")]
    assert house.circles(graph) == [["edgeopt.store.b", "edgeopt.support.a"]] and house.circles(
        house.of_rooms(graph)
    ) == [["store", "support"]]
    assert house.loose(source) == ["loose"]
    done = subprocess.run([sys.executable, house.__file__, str(source)], capture_output=True, text=True, check=True)
    assert "2 packages, 1 loose modules: loose" in done.stdout and "1 imports against the order" in done.stdout


def test_tests_of_a_package_stand_under_its_name() -> None:
    folders = [p.name for p in (ROOT / "tests" / "unit").iterdir() if p.is_dir() and any(p.glob("test_*.py"))]
    assert set(folders) <= set(house.ORDER)
