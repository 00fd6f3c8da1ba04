"""Structured pruning as steps: budgets are met, shapes and zeros survive every later step, each stacks on the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgeopt.measure.graph import weigh
from edgeopt.models.files import GRAPH
from edgeopt.models.load import load_model
from edgeopt.models.parts import prunable
from edgeopt.models.slicing import structure_of
from edgeopt.run.execute import Executed
from edgeopt.run.observe import graph_sparsity
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import InputError, StepError
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 3, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
TUNE = ("finetune", {**SHORT, "max_steps": 8})


@pytest.fixture
def chain(tiny_model: Path, tiny_data: Path, store: Path) -> Any:
    """Build steps given as (transform, parameters); the states by the steps' numbers, and what was executed."""

    def run(
        *uses: tuple[str, dict[str, Any]], model: Path = tiny_model, store: Path = store
    ) -> tuple[list[State], Executed]:
        steps = [step(registry.get(use), params, f"s{i}") for i, (use, params) in enumerate(uses)]
        executed = build(steps, model=model, data=tiny_data, store=store)
        done = {d.step.id: d.state for d in executed.chains["candidate"]}
        return [done[s.id] for s in steps], executed

    return run


def test_a_latency_budget_is_met_by_a_table_that_is_measured_once(chain: Any, begun: Path, tmp_path: Path) -> None:
    target = {"name": "here", "threads": 1, "sequence": [8]}
    store = Path(shutil.copytree(begun, tmp_path / "store"))
    cut = ("prune.fisher", {"latency": 0.7, "target": target, "samples": 16})
    states, _ = chain(TUNE, cut, store=store)
    (path,) = (store / "measured").glob("*.json")
    table = json.loads(path.read_text())
    assert [n for n, _ in table["heads_ms"]] == [0, 1, 2]
    assert table["neurons_ms"][-1][0] == 64 and all(ms > 0 for _, ms in table["neurons_ms"])
    assert states[1].figures["budget"]["reached"] <= 0.7
    written = path.stat().st_mtime_ns
    chain(TUNE, ("prune.fisher", {"latency": 0.75, "target": target, "samples": 16}), store=store)
    assert path.stat().st_mtime_ns == written


