"""Gates of a recipe are decided on a run that was made by it, and on no other's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from helpers import tiny_recipe

from edgeopt.gates.request import Request, request_by
from edgeopt.gates.same_recipe import another_recipe

STEPS = [{"id": "tune", "use": "finetune", "epochs": 2}, {"id": "int8", "use": "quantize.dynamic"}]
MADE: dict[str, Any] = {"steps": STEPS, "gates": [{"metric": "size", "max_ratio": 0.5}]}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tiny_recipe(tmp_path, **MADE)


def told(recipe: Path, other: Path | None = None, *overrides: str, there: str | None = None) -> str | None:
    """Why the gates of the recipe, or of another, are not those of a run of it.

    there: fingerprint of the run's model.
    """
    place = {"recipe": str(recipe), "relative": "../recipe.yaml", "rows": "files"}
    run: Any = SimpleNamespace(lock={"model": there, "place": place}, folder=recipe.parent / "run")
    issue = another_recipe(run, request_by(other or recipe, overrides, None), request_by(recipe, (), None))
    return issue and f"{issue.code}: {issue.message} {issue.place}"


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("model.id=../other", 'model.id: "model" → "../other"'),
        ("model.revision=v2", 'model.revision: null → "v2"'),
        ("baseline.finetune.max_steps=7", "baseline.finetune.max_steps: 4 → 7"),
        ("baseline.finetune=null", "baseline.finetune: "),
        ("steps.tune.epochs=3", "steps.tune.epochs: 2.0 → 3.0"),
        ("steps=[]", "steps.tune: "),
        ("export=[{format: onnx, options: {fp32: false}}]", "export."),
        ("seed=7", "seed: 42 → 7"),
        ("seeds=[1, 2]", "seed: 42 → 1"),
        ("task.max_length=32", "task.max_length: 16 → 32"),
        ("task.selection=0.2", "task.selection: 0.1 → 0.2"),
        ("task.train_with=[{dataset: {path: more}}]", "task.train_with"),
    ],
)
def test_a_recipe_of_another_model_is_refused(recipe: Path, change: str, first: str) -> None:
    found = told(recipe, None, change, "name=another") or ""
    assert found.startswith(f"E118: the run was made by another recipe: {first}"), found
    assert not found.endswith("None"), "it has a place"


@pytest.mark.parametrize(
    "change",
    [
        "gates=[{metric: accuracy, max_drop: 0.5}, {metric: size, max_mb: 1}]",
        "gates=[]",
        "targets=[{name: phone, threads: 2}]",
        "name=release",
        "description=what we ship",
        "task.dataset.path=elsewhere",
        "task.metrics=[f1]",
        "task.slices=[genre]",
        "diagnostics.texts=false",
    ],
)
def test_what_is_asked_of_the_model_may_be_another(recipe: Path, change: str) -> None:
    assert told(recipe, None, change) is None


def test_a_model_is_known_by_its_files_where_they_are_here(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its path is written, wherever the recipe stands."""
    (tmp_path / "deeper").mkdir()
    content = yaml.safe_load(recipe.read_text())
    other = tmp_path / "deeper" / "other.yaml"
    other.write_text(yaml.safe_dump({**content, "model": {"id": "../model"}}))
    monkeypatch.setattr(Request, "fingerprint", lambda self: "a" * 64)
    assert told(recipe, other, there="a" * 64) is None
    assert "model.id: " in (told(recipe, other, there="b" * 64) or "")
    assert "model: " in (told(recipe, recipe, there="b" * 64) or "")
    monkeypatch.setattr(Request, "fingerprint", lambda self: None)
    assert "model.id: " in (told(recipe, other, there="a" * 64) or "")


def test_what_two_recipes_call_alike_may_be_two_things(tmp_path: Path) -> None:
    """A student or rows by a relative path, where the recipes stand in two folders."""
    student = {"id": "small", "use": "distill", "student": {"model": "./student"}, "teacher": "baseline"}
    recipe = tiny_recipe(tmp_path, steps=[student])
    (tmp_path / "deeper").mkdir()
    other = tmp_path / "deeper" / "other.yaml"
    other.write_text(recipe.read_text())
    (tmp_path / "student").mkdir()
    assert told(recipe, other) is None, "nothing is there that could be another"
    (tmp_path / "deeper" / "student").symlink_to(tmp_path / "student")
    assert told(recipe, other) is None
    (tmp_path / "deeper" / "student").unlink()
    (tmp_path / "deeper" / "student").mkdir()
    assert "another recipe: steps.student.model: " in (told(recipe, other) or "")
    assert told(recipe) is None
