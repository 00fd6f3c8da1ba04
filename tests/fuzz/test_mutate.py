"""The mutations themselves: the same number gives the same, nothing given is changed, and a defect is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import Result

from fuzz.mutate import Mutator, assert_sound, numbers

TREE = {"name": "x", "steps": [{"id": "a", "rate": 0.5}, {"id": "b", "count": 3}], "on": True}


def test_a_number_decides() -> None:
    raw = json.dumps(TREE).encode()
    for number in range(50):
        assert repr(Mutator(number).tree(TREE)) == repr(Mutator(number).tree(TREE))
        assert Mutator(number).raw(raw) == Mutator(number).raw(raw)
        assert Mutator(number).json(raw) == Mutator(number).json(raw)
    assert json.dumps(TREE).encode() == raw
    assert len({repr(Mutator(n).tree(TREE)) for n in range(200)}) > 150


def test_a_folder(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.json").write_text(json.dumps(TREE))
        (tmp_path / str(number) / "b.jsonl").write_text(json.dumps(TREE) + "\n")
        Mutator(number).folder(tmp_path / str(number))
    changed = [
        p for p in tmp_path.iterdir() if not (p / "a.json").is_file() or (p / "a.json").read_text() != json.dumps(TREE)
    ]
    assert 10 < len(changed) < 45


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Result(2, "", "error[E900]: a defect"), "E900"),
        (Result(1, "", ""), "exit code 1"),
        (Result(2, "", "oh"), "without an error"),
    ],
)
def test_a_defect_is_seen(result: Result, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        assert_sound(numbers(3), lambda number: result)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        assert_sound(numbers(3), lambda number: Result(1 // number, "", ""))
    assert_sound(numbers(3), lambda number: Result(2, "", "error[E101]: no recipe"))
