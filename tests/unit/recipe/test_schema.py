"""`edgeopt schema` and the copy of it that editors read; and that reading recipes needs no torch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt, edgeopt_process, tiny_recipe, tiny_task
from jsonschema import Draft202012Validator

from edgeopt.recipe.library import recipe_files
from edgeopt.recipe.yaml import parse

ROOT = Path(__file__).parents[3]
RECIPES = list(recipe_files().values())


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    done = edgeopt("schema")
    assert (done.code, done.err) == (0, "")
    Draft202012Validator.check_schema(done.json)
    return dict(done.json)


def read(path: Path) -> dict[str, Any]:
    return dict(parse(path.read_text(encoding="utf-8"), path).data)


def test_the_committed_schema_is_this_one() -> None:
    assert (ROOT / "schema" / "recipe-v1.json").read_text(encoding="utf-8") == edgeopt("schema").out, (
        "run `edgeopt schema > schema/recipe-v1.json`"
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_is_valid(path: Path, schema: dict[str, Any]) -> None:
    assert [e.message for e in Draft202012Validator(schema).iter_errors(read(path))] == []


@pytest.mark.parametrize(
    "at",
    [
        (),
        ("model",),
        ("task",),
        ("task", "dataset"),
        ("baseline",),
        ("baseline", "finetune"),
        ("steps", 0),
        ("steps", 4, "calibration"),
        ("export", 0),
        ("gates", 0),
    ],
)
def test_an_unknown_key_is_refused_at_every_level(at: tuple[str | int, ...], schema: dict[str, Any]) -> None:
    recipe = copy.deepcopy(read(RECIPES[0]))
    inner: Any = recipe
    for part in at:
        inner = inner[part]
    inner["surprise"] = 1
    assert not Draft202012Validator(schema).is_valid(recipe)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("edgeopt", 2),
        ("name", "../up"),
        ("steps", {}),
        ("steps", [{"use": "sparkle"}]),
        ("steps", [{"id": "x"}]),
        ("targets", []),
        ("export", []),
        ("seed", -1),
    ],
)
def test_wrong_values_are_refused(key: str, value: Any, schema: dict[str, Any]) -> None:
    assert not Draft202012Validator(schema).is_valid({**read(RECIPES[0]), key: value})


#: Prints which of the heavy packages a command imported.
SPY = """\
import atexit, sys
heavy = {"torch", "transformers", "datasets", "peft", "onnx", "onnxruntime", "scipy", "sklearn"}
atexit.register(lambda: print("imported:", *sorted(heavy & set(sys.modules)), file=sys.stderr))
from edgeopt.cli import main
sys.argv[0] = "edgeopt"
main()
"""


@pytest.mark.parametrize(
    "line",
    ["--help", "--version", "schema", "validate {recipe}", "plan {recipe} --store {store}", "explain", "recipes ls"],
)
def test_no_torch(line: str, tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    steps = [
        {"use": "adapter.lora"},
        {"use": "merge"},
        {"use": "prune.magnitude", "amount": 0.3},
        {"use": "quantize.static"},
    ]
    recipe = tiny_recipe(tmp_path, model={"id": str(tiny_model)}, task=tiny_task(tiny_data), steps=steps)
    done = edgeopt_process(*line.format(recipe=recipe, store=tmp_path / "store").split(), python=("-c", SPY))
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == "imported:"
