"""A recipe's matrix: which cells there are, what each is, and what validate and plan say of them."""

from __future__ import annotations

import copy
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt, tiny_recipe, tiny_task

from edgeopt.recipe.expand import Grid, load
from edgeopt.recipe.load import Recipe, load_recipe, read_document
from edgeopt.recipe.matrix import combinations
from edgeopt.spec.recipe import Matrix
from edgeopt.support.errors import InputError

STEPS = [
    {"id": "tune", "use": "finetune", "max_steps": 2, "batch_size": 8, "precision": "fp32"},
    {"id": "prune", "use": "prune.magnitude", "amount": 0.5},
    {"id": "adapt", "use": "adapter.bottleneck", "max_steps": 2, "batch_size": 8, "precision": "fp32"},
]
P = {"off": {"remove": ["prune"]}, "on": {}}
A = {"off": {"remove": ["adapt"]}, "on": None}
AMOUNT = {"steps.prune.amount": [0.25, 0.75]}


def grid(
    folder: Path, axes: dict[str, Any], *overrides: str, exclude: list[dict[str, Any]] | None = None, **changes: Any
) -> Grid:
    found = load(
        tiny_recipe(folder, **{"steps": STEPS, "matrix": {"axes": axes, "exclude": exclude or []}, **changes}),
        overrides,
    )
    assert isinstance(found, Grid)
    return found


def steps_of(found: Grid) -> dict[str, list[str]]:
    return {c.name: [s.id for s in c.recipe.steps] for c in found.cells}


@pytest.mark.parametrize("counts", [(1,), (3,), (2, 3), (2, 1, 4), (2, 2, 2, 2)])
def test_the_cells_are_the_product_in_its_order(tmp_path: Path, counts: tuple[int, ...]) -> None:
    keys = ["seed", "steps.prune.amount", "steps.tune.max_steps", "task.max_length"][: len(counts)]
    values = [[0.1, 0.2, 0.3] if key.endswith("amount") else [11, 12, 13, 14] for key in keys]
    axes = {key: found[:count] for key, found, count in zip(keys, values, counts, strict=True)}
    found = grid(tmp_path, axes)
    seen = [tuple(c.choices[key] for key in keys) for c in found.cells]
    assert seen == [tuple(map(str, chosen)) for chosen in product(*axes.values())]
    assert (
        found.combinations
        == len(found.cells)
        == len({c.name for c in found.cells})
        == len({c.recipe.digest for c in found.cells})
    )


def test_a_cell_is_the_recipe_that_one_would_write(tmp_path: Path) -> None:
    """Against files written by hand: the same values, and so the same steps and the same lock."""
    found = grid(tmp_path, {"P": P, "A": A, **AMOUNT, "seed": [7, 8]})
    cell = next(c for c in found.cells if c.name == "P-on_A-off_amount-0.75_seed-8")
    (tmp_path / "alone").mkdir()
    alone = load_recipe(
        tiny_recipe(
            tmp_path / "alone", name=f"tiny.{cell.name}", steps=[STEPS[0], {**STEPS[1], "amount": 0.75}], seed=8
        )
    )
    assert cell.recipe.resolved() == alone.resolved()
    assert cell.recipe.head.matrix is None and "matrix" not in cell.recipe.document.data


def test_cells_that_come_out_the_same_are_one(tmp_path: Path) -> None:
    """An amount matters only where something is pruned."""
    found = grid(tmp_path, {"P": P, "A": A, **AMOUNT})
    assert (found.combinations, len(found.cells)) == (8, 6)
    assert steps_of(found) == {
        "P-off_A-off": ["tune"],
        "P-off_A-on": ["tune", "adapt"],
        "P-on_A-off_amount-0.25": ["tune", "prune"],
        "P-on_A-off_amount-0.75": ["tune", "prune"],
        "P-on_A-on_amount-0.25": ["tune", "prune", "adapt"],
        "P-on_A-on_amount-0.75": ["tune", "prune", "adapt"],
    }
    assert dict(found.cells[0].choices) == {"P": "off", "A": "off"}


