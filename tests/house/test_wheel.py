"""The wheel holds every file that is read at run time, and finds them wherever it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: As pip builds in a checkout that may be read-only: from a copy, so that the checkout stays as it is.
BUILD = "import build_backend, sys; build_backend._writable = lambda _: False; build_backend.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-c", BUILD, str(folder)], ROOT, PYTHONPATH=str(ROOT / "scripts"))
    return next(folder.glob("*.whl"))


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def below(folder: str) -> Iterator[str]:
    for path in (ROOT / folder).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT / folder).as_posix()


def test_it_holds_the_packages_recipes_and_schema_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = {f"edgeopt/{path}" for path in below("src/edgeopt")}
    packages |= {f"edgeopt_exporters/{path}" for path in below("exporters/edgeopt_exporters")}
    data = {f"{folder}/{path}" for folder in ("recipes", "schema") for path in below(folder)}
    assert {"edgeopt/py.typed", "edgeopt/report/templates/report.html.j2", "edgeopt/page/assets/page.js"} <= packages
    assert found == packages | {f"{wheel.name.split('-py3')[0]}.data/data/share/edgeopt/{path}" for path in data}


def test_installed_in_another_prefix_it_finds_its_recipes(wheel: Path, tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:  # what pip does, in a tenth of its time
        archive.extractall(packages)
    next(packages.glob("*.data/data/share")).rename(tmp_path / "share")
    (next(packages.glob("*.dist-info")) / "direct_url.json").write_text(json.dumps({"url": wheel.as_uri()}))
    script = "from edgeopt.recipe.library import *; from edgeopt.support.installation import *; "
    script += "print(*recipe_files()); print(*target_files()); print(recipes_folder()); print(install('sign'))"
    recipes, targets, folder, command = run(
        [sys.executable, "-c", script], tmp_path, PYTHONPATH=str(packages)
    ).splitlines()
    assert recipes.startswith("quickstart ") and "papers/c-cofi/mrpc-60" in recipes and "cpu-1-thread" in targets
    assert Path(folder) == tmp_path / "share" / "edgeopt" / "recipes"
    assert command == f"pip install 'edgeopt[sign] @ {wheel.as_uri()}'"
