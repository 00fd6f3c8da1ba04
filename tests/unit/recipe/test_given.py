"""Recipes that are given as mappings, and values in place of --set."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import tiny_recipe

import edgeopt
from edgeopt.recipe.given import as_overrides
from edgeopt.recipe.load import read_document
from edgeopt.support.errors import InputError

STEPS = [{"id": "prune", "use": "prune.magnitude", "amount": 0.3}, {"use": "finetune", "max_steps": 4}]


def given(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(
        tiny_recipe(tmp_path, **{"steps": STEPS, **changes}).read_text(encoding="utf-8")
    )
    return data


def issues(data: Any, **more: Any) -> list[tuple[str, str]]:
    """(code, place) of all that is wrong."""
    with pytest.raises(InputError) as error:
        edgeopt.load(data, **more)
    return [(i.code, str(i.place)) for i in error.value.issues]


def test_a_mapping_is_the_recipe_that_its_file_is(tmp_path: Path) -> None:
    data = given(tmp_path)
    before = deepcopy(data)
    mine, files = edgeopt.load(data, folder=tmp_path), edgeopt.load(tmp_path / "recipe.yaml")
    assert mine.digest == files.digest and mine.folder == files.folder == tmp_path.resolve()
    assert data == before and mine.document.data is not data


def test_paths_are_relative_to_the_folder_or_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = given(tmp_path)
    (tmp_path / "there").mkdir()
    assert edgeopt.load(data, folder=str(tmp_path / "there")).folder == (tmp_path / "there").resolve()
    monkeypatch.chdir(tmp_path / "there")
    assert edgeopt.load(data).folder == (tmp_path / "there").resolve()


def test_numbers_paths_and_tuples_of_a_program_are_taken(tmp_path: Path) -> None:
    data = given(tmp_path, model=None, steps=None)
    steps = ({**STEPS[0], "amount": np.float64(0.3)}, {**STEPS[1], "max_steps": np.int64(4)})
    found = edgeopt.load({**data, "model": {"id": Path("model")}, "steps": steps})
    assert found.digest == edgeopt.load(tiny_recipe(tmp_path, steps=STEPS)).digest


def test_every_mistake_has_its_place(tmp_path: Path) -> None:
    steps = [{"use": "prun.magnitude"}, {"use": "prune.magnitude", "amount": 3}, {"use": "finetune", "max_step": 1}]
    assert issues(given(tmp_path, steps=steps, nam="x")) == [
        ("E104", "<dict>:nam"),
        ("E107", "<dict>:steps.0.use"),
        ("E106", "<dict>:steps.1.amount"),
        ("E104", "<dict>:steps.2.max_step"),
    ]
    twice = [STEPS[0], STEPS[0]]
    with pytest.raises(InputError, match=r"first at <dict>:steps\.0"):
        edgeopt.load(given(tmp_path, steps=twice))


def test_what_yaml_cannot_hold_is_refused(tmp_path: Path) -> None:
    data = given(tmp_path)
    assert issues({**data, "seed": {1, 2}}) == [("E102", "<dict>:seed")]
    assert issues({**data, "task": {**data["task"], 3: "x"}}) == [("E102", "<dict>:task")]
    assert issues({**data, "name": "half \ud800"}) == [("E102", "<dict>:name")]
    endless: dict[str, Any] = {**data}
    endless["model"] = endless
    assert {code for code, _ in issues(endless)} == {"E102"}
    assert issues({})[0][0] == "E105"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4, "0.4"),
        (1e-05, "1e-05"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ("fp32", "fp32"),
        ("3", '"3"'),
        ("null", '"null"'),
        ("", '""'),
        ("a: [b", '"a: [b"'),
        ("# x", '"# x"'),
        ("ü 😀", "ü 😀"),
        ("a\x7fb", '"a\\u007fb"'),
        ([1, "a"], '[1, "a"]'),
        ({"a": 0.5}, '{"a": 0.5}'),
        (Path("a/b"), "a/b"),
    ],
)
def test_values_are_written_as_set_takes_them(value: object, text: str, tmp_path: Path) -> None:
    written = as_overrides({"name": value})
    assert written == [f"name={text}"]
    wanted = str(value) if isinstance(value, Path) else value
    assert read_document(tiny_recipe(tmp_path), written).data["name"] == wanted


def test_set_is_what_the_command_line_has(tmp_path: Path) -> None:
    path = tiny_recipe(tmp_path, steps=STEPS)
    mine, theirs = (
        edgeopt.load(path, set={"steps.prune.amount": 0.5, "seed": 7}),
        edgeopt.load(path, set=["steps.prune.amount=0.5", "seed=7"]),
    )
    assert mine.resolved() == theirs.resolved() and mine.overrides == theirs.overrides
    assert issues(path, set={"steps.prun.amount": 0.5}) == [("E109", "--set steps.prun.amount=0.5")]
    assert issues(path, set={"seed": object()})[0][0] == "E109"


def test_a_folder_or_values_where_they_mean_nothing_are_refused(tmp_path: Path) -> None:
    path = tiny_recipe(tmp_path)
    assert issues(path, folder=tmp_path)[0][0] == "E100"
    with pytest.raises(InputError, match="E100"):
        edgeopt.validate(edgeopt.load(path), set={"seed": 3})