def test_cells_that_are_the_same_by_chance_keep_apart_names(tmp_path: Path) -> None:
    """Both axes write one value: two pairs of combinations are the same, and have nothing in common for a name."""
    axes = {"a": {"x": {"set": {"seed": 1}}, "y": {"set": {"seed": 2}}}, "b": {"x": {}, "y": {}}, "seed": [1, 2]}
    found = grid(tmp_path, axes)
    assert [c.name for c in found.cells] == ["seed-1", "seed-2"]
    swapped = {"seed": [1, 2], "steps.tune.max_steps": {"1": {"set": {"seed": 1}}, "2": {"set": {"seed": 2}}}}
    assert len({c.name for c in grid(tmp_path, swapped).cells}) == 2


@pytest.mark.parametrize(
    "exclude",
    [[{"P": "on", "seed": 1}], [{"P": "on", "seed": "1"}], [{"seed": 2}, {"P": "off", "seed": 3}], [{"P": "off"}]],
)
def test_what_is_excluded_is_not_there_and_everything_else_is(tmp_path: Path, exclude: list[dict[str, Any]]) -> None:
    found = grid(tmp_path, {"P": P, "seed": [1, 2, 3]}, exclude=exclude)
    every = [{"P": p, "seed": s} for p in ("off", "on") for s in ("1", "2", "3")]
    kept = [
        c for c in every if not any(all(c[axis] == str(value) for axis, value in entry.items()) for entry in exclude)
    ]
    assert [dict(c.choices) for c in found.cells] == kept and 0 < len(kept) < 6


def test_replace_insert_and_remove_do_not_depend_on_the_order_of_axes(tmp_path: Path) -> None:
    axes = {
        "kind": {
            "lora": {
                "replace": {"adapt": {"use": "adapter.lora", "max_steps": 2}},
                "insert": [{"after": "adapt", "step": {"use": "merge"}}],
            },
            "bottleneck": {},
        },
        "P": P,
        "int8": {
            "on": {"insert": [{"before": "prune", "step": {"id": "drop", "use": "prune.layers", "drop": [1]}}]},
            "off": {},
        },
        "rank": {"4": {"set": {"steps.adapt.max_steps": 4}}},
    }
    forward = grid(tmp_path, axes)
    backward = grid(tmp_path, dict(reversed(axes.items())))
    assert {c.recipe.resolved()["steps"].__repr__() for c in forward.cells} == {
        c.recipe.resolved()["steps"].__repr__() for c in backward.cells
    }
    assert steps_of(forward)["kind-lora_P-off_int8-on_rank-4"] == ["tune", "drop", "adapt", "merge"]
    assert steps_of(forward)["kind-lora_P-on_int8-off_rank-4"] == ["tune", "prune", "adapt", "merge"]
    cell = forward.cells[0].recipe
    assert [getattr(s.params, "max_steps", None) for s in cell.steps if s.id == "adapt"] == [4]


def test_a_moved_step_keeps_its_line(tmp_path: Path) -> None:
    found = grid(tmp_path, {"P": P})
    lines = [{s.id: s.place.line for s in c.recipe.steps if s.place} for c in found.cells]
    assert lines[0] == {k: v for k, v in lines[1].items() if k != "prune"}


def test_expanding_changes_nothing_and_gives_the_same_again(tmp_path: Path) -> None:
    path = tiny_recipe(tmp_path, steps=STEPS, matrix={"axes": {"P": P, **AMOUNT}})
    document = read_document(path)
    before = copy.deepcopy((document.data, document.keys, document.values))
    matrix = Matrix.model_validate(document.data["matrix"])
    first, second = combinations(document, matrix), combinations(document, matrix)
    assert (document.data, document.keys, document.values) == before and not document.issues
    assert [c.document.data for c in first] == [c.document.data for c in second]
    first[0].document.data["steps"].clear()  # no cell shares what another may write to
    assert second[0].document.data["steps"] and document.data == before[0]


