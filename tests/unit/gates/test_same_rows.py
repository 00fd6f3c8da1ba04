"""Which rows, and which slices of them, a verdict is about: they are always held against what the run measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeopt.data import load_data, load_reported
from edgeopt.gates.of_run import _missing, _unlike
from edgeopt.gates.request import Request
from edgeopt.gates.rows_of_run import rows_of
from edgeopt.gates.seen import seen, seen_by
from edgeopt.results.locked import SLICES
from edgeopt.spec.recipe import GateSpec, TaskSpec
from edgeopt.support.errors import InputError

ROWS = [("good a", 1, "x"), ("bad b", 0, "y"), ("good c", 1, "y")]


def write(folder: Path, rows: list[tuple[str, int, str]], train: list[tuple[str, int, str]] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, given in (("train", train or [("t", 0, "x"), ("u", 1, "y")]), ("validation", rows)):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": t, "label": y, "genre": g}) + "\n" for t, y, g in given)
        )
    return folder


def spec(**more: Any) -> TaskSpec:
    return TaskSpec.model_validate(
        {"type": "text-classification", "dataset": {"path": "data"}, "text": "text", "label": "label", **more}
    )


def asked(task: TaskSpec, folder: Path, slice: str | None = None) -> Request:
    gate = GateSpec(metric="accuracy", max_drop=0.1, slice=slice)
    return Request("r", None, task, ((gate, None),), (), folder, {}, lambda at: None)  # type: ignore[arg-type]


def run_of(task: TaskSpec, folder: Path, rows: str = "files") -> Any:
    """A run with as much as its rows' fingerprints need."""
    loaded = load_data(task, folder)
    report, train = loaded.report, loaded.train.fingerprint
    data = {
        "train": train,
        "report": report.fingerprint,
        **{SLICES + c: d for c, d in report.slice_fingerprints.items()},
    }
    made = SimpleNamespace(
        fingerprint=report.fingerprint,
        labels=["0", "1"],
        split=report.name,
        leaked=loaded.leaked,
        remarks=loaded.remarks(),
    )
    place = {"recipe": str(folder / "r.yaml"), "relative": "r.yaml", "rows": rows}
    resolved = {"name": "r", "model": {"id": "m"}, "task": task.model_dump(mode="json"), "gates": [], "targets": []}
    lock = {"place": place, "data": data, "recipe": {"resolved": resolved}}
    return SimpleNamespace(folder=folder, report=SimpleNamespace(task=made), lock=lock)


def why(run: Any, recipe: Request, own: Request) -> str | None:
    issues = _unlike(run, recipe, own)
    return issues[0].message if issues else None


def test_a_finished_model_is_measured_on_the_same_slices(tmp_path: Path) -> None:
    write(tmp_path / "data", [*ROWS, ("t", 0, "z")])
    for task in (spec(slices=["genre"]), spec(slices=["genre"], leaks="drop")):
        loaded, (reported, _) = load_data(task, tmp_path).report, load_reported(task, tmp_path, ("0", "1"))
        assert reported.slices == loaded.slices == {"genre": ("x", "y", "y", *("z" * (task.leaks == "report")))}
        assert reported.slice_fingerprints == loaded.slice_fingerprints


def test_changed_rows_are_seen_wherever_the_recipe_stands(tmp_path: Path) -> None:
    write(tmp_path / "data", ROWS)
    task = spec()
    run, own = run_of(task, tmp_path), asked(task, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    again = [
        asked(task, tmp_path),
        asked(task, tmp_path / "link"),
        asked(spec(dataset={"path": str(tmp_path / "data")}), Path("/")),
    ]
    assert [why(run, each, own) for each in again] == [None] * 3
    write(tmp_path / "data", [("good a", 0, "x"), *ROWS[1:]])
    for each in again:
        assert "rows: the fingerprint" in (why(run, each, own) or "")
    shutil.rmtree(tmp_path / "data")
    assert why(run, again[0], own) is None  # a machine that only gates
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="E30"):  # there, and yet no rows
        why(run, again[0], own)


def test_a_folder_in_the_place_of_the_hubs_rows_is_read(tmp_path: Path) -> None:
    write(tmp_path / "data", ROWS)
    task = spec()
    run, own = run_of(task, tmp_path, "hub"), asked(task, tmp_path)
    write(tmp_path / "data", ROWS[:2])
    assert "rows" in (why(run, asked(task, tmp_path), own) or "")
    shutil.rmtree(tmp_path / "data")
    assert why(run, asked(task, tmp_path), own) is None


