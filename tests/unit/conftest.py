"""What tests of several packages start from: a finished run, its bundle, and MLflow on a store of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundles import make_run

from edgeopt.bundle.make import Wanted, make_bundle


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    return make_run(tmp_path_factory.mktemp("made"), tiny_data)


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    make_bundle(run, run.parent / "bundle.zip", Wanted(count=4, license="apache-2.0"))
    return run.parent / "bundle.zip"


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow, where it is installed, on a store of files in a folder of the test's."""
    found = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install '.[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    found.set_tracking_uri((tmp_path / "store").as_uri())
    return found