def test_overrides_come_first_and_seeds_stay_in_the_cells(tmp_path: Path) -> None:
    found = grid(tmp_path, {"P": P}, "steps.prune.amount=0.125", "matrix.axes.P.off.remove=[]", seed=None, seeds=[3, 4])
    assert len(found.cells) == 1  # nothing is removed any more
    recipe = found.cells[0].recipe
    assert recipe.head.seeds == [3, 4] and recipe.head.seed == 3
    assert recipe.resolved()["steps"][1]["amount"] == 0.125
    assert recipe.overrides == ("steps.prune.amount=0.125", "matrix.axes.P.off.remove=[]")


def test_an_axis_that_is_a_key_can_be_overridden(tmp_path: Path) -> None:
    found = grid(tmp_path, AMOUNT, "matrix.axes.steps.prune.amount=[0.125]", "matrix.axes.seed=[5, 6]")
    assert [c.name for c in found.cells] == ["amount-0.125_seed-5", "amount-0.125_seed-6"]


def test_one_cell_by_name_and_without_the_matrix(tmp_path: Path) -> None:
    path = tiny_recipe(tmp_path, steps=STEPS, matrix={"axes": {"P": P, "seed": [1, 2]}})
    cell = load(path, cell="P-off_seed-2")
    assert isinstance(cell, Recipe) and cell.head.seed == 2 and cell.head.name == "tiny.P-off_seed-2"
    whole = load(path, ["matrix=null"])
    assert isinstance(whole, Recipe) and len(whole.steps) == 3
    for name, wanted in (("P-of_seed-2", "E121"), (None, None)):
        if name is not None:
            with pytest.raises(InputError, match=wanted) as caught:
                load(path, cell=name)
            assert "P-off_seed-2" in str(caught.value)
    with pytest.raises(InputError, match="E121"):
        load(path, ["matrix=null"], cell="x")
    with pytest.raises(InputError, match="E120"):
        load_recipe(path)


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    axes = {letter * 60: {"x": {"set": {"seed": i}}, "y": {}} for i, letter in enumerate("ab")}
    with pytest.raises(InputError, match="E119"):
        grid(tmp_path, axes)


@pytest.mark.parametrize(
    "axes",
    [
        {"a": {"1": None, "1_b-2": {"set": {"steps.tune.batch_size": 4}}}, "b": {"3": None, "2_b-3": P["off"]}},
        {"a": {"x": None, "X": P["off"]}},
    ],
)
def test_two_cells_of_one_folder_are_refused(tmp_path: Path, axes: dict[str, Any]) -> None:
    """Found from outside: the second run replaced the first, and `plan` ended in E900."""
    with pytest.raises(InputError, match=r"E119.*two cells would be in one folder"):
        grid(tmp_path, axes)


def test_a_name_never_begins_like_an_option(tmp_path: Path) -> None:
    assert [*steps_of(grid(tmp_path, {"a.": {"x": None}}))] == ["a.-x"]


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> Path:
    given = {"model": {"id": str(tiny_model)}, "task": tiny_task(tiny_data), "steps": STEPS}
    return tiny_recipe(tmp_path, **given, matrix={"axes": {"P": P, "A": A, **AMOUNT}})


def test_validate_names_the_cells(recipe: Path) -> None:
    done = edgeopt("validate", recipe)
    assert (done.code, done.err) == (0, "") and "valid; 6 cells;" in done.out
    cells = edgeopt("validate", recipe, "--json").json["cells"]
    assert [c["steps"] for c in cells][:2] == [["tune"], ["tune", "adapt"]]
    assert cells[0]["axes"] == {"P": "off", "A": "off"} and len({c["digest"] for c in cells}) == 6


