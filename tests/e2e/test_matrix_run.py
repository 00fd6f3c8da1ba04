"""The truth table of three steps, eight cells: what is built once, a cell that fails, `kill -9`, and another start."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from e2e.running import recipe_for
from helpers import Copied, Result, edgeopt

from edgeopt.store.store import Store

SHORT = {"max_steps": 2, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
STEPS = [
    {"id": "tune", "use": "finetune", **SHORT, "max_steps": 3},
    {"id": "prune", "use": "prune.fisher", "macs": 0.5, "samples": 16},
    {"id": "drop", "use": "prune.layers", "drop": [1]},
    {"id": "adapt", "use": "adapter.bottleneck", **SHORT},
]
AXES = {axis: {"off": {"remove": [step]}, "on": {}} for axis, step in (("P", "prune"), ("D", "drop"), ("A", "adapt"))}
NAMES = [f"P-{p}_D-{d}_A-{a}" for p in ("off", "on") for d in ("off", "on") for a in ("off", "on")]
LAST = NAMES[-1]


@dataclass(frozen=True)
class Table:
    """The recipe, and what the first command and its repetition left."""

    recipe: Path
    out: Path
    store: Path
    failed: Result
    repeated: Result

    def command(self, out: Path, store: Path, *more: object) -> list[object]:
        return ["apply", self.recipe, "--out", out, "--store", store, *more]


def digests(out: Path) -> dict[str, dict[str, str]]:
    """The digests of every state of every cell, from the locks."""
    locks = {p.parent.name: json.loads(p.read_text())["steps"] for p in out.glob("cells/*/recipe.lock")}
    return {cell: {name: entry["digest"] for name, entry in steps.items()} for cell, steps in locks.items()}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Table:
    """The adapter of the last cell, the fourth that is trained, fails; then the same command without that."""
    from edgeopt.transforms.adapters.bottleneck import BottleneckAdapter

    work = tmp_path_factory.mktemp("matrix")
    gates = [{"metric": "size", "max_ratio": 2}]
    recipe = recipe_for(
        work, tiny_model, tiny_data, steps=STEPS, baseline={"finetune": SHORT}, gates=gates, matrix={"axes": AXES}
    )
    calls, whole = [], BottleneckAdapter.apply

    def apply(self: Any, *given: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the fourth adapter")
        whole(self, *given)

    command = ["apply", recipe, "--out", work / "run", "--store", work / "store"]
    with patch.object(BottleneckAdapter, "apply", apply):
        failed = edgeopt(*command)
    shutil.copytree(work / "run", work / "failed")
    repeated = edgeopt(*command, "--json")
    return Table(recipe, work / "run", work / "store", failed, repeated)


def test_a_cell_that_fails_leaves_the_others_complete_and_ends_with_3(table: Table) -> None:
    assert table.failed.code == 3
    assert (
        f"error[E401]: cell '{LAST}': step 'adapt' (adapter.bottleneck) failed: RuntimeError: the fourth adapter"
        in table.failed.err
    )
    assert table.failed.out.splitlines()[-1] == str(table.out / "comparison.html")
    left = table.out.with_name("failed")
    cells = json.loads((left / "matrix.json").read_text())["cells"]
    assert [(c["name"], c["status"]) for c in cells] == [(n, "failed" if n == LAST else "complete") for n in NAMES]
    assert cells[-1]["exit_code"] == 3 and "the fourth adapter" in cells[-1]["errors"][0]["message"]
    assert sorted(p.name for p in (left / "cells").iterdir()) == sorted(NAMES[:-1])
    for name in NAMES[:-1]:
        assert {"report.json", "report.html", "recipe.lock", "model", "log.txt"} <= {
            p.name for p in (left / "cells" / name).iterdir()
        }
        assert edgeopt("gate", left / "cells" / name).code == 0
    rows = {r["run"]: r for r in csv.DictReader((left / "comparison.csv").read_text().splitlines())}
    assert list(rows)[1:] == NAMES and rows[LAST]["role"] == "failed" and "the fourth adapter" in rows[LAST]["reason"]
    for form in ("md", "html", "tex"):
        assert "the fourth adapter" in (left / f"comparison.{form}").read_text()
    assert json.loads((left / "comparison.json").read_text())["rows"][-1]["run"] == LAST


def test_a_step_that_cells_share_is_built_once(table: Table) -> None:
    """By the keys: one state for each distinct step, and no other."""
    locks = [json.loads((table.out / "cells" / name / "recipe.lock").read_text())["steps"] for name in NAMES]
    keys = {entry["key"] for lock in locks for entry in lock.values()}
    # load, two trainings, the baseline's graph; prune once, drop on two, adapt on four; a graph for each cell
    assert len(keys) == 2 + 1 + 1 + 1 + 2 + 4 + 8
    assert {s.key for s in Store(table.store).states()} == keys
    assert (
        len({lock["candidate.tune"]["key"] for lock in locks})
        == len({lock["baseline.onnx"]["key"] for lock in locks})
        == 1
    )
    # each was built in one cell, and was cached in the others
    built = [
        line
        for line in table.failed.err.splitlines()
        if line.rstrip().endswith("…") and line.startswith(("baseline.", "candidate."))
    ]
    assert len(built) == len(keys) - 1  # the adapter that failed was begun; its graph was not
    found = edgeopt("plan", table.recipe, "--store", table.store).out
    assert f"{len(keys)} distinct steps" in found and f"{len(keys)} of them cached" in found


def test_the_same_command_runs_what_failed_and_nothing_else(table: Table) -> None:
    assert table.repeated.code == 0, table.repeated.err
    cells = table.repeated.json["cells"]
    assert [(c["name"], c["kept"], c["verdict"]) for c in cells] == [(n, n != LAST, "pass") for n in NAMES]
    assert table.repeated.err.count("finished before and unchanged: not measured again") == 7
    assert "cell 8 of 8: " + LAST in table.repeated.err
    for name in NAMES[:-1]:
        old, new = (folder / "cells" / name / "report.json" for folder in (table.out.with_name("failed"), table.out))
        assert old.read_bytes() == new.read_bytes()


def test_the_comparison_is_that_of_compare(table: Table) -> None:
    runs = [table.out / "cells" / name for name in NAMES]
    theirs = edgeopt("compare", *runs, "--json").json["rows"]
    ours = json.loads((table.out / "comparison.json").read_text())
    assert [r | {"run": r["run"].removeprefix("tiny.")} for r in theirs] == ours["rows"]
    assert [r["steps"] for r in ours["rows"]][1:3] == ["tune", "tune adapt"]
    page = (table.out / "comparison.html").read_text()
    # two fronts, and two metrics along the share that was pruned
    assert "Pareto front" in page and page.count("<svg") == 4
    scores = {r["run"]: (r["exported_bytes"], r["accuracy"]) for r in ours["rows"]}
    best = [
        n
        for n, (size, score) in scores.items()
        if not any(a <= size and b >= score and (a, b) != (size, score) for a, b in scores.values())
    ]
    assert ours["pareto"]["exported_bytes"] == best


@pytest.mark.parametrize(
    ("change", "why", "again"),
    [
        (["--set", "gates=[]"], "run again: recipe.resolved.gates", 8),
        (["--set", "steps.adapt.max_steps=3"], "recipe.resolved.steps.adapt.max_steps: 2 → 3", 4),
    ],
)
def test_a_cell_that_changed_is_run_again_and_says_why(
    table: Table, tmp_path: Path, change: list[str], why: str, again: int
) -> None:
    out, store = (Path(shutil.copytree(old, tmp_path / old.name)) for old in (table.out, table.store))
    few = ["--set", "matrix.exclude=[{P: on}]"]
    done = edgeopt(*table.command(out, store, *change, *few))
    assert done.code == 0 and why in done.err
    assert done.err.count("run again") == again // 2 and done.err.count("not measured again") == 4 - again // 2


@pytest.mark.parametrize("damage", ["predictions.jsonl", "report.json", "model/onnx/model.onnx", "recipe.lock"])
def test_a_damaged_folder_is_made_anew(table: Table, tmp_path: Path, damage: str) -> None:
    out = Path(shutil.copytree(table.out, tmp_path / "run"))
    path = out / "cells" / NAMES[0] / damage
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage.endswith(".onnx") else whole[:50])
    done = edgeopt(*table.command(out, table.store))
    assert done.code == 0 and done.err.count("run again") == 1 and done.err.count("not measured again") == 7
    assert digests(out) == digests(table.out)


def test_locked_holds_each_cell_against_its_own_lock(table: Table, tmp_path: Path) -> None:
    out = Path(shutil.copytree(table.out, tmp_path / "run"))
    few = ["--set", "matrix.exclude=[{P: on}]"]
    assert edgeopt(*table.command(out, table.store, "--locked", *few)).code == 0
    done = edgeopt(*table.command(out, table.store, "--locked", "--set", "steps.adapt.max_steps=5", *few))
    assert done.code == 2 and done.err.count("E117") == 2  # the two cells with an adapter
    shutil.rmtree(out / "cells" / NAMES[1])
    done = edgeopt(*table.command(tmp_path / "new", table.store, "--lock", out))
    assert done.code == 2 and "E116" in done.err and NAMES[1] in done.err and not (tmp_path / "new").exists()


def test_gates_give_their_exit_code_unless_a_cell_failed(table: Table, tmp_path: Path) -> None:
    few = ["--set", "matrix.axes={A: {off: {remove: [prune, drop, adapt]}, on: {remove: [prune, drop]}}}"]
    gate = ["--set", "gates=[{metric: size, max_ratio: 1.01}]"]  # an adapter makes the file larger
    done = edgeopt(*table.command(tmp_path / "run", table.store, *few, *gate))
    assert done.code == 1
    with patch("edgeopt.run.apply.write_measurements", side_effect=[OSError("it breaks")]):
        shutil.rmtree(tmp_path / "run" / "cells" / "A-off")
        done = edgeopt(*table.command(tmp_path / "run", table.store, *few, *gate, "--json"))
    assert done.code == done.json["exit_code"] == 3
    assert [c.get("verdict", c.get("exit_code")) for c in done.json["cells"]] == [3, "fail"]


def test_a_folder_of_something_else_is_not_touched(table: Table, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, table.out / "cells" / NAMES[0]):
        done = edgeopt(*table.command(out, table.store))
        assert (done.code, "E114" in done.err) == (2, True)


def test_cells_that_were_applied_one_by_one_are_put_together(table: Table, tmp_path: Path) -> None:
    few = ["--set", "matrix.exclude=[{P: on}, {D: on}]"]
    for name in ("P-off_D-off_A-off", "P-off_D-off_A-on"):
        done = edgeopt(*table.command(tmp_path / "run" / "cells" / name, table.store, *few, "--cell", name))
        assert done.code == 0, done.err
    done = edgeopt(*table.command(tmp_path / "run", table.store, *few))
    assert done.code == 0 and done.err.count("not measured again") == 2
    assert (tmp_path / "run" / "comparison.html").is_file()


def test_kill_in_the_middle_and_the_same_command(table: Table, tmp_path: Path) -> None:
    arguments = [
        str(a)
        for a in table.command(tmp_path / "run", tmp_path / "store", "--set", "matrix.exclude=[{P: on}]", "--quiet")
    ]
    process = Copied(*arguments)
    try:
        for _ in range(6000):
            if (tmp_path / "run" / "cells" / NAMES[0]).exists() or process.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [c["status"] for c in json.loads((tmp_path / "run" / "matrix.json").read_text())["cells"]].count(
        "waiting"
    ) >= 3
    assert not (tmp_path / "run" / "comparison.json").exists()
    done = edgeopt(*arguments[:-1])
    assert done.code == 0, done.err
    assert done.err.splitlines()[1].startswith("finished before and unchanged: not measured again")
    whole = digests(table.out)
    assert digests(tmp_path / "run") == {name: whole[name] for name in NAMES[:4]}
    assert not list((tmp_path / "store" / "building").iterdir())
    assert not [p for p in (tmp_path / "run" / "cells").iterdir() if p.name.startswith(".")]


def test_a_tracker_is_told_of_every_cell_below_one_run(table: Table) -> None:
    from edgeopt import api
    from edgeopt.track import tracking
    from edgeopt.track.record import Record

    told: list[tuple[Record, str | None]] = []

    def log(record: Record, parent: str | None) -> str:
        told.append((record, parent))
        return record.name

    kept = SimpleNamespace(name="told", where="here", open=lambda: None, log=log)
    with (
        patch.object(tracking, "TRACKERS", {"told": "edgeopt.track.tracking:told"}),
        patch.object(tracking, "told", lambda: kept, create=True),
    ):
        cells = api.apply_cells(table.recipe, out=table.out, store=table.store, track="told", progress=False)
    assert set(cells.runs) == set(NAMES)
    first, *middle, last = told
    assert (first[0].status, last[0].status) == ("running", "finished") and first[0].key == last[0].key
    assert [(r.name, above) for r, above in middle] == [(name, first[0].name) for name in cells.runs]
    assert [path.name for path in last[0].files] == ["comparison.html", "comparison.json"]
