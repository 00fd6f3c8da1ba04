"""Mutated run folders and all files that are read back, through every command that reads them.

The files are locks, reports, predictions, latencies, baselines and states. As they are sealed, no change of what a file
says may end in a verdict. Past the seal, with every digest computed anew, as only somebody who means it can, reading is
still safe: an error that names the file, or a verdict on what the files say.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import TARGET, make_run
from helpers import Result, edgeopt, seal_run, tiny_recipe, tiny_task

from edgeopt.gates.baseline_file import _canonical, _digest
from edgeopt.results.model import Report
from edgeopt.results.sealed import LOCK, RENDERINGS, REPORT, files_of, open_run
from edgeopt.store.facts import Fact
from edgeopt.store.store import Store
from edgeopt.support.files import file_digest, key_of
from fuzz.mutate import Mutator, assert_sound, numbers, restored

#: How many cases of each kind: a thousand in all.
SEALED, PAST, BASELINES, STORES = 300, 400, 150, 150
GATES = [
    {"metric": "accuracy", "max_drop": 0.5},
    {"metric": "latency.p50", "min_speedup": 0.5},
    {"metric": "size", "max_mb": 25},
]
_VERDICTS = (0, 1, 4)


def measured(subject: str, ms: float, seed: int) -> dict[str, Any]:
    samples = np.random.default_rng(seed).normal(ms, ms / 100, 100).round(4).tolist()
    return {
        "subject": subject,
        "target": TARGET["name"],
        "runtime": "onnxruntime 1",
        "device": "cpu",
        "threads": 1,
        "batch": 2,
        "sequence": 16,
        "session": {},
        "samples": samples,
        "openings": [10] * 10,
        "processor": "x",
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder with a run that passes on its own evidence."""
    folder = tmp_path_factory.mktemp("runs")
    run = make_run(folder, tiny_data, gates=GATES, slices=["pair"])
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    for row in rows:
        row.update(
            label=int(np.argmax(row["candidate"])),
            baseline=row["candidate"],
            slices={"length": "1 to 9 tokens", "pair": f"p{row['index'] % 2}"},
        )
    (run / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "latency.json").write_text(json.dumps([measured("candidate", 1.0, 0), measured("baseline", 2.0, 1)]))
    report = json.loads((run / REPORT).read_text())
    for name in ("baseline", "candidate"):
        report[name]["metrics"] = {"accuracy": 1.0, "f1": 1.0}
    times = {
        "p50_ms": 1.0,
        "p90_ms": 1.1,
        "p99_ms": None,
        "queries": 100,
        "runtime": "onnxruntime 1",
        "device": "cpu",
        "threads": 1,
        "batch": 2,
    }
    report["latency"] = [
        {**times, "subject": name, "target": TARGET["name"], "sequence": 16} for name in ("candidate", "baseline")
    ]
    report["speedups"] = []
    (run / REPORT).write_text(json.dumps(report))
    seal_run(run)
    done = edgeopt("gate", run, "--json")
    assert done.code == 0, done.out
    report["gates"] = done.json["gates"]
    (run / REPORT).write_text(json.dumps(report))
    seal_run(run)
    assert edgeopt("gate", run).code == 0
    return folder


def reseal(run: Path) -> None:
    """Every digest as the files are now, as far as they can be read."""
    if not all((run / name).is_file() for name in (LOCK, REPORT)):  # a link to /dev/zero is no file
        return
    try:
        lock, report = (json.loads((run / name).read_text()) for name in (LOCK, REPORT))
        lock["files"] = files_of(run)
        (run / LOCK).write_text(json.dumps(lock))
        report.pop("seal", None)
        (run / REPORT).write_text(
            json.dumps(
                {
                    **report,
                    "seal": {
                        "content": key_of(report),
                        "files": {n: file_digest(run / n) for n in (LOCK, *RENDERINGS) if (run / n).is_file()},
                    },
                }
            )
        )
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        pass


def meaning(run: Path) -> Any:
    """What a run says: the report without white space, all other files to the byte, and what lies in model/."""
    return (
        json.loads((run / REPORT).read_bytes()),
        {n: d for n, d in files_of(run).items() if n.partition("/")[0] != "devices"},
        (run / LOCK).read_bytes(),
    )


READERS: tuple[Callable[[Path], tuple[Any, ...]], ...] = (
    lambda run: ("gate", run),
    lambda run: ("gate", run, "--github", "--junit", run.parent / "gates.xml"),
    lambda run: ("report", run),
    lambda run: ("report", run, "--format", "html"),
    lambda run: ("report", run, "--json"),
    lambda run: ("compare", run, run.parent / "run"),
    lambda run: ("compare", run, run.parent / "run", "--format", "html"),
    lambda run: ("diff", run.parent / "run", run),
    lambda run: ("diff", run, run, "--json"),
    lambda run: ("bundle", run, "--count", 2, "--out", run.parent / "made.zip"),
    lambda run: ("gate", run, "--json"),
)


