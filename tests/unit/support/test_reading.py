"""What edgeopt reads back: limits, one schema, one error that names file and part; and the store's own files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt, seal_run
from pydantic import BaseModel, ConfigDict
from report_sample import sample_report
from unit.results.test_diff import WRONG_FIRST, lock_of, write

from edgeopt.store.facts import Fact
from edgeopt.store.store import State, Store
from edgeopt.support import reading
from edgeopt.support.errors import InputError
from edgeopt.support.reading import Below, Count, Finite, Reader

KEY = "a" * 64


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: Count
    ratio: Finite = 1.0
    at: tuple[int, ...] = ()
    file: Below = "x"


READ = Reader("thing", "E115", "mend it")


def refusal(path: Path, reader: Reader = READ) -> str:
    with pytest.raises(InputError) as raised:
        reader.model(path, Shape)
    (issue,) = raised.value.issues
    assert issue.code == "E115" and issue.help == "mend it"
    return f"{issue.place}: {issue.message}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1:1: the thing is not JSON: Expecting value"),
        ('{"size": 1,\n "ratio": }', ":2:11: the thing is not JSON"),
        ('{"size": 1, "size": 2}', "a key stands twice"),
        ('{"size": NaN}', "NaN is no number of JSON"),
        ('{"size": 1, "ratio": 1e999}', "a number that is not finite"),
        ('{"size": 9007199254740993}', "more than 53 bits"),
        ('{"size": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"size": ' + "[" * 50 + "]" * 50 + "}", "nested deeper than 40 levels"),
        ('{"size": ' + "[" * 100_000 + "}", "nested deeper than 40 levels"),
        ('{"size": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\ud800": 1}', "half of a surrogate pair"),
        ('{"size": "1"}', "size must be a valid integer"),
        ('{"size": true}', "size must be a valid integer"),
        ('{"size": 1.0}', "size must be a valid integer"),
        ('{"size": -1}', "size must be greater than or equal to 0"),
        ('{"ratio": 1}', "size is missing"),
        ('{"size": 1, "other": 2}', "other is not known"),
        ('{"size": 1, "at": [1, "2"]}', "at.1 must be a valid integer"),
        ('{"size": 1, "file": "../x"}', "file must be a path inside the folder"),
        ('{"size": 1, "file": "a\\u0000b"}', "file must be a path inside the folder"),
        ("[]", "must be an object"),
        ("\ufeff{}", "is not JSON"),
    ],
)
def test_the_first_wrong_part_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "thing.json"
    path.write_text(text, encoding="utf-8")
    found = refusal(path)
    assert said in found and "thing.json" in found and len(found) < 400


def test_what_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    path.write_text(
        '{"size": 1, "ratio": 2, "at": [1, 2], "file": "a/b", "x": "\\ud83d\\ude00"}'.replace(
            ', "x"', ', "file2"'
        ).replace("file2", "file", 0)
    )
    with pytest.raises(InputError, match="file2 is not known"):
        READ.model(path, Shape)
    path.write_text('{"size": 1, "ratio": 2, "at": [1, 2], "file": "a/\\ud83d\\ude00"}')
    assert READ.model(path, Shape) == Shape(size=1, ratio=2.0, at=(1, 2), file="a/😀")
    assert Reader("thing", "E115", not_finite=True).parse("[NaN]", None) != []  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "device", "loop", "long", "nul"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "device": lambda: path.symlink_to("/dev/zero"),
    }.get(kind, lambda: None)()
    refusal({"long": tmp_path / ("x" * 300), "nul": Path("a\0b")}.get(kind, path))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "thing"
    with path.open("wb") as file:
        file.truncate(10**12)
    assert "is larger than 256 MB" in refusal(path, Reader("thing", "E115", "mend it"))
    monkeypatch.setattr(reading, "LONGEST_LINE", 100)
    with pytest.raises(InputError, match="has a line of more than"):
        list(READ.lines(path))


# -- predictions and latencies


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"candidate": ["0.1", "0.2"]}, "candidate.0 must be a valid number"),
        ({"candidate": [0.1, 0.2, 0.3]}, "candidate List should have at most 2 items"),
        ({"baseline": [0.1]}, "baseline List should have at least 2 items"),
        ({"baseline": [[0.1], [0.2]]}, "baseline.0 must be a valid number"),
        ({"candidate": [True, False]}, "candidate.0 must be a valid number"),
        ({"label": 2}, "label must be less than 2"),
        ({"label": "1"}, "label must be a valid integer"),
        ({"index": 7}, "row 7 stands where row 3 should"),
        ({"slices": {"length": 3}}, "slices.length must be a valid string"),
        ({"slices": {"length": "3"}}, "is in other slices than the first"),
        ({"more": 1}, "more is not known"),
    ],
)
def test_predictions_have_the_shape_of_the_task(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    run = write(tmp_path / "a", sample_report(gates=[]), WRONG_FIRST, _gated())
    (run / "latency.json").write_text("[]")
    lines = (run / "predictions.jsonl").read_text().splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **change})
    (run / "predictions.jsonl").write_text("\n".join(lines))
    seal_run(run)
    done = edgeopt("gate", run)
    assert (
        done.code == 2
        and "error[E115]: the file of the predictions is damaged: " in done.err
        and said in done.err
        and "predictions.jsonl:4" in done.err
    )


def test_a_metric_that_the_predictions_do_not_have_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "a", sample_report(gates=[]), WRONG_FIRST, _gated())
    (run / "latency.json").write_text("[]")
    seal_run(run)
    done = edgeopt("gate", run)  # the sample's metrics are those of another run
    assert (
        done.code == 2 and "the report says accuracy 0.8407 of onnx/model.onnx, and the predictions 1.0000" in done.err
    )


@pytest.mark.parametrize(
    ("latency", "said"),
    [
        ({}, "must be a valid array"),
        ([1], "0 must be an object"),
        ([{}], "subject Field required"),
        ("samples", "samples.0 must be a valid number"),
        ("negative", "samples.0 must be greater than or equal to 0.000001"),
        ("openings", "there are 3 samples, and 2 of the openings"),
        ("none", "samples List should have at least 1"),
        ("tiny", "samples.0 must be greater than or equal to 0.000001"),
        ("huge", "samples.0 must be less than or equal to 1000000000"),
        ("less", "openings.0 must be greater than or equal to 0"),
        ("many", "at most 1000"),
        ("alone", "there is no baseline on cpu at 16"),
    ],
)
def test_latencies_have_their_shape(tmp_path: Path, latency: Any, said: str) -> None:
    run = write(tmp_path / "a", sample_report(gates=[]), WRONG_FIRST, _gated())
    one = {
        "subject": "candidate",
        "target": "cpu",
        "runtime": "r",
        "device": "d",
        "threads": 1,
        "batch": 1,
        "sequence": 16,
        "session": {},
    }
    given = {
        "samples": {"samples": ["1"] * 3},
        "negative": {"samples": [-1.0]},
        "openings": {"samples": [1.0] * 3, "openings": [2]},
        "none": {"samples": []},
        "tiny": {"samples": [1e-300]},
        "huge": {"samples": [1e300]},
        "less": {"samples": [1.0], "openings": [-1, 2]},
        "many": {"samples": [1.0], "openings": [0] * 1000 + [1]},
        "alone": {"samples": [1.0]},
    }
    (run / "latency.json").write_text(json.dumps([{**one, **given[latency]}] if isinstance(latency, str) else latency))
    seal_run(run)
    done = edgeopt("gate", run)
    assert done.code == 2 and "error[E115]: the file of the latencies is damaged: " in done.err
    assert said.replace("Field required", "is missing") in done.err


def _gated() -> dict[str, Any]:
    lock = lock_of(sample_report())
    lock["recipe"]["resolved"]["gates"] = [{"metric": "accuracy", "max_drop": 0.5}]
    return lock


# -- the store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One sound state."""
    made = Store(tmp_path / "store")
    made.prepare()
    with made.building(KEY) as folder:
        (folder / "x.txt").write_text("x")
        made.commit(
            folder,
            key=KEY,
            parts={},
            use="finetune",
            facts=frozenset({Fact.TORCH}),
            figures={"loss": float("nan")},
            seconds=1.0,
        )
    return made