def test_plan_shows_cells_and_the_steps_that_they_share(recipe: Path, tmp_path: Path) -> None:
    done = edgeopt("plan", recipe, "--store", tmp_path / "store")
    assert (done.code, done.err) == (0, "")
    assert "6 cells of 8 combinations" in done.out
    assert "P-on_A-on_amount-0.75   tune → prune → adapt" in done.out
    # load, two trainings that differ in their rate, the baseline's graph; 2 × prune; adapt behind tune and each prune;
    # a graph for each cell
    assert "15 distinct steps for the 43 of all cells, 0 of them cached" in done.out
    found = edgeopt("plan", recipe, "--store", tmp_path / "store", "--json").json
    assert [c["cell"] for c in found["cells"]] == list(dict.fromkeys(c["cell"] for c in found["cells"])) and found[
        "combinations"
    ] == 8
    counts = {(s["chain"], s["id"], tuple(s["cells"])): s for s in found["distinct"]}
    shared = {
        (chain, step): [len(cells) for c, s, cells in counts if (c, s) == (chain, step)] for chain, step, _ in counts
    }
    assert (
        shared["baseline", "load"] == [6]
        and shared["candidate", "tune"] == [6]
        and shared["candidate", "prune"] == [2, 2]
    )
    assert shared["candidate", "adapt"] == [1, 1, 1] and sorted(shared["candidate", "onnx"]) == [1] * 6
    assert not (tmp_path / "store").exists()  # it computes and writes nothing


def test_plan_and_doctor_of_one_cell_and_of_all(recipe: Path, tmp_path: Path) -> None:
    one = edgeopt("plan", recipe, "--cell", "P-off_A-on", "--store", tmp_path / "store", "--json").json
    assert [s["id"] for s in one["steps"] if not s["implied"] and s["chain"] == "candidate"] == ["tune", "adapt"]
    assert edgeopt("doctor", recipe, "--store", tmp_path / "store").code == 0


def test_gates_of_a_matrix_are_not_those_of_a_run(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    done = edgeopt("gate", tmp_path / "run", "--recipe", recipe)
    assert done.code == 2 and ("E120" in done.err or "E131" in done.err)
    cell = tmp_path / "run" / "cells" / "P-off"
    cell.mkdir(parents=True)
    (cell / "report.json").touch()
    for command in ("gate", "report", "bundle", "compare"):
        done = edgeopt(command, tmp_path / "run")
        assert done.code == 2 and "holds runs and is none itself" in done.err and str(cell) in done.err


def test_several_processes_are_refused(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = edgeopt("apply", recipe, "--out", tmp_path / "out", "--store", tmp_path / "store")
    assert (done.code, "E120" in done.err, "--cell" in done.err) == (2, True, True)
    assert not (tmp_path / "out").exists()
    assert json.loads(edgeopt("apply", recipe, "--json", "--store", tmp_path / "store").out)["exit_code"] == 2


REPLACED = """
edgeopt: 1
name: x
model: m
task: {type: text-classification, dataset: {path: data}, text: t}
steps:
  - {id: tune, use: finetune}
  - {id: prune, use: prune.magnitude, amount: 0.3}
matrix:
  axes:
    how: {magnitude: , fisher: {replace: {prune: {use: prune.fisher, macs: 0.5}}}}
    steps.prune.amount: [0.1, 0.2]
"""


def test_a_value_for_a_step_that_another_axis_replaced(tmp_path: Path) -> None:
    """A value whose step was replaced by one without such a parameter does not count.

    The cells that differ in it alone are one.
    """
    (tmp_path / "recipe.yaml").write_text(REPLACED)
    grid = load(tmp_path / "recipe.yaml")
    assert isinstance(grid, Grid)
    assert [cell.name for cell in grid.cells] == ["how-magnitude_amount-0.1", "how-magnitude_amount-0.2", "how-fisher"]
    assert [getattr(cell.recipe.steps[1].params, "amount", None) for cell in grid.cells] == [0.1, 0.2, None]


def test_a_value_that_no_step_of_that_id_takes_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(REPLACED.replace("steps.prune.amount", "steps.prune.amont"))
    with pytest.raises(InputError, match=r"E104(.|\n)*did you mean 'amount'"):
        load(tmp_path / "recipe.yaml")


def test_a_value_for_a_step_that_takes_it_too(tmp_path: Path) -> None:
    other = "{use: prune.magnitude, amount: 0.5, scope: layer}"
    (tmp_path / "recipe.yaml").write_text(REPLACED.replace("{use: prune.fisher, macs: 0.5}", other))
    grid = load(tmp_path / "recipe.yaml")
    assert isinstance(grid, Grid)
    assert [getattr(cell.recipe.steps[1].params, "amount", None) for cell in grid.cells] == [0.1, 0.2, 0.1, 0.2]
