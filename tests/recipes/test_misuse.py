"""The command line used wrongly: exit code 2, one message that says what to do, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import Copied, edgeopt, tiny_recipe, tiny_task


@pytest.fixture
def here(tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a valid recipe and things that a user may take for something else."""
    tiny_recipe(
        tmp_path, model={"id": str(tiny_model)}, task=tiny_task(tiny_data), steps=[{"id": "train", "use": "finetune"}]
    )
    (tmp_path / "file").write_text("text\n")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years of work\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / "report.json").write_text('{"schema_version": 1')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text('{"hello": "world"}')
    (tmp_path / "broken.lock").write_text("{")
    (tmp_path / "foreign.lock").write_text('{"lock": 99}')
    (tmp_path / "huge.yaml").write_text("edgeopt: 1\n" + "# filler\n" * 200_000)
    (tmp_path / "reviews.csv").write_text("body,stars\nfine,1\n")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEOPT_STORE", str(tmp_path / "store"))
    return tmp_path


MISUSE = {
    # usage, which click reports
    "aply recipe.yaml": ["there is no command 'aply'", "Did you mean 'apply'?"],
    "frobnicate": ["there is no command 'frobnicate'"],
    "validate recipe.yaml --jsn": ["No such option", "--json"],
    "validate": ["Missing argument 'RECIPE'"],
    "validate recipe.yaml more.yaml": ["unexpected extra argument"],
    "validate recipe.yaml --set": ["--set", "requires an argument"],
    "report empty --format pdf": ["'pdf' is not one of"],
    "recipes frob": ["No such command 'frob'"],
    "cache gc --older-than soon": ["'soon' is not a valid float"],
    # recipes
    "validate absent.yaml": ["E101", "absent.yaml does not exist", "recipes ls"],
    "validate empty": ["E101", "cannot be read: Is a directory"],
    "validate loop.yaml": ["E101", "cannot be read: Too many levels of symbolic links"],
    "validate huge.yaml": ["E101", "larger than 1 MB"],
    "apply reviews.csv": ["E101", "reviews.csv is data, not a recipe", "`edgeopt init reviews.csv`"],
    "plan absent.yaml": ["E101"],
    "apply absent.yaml": ["E101"],
    "doctor absent.yaml": ["E101"],
    "recipes show quickstat": ["E101", "did you mean 'quickstart'?"],
    "recipes copy quickstart recipe.yaml": ["E114", "recipe.yaml already exists"],
    "recipes copy quickstart no/such/folder.yaml": ["E114", "cannot be written: No such file or directory"],
    # the folder of a run
    "apply recipe.yaml --out file": ["E114", "is a file", "give a folder"],
    "apply recipe.yaml --out foreign": ["E114", "has files that do not belong to a run of edgeopt"],
    "apply recipe.yaml --out file/below": ["E114", "cannot be written"],
    "apply recipe.yaml --store file --out run": ["E113", "cannot be written"],
    "report absent": ["E115", "there is no report at absent", "apply --out"],
    "report recipe.yaml": ["E115", "that is a recipe; give the run's folder"],
    "compare .": ["E115", "holds runs and is none itself", "the runs below it: corrupt other"],
    "report empty": ["E115", "there is no report at empty/report.json", "apply --out"],
    "report corrupt": ["E115", "the report is not JSON", "corrupt/report.json:1:"],
    "report other": ["E115", "the report is damaged: edgeopt is missing"],
    "gate empty": ["E131", "it has no report.json and no tokenizer.json"],
    "gate absent": ["E131", "absent does not exist", "the folder that `edgeopt apply --out` wrote"],
    "gate corrupt": ["E115", "the report is not JSON"],
    "gate file": ["E131", "is not a graph with tokenizer.json beside it"],
    # locks
    "apply recipe.yaml --locked --out run": ["E116", "there is no lock at", "--lock FILE"],
    "apply recipe.yaml --lock broken.lock --out run": ["E116", "is not JSON", "--> broken.lock"],
    "apply recipe.yaml --lock foreign.lock --out run": ["E116", "the lock is damaged: lock must be 1", "foreign.lock"],
    "explain E999": ["E100", "there is no error code 'E999'", "`edgeopt explain` lists them"],
}


#: Errors of edgeopt's own, of commands that have --json.
WITH_JSON = [line for line, words in MISUSE.items() if words[0].startswith("E") and not line.startswith("recipes")]


@pytest.mark.parametrize(("line", "form"), [*((x, "text") for x in MISUSE), *((x, "json") for x in WITH_JSON)])
def test_misuse(line: str, form: str, here: Path) -> None:
    done = edgeopt(*line.split(), *(["--json"] if form == "json" else []))
    assert done.code == 2, done
    if form == "json":
        assert [e["code"] for e in done.json["errors"]] == [MISUSE[line][0]]
        assert (done.json["exit_code"], done.err) == (2, "")
    else:
        assert done.out == "" or line.startswith("doctor")  # the doctor has told of the machine by then
        assert not [words for words in MISUSE[line] if words not in done.err], done.err
        assert "Traceback" not in done.err
    assert (here / "foreign" / "thesis.txt").read_text() == "years of work\n"
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--set", "model.id=nobody/no-such-model"],
            [
                "E312",
                "no folder of that name here; model 'nobody/no-such-model' cannot be loaded",
                "--set model.id=FOLDER",
            ],
        ),
        (
            ["--set", "task.dataset={path: nobody/no-such-rows}"],
            ["E312", "dataset 'nobody/no-such-rows' cannot be loaded from the hub", "data_files"],
        ),
    ],
    ids=["model", "dataset"],
)
def test_hub_out_of_reach(flags: list[str], words: list[str], here: Path) -> None:
    """A run ends before anything is computed; a hub name is no mistake until then, so validate lets it pass."""
    assert edgeopt("validate", "recipe.yaml", *flags).code == 0
    done = Copied("apply", "recipe.yaml", "--out", "run", *flags, cwd=here).result()
    assert (done.code, done.out) == (2, ""), done
    assert not [w for w in words if w not in done.err], done.err
    assert "Traceback" not in done.err
    assert not (here / "run").exists()
    assert not list((here / "store" / "states").iterdir())


@pytest.mark.usefixtures("here")
def test_the_recipe_of_these_tests_is_valid() -> None:
    done = edgeopt("validate", "recipe.yaml", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["valid"] is True
