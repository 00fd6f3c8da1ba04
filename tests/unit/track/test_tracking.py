"""Telling a tracker: opened before any work, and nothing that it does loses a run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from bundles import make_run

from edgeopt.results.sealed import Run, open_run
from edgeopt.support.errors import InputError
from edgeopt.track import tracking as module
from edgeopt.track.record import Record
from edgeopt.track.tracker import Tracker
from edgeopt.track.tracking import Tracking, tracking


class Kept(Tracker):
    """A tracker of the test's own, which dies after so many records."""

    name: ClassVar[str] = "kept"
    where = "http://me:pass@host"
    dies: ClassVar[int] = 99

    def __init__(self) -> None:
        self.told: list[tuple[Record, str | None]] = []

    def open(self) -> None:
        """Reaches what is always there."""

    def log(self, record: Record, parent: str | None) -> str:
        if len(self.told) >= self.dies:
            raise ConnectionError("http://me:pass@host went away")
        self.told.append((record, parent))
        return record.name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Run:
    return open_run(make_run(tmp_path_factory.mktemp("made"), tiny_data))


def test_a_run_is_told_and_the_user_where(run: Run) -> None:
    tracker, said = Kept(), list[str]()
    Tracking(tracker, said.append).run(run)
    assert [(r.name, above) for r, above in tracker.told] == [(run.report.recipe.name, None)]
    assert said == [f"{run.report.recipe.name} is in kept: http://***@host"]


def test_the_cells_of_a_matrix_are_below_one(run: Run, tmp_path: Path) -> None:
    tracker = Kept()
    told = Tracking(tracker, print)
    told.begin("table", {"a": "1", "b": "2", "c": "3"}, tmp_path)
    told.run(run, "a")
    told.run(run, "b")
    told.end({"c": "E401: broke"}, [tmp_path / "comparison.html"], tmp_path)
    assert [(r.name, r.status, above) for r, above in tracker.told] == [
        ("table", "running", None),
        ("a", "finished", "table"),
        ("b", "finished", "table"),
        ("table", "failed", None),
    ]
    first, last = tracker.told[0][0], tracker.told[-1][0]
    assert first.key == last.key and last.tags == {"failed.c": "E401: broke"} and len(last.files) == 1


def test_a_tracker_that_dies_costs_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Kept, "dies", 1)
    tracker = Kept()
    told = Tracking(tracker, print)
    with caplog.at_level(logging.WARNING, "edgeopt"):
        told.begin("table", {"a": "1"}, tmp_path)
        told.run(run, "a")
        told.run(run, "b")
        told.end({}, [], tmp_path)
    (warned,) = [r.getMessage() for r in caplog.records]
    assert warned.startswith("warning: kept takes no more: http://***@host went away. The run is whole in ")
    assert len(tracker.told) == 1, "and what is lost is not asked again"


def test_nobody_is_told_without_a_tracker(run: Run, tmp_path: Path) -> None:
    told = tracking(None, print)
    told.begin("table", {}, tmp_path)
    told.run(run)
    told.end({}, [], tmp_path)
    assert told.tracker is None


def refused(name: str) -> tuple[str, str]:
    with pytest.raises(InputError) as error:
        tracking(name, print)
    (issue,) = error.value.issues
    return issue.code, f"{issue.message} {issue.help}"


def test_what_keeps_it_from_opening_is_one_error_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("tensorboard") == ("E147", "there is no tracker 'tensorboard' there are mlflow, wandb")
    for name in module.TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        code, text = refused(name)
        assert code == "E206" and f"[{name}]" in text and "pip install" in text
    monkeypatch.setitem(module.TRACKERS, "kept", f"{__name__}:Kept")
    monkeypatch.setattr(Kept, "open", lambda self: self.log(Record("x", "y"), None))
    monkeypatch.setattr(Kept, "dies", 0)
    code, text = refused("kept")
    assert code == "E147" and "http://***@host went away" in text


def test_wandb_is_never_left_to_ask_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = SimpleNamespace(api=SimpleNamespace(api_key=None))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    code, text = refused("wandb")
    assert code == "E147" and "WANDB_MODE=offline" in text
