"""A run with energy measured by CodeCarbon itself: same keys, same bytes, kept with the states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.running import recipe_for
from helpers import edgeopt_process

from edgeopt.distributed import Group
from edgeopt.execute import Done, execute
from edgeopt.plan import make_plan
from edgeopt.progress import Progress
from edgeopt.recipe.load import load_recipe
from edgeopt.store import Store


def write(folder: Path, model: Path, data: Path, **changes: Any) -> Path:
    folder.mkdir()
    short = {"max_steps": 2, "batch_size": 8, "precision": "fp32"}
    return recipe_for(folder, model, data, steps=[{"id": "ft", "use": "finetune", **short}, {"id": "int8", "use": "quantize.dynamic"}],
                      baseline={"finetune": short}, **changes)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    """A folder with a run of which energy was measured, and the same recipe without."""
    work = tmp_path_factory.mktemp("emissions")
    recipe = write(work / "with", tiny_model, tiny_data, emissions={"country": "SVN", "seconds": 1})
    write(work / "without", tiny_model, tiny_data)
    (work / "cwd").mkdir()
    done = edgeopt_process("apply", recipe, "--out", work / "run", "--store", work / "store", cwd=work / "cwd")
    assert done.code == 0, done.err
    assert "codecarbon" not in done.err.lower()
    assert list((work / "cwd").iterdir()) == []
    return work


def test_every_built_step_and_both_models_have_figures(here: Path) -> None:
    report = json.loads((here / "run" / "report.json").read_text())
    for step in report["steps"]:
        found = step["figures"]["emissions"]
        assert found["kwh"] > 0 and found["country"] == "SVN" and found["how"]
        assert found["co2eq_g"] == pytest.approx(found["kwh"] * 231.275)
        assert found["seconds"] >= step["seconds"] - 0.01
    measured = report["emissions"]
    assert [each["subject"] for each in measured["inference"]] == ["baseline", "candidate"]
    assert all(each["queries"] > 0 and each["low"] <= each["kwh"] <= each["high"] for each in measured["inference"])
    assert measured["g_per_kwh"] == pytest.approx(231.275)
    card = (here / "run" / "model" / "README.md").read_text()
    assert "energy of 1,000 inferences" in card and "all steps" in card


def test_keys_and_bytes_are_those_without(here: Path) -> None:
    """Without, every step is found by its key and has what it cost; built anew, it has the same digest."""
    plain = here / "without" / "recipe.yaml"
    first = json.loads((here / "run" / "report.json").read_text())["steps"]
    done = steps_of(plain, here / "store")
    assert all(each.cached for each in done)
    assert [each.state.figures["emissions"] for each in done] == [step["figures"]["emissions"] for step in first]
    anew = steps_of(plain, here / "other")
    assert [each.state.digest for each in anew] == [step["digest"] for step in first]
    assert not any("emissions" in each.state.figures for each in anew)


def steps_of(recipe: Path, folder: Path) -> list[Done]:
    store = Store(folder)
    chains = execute(make_plan(load_recipe(recipe), store), store, Progress(show=False), Group()).chains
    return [done for chain in chains.values() for done in chain]