def replaced(old: str, new: str) -> Any:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


BREAK = {
    "list": lambda p: p.write_text("[1]"),
    "null": lambda p: p.write_text("null"),
    "few": lambda p: p.write_text(json.dumps({"format": 1, "key": KEY})),
    "deep": lambda p: p.write_text("[" * 10_000),
    "bytes": lambda p: p.write_bytes(b"\xff"),
    "gone": Path.unlink,
    "figures": replaced('"loss"', '"lost"'),
    "facts": replaced('"facts": [', '"facts": [1,'),
    "path": replaced("x.txt", "../x.txt"),
    "seconds": replaced('"seconds": 1.0', '"seconds": "1"'),
}


@pytest.mark.parametrize("how", BREAK)
def test_a_broken_state_is_named_and_removed(store: Store, how: str) -> None:
    assert isinstance(store.find(KEY), State) and store.why_damaged(KEY) is None
    BREAK[how](store.root / "states" / KEY / "state.json")
    assert store.find(KEY) is None and store.why_damaged(KEY)
    listed = edgeopt("cache", "ls", "--store", store.root)
    assert listed.code == 0 and f"{KEY[:12]}  damaged: " in listed.out and "0 steps" in listed.out
    assert [d["key"] for d in edgeopt("cache", "ls", "--store", store.root, "--json").json] == [KEY]
    collected = edgeopt("cache", "gc", "--store", store.root)
    assert collected.code == 0 and "removed 1 steps" in collected.out and KEY[:12] in collected.err
    assert not list((store.root / "states").iterdir())


