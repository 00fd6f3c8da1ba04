"""The Python API on a real run: the command line's report, the examples of its docstrings, and the model asked."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from helpers import edgeopt as command
from helpers import edgeopt_process, tiny_recipe, tiny_task, write_rows

import edgeopt
from edgeopt import api
from edgeopt.run import opened
from edgeopt.support.progress import Update
from edgeopt.track.record import Record
from edgeopt.track.tracker import Tracker
from edgeopt.track.tracking import TRACKERS

ROOT = Path(__file__).parents[2]
TRAINING = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
STEPS = [
    {"id": "tune", "use": "finetune", **TRAINING},
    {"id": "prune", "use": "prune.magnitude", "amount": 0.3, "scope": "layer"},
]
#: Of a report, what another run of the same recipe has otherwise: times, and where it stands.
OWN = {"created", "seal"}


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows as many as the examples tell of."""
    return write_rows(tmp_path_factory.mktemp("few") / "data", train=64, validation=32)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    """A folder with recipe.yaml, its store, and what `apply` made of it: runs/tiny, and runs/other of another share."""
    folder = tmp_path_factory.mktemp("api")
    tiny_recipe(
        folder,
        model={"id": str(tiny_model)},
        task=tiny_task(tiny_data),
        steps=STEPS,
        gates=[{"metric": "size", "max_ratio": 1.1}],
    )
    with chdir(folder):
        edgeopt.apply("recipe.yaml", store="store", progress=False)
        edgeopt.apply("recipe.yaml", set={"steps.prune.amount": 0.6, "name": "other"}, store="store", progress=False)
    return folder


