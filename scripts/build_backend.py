"""The build backend: setuptools, which writes beside what it reads, also for checkouts that may be read-only.

Such a one is built from a copy. Named in pyproject.toml, by PEP 517's `backend-path`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from setuptools import build_meta

_NEEDED = (
    *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "MANIFEST.in"),
    *("constraints.txt", "requirements-gate.txt"),
    *("src", "exporters", "scripts", "recipes", "schema"),
)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return os.access(folder / "src", os.W_OK)
    except OSError:
        return False


@contextmanager
def _sources() -> Iterator[None]:
    """The folder to build in: this one, or a copy of what a build needs."""
    here = Path.cwd()
    if _writable(here):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="edgeopt-build-") as made:
        for name in _NEEDED:
            if (here / name).is_dir():
                shutil.copytree(
                    here / name,
                    Path(made) / name,
                    copy_function=shutil.copyfile,
                    ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"),
                )
            elif (here / name).is_file():
                shutil.copyfile(here / name, Path(made) / name)
        for folder in [p for p in Path(made).rglob("*") if p.is_dir()]:
            folder.chmod(0o755)
        with chdir(made):
            yield


def _hook(hook: Callable[..., Any], *folders: str, **options: Any) -> Any:
    given = [os.path.abspath(folder) for folder in folders]
    with _sources():
        return hook(*given, **options)


def get_requires_for_build_wheel(config_settings: Any = None) -> Any:
    return _hook(build_meta.get_requires_for_build_wheel, config_settings=config_settings)


def get_requires_for_build_sdist(config_settings: Any = None) -> Any:
    return _hook(build_meta.get_requires_for_build_sdist, config_settings=config_settings)


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> Any:
    return _hook(build_meta.prepare_metadata_for_build_wheel, metadata_directory, config_settings=config_settings)


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> Any:
    given = [folder and os.path.abspath(folder) for folder in (wheel_directory, metadata_directory)]
    with _sources():
        return build_meta.build_wheel(given[0], config_settings, given[1])


def build_sdist(sdist_directory: str, config_settings: Any = None) -> Any:
    return _hook(build_meta.build_sdist, sdist_directory, config_settings=config_settings)


# an editable installation leads to the checkout itself, which has to be writable
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
build_editable = build_meta.build_editable
