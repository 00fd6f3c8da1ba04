"""Rows that something is chosen by are left out of every training before it, and the key says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import tiny_recipe, tiny_task, write_rows

from edgeopt.data import Split, TaskData
from edgeopt.plan import check
from edgeopt.plan.keys import key_parts
from edgeopt.plan.steps import Plan
from edgeopt.recipe.load import load_recipe
from edgeopt.spec.recipe import TrainParams
from edgeopt.training.rows import gather_rows

TUNE = {"id": "tune", "use": "finetune", "max_steps": 8}
AGAIN = {"id": "again", "use": "finetune", "max_steps": 4}
BEST = {"id": "best", "use": "finetune", "max_steps": 4, "keep_best": True}
INT8 = {"id": "int8", "use": "quantize.static"}


@pytest.fixture
def planned(tmp_path: Path, tiny_model: Path) -> Any:
    data = write_rows(tmp_path / "rows", train=16, validation=8)

    def make(*steps: dict[str, Any], baseline: dict[str, Any] | None = None, **more: Any) -> Plan:
        given = {"finetune": baseline or {"max_steps": 3}}
        keys = {
            "model": {"id": str(tiny_model)},
            "task": tiny_task(data, max_length=32),
            "steps": list(steps),
            "baseline": given,
            **more,
        }
        path = tiny_recipe(tmp_path, **keys)
        return check(load_recipe(path, ()))

    return make


def held(plan: Plan) -> set[str]:
    return {f"{step.chain}.{step.id}" for step in plan.steps if step.held_out}


def test_every_training_before_a_choice_leaves_its_rows_out(planned: Any) -> None:
    other, same = {"max_steps": 3}, {"max_steps": 8}
    auto = {**INT8, "policy": "auto"}
    assert held(planned(TUNE, AGAIN, INT8, baseline=other)) == set()
    assert held(planned(TUNE, AGAIN, auto, baseline=other)) == {"candidate.tune", "candidate.again"}
    # what follows may see them
    assert held(planned(TUNE, BEST, AGAIN, baseline=other)) == {
        "candidate.tune",
        "candidate.best",
    }
    # one training, as before
    assert held(planned(TUNE, auto, baseline=same)) == {
        "candidate.tune",
        "baseline.finetune",
    }
    assert held(planned(TUNE, INT8, baseline=other, export="auto")) == {"candidate.tune", "baseline.finetune"}
    assert held(
        planned(TUNE, {"id": "qat", "use": "quantize.qat", "max_steps": 3, "keep_best": True}, baseline=other)
    ) == {"candidate.tune", "candidate.qat"}


def test_the_key_says_so_where_the_rows_differ(planned: Any) -> None:
    def key(plan: Plan, id: str) -> dict[str, Any]:
        (step,) = [s for s in plan.chains["candidate"] if s.id == id]
        assert plan.data is not None
        return key_parts(step, "0", plan, plan.data.key("train"))

    plain, auto = planned(TUNE, INT8), planned(TUNE, {**INT8, "policy": "auto"})
    assert key(plain, "tune") != key(auto, "tune") and key(auto, "tune")["data"]["held_out"] is True
    assert key(planned(BEST, INT8), "best") == key(planned(BEST, {**INT8, "policy": "auto"}), "best"), (
        "its rows are the same"
    )


def test_a_training_sees_none_of_them() -> None:
    rows = Split("train", tuple((f"text {i}",) for i in range(40)), tuple(i % 2 for i in range(40)))
    data = TaskData(rows, rows, ("0", "1"), "here", held_out=True)
    rest, selection = data.carve(0.1)
    found, select = gather_rows(data, TrainParams(), 0.1)
    assert found.rows.texts == rest.texts and select is None and len(selection) == 4
    assert not set(found.rows.texts) & set(selection.texts)
    assert gather_rows(data, TrainParams(keep_best=True), 0.1)[1] == selection