def plain(folder: Path) -> dict[str, Any]:
    """report.json without what differs between two runs of one recipe."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for step in report["steps"]:
        step.update(
            seconds=0,
            cached=False,
            figures={k: v for k, v in step["figures"].items() if "second" not in k and "peak" not in k},
        )
    for subject in (report["baseline"], report["candidate"], *(e["figures"] for e in report["exports"])):
        subject["inference_seconds"] = 0
    return {name: value for name, value in report.items() if name not in OWN}


def test_api_and_command_line_leave_the_same_report(work: Path, tmp_path: Path) -> None:
    text = "steps.prune.amount=0.45"
    done = command(
        "apply",
        work / "recipe.yaml",
        "--out",
        tmp_path / "cli",
        "--store",
        tmp_path / "store-cli",
        "--set",
        text,
        "--json",
    )
    run = edgeopt.apply(
        work / "recipe.yaml",
        out=tmp_path / "api",
        store=work / "store",
        set={"steps.prune.amount": 0.45},
        progress=False,
    )
    assert done.code == 0 and plain(tmp_path / "cli") == plain(tmp_path / "api")
    assert not run.kept and run.verdict == done.json["verdict"] == "pass" and run.report.recipe.overrides == [text]
    again = edgeopt.Run(tmp_path / "api")
    assert again.report == run.report and again.lock == run.lock and repr(again) == repr(run)
    lock = json.loads((tmp_path / "cli" / "recipe.lock").read_text())
    assert {k: run.lock[k] for k in ("recipe", "data", "model", "steps")} == {
        k: lock[k] for k in ("recipe", "data", "model", "steps")
    }
    assert command(
        "apply", work / "recipe.yaml", "--out", tmp_path / "api", "--store", work / "store", "--set", text, "--json"
    ).json["kept"]


def test_a_mapping_gives_the_same_run(work: Path, tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    data = yaml.safe_load((work / "recipe.yaml").read_text(encoding="utf-8"))
    run = edgeopt.apply(data, folder=tmp_path, out=tmp_path / "run", store=work / "store", progress=False)
    ran, theirs = plain(run.folder), plain(work / "runs" / "tiny")
    assert ran["recipe"].pop("source") != theirs["recipe"].pop("source") and [g.pop("line") for g in ran["gates"]] == [
        None
    ]
    assert [g.pop("line") for g in theirs["gates"]] != [None] and ran == theirs
    itself = edgeopt.gate(run.folder / "model", progress=False, against=run)
    assert (edgeopt.gate(run, progress=False).verdict, itself.verdict) == ("pass", "inconclusive")
    assert itself.model == f"{run.report.candidate.artifact} against {run.report.candidate.artifact}"
    assert edgeopt.apply(data, folder=tmp_path, out=tmp_path / "run", store=work / "store", progress=False).kept


def test_predictions_are_those_that_were_measured(work: Path, tiny_data: Path) -> None:
    run = edgeopt.Run(work / "runs" / "tiny")
    texts = [json.loads(line)["text"] for line in (tiny_data / "validation.jsonl").read_text().splitlines()]
    measured = [json.loads(line)["candidate"] for line in (run.folder / "predictions.jsonl").read_text().splitlines()]
    one, many = run.predict(texts, batch_size=1), run.predict(texts)
    assert np.allclose([p.logits for p in one], measured, rtol=0, atol=1e-6)
    assert np.allclose([p.logits for p in many], measured, rtol=0, atol=1e-5) and [p.label for p in one] == [
        str(np.argmax(row)) for row in measured
    ]
    assert run.predict([]) == [] and run.predict("good1")[0].label == run.predict(["good1"])[0].label
    for size in (2.5, 0, -1, True, "8"):
        with pytest.raises(edgeopt.InputError, match="batch_size must be a whole number from 1, and this is"):
            run.predict(["good1"], batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(edgeopt.InputError) as error:
        run.predict(["good1", ""])
    assert [(i.code, str(i.place)) for i in error.value.issues] == [("E304", "texts[1]")]


class Finder(doctest.DocTestFinder):
    """Finds what a decorator of another module is around, too."""

    def _from_module(self, module: ModuleType, object: Any) -> bool:
        found: bool = super()._from_module(module, inspect.unwrap(object))  # type: ignore[misc]
        return found


@pytest.mark.parametrize("module", [api, opened], ids=lambda m: m.__name__)
def test_every_example_of_the_docstrings_is_true(module: ModuleType, work: Path) -> None:
    runner, examples = doctest.DocTestRunner(), Finder().find(module, extraglobs={"Run": edgeopt.Run})
    with chdir(work):
        done = [runner.run(each) for each in examples]
    assert sum(each.attempted for each in done) >= (20 if module is api else 5) and not any(
        each.failed for each in done
    )


def test_the_document_says_what_is_so(
    work: Path, tiny_model: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block of docs/how-to/python.md, one after another in one program."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "how-to" / "python.md").read_text(encoding="utf-8"), re.M | re.S
    )
    for name, there in (("model", tiny_model), ("data", tiny_data)):
        (work / name).symlink_to(there)
    with chdir(work), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEOPT_STORE", "store")
        space: dict[str, Any] = {}
        for block in blocks:
            exec(block, space)
    out = capsys.readouterr().out
    assert (
        "candidate prune " in out
        and "E107 <dict>:steps.0.use there is no transform 'prun.magnitude' did you mean 'prune.magnitude'?" in out
    )
    assert len(blocks) == 6 and space["run"].verdict == "pass" and space["answers"][1].label in ("0", "1")


def test_everything_exported_is_documented_with_an_example() -> None:
    for name in (*api.__all__, *edgeopt._GIVEN):
        thing = getattr(edgeopt, name)
        assert thing.__doc__, name
        assert isinstance(thing, type) or ">>>" in thing.__doc__, name
    assert ">>>" in (edgeopt.Run.__doc__ or "")


def test_a_failed_gate_is_a_verdict_and_an_error_is_an_exception(work: Path, tmp_path: Path) -> None:
    with chdir(work):
        strict = {"gates": [{"metric": "size", "max_ratio": 0.5}]}
        assert (
            edgeopt.apply("recipe.yaml", set=strict, out=tmp_path / "run", store="store", progress=False).verdict
            == "fail"
        )
        for wrong, code in (
            (lambda: edgeopt.Run("nothing"), "E115"),
            (lambda: edgeopt.apply("nothing.yaml"), "E101"),
            (lambda: edgeopt.gate("runs/tiny", set={"seed": 1}), "E109"),
            (lambda: edgeopt.compare("recipe.yaml"), "E115"),
            (lambda: edgeopt.apply_cells("recipe.yaml"), "E120"),
            (lambda: edgeopt.apply("recipe.yaml", set={"matrix": {"axes": {"seed": [1, 2]}}}), "E120"),
        ):
            with pytest.raises(edgeopt.InputError) as error:
                wrong()
            assert error.value.issues[0].code == code


def test_a_changed_run_is_refused(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "runs" / "tiny", tmp_path / "run")
    (tmp_path / "run" / "predictions.jsonl").write_text("{}\n")
    with pytest.raises(edgeopt.InputError, match="E150"):
        edgeopt.Run(tmp_path / "run")


def test_progress_is_told_to_a_function(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Update] = []
    edgeopt.apply(
        work / "recipe.yaml",
        set={"steps.prune.amount": 0.2},
        out=tmp_path / "run",
        store=work / "store",
        progress=told.append,
    )
    assert any("candidate.prune" in u.text for u in told if u.done is None)
    bars = {u.text: (u.done, u.total) for u in told if u.done is not None}
    assert bars and all(done == total for done, total in bars.values())
    assert "candidate.prune" in (tmp_path / "run" / "log.txt").read_text() and capsys.readouterr() == ("", "")


def test_two_threads_give_the_states_that_two_runs_give(work: Path, tmp_path: Path) -> None:
    other = {"steps.tune.learning_rate": 2e-3, "steps.prune.amount": 0.6}
    ways: list[dict[str, Any]] = [{}, other]
    told: list[str] = []

    def applied(i: int, store: Path) -> edgeopt.Run:
        def tell(update: Update) -> None:
            told.append(update.text)

        out = tmp_path / f"{store.name}-{i}"
        return edgeopt.apply(work / "recipe.yaml", set=ways[i], out=out, store=store, progress=tell)

    with ThreadPoolExecutor(2) as pool:
        threads = list(pool.map(applied, (0, 1), [tmp_path / "new"] * 2))
    assert any(text.startswith("waiting for another run of this process") for text in told)
    for i, run in enumerate(threads):
        assert run.lock["steps"] == applied(i, work / "store").lock["steps"]


def test_a_run_shows_itself_as_the_head_of_its_report(work: Path) -> None:
    run = edgeopt.Run(work / "runs" / "tiny")
    shown = run._repr_html_()
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    begin, end = page.index("<header"), page.index("</dl>") + len("</dl>")
    assert page[begin:end] in shown and "<script" not in shown and "<h1>pass" in shown


def test_names_are_there_without_torch() -> None:
    given = edgeopt._GIVEN
    assert sorted([*api.__all__, *given, "__version__"]) == edgeopt.__all__ and set(edgeopt.__all__) <= set(
        dir(edgeopt)
    )
    importlib.import_module("edgeopt.plan.steps")  # the package of the name must not take the function's place
    assert edgeopt.plan is api.plan
    code = (
        "import sys, edgeopt; edgeopt.plan; edgeopt.Run; print([m for m in ('torch', 'transformers', 'onnxruntime', "
        "'scipy') if m in sys.modules])"
    )
    assert edgeopt_process(python=("-c", code)).out.strip() == "[]"
    with pytest.raises(AttributeError):
        _ = edgeopt.nothing  # type: ignore[attr-defined]
    assert (Path(edgeopt.__file__).parent / "py.typed").is_file()


def test_a_type_checker_knows_which_names_there_are() -> None:
    """A module's `__getattr__` would let it take any."""
    body = ast.parse(Path(edgeopt.__file__).read_text(encoding="utf-8")).body
    assert "__getattr__" not in [each.name for each in body if isinstance(each, ast.FunctionDef)]
    here = next(each for each in body if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING")
    imported = [alias.asname for each in here.body if isinstance(each, ast.ImportFrom) for alias in each.names]
    assert sorted([*map(str, imported), "__version__"]) == edgeopt.__all__


class Told(Tracker):
    """A tracker that is told, and may die."""

    name = "told"
    records: ClassVar[list[Record]] = []
    dies: ClassVar[bool] = False

    def open(self) -> None:
        """Is there."""

    def log(self, record: Record, parent: str | None) -> str:
        if self.dies:
            raise ConnectionError("gone")
        self.records.append(record)
        return record.name


def test_a_tracker_is_told_of_a_run_and_never_loses_it(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, "told", f"{__name__}:Told")
    options: dict[str, Any] = {"store": work / "store", "out": tmp_path, "track": "told", "progress": False}
    run = edgeopt.apply(work / "recipe.yaml", **options)
    (record,) = Told.records
    assert record.tags["edgeopt.verdict"] == run.verdict == "pass"
    assert record.params["steps.prune.amount"] == "0.3" and "steps/candidate/tune/train_loss" in record.metrics
    monkeypatch.setattr(Told, "dies", True)
    more = ["--store", work / "store", "--out", tmp_path, "--track", "told"]
    done = command("apply", work / "recipe.yaml", *more)
    assert done.code == 0 and "warning: told takes no more: gone" in done.err
    refused = command("apply", work / "recipe.yaml", *more[:-1], "tensorboard")
    assert refused.code == 2 and "error[E147]" in refused.err