def test_a_latency_that_norms_alone_exceed_is_refused(
    chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from edgeopt.measure import blocks

    monkeypatch.setattr(blocks, "table", lambda *_: blocks.Table(np.array([5.0, 6.0, 7.0]), np.linspace(5, 7, 65)))
    with pytest.raises(InputError) as caught:
        chain(TUNE, ("prune.fisher", {"latency": 0.5, "samples": 16}), store=tmp_path)
    assert caught.value.issues[0].code == "E106" and "0.71" in caught.value.issues[0].message


@pytest.mark.parametrize("again", [("prune.fisher", {"macs": 0.01}), ("prune.magnitude", {"amount": 0.999})])
def test_a_cut_that_leaves_nothing_is_refused(chain: Any, again: tuple[str, dict[str, Any]]) -> None:
    """Of a model that an earlier step cut, too: what it has is not known before."""
    use, params = again
    more = {"granularity": "row", "scope": "layer"} if use == "prune.magnitude" else {"samples": 16, "multiple": 32}
    steps = [TUNE, ("prune.layers", {"keep": [0]}), (use, {**params, **more})]
    with pytest.raises(InputError, match="leaves no") as caught:
        chain(*steps)
    assert caught.value.issues[0].code == "E106"


def test_stacked_with_everything(chain: Any) -> None:
    """prune, recover, prune again, adapt, merge, zeros, int8: shapes and zeros are those of the final graph."""
    states, executed = chain(
        TUNE,
        ("prune.fisher", {"macs": 0.6, "samples": 32}),
        ("finetune", SHORT),
        ("prune.layers", {"drop": [0]}),
        ("adapter.lora", {**SHORT, "r": 2, "target_modules": "all-linear", "learning_rate": 1e-2}),
        ("merge", {}),
        ("prune.magnitude", {"amount": 0.4, "scope": "layer"}),
        ("quantize.static", {"calibration": {"samples": 8}}),
    )
    structure = structure_of(load_model(states[6].folder))
    assert [x.origin for x in structure.layers] == [1]
    assert Fact.UNEVEN in states[7].facts
    graph = executed.lowered("candidate").folder / GRAPH
    shapes = {tuple(t.dims) for t in onnx.load(str(graph)).graph.initializer}
    assert (32, structure.layers[0].head_count * 16) in shapes and (32, structure.layers[0].neuron_count) in shapes
    assert (32, 64) not in shapes
    assert graph_sparsity(graph) == pytest.approx(0.4, abs=0.01)
    assert graph_sparsity(states[7].folder / GRAPH) >= 0.4 - 5e-3
    assert weigh(graph).parameters == sum(p.numel() for p in load_model(states[6].folder).parameters())


@pytest.mark.parametrize(
    "use", ["adapter.lora", "adapter.ia3", "adapter.bottleneck", "adapter.prompt", "adapter.adalora"]
)
@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_adapters_stand_on_what_is_left(use: str, kind: str, chain: Any, tiny_model: Path, tiny_electra: Path) -> None:
    more = {
        "adapter.adalora": {"init_r": 4, "target_r": 2, "max_steps": 10},
        "adapter.prompt": {"virtual_tokens": 2},
    }.get(use, {})
    steps = [
        TUNE,
        ("prune.fisher", {"macs": 0.5, "samples": 32}),
        (use, {**SHORT, "learning_rate": 1e-2, **more}),
    ]
    if use in ("adapter.lora", "adapter.ia3", "adapter.adalora"):
        steps.append(("merge", {}))
    states, executed = chain(*steps, model=tiny_model if kind == "bert" else tiny_electra)
    assert structure_of(load_model(states[1].folder)) == structure_of(
        load_model(states[-1].folder) if len(steps) == 4 else load_model(states[1].folder)
    )
    assert executed.lowered("candidate").figures["parity"]["max_abs_diff"] < 1e-4


def test_a_prefix_needs_even_layers(chain: Any) -> None:
    with pytest.raises(InputError) as caught:
        chain(
            TUNE,
            ("prune.fisher", {"macs": 0.5, "samples": 16}),
            ("adapter.prefix", {**SHORT, "virtual_tokens": 2}),
        )
    assert caught.value.issues[0].code == "E203"
    chain(TUNE, ("prune.layers", {"drop": [0]}), ("adapter.prefix", {**SHORT, "virtual_tokens": 2}))
    with pytest.raises(StepError) as failed:
        chain(
            TUNE,
            ("prune.magnitude", {"amount": 0.97, "granularity": "row", "criterion": "random"}),
            ("adapter.prefix", {**SHORT, "virtual_tokens": 2}),
        )
    assert failed.value.issues[0].code == "E408"


@pytest.mark.parametrize("granularity", ["row", "column"])
def test_rows_and_columns_become_a_smaller_model_where_they_can(granularity: str, chain: Any) -> None:
    params = {"amount": 0.5, "granularity": granularity, "scope": "layer", "recover": SHORT}
    states, _ = chain(TUNE, ("prune.magnitude", params))
    before, after = (sum(m.weight.numel() for _, m in prunable(load_model(s.folder))) for s in states)
    figures = states[1].figures
    assert figures["pruned_share"] == pytest.approx(0.5, abs=1e-6)
    assert after < before and figures["structure"]["weights"] == after
    # half of the rows into each feed-forward, or of the columns out of it, are neurons that are gone
    assert figures["structure"]["neurons"] == [32, 32]
    assert 0 < figures["sparsity"] < 0.5, "other rows stay as zeros"


def test_steps_of_pruning_go_on_where_they_were(
    tiny_model: Path, tiny_data: Path, store: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption in the third training the first two are not trained again, and the bytes are the same."""
    import edgeopt.training

    params = {"amount": 0.5, "steps": 3, "recover": SHORT}
    steps = [step(registry.get(use), p, f"s{i}") for i, (use, p) in enumerate([TUNE, ("prune.magnitude", params)])]

    def made(store: Path) -> State:
        return next(
            d.state
            for d in build(steps, model=tiny_model, data=tiny_data, store=store).chains["candidate"]
            if d.step.id == "s1"
        )

    whole, trained, real = made(store), [], edgeopt.training.train

    def breaks(*args: Any, **options: Any) -> Any:
        trained.append(args[3].work.name)
        if trained == ["step-0", "step-1", "step-2"]:
            raise KeyboardInterrupt
        return real(*args, **options)

    other = Path(shutil.copytree(begun, tmp_path / "other"))
    build(steps[:1], model=tiny_model, data=tiny_data, store=other)
    monkeypatch.setattr(edgeopt.training, "train", breaks)
    with pytest.raises(KeyboardInterrupt):
        made(other)
    again = made(other)
    assert trained == ["step-0", "step-1", "step-2", "step-2"]
    assert again.digest == whole.digest
    assert whole.figures["sparsity"] == pytest.approx(0.5, abs=1e-3)


def test_layers_that_an_earlier_step_dropped_are_not_there(chain: Any) -> None:
    with pytest.raises(InputError) as caught:
        chain(TUNE, ("prune.layers", {"drop": [0]}), ("prune.layers", {"drop": [1]}))
    assert "there is no layer 1: the model has 1" in caught.value.issues[0].message


def test_a_model_that_was_cut_is_where_another_recipe_starts(chain: Any) -> None:
    states, _ = chain(TUNE, ("prune.fisher", {"macs": 0.5, "samples": 16}))
    again, _ = chain(TUNE, ("prune.fisher", {"macs": 0.25, "samples": 16}), model=states[1].folder)
    shapes = [s.figures["structure"] for s in (states[1], again[1])]
    assert shapes[0]["dense"] == shapes[1]["dense"]
    assert all(later <= earlier for later, earlier in zip(shapes[1]["neurons"], shapes[0]["neurons"], strict=True))
    assert shapes[1]["macs"] <= 0.25 * shapes[1]["dense_macs"]