def test_leaks_and_missing_labels_decide_the_rows(tmp_path: Path) -> None:
    write(tmp_path / "data", [*ROWS, ("t", 0, "x")])
    run, own = run_of(spec(), tmp_path), asked(spec(), tmp_path)
    assert "rows" in (why(run, asked(spec(leaks="drop"), tmp_path), own) or "")
    with pytest.raises(InputError, match="E328"):
        why(run, asked(spec(leaks="refuse"), tmp_path), own)
    assert "rows" in (why(run, asked(spec(missing_label=0, labels=["0", "1"]), tmp_path), own) or "")
    shutil.rmtree(tmp_path / "data")
    assert why(run, asked(spec(), tmp_path), own) is None
    for other in (spec(leaks="drop"), spec(missing_label=-1)):
        assert "rows" in (why(run, asked(other, tmp_path), own) or "")


def test_changed_slices_are_seen_by_gates_on_them(tmp_path: Path) -> None:
    write(tmp_path / "data", ROWS)
    task = spec(slices=["genre"])
    run = run_of(task, tmp_path)
    assert {*run.lock["data"]} == {"train", "report", "slices.genre"}
    own = asked(task, tmp_path, "genre")
    before = load_data(task, tmp_path)
    assert rows_of(run, task)[0].slices == before.report.slices
    write(tmp_path / "data", [(text, label, "x") for text, label, _ in ROWS])
    after = load_data(task, tmp_path)
    assert after.key("train") == before.key("train") and after.report.fingerprint == before.report.fingerprint
    for slice in ("genre", "worst"):
        assert "values of genre in task.slices" in (why(run, asked(task, tmp_path, slice), own) or "")
    assert why(run, asked(task, tmp_path), own) is None  # of all rows, whose groups nothing looks at
    with pytest.raises(InputError) as error:
        rows_of(run, task)
    assert error.value.issues[0].code == "E151" and "values of genre in task.slices" in str(error.value)


def test_the_worst_slice_is_one_of_those_that_the_recipe_names(tmp_path: Path) -> None:
    own, gate = asked(spec(slices=["genre"]), tmp_path), GateSpec(metric="accuracy", max_drop=0.1, slice="worst")
    report: Any = SimpleNamespace(candidate=SimpleNamespace(metrics={"accuracy": 1.0}))
    assert _missing(gate, report, {"length", "genre"}, own, own) is None
    more = replace(own, task=spec(slices=["genre", "source"]))
    assert _missing(gate, report, {"length", "genre"}, more, own) == "slices by source"


def told(asked: Request, run: Any = None) -> tuple[int, list[str]]:
    """What `gate` says of a finished model's rows. run: that the model is of."""
    rows, _ = load_reported(asked.task, asked.folder, ("0", "1"))
    found = seen(asked, SimpleNamespace(run=run), rows)  # type: ignore[arg-type]
    return found.leaked, found.remarks


def test_a_finished_models_rows_are_looked_for_in_the_recipes_train(tmp_path: Path) -> None:
    """Found from outside: `gate ARTIFACT` said nothing where every row stood in train."""
    write(tmp_path / "data", ROWS, train=[*ROWS[:2], ("t", 0, "x")])
    beside = ["2 of the 3 validation rows are also in train: a model may have memorized their answers."]
    loaded = load_data(spec(), tmp_path)
    assert told(asked(spec(), tmp_path)) == (2, beside) == (loaded.leaked, loaded.remarks())
    dropped = "2 validation rows that are also in train were left out, as task.leaks asks."
    assert told(asked(spec(leaks="drop"), tmp_path)) == (0, [dropped])
    with pytest.raises(InputError, match="E328"):
        told(asked(spec(leaks="refuse"), tmp_path))
    (tmp_path / "data" / "train.jsonl").write_text('{"text": "good a", "label":')
    ((leaked, (said,)), (gone, (why,))) = told(asked(spec(), tmp_path)), _without_train(tmp_path)
    assert leaked == gone == 0 and said.startswith("Whether validation rows stand in train was not looked at: ")
    assert "JSON" in said and why.endswith("has no train file.")


def _without_train(folder: Path) -> tuple[int, list[str]]:
    (folder / "data" / "train.jsonl").unlink()
    return told(asked(spec(), folder))


def test_a_runs_model_is_held_against_what_the_run_was_trained_on(tmp_path: Path) -> None:
    """Whatever train another recipe names: its rows are not those that the model has seen."""
    write(tmp_path / "data", ROWS, train=[("good z", 1, "x"), ("bad z", 0, "x")])
    run = run_of(spec(), tmp_path)
    run.report.task.leaked, run.report.task.remarks = 1, ["1 of them."]
    assert told(asked(spec(), tmp_path), run) == (1, ["1 of them."]), "of its own rows the run has counted them"
    write(tmp_path / "other", [("Good z!", 1, "x"), ("bad y", 0, "x")], train=ROWS)
    other = asked(spec(dataset={"path": "other"}), tmp_path)
    assert told(other)[0] == 0 and told(other, run)[0] == 1
    write(tmp_path / "data", ROWS)
    unknown = (
        f"Whether validation rows stand in train was not looked at: the rows that {tmp_path} was trained on are not "
        "here."
    )
    assert told(other, run) == (0, [unknown])
    run.report.task.leaked = None
    assert "the report does not say" in seen_by(run.report.task).remarks[0]