@pytest.mark.slow(reason="hundreds of commands, about a minute")
def test_a_sealed_run_that_was_changed_gives_no_verdict(base: Path) -> None:
    whole = meaning(base / "run")

    def case(number: int) -> Result:
        mutator = Mutator(number)
        run = restored(base / "run", base / "changed")
        mutator.folder(run)
        done = edgeopt(*READERS[number % len(READERS)](run))
        same = False
        if done.code in _VERDICTS:
            same = meaning(run) == whole
            assert same, f"a verdict on a changed run: {done.out}"
        return done

    assert_sound(numbers(SEALED), case, codes=(0, 2))


@pytest.mark.slow(reason="hundreds of commands, some minutes")
def test_past_the_seal_reading_is_safe(base: Path) -> None:
    names = (
        REPORT,
        REPORT,
        LOCK,
        LOCK,
        "predictions.jsonl",
        "latency.json",
        "model/session.json",
        "model/tokenizer.json",
    )

    def case(number: int) -> Result:
        mutator = Mutator(number)
        run = restored(base / "run", base / "changed")
        mutator.file(run / mutator.rng.choice(names))
        reseal(run)
        (base / "gates.xml").unlink(missing_ok=True)
        return edgeopt(*READERS[number % len(READERS)](run))

    assert_sound(numbers(PAST, 1000), case, codes=(0, 1, 2, 4))


@pytest.mark.slow(reason="a model is opened a hundred times, about a minute")
def test_changed_baselines(base: Path, tiny_data: Path) -> None:
    recipe = tiny_recipe(
        base,
        task=tiny_task(tiny_data, labels=["bad", "good"]),
        targets=[{**TARGET, "max_seconds": 0.5, "sequence": [16]}],
        gates=[{"metric": "accuracy", "max_drop": 0.9}, {"metric": "size", "max_ratio": 2}],
    )
    model, file = shutil.copytree(base / "run" / "model", base / "alone"), base / "baseline.json"
    (model / "session.json").unlink()
    assert edgeopt("baseline", model, "--recipe", recipe, "--out", file, "--quiet").code == 0
    arguments = ("gate", model, "--recipe", recipe, "--against")
    expected = edgeopt(*arguments, file, "--quiet")
    assert expected.code in _VERDICTS
    content = json.loads(file.read_text())
    del content["sha256"]

    def case(number: int) -> Result:
        mutator, changed = Mutator(number), base / "changed.json"
        if number % 3 == 0:
            changed.write_bytes(mutator.json(file.read_bytes()))
            done = edgeopt(*arguments, changed, "--quiet")
            assert done.code == 2 or changed.read_bytes() == file.read_bytes(), "a verdict on a changed baseline"
            return done
        tree = mutator.tree(content)
        try:
            sealed = {**tree, "sha256": _digest(tree)} if isinstance(tree, dict) else tree
            changed.write_text(_canonical(sealed), encoding="utf-8")
        except (TypeError, ValueError):  # keys that cannot be sorted, half of a surrogate pair
            changed.write_bytes(mutator.raw(file.read_bytes()))
        return edgeopt(*arguments, changed, "--quiet")

    assert_sound(numbers(BASELINES, 2000), case, codes=(0, 1, 2, 4))


@pytest.mark.slow(reason="a plan is made a hundred times, about a minute")
def test_changed_states(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        model={"id": str(tiny_model)},
        task=tiny_task(tiny_data),
        steps=[{"id": "tune", "use": "finetune", "max_steps": 4}],
    )
    whole = Store(tmp_path / "whole")
    whole.prepare()
    planned = edgeopt("plan", recipe, "--store", whole.root, "--json").json
    (key,) = {step["key"] for step in planned["steps"] if step["key"]}
    with whole.building(key) as folder:
        (folder / "config.json").write_text("{}")
        whole.commit(
            folder,
            key=key,
            parts={"transform": "load"},
            use="load",
            facts=frozenset({Fact.TORCH}),
            figures={"a": 1.0},
            seconds=1.0,
        )
    for step in planned["steps"]:
        whole.remember("tiny", step["chain"], step["id"], "k" * 64, {"transform": step["use"], "params": {"x": 1}})
    commands: tuple[tuple[Any, ...], ...] = (
        ("cache", "ls"),
        ("cache", "ls", "--json"),
        ("plan", recipe),
        ("cache", "gc"),
        ("plan", recipe, "--json"),
        ("cache", "gc", "--all"),
    )

    def case(number: int) -> Result:
        mutator = Mutator(number)
        root = restored(whole.root, tmp_path / "store")
        mutator.file(mutator.rng.choice(sorted(root.rglob("*.json"))))
        done = edgeopt(*commands[number % len(commands)], "--store", root)
        if "--all" in commands[number % len(commands)]:
            assert not list((root / "states").iterdir()), "gc --all left a state"
        return done

    assert_sound(numbers(STORES, 3000), case, codes=(0, 2))


def test_a_report_is_whole_for_what_follows(base: Path) -> None:
    """The base of the slow tests is a run that every command takes."""
    assert isinstance(open_run(base / "run").report, Report)
    assert [edgeopt(*of(base / "run")).code for of in (READERS[0], READERS[2], READERS[7])] == [0, 0, 0]
