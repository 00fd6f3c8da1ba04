"""A run with energy measured by CodeCarbon itself: same keys, same bytes, kept with the states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.running import recipe_for
from helpers import Copied, edgeopt

from edgeopt.measure.energy import BLOCKS
from edgeopt.plan import make_plan
from edgeopt.recipe.load import load_recipe
from edgeopt.run.execute import Done, execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress


def write(folder: Path, model: Path, data: Path, **changes: Any) -> Path:
    folder.mkdir()
    short = {"max_steps": 2, "batch_size": 8, "precision": "fp32"}
    return recipe_for(
        folder,
        model,
        data,
        steps=[{"id": "ft", "use": "finetune", **short}, {"id": "int8", "use": "quantize.dynamic"}],
        baseline={"finetune": short},
        **changes,
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    """A folder with a run of which energy was measured, and the same recipe without."""
    work = tmp_path_factory.mktemp("emissions")
    recipe = write(work / "with", tiny_model, tiny_data, emissions={"country": "SVN", "seconds": 1})
    write(work / "without", tiny_model, tiny_data)
    (work / "cwd").mkdir()
    done = Copied("apply", recipe, "--out", work / "run", "--store", work / "store", cwd=work / "cwd").result()
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


def spent(module: str, task: dict[str, Any]) -> Any:
    """What the process that meters inferences would say: 2 W of idling, and of the models 3 W and 2.5 W."""
    assert module == "edgeopt.measure.energy_worker"

    def used(watts: float) -> dict[str, Any]:
        kwh = watts * task["seconds"] / 3.6e6
        return {
            "seconds": task["seconds"],
            "kwh": kwh,
            "co2eq_g": kwh * 300,
            "country": task["country"],
            "estimated": True,
            "how": "x",
            "parts_kwh": {},
        }

    return {
        name: [(used(watts), queries)] * BLOCKS
        for name, watts, queries in (("idle", 2, 0), ("baseline", 3, 50), ("candidate", 2.5, 50))
    }


def test_every_cell_of_a_matrix_is_metered_and_a_finished_one_again_where_it_was_not(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeopt.measure.energy.run_worker", spent)
    monkeypatch.setenv("EDGEOPT_COUNTRY", "SVN")
    recipe = write(
        tmp_path / "recipe", tiny_model, tiny_data, matrix={"axes": {"int8": {"off": {"remove": ["int8"]}, "on": {}}}}
    )

    def apply(out: str, *more: str) -> Any:
        done = edgeopt("apply", recipe, "--out", tmp_path / out, "--store", tmp_path / "store", *more)
        assert done.code == 0, done.err
        return done

    apply("run", "--emissions")
    rows = json.loads((tmp_path / "run" / "comparison.json").read_text())["rows"]
    assert [row["role"] for row in rows] == ["baseline", "candidate", "candidate"]
    # above idling 1 W and 0.5 W for 2 s and 50 queries: of a thousand 40 J and 20 J
    assert [row["inference_kwh"] for row in rows] == pytest.approx([40 / 3.6e6, 20 / 3.6e6, 20 / 3.6e6])
    assert [row["inference_co2eq_grams"] for row in rows] == pytest.approx([row["inference_kwh"] * 300 for row in rows])
    # what the cells share was metered once, and is in the sums of both
    steps = [
        json.loads((tmp_path / "run" / "cells" / cell / "report.json").read_text())["steps"]
        for cell in ("int8-off", "int8-on")
    ]
    sums = [sum(s["figures"]["emissions"]["kwh"] for s in each if s["chain"] == "candidate") for each in steps]
    assert [row["making_kwh"] for row in rows[1:]] == pytest.approx(sums)
    tuned = [next(s["figures"]["emissions"] for s in each if s["id"] == "ft") for each in steps]
    assert tuned[0] == tuned[1]
    for form in ("md", "html", "tex"):
        text = (tmp_path / "run" / f"comparison.{form}").read_text()
        assert "Energy of 1,000" in text and "CO2eq, all steps" in text
    kept = "finished before and unchanged"
    # the first does not ask for it
    assert apply("run").err.count(kept) == apply("run", "--emissions").err.count(kept) == 2
    assert apply("run", "--set", "emissions.country=DEU").err.count("run again: emissions: SVN, 10 s → DEU, 10 s") == 2
    apply("plain")
    assert apply("plain", "--emissions").err.count("run again: emissions: not measured → SVN, 10 s") == 2


def steps_of(recipe: Path, folder: Path) -> list[Done]:
    store = Store(folder)
    chains = execute(make_plan(load_recipe(recipe), store), store, Progress(show=False), Group()).chains
    return [done for chain in chains.values() for done in chain]
