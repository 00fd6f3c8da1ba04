"""Trackers by their own clients: MLflow with a store of files, Weights & Biases offline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edgeopt.support.errors import InputError
from edgeopt.track.mlflow import MlflowTracker
from edgeopt.track.record import KEY, Record
from edgeopt.track.tracking import tracking

LEAF = Record(
    "tiny",
    "k1",
    params={f"steps.adapt.r{i}": "x" * 900 for i in range(120)},
    metrics={"candidate/accuracy": 0.9, "latency/a: b/16/candidate/p50_ms": 1.5},
    curves={"train/candidate/adapt/loss": [(10, 0.7), (20, 0.5)]},
    tags={"edgeopt.verdict": "pass", "gate.accuracy.max_drop": "pass: because"},
)


def test_mlflow_keeps_all_of_a_record_once(mlflow: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>")
    record = Record(**{**vars(LEAF), "files": [tmp_path / "report.html"]})
    told = tracking("mlflow", print).tracker
    assert isinstance(told, MlflowTracker)
    above = told.log(Record("table", "k0", once=False, status="running"), None)
    run = told.log(record, above)
    assert told.log(record, above) == run, "the same run is not told twice"
    client = mlflow.MlflowClient()
    found = client.get_run(run)
    assert found.info.status == "FINISHED" and found.data.tags["mlflow.parentRunId"] == above
    assert found.data.metrics["candidate/accuracy"] == 0.9 and found.data.tags["edgeopt.verdict"] == "pass"
    assert found.data.metrics["latency/a_ b/16/candidate/p50_ms"] == 1.5 and len(found.data.params) == 120
    points = client.get_metric_history(run, "train/candidate/adapt/loss")
    assert [(p.step, p.value) for p in points] == [(10, 0.7), (20, 0.5)]
    assert [f.path for f in client.list_artifacts(run, "report")] == ["report/report.html"]
    assert client.get_run(above).info.status == "RUNNING"
    assert told.log(Record("table", "k0", once=False, status="failed", tags={"failed.b": "E401"}), None) == above
    assert client.get_run(above).info.status == "FAILED"
    assert len(client.search_runs([told.experiment])) == 2


def test_mlflow_tells_on_a_run_that_was_cut_off(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tracking("mlflow", print).tracker
    assert isinstance(told, MlflowTracker)
    with monkeypatch.context() as broken:
        broken.setattr(told.client, "set_terminated", _die)
        with pytest.raises(ConnectionError):
            told.log(LEAF, None)
    run = told.log(LEAF, None)
    assert told.client.get_run(run).info.status == "FINISHED"
    assert len(told.client.search_runs([told.experiment], f"tags.`{KEY}` = 'k1'")) == 1


def _die(*_: object) -> None:
    raise ConnectionError("gone")


def test_a_server_of_mlflow_that_is_not_there_is_one_error_soon(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://me:s3cret@127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    began = time.monotonic()
    with pytest.raises(InputError) as error:
        tracking("mlflow", print)
    (issue,) = error.value.issues
    assert issue.code == "E147" and "s3cret" not in issue.render() and time.monotonic() - began < 30


def test_wandb_keeps_a_record_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install '.[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    (tmp_path / "report.html").write_text("<p>")
    told = tracking("wandb", print).tracker
    assert told is not None
    group = told.log(Record("table", "k0", once=False, status="running"), None)
    record = Record(**{**vars(LEAF), "params": {"seed": "1"}, "files": [tmp_path / "report.html"]})
    assert told.log(record, group) == group
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    data = kept.read_bytes()
    assert all(
        word in data for word in (b"candidate/accuracy", b"train/candidate/adapt/loss", b"report.html", group.encode())
    )
