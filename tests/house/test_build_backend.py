"""Building from a checkout that may be read-only: setuptools writes beside what it reads, so it is given a copy."""

from __future__ import annotations

import importlib.util
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def backend() -> Any:
    pytest.importorskip("setuptools")
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "scripts" / "build_backend.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (
        "src/edgeopt/a.py",
        "exporters/edgeopt_exporters/b.py",
        "scripts/build_backend.py",
        "src/edgeopt.egg-info/PKG-INFO",
        "pyproject.toml",
        "README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_read_only_checkout_is_built_from_a_copy(
    backend: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_writable", lambda _: False)
    before = sorted(checkout.rglob("*"))
    with chdir(checkout):
        with backend._sources():
            here = Path.cwd()
            assert (
                here != checkout
                and (here / "src/edgeopt/a.py").read_text() == "src/edgeopt/a.py"
                and (here / "pyproject.toml").is_file()
            )
            assert not (here / "src/edgeopt.egg-info").exists()
            (here / "src" / "written").touch()
        assert Path.cwd() == checkout and not here.exists()
    assert sorted(checkout.rglob("*")) == before


def test_a_writable_one_is_built_where_it_is(backend: Any, checkout: Path) -> None:
    with chdir(checkout), backend._sources():
        assert Path.cwd() == checkout


def test_the_project_names_it_and_a_source_distribution_has_it() -> None:
    import tomllib

    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert (system["build-backend"], system["backend-path"]) == ("build_backend", ["scripts"])
    assert "scripts/build_backend.py" in (ROOT / "MANIFEST.in").read_text()