def test_whatever_lies_under_a_key_goes(store: Store) -> None:
    states = store.root / "states"
    (states / ("b" * 64)).write_text("x")
    (states / ("c" * 64)).symlink_to("/")
    (states / ("d" * 64)).mkdir()
    (store.root / "answers").mkdir()
    (store.root / "answers" / ("e" * 64)).write_text("x")
    assert edgeopt("cache", "gc", "--all", "--store", store.root).code == 0
    assert not list(states.iterdir()) and Path("/").is_dir()


def test_what_somebody_else_keeps_in_folders_of_such_names_stays(store: Store) -> None:
    """Found from outside: `--store ~` and `cache gc` removed whatever lay in ~/work."""
    mine = [store.root / area / "thesis" / "one.tex" for area in ("states", "building", "work", "answers", "locks")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (store.root / "building" / f"{KEY}.left").mkdir()
    assert edgeopt("cache", "gc", "--all", "--store", store.root).code == 0
    assert all(path.exists() for path in mine) and not (store.root / "building" / f"{KEY}.left").exists()
    assert edgeopt("cache", "ls", "--store", store.root, "--json").json == []


@pytest.mark.parametrize("text", ["[]", "{", '{"key": 1, "parts": {}}', '{"key": "x"}', '{"key": "x", "parts": []}'])
def test_a_broken_memory_is_forgotten(store: Store, text: str) -> None:
    store.remember("r", "candidate", "adapt", "k", {"transform": "x"})
    assert store.recall("r", "candidate", "adapt") == {"key": "k", "parts": {"transform": "x"}}
    next((store.root / "seen").rglob("*.json")).write_text(text)
    assert store.recall("r", "candidate", "adapt") is None
    store.remember_source("data:x", {"fingerprint": "f", "labels": ["a"]})
    assert store.recall_source("data:x") == {"fingerprint": "f", "labels": ["a"]}
    next((store.root / "sources").iterdir()).write_text(text)
    assert store.recall_source("data:x") is None
