"""What `plan` tells of measured cases: the nearest one, nothing where none is near, and what kept more as quickly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripts.pages import measured as maker

from edgeopt.models.structure import FIELD, Dense
from edgeopt.plan.measured import Advice, Case, _Here, advice, cases
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry

TASK = {"type": "text-classification", "dataset": {"path": "rows"}, "text": "text", "label": "label"}
FISHER = {"use": "prune.fisher", "macs": 0.5}
RECOVER = {"use": "finetune", "epochs": 1}
COFI = {"use": "prune.cofi", "sparsity": 0.9, "max_steps": 150, "recover": {"max_steps": 85}}
BERT = Dense(12, 12, 64, 3072, 768)


def case(*steps: dict[str, Any], **more: Any) -> Case:
    keys: dict[str, Any] = {
        "table": "one",
        "name": "a",
        "steps": list(steps),
        "model": "e5-small",
        "family": "bert",
        "layers": 12,
        "hidden": 384,
        "type": "text-classification",
        "task": "SST-2",
        "classes": 2,
        "train_rows": 6000,
        "metric": "accuracy",
        "change": -0.08,
        "low": -0.1,
        "high": -0.06,
        "runs": 3,
        "left": 0.1,
        "seconds": 300.0,
        "processor": "X",
    }
    return Case(**keys | more)


def planned(keys: dict[str, Any]) -> Any:
    transform = registry.get(keys["use"])
    params = transform.Params.model_validate({k: v for k, v in keys.items() if k != "use"})
    adds = transform.contract.adds
    return SimpleNamespace(
        id=keys["use"].rpartition(".")[2],
        use=keys["use"],
        transform=transform,
        params=params,
        implied=False,
        status="new",
        chain="candidate",
        contract=SimpleNamespace(adds=adds),
    )


def plan(*steps: dict[str, Any], rows: int = 5000, classes: int = 2, dense: Dense = BERT, **task: Any) -> Any:
    """As much of a plan as is looked at: BERT-base by default."""
    names = ("num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_size")
    sizes = (dense.layers, dense.heads, dense.neurons, dense.hidden)
    config = {"model_type": "bert", **dict(zip(names, sizes, strict=True))}
    return SimpleNamespace(
        source=SimpleNamespace(config=config, model_type="bert"),
        data=SimpleNamespace(train=range(rows), label_names=range(classes)),
        recipe=SimpleNamespace(head=SimpleNamespace(task=TaskSpec.model_validate(TASK | task))),
        chains={"candidate": [planned(keys) for keys in steps]},
    )


def told(found: Any, *known: Case) -> list[Case]:
    return [each.case for each in advice(found, known)]


def test_a_case_of_the_same_step_near_in_budget_length_rows_and_size_is_told() -> None:
    near = case(COFI)
    assert told(plan({"use": "finetune"}, COFI), near) == [near]
    assert told(plan({**COFI, "sparsity": 0.93, "max_steps": 250, "learning_rate": 1e-4}), near) == [near]


@pytest.mark.parametrize(
    "other",
    [
        lambda near: (plan({**COFI, "sparsity": 0.8}), near),  # another budget
        lambda near: (plan({**COFI, "max_steps": 2000}), near),  # another length
        lambda near: (plan({**COFI, "start": "open"}), near),  # another method
        lambda near: (plan({**COFI, "recover": None, "max_steps": 235}), near),
        lambda near: (plan(COFI, rows=67_000), near),
        lambda near: (plan(COFI, dense=Dense(2, 2, 16, 64, 32)), near),
        lambda near: (plan(COFI, metrics=["f1"]), near),
        lambda near: (plan(COFI, type="text-regression"), near),
        lambda near: (plan(COFI, RECOVER), near),  # what is trained on keeps something else
        lambda near: (plan(COFI, classes=77), near),
        lambda near: (plan({**COFI, "learning_rate": 1e-2}), near),
        lambda near: (plan({**COFI, "batch_size": 1}), near),
        lambda near: (plan({**COFI, "dropout": 0.9}), near),
        # it was measured on a whole model, which none of these leaves
        lambda near: (plan(FISHER, COFI), near),
        lambda near: (plan({"use": "prune.layers", "keep": [*range(8)]}, COFI), near),
        lambda near: (plan({"use": "distill", "student": {"layers": "alternate"}}, COFI), near),
        lambda near: (plan({"use": "distill", "student": {"model": "some/other"}}, COFI), near),
        lambda near: (plan({"use": "adapter.bottleneck"}, COFI), near),
    ],
)
def test_what_is_not_near_is_not_told(other: Callable[[Case], tuple[Any, Case]]) -> None:
    found, near = other(case(COFI))
    assert told(found, near) == []


def test_of_a_model_that_was_cut_before_nothing_is_told() -> None:
    found = plan(COFI)
    shape = BERT.structure
    found.source.config[FIELD] = replace(shape, layers=shape.layers[:11]).as_json()
    assert told(found, case(COFI)) == []
    found.source.config[FIELD] = shape.as_json()
    assert told(found, case(COFI)) == [case(COFI)]


def test_without_rows_or_a_known_shape_nothing_is_told() -> None:
    hub, bare = plan(COFI), plan(COFI)
    hub.data, bare.source.config = None, None
    assert told(hub, case(COFI)) == told(bare, case(COFI)) == []


def test_what_is_built_already_is_not_told() -> None:
    found = plan(COFI)
    found.chains["candidate"][0].status = "cached"
    assert told(found, case(COFI)) == []


def test_a_case_of_both_steps_goes_before_one_of_the_first_and_the_nearest_before_others() -> None:
    alone, both = case(FISHER, left=0.5), case(FISHER, RECOVER, left=0.5)
    assert told(plan(FISHER, RECOVER), alone, both) == [both]
    assert told(plan(FISHER), alone, both) == [alone]
    assert told(plan({"use": "prune.fisher", "sparsity": 0.5}), alone) == [alone]  # the same share in other words
    assert told(plan({"use": "prune.fisher", "latency": 0.5}), alone) == []
    far = replace(alone, train_rows=1500)
    assert told(plan(FISHER), far, alone) == [alone]


def test_a_student_is_compared_by_what_is_left_of_it() -> None:
    half = case({"use": "distill", "student": {"layers": [1, 3, 5]}}, layers=6, left=0.5)
    dense = Dense(12, 12, 32, 1536, 384)
    assert told(plan({"use": "distill", "student": {"layers": "alternate"}}, dense=dense), half) == [half]
    assert told(plan({"use": "distill", "student": {"first": 2}}, dense=dense), half) == []
    assert told(plan({"use": "distill", "student": {"hidden": 192}}, dense=dense), half) == []
    assert told(plan({"use": "distill"}, dense=dense), half) == []


def test_what_kept_clearly_more_of_no_more_in_no_more_seconds_stands_in_the_line() -> None:
    cofi = case(COFI)
    better = case(FISHER | {"macs": 0.1}, {"use": "distill", "max_steps": 220}, low=-0.03, change=-0.02, high=-0.01)
    (found,) = advice(plan(COFI), [cofi, better])
    assert found.line() == (
        "cofi: prune.cofi at 0.9; about 235 optimizer steps: on e5-small (12 × 384), SST-2, 6,000 rows: "
        "−0.0800 accuracy (−0.1000 to −0.0600 over 3 seeds), 300 s on X; there prune.fisher at 0.1, then distill; "
        "about 220 optimizer steps kept more: −0.0200, 300 s"
    )
    for no in ({"low": -0.07}, {"seconds": 400.0}, {"left": 0.3}, {"left": None}, {"table": "another"}):
        (found,) = advice(plan(COFI), [cofi, replace(better, **no)])
        assert found.better is None, no
    assert found.as_json()["for"] == ["candidate.cofi"] and found.as_json()["kept_more"] is None


def test_the_shipped_cases_are_todays_steps_and_current() -> None:
    assert all(isinstance(each, Case) and each.parts() and each.low <= each.change <= each.high for each in cases())
    shipped = Path(maker.ROOT / "src" / "edgeopt" / "plan" / "measured.json")
    assert shipped.read_text(encoding="utf-8") == maker.measured(), "run python scripts/make_docs.py"


def test_a_case_is_told_for_its_own_steps() -> None:
    for each in cases():
        steps = [planned(keys) for keys in each.steps]
        shape = Dense(each.layers, 12, each.hidden // 12, 4 * each.hidden, each.hidden).structure
        task = TaskSpec.model_validate(TASK | {"type": each.type})
        assert _Here(shape, each.family, task, each.train_rows, each.classes, steps).distance(each) == pytest.approx(
            0, abs=1e-6
        )


def test_a_table_in_words_of_before_says_nothing_of_what_was_written_anew() -> None:
    step = {"use": "prune.cofi", "sparsity": 0.9}
    assert maker._today([dict(step)], {"use", "macs"})
    assert not maker._today([dict(step)], {"use", "budget"})
    fisher = [{"use": "prune.fisher", "budget": {"macs": 0.5}}]
    assert maker._today(fisher, {"budget"}) and fisher == [FISHER]


def test_a_table_of_several_seeds_has_the_steps_that_were_run_and_an_interval() -> None:
    runs = {str(seed): {"optimizer_steps": 200} for seed in (42, 43, 44)}
    result = {"change": -0.06, "std": 0.01, "macs_left": 0.1, "seconds": 290.0, "runs": runs}
    tune = ["finetune", {"epochs": 2.0}]
    cofi = ["prune.cofi", {"sparsity": 0.9, "max_steps": 30, "seed": 42, "recover": {"max_steps": 70}}]
    table = {"settings": {"cofi": [tune, cofi]}, "results": {"cofi": result, "narrow": {**result, "std": None}}}
    (found,) = maker._which_pruning(table)
    assert found["steps"] == [{"use": "prune.cofi", "sparsity": 0.9, "max_steps": 60, "recover": {"max_steps": 140}}]
    assert found["runs"] == 3 and found["low"] == pytest.approx(-0.0769) and found["high"] == pytest.approx(-0.0431)


def test_an_advice_of_one_run_has_the_interval_over_rows() -> None:
    line = Advice((planned(FISHER),), case(FISHER, left=0.5, runs=1), None).line()
    assert "(−0.1000 to −0.0600), 300 s" in line and "seeds" not in line
