"""The rows of a finished run: where its recipe was, by their fingerprint, whatever the working directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import make_run
from helpers import edgeopt, seal_run, write_rows

from edgeopt.data import hub
from edgeopt.spec.recipe import TaskSpec

GATES = [{"metric": "accuracy", "min": 0.01}]


@pytest.fixture
def project(tmp_path: Path, tiny_data: Path) -> Path:
    """A folder with data/ and run/, whose recipe named `data`; beside it another with a data/ of its own."""
    project = tmp_path / "project"
    shutil.copytree(tiny_data, project / "data")
    made = make_run(project, project / "data", gates=GATES)
    lock = json.loads((made / "recipe.lock").read_text())
    lock["recipe"]["resolved"]["task"]["dataset"]["path"] = "data"
    seal_run(made, lock)
    (tmp_path / "elsewhere").mkdir()
    write_rows(tmp_path / "elsewhere" / "data", train=8, validation=8)
    return project


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_hub(*_: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(hub, "open_hub", open_hub)


def gated(run: Path, cwd: Path) -> Any:
    done = edgeopt("gate", run / "model", "--json", cwd=cwd)
    assert done.code == 0, done.err
    return done.json["gates"][0]["reason"]


def test_they_are_the_same_from_every_folder(project: Path) -> None:
    reason = gated(project / "run", project)
    assert "on 32 rows" in reason
    assert gated(project / "run", project.parent / "elsewhere") == reason
    for cwd, out in ((project, "a"), (project.parent / "elsewhere", "b")):
        assert edgeopt("bundle", project / "run", "--count", 4, "--out", project.parent / out, cwd=cwd).code == 0
    a, b = ((project.parent / out / "selftest.json").read_bytes() for out in "ab")
    assert a == b


def test_a_tree_that_was_moved_has_them_still(project: Path) -> None:
    reason = gated(project / "run", project)
    moved = project.rename(project.parent / "moved")
    assert gated(moved / "run", project.parent / "elsewhere") == reason
    write_rows(project.parent / "rows", train=8, validation=8)
    project.mkdir()
    (project.parent / "rows").rename(project / "data")  # others, where they were first
    assert gated(moved / "run", project) == reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: shutil.rmtree(data), "does not exist"),
        (lambda data: (data / "validation.jsonl").write_text('{"text": "good1", "label": 1}\n'), "are others now"),
    ],
)
def test_others_are_never_taken(project: Path, change: Callable[[Path], object], said: str) -> None:
    change(project / "data")
    for command in (
        ["gate", project / "run" / "model"],
        ["bundle", project / "run"],
        ["baseline", project / "run" / "model", "--out", "b.json"],
    ):
        done = edgeopt(*command, cwd=project.parent / "elsewhere")
        assert done.code == 2 and "error[E151]" in done.err and said in done.err and "--recipe FILE" in done.err
    assert not (project.parent / "elsewhere" / "b.json").exists()


def test_rows_of_the_hub_are_not_those_of_a_folder_of_that_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def open_hub(spec: TaskSpec, _: Path) -> hub.Hub:
        asked.append(spec.dataset.path)
        splits = {
            s: [json.loads(line) for line in (project.parent / "kept" / f"{s}.jsonl").open()]
            for s in ("train", "validation")
        }
        return hub.Hub(splits, None, "data")

    shutil.copytree(project / "data", project.parent / "kept")
    (project / "data" / "validation.jsonl").write_text('{"text": "good1", "label": 1}\n')
    lock = json.loads((project / "run" / "recipe.lock").read_text())
    lock["place"]["rows"] = "hub"
    seal_run(project / "run", lock)
    monkeypatch.setattr(hub, "open_hub", open_hub)
    assert "on 32 rows" in gated(project / "run", project) and asked == ["data"]


def test_rows_that_stand_in_train_are_said_of_a_model_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words and the places in which `apply` says it. Found from outside: `gate ARTIFACT` said nothing."""
    shutil.copytree(project / "run" / "model", tmp_path / "model")
    resolved = json.loads((project / "run" / "recipe.lock").read_text())["recipe"]["resolved"]
    known = {"name", "model", "task", "targets", "gates"}
    head = {"edgeopt": 1, **{key: value for key, value in resolved.items() if key in known}, "steps": []}
    (project / "recipe.yaml").write_text(json.dumps(head))
    shutil.copyfile(project / "data" / "validation.jsonl", project / "data" / "train.jsonl")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    args = ("gate", tmp_path / "model", "--recipe", project / "recipe.yaml")
    done = edgeopt(*args, "--junit", tmp_path / "gates.xml", "--github")
    said = "32 of the 32 validation rows are also in train: a model may have memorized their answers."
    assert done.code == 0 and f"\nwarning: {said}\npass" in done.out and f"::{said}" in done.err
    assert said in (tmp_path / "gates.xml").read_text() and said in (tmp_path / "summary.md").read_text()
    assert edgeopt(*args, "--set", "task.leaks=refuse").code == 2
    sized = edgeopt(*args, "--set", "gates=[{metric: size, max_mb: 100}]", "--json").json
    assert sized["warnings"] == [] == sized["notes"], "train is read where a gate looks at answers"
    idle = edgeopt(*args, "--set", "gates=[]", "--json")
    assert idle.code == 0 and idle.json["warnings"][0].startswith("There are no gates")
    (project / "data" / "train.jsonl").unlink()
    done = edgeopt(*args)
    assert done.code == 0 and "note: Whether validation rows stand in train was not looked at: dataset" in done.out
