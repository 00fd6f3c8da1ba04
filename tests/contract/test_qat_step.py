"""quantize.qat as a step: interrupted anywhere it gives the same bytes; behind other steps and for other tasks.

And what a run of it ships.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from contract.cutting import cut_at
from contract.kinds import Kind
from e2e.running import recipe_for
from helpers import edgeopt

from edgeopt.models.files import GRAPH
from edgeopt.run.observe import graph_sparsity
from edgeopt.spec.tasks import TASKS
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import StepError
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
TUNE = ("finetune", SHORT)
QAT = {**SHORT, "max_steps": 12, "freeze_after": 0.6}


def run(model: Path, data: Path, store: Path, *uses: tuple[str, dict[str, Any]], **task: Any) -> list[State]:
    steps = [step(registry.get(use), params, f"s{i}") for i, (use, params) in enumerate(uses)]
    done = {d.step.id: d.state for d in build(steps, model=model, data=data, store=store, **task).chains["candidate"]}
    return [done[s.id] for s in steps]


@pytest.mark.parametrize("ranges", ["moving-average", "learned"])
def test_interrupted_in_each_phase_it_gives_the_same_bytes(
    ranges: str,
    tiny_model: Path,
    tiny_data: Path,
    store: Path,
    begun: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut while ranges move, when they freeze, and behind that."""
    qat = ("quantize.qat", {**QAT, "ranges": ranges, "gradient_accumulation": 2, "gradient_checkpointing": True})
    whole = run(tiny_model, tiny_data, store, TUNE, qat)[1]
    other = Path(shutil.copytree(begun, tmp_path / "other"))
    for at in (2, 3, 7, 9):
        with cut_at(monkeypatch, at, of=QAT["max_steps"]):
            run(tiny_model, tiny_data, other, TUNE, qat)
    again = run(tiny_model, tiny_data, other, TUNE, qat)[1]
    assert again.digest == whole.digest


def test_behind_a_merged_adapter_pruned_and_shortened(tiny_electra: Path, tiny_data: Path, store: Path) -> None:
    lora = ("adapter.lora", {**SHORT, "r": 2, "learning_rate": 1e-2})
    zeros, shorter = ("prune.magnitude", {"amount": 0.5}), ("prune.layers", {"keep": [1]})
    states = run(
        tiny_electra,
        tiny_data,
        store,
        lora,
        ("merge", {}),
        zeros,
        shorter,
        ("quantize.qat", {**QAT, "keep_best": True}),
    )
    last = states[-1]
    assert {Fact.ONNX, Fact.INT8, Fact.SPARSE} <= last.facts
    assert Fact.TORCH not in last.facts
    assert last.figures["sparsity"] == pytest.approx(graph_sparsity(last.folder / GRAPH), abs=1e-6)
    assert last.figures["sparsity"] >= states[3].figures["sparsity"]
    assert last.figures["int8_share"] > 0.9
    assert last.figures["parity"]["max_abs_diff"] < 5e-3
    assert last.figures["parity"]["same_predictions"] >= 0.95
    assert last.figures["parity"]["compared"] > 16


def test_every_kind_of_task(kind: Kind, tiny_model: Path, store: Path) -> None:
    last = run(
        tiny_model,
        kind.data,
        store,
        TUNE,
        ("quantize.qat", {**QAT, "distill": {"teacher": "baseline"}}),
        task=kind.task,
    )[1]
    assert last.figures["parity"]["max_abs_diff"] < 5e-3
    assert (last.figures["parity"]["same_predictions"] is None) == (not TASKS[kind.type].softmax)


def test_a_run_ships_the_int8_graph_alone_and_says_how_near_it_is(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    steps = [{"id": "tune", "use": TUNE[0], **SHORT}, {"id": "int8", "use": "quantize.qat", **QAT}]
    gates = [{"metric": "size", "max_ratio": 0.9}]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps, gates=gates)
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["baseline"]["precision"], report["candidate"]["precision"]) == ("fp32", "int8")
    tolerance = {p["subject"]: p["tolerance"] for p in report["parity"]}
    assert tolerance["baseline"] == 1e-4 < tolerance["candidate"] < 0.1, "a tenth of the largest logit"
    assert [p.name for p in (tmp_path / "run" / "model" / "onnx").iterdir()] == ["model_quantized.onnx"], (
        "it never had a float graph"
    )
    assert [s["use"] for s in report["steps"] if s["chain"] == "candidate"] == ["load", "finetune", "quantize.qat"]


def test_a_cut_model_and_a_scope_that_it_lacks(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    from edgeopt.models.files import copy_tokenizer
    from edgeopt.models.load import save_model
    from edgeopt.models.slicing import Kept, KeptLayer, cut

    model = AutoModelForSequenceClassification.from_pretrained(tiny_model)
    cut(model, Kept([KeptLayer(0, None, range(9)), KeptLayer(1, None, range(64))]))
    folder = tmp_path / "cut"
    save_model(model, folder)
    copy_tokenizer(tiny_model, folder)
    (state,) = run(folder, tiny_data, tmp_path / "store", ("quantize.qat", QAT))
    assert state.figures["parity"]["max_abs_diff"] < 5e-3
    with pytest.raises(StepError, match="nothing to quantize in its attention part") as caught:
        run(folder, tiny_data, tmp_path / "store", ("quantize.qat", {**QAT, "scope": "attention"}))
    assert caught.value.issues[0].code == "E402"
