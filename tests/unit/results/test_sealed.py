"""A run whose folder was changed: every command that reads it says so, and decides nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import MODEL, make_run
from helpers import edgeopt, seal_run

from edgeopt.export.exporter import Runnable
from edgeopt.report.write import write_report
from edgeopt.results.model import Report
from edgeopt.results.sealed import open_run
from edgeopt.support.errors import InputError

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A run with its renderings, and with what users and other commands put beside."""
    run = make_run(tmp_path_factory.mktemp("sealed"), tiny_data, gates=[{"metric": "size", "max_ratio": 1.0}])
    (run / "latency.json").write_text("[]")
    seal_run(run)
    write_report(Report.model_validate_json((run / "report.json").read_text()), run, pair=False)
    (run / "notes.txt").write_text("mine")
    (run / "page").mkdir()
    (run / "page" / "index.html").write_text("page")
    (run / "devices").mkdir()
    (run / "devices" / "phone.json").write_text("{}")
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replaced(old: str, new: str) -> Change:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def right_answers(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({**row, "candidate": [1.0 - row["label"], float(row["label"])]}) + "\n" for row in rows)
    )


def test_a_whole_run_is_opened_whatever_lies_beside(whole: Path) -> None:
    found = open_run(whole)
    assert found == open_run(whole / "report.json")
    assert set(found.lock["files"]) == {
        "predictions.jsonl",
        "latency.json",
        "log.txt",
        f"model/{MODEL}",
        "model/tokenizer.json",
        "model/session.json",
    }
    assert found.report.seal is not None
    assert set(found.report.seal.files) == {"recipe.lock", "report.md", "report.html", "model/README.md"}


def test_white_space_of_the_report_is_no_change(run: Path) -> None:
    path = run / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=False, indent=4))
    assert open_run(run).report.verdict == "pass"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (f"model/{MODEL}", Path.unlink, "is missing"),
        (f"model/{MODEL}", flipped, "has other bytes"),
        (f"model/{MODEL}", lambda p: p.write_bytes(p.read_bytes() + b" "), " bytes, and had "),
        ("model/tokenizer.json", flipped, "has other bytes"),
        ("model/onnx/model.onnx.data", lambda p: p.write_text("added"), "was added"),
        ("predictions.jsonl", right_answers, "and had"),
        ("latency.json", lambda p: p.write_text("{}"), "has other bytes"),
        ("recipe.lock", replaced('"max_ratio": 1.0', '"max_ratio": 9.0'), "has other bytes"),
        ("recipe.lock", Path.unlink, "is missing"),
        ("report.json", replaced('"size_bytes": ', '"size_bytes": 1'), "says something else"),
        ("report.json", replaced('"accuracy": 0.8', '"accuracy": NaN, "was": 0.8'), "says something else"),
        ("report.json", replaced('"verdict": "pass"', '"verdict": "fail"'), "says something else"),
        ("report.html", replaced("<h1", "<h2"), "has other bytes"),
        ("model/README.md", Path.unlink, "is missing"),
    ],
)
def test_a_changed_file_is_named(run: Path, name: str, change: Change, said: str) -> None:
    change(run / name)
    with pytest.raises(InputError) as raised:
        open_run(run)
    (issue,) = raised.value.issues
    assert issue.code == "E150" and f"{name} " in issue.message and said in issue.message


def test_a_link_to_a_folder_is_one_more_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "model" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"E150(.|\n)*model/more was added"):
        open_run(run)


def test_many_changes_are_counted(run: Path) -> None:
    shutil.rmtree(run / "model")
    with pytest.raises(InputError, match=r"model/tokenizer\.json is missing, and 1 more"):
        open_run(run)


def test_a_run_of_a_plugins_task_says_which_plugin_is_missing(run: Path) -> None:
    lock = json.loads((run / "recipe.lock").read_text())
    lock["recipe"]["resolved"]["task"]["type"] = "graded"
    write_lock(run, lock)
    for command in ("report", "gate", "compare"):
        done = edgeopt(command, run)
        assert done.code == 2 and "error[E122]: the task 'graded' is of a plugin that is not installed here" in done.err


def test_a_missing_exporter_is_named() -> None:
    with pytest.raises(InputError, match=r"E122.*the exporter 'gone' is of a plugin that is not installed here"):
        Runnable(Path("model.bin"), "gone", {}).open({})


def write_lock(run: Path, lock: object) -> None:
    """Put a lock in place of the run's, as if it had been sealed."""
    (run / "recipe.lock").write_text(json.dumps(lock))
    report = json.loads((run / "report.json").read_text())
    report["seal"]["files"]["recipe.lock"] = hashlib.sha256((run / "recipe.lock").read_bytes()).hexdigest()
    (run / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {"../x": {"sha256": "0" * 64, "size": 1}},
        {"x": {"sha256": "0", "size": 1}},
        {"x": {"sha256": "0" * 64}},
    ],
)
def test_a_lock_that_lists_no_files_is_refused(run: Path, files: object) -> None:
    write_lock(run, {**json.loads((run / "recipe.lock").read_text()), "files": files})
    with pytest.raises(InputError, match="does not list the files"):
        open_run(run)


def test_a_report_of_another_run_does_not_go_with_this_lock(run: Path, tmp_path: Path, tiny_data: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_run(tmp_path / "other", tiny_data, seed=1)
    shutil.copyfile(other / "report.json", run / "report.json")
    with pytest.raises(InputError, match=r"recipe\.lock has other bytes"):
        open_run(run)


def test_text_that_is_no_text_is_a_damaged_report(run: Path) -> None:
    replaced('"created": "', '"created": "\\ud800')(run / "report.json")
    done = edgeopt("gate", run)
    assert done.code == 2 and "error[E115]" in done.err


def test_one_without_a_seal_is_refused(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    del report["seal"]
    (run / "report.json").write_text(json.dumps(report))
    with pytest.raises(InputError, match="no seal"):
        open_run(run)


@pytest.mark.parametrize(
    "command",
    [
        "gate {run}",
        "gate {run}/model",
        f"gate {{run}}/model/{MODEL}",
        "bundle {run} --out {run}/../b",
        "page {run} --out {run}/../p",
        "compare {run} {run}",
        "diff {run} {run}",
        "report {run}",
        "report {run}/report.json",
        "baseline {run}/model --out {run}/../f.json",
    ],
)
def test_every_command_that_reads_a_run_refuses_it(run: Path, command: str) -> None:
    flipped(run / "model" / MODEL)
    done = edgeopt(*command.format(run=run).split())
    assert (
        done.code == 2 and done.out == "" and "error[E150]" in done.err and f"model/{MODEL} has other bytes" in done.err
    )
    assert {p.name for p in run.parent.iterdir()} == {"run"}


def test_the_gates_of_the_lock_are_those_that_it_was_sealed_with(run: Path) -> None:
    assert edgeopt("gate", run).code == 0
    replaced('"max_ratio": 1.0', '"max_ratio": 0.01')(run / "recipe.lock")
    done = edgeopt("gate", run)
    assert done.code == 2 and "recipe.lock has other bytes" in done.err
