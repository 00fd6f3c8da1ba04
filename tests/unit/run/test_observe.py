"""What a step promised is looked for in its files: each fact, declared or not; and the sizes that keys name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeopt.models.anatomy import anatomy
from edgeopt.models.structure import Dense, Layer, Structure
from edgeopt.run.findings.notes import _budget_notes
from edgeopt.run.observe import observe_facts, observe_told
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import StepError
from edgeopt.transforms.adapters.lora import ranks
from edgeopt.transforms.distill import Student, _sizes
from edgeopt.transforms.prune.budget import counted
from edgeopt.transforms.prune.fisher import FisherParams, held
from edgeopt.transforms.prune.layers import DropLayers, LayersParams
from edgeopt.transforms.quantize.common import covers

BERT = anatomy("bert")


def graph(path: Path, *, int8: bool = False, zeros: float = 0.0, second: bool = False) -> None:
    """A product inside a numbered layer, in int8 by DequantizeLinear or in float; and another, in float."""
    values = np.ones((10, 10), np.float32)
    values.flat[: int(zeros * 100)] = 0
    nodes, constants = [], [numpy_helper.from_array(values.astype(np.int8 if int8 else np.float32), "w")]
    if int8:
        constants += [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")]
        nodes.append(helper.make_node("DequantizeLinear", ["w", "s", "z"], ["dq"]))
    nodes.append(helper.make_node("MatMul", ["x", "dq" if int8 else "w"], ["y"], name="/model/layer.0/output/MatMul"))
    if second:
        constants.append(numpy_helper.from_array(np.ones((10, 10), np.float32), "v"))
        nodes.append(helper.make_node("MatMul", ["y", "v"], ["u"], name="/model/layer.1/attention/query/MatMul"))
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 10])],
        [helper.make_tensor_value_info("u" if second else "y", TensorProto.FLOAT, ["n", 10])],
        constants,
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def folder(path: Path, there: frozenset[Fact], *, zeros: float = 0.0, shape: Any = None) -> Path:
    """A state's folder of which these facts are true."""
    path.mkdir()
    config: dict[str, Any] = {"model_type": "bert", **({"quantization_config": {}} if Fact.NF4 in there else {})}
    if Fact.UNEVEN in there:
        config["edgeopt_structure"] = shape or {"layers": []}
    if Fact.TORCH in there:
        (path / "model.safetensors").touch()
    (path / "config.json").write_text(json.dumps(config))
    if Fact.ONNX in there:
        graph(path / "model.onnx", int8=Fact.INT8 in there, zeros=zeros)
    kind = "LORA" if Fact.ADAPTER in there else "PREFIX_TUNING" if Fact.GRAPH_ADAPTER in there else None
    if kind:
        (path / "adapter").mkdir()
        (path / "adapter" / "adapter_config.json").write_text(json.dumps({"peft_type": kind}))
        (path / "adapter" / "adapter_model.safetensors").touch()
    return path


def before(path: Path, *given: Fact, sparsity: float = 0.0) -> State:
    return State(path, {"digest": "", "facts": [str(f) for f in given], "figures": {"sparsity": sparsity}, "files": {}})


#: What stands beside a fact that is looked at, so that there is a state at all.
BESIDE = {Fact.TORCH: facts(Fact.ONNX), Fact.ONNX: facts(Fact.TORCH), Fact.INT8: facts(Fact.ONNX)}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("fact", [Fact.TORCH, Fact.ONNX, Fact.ADAPTER, Fact.GRAPH_ADAPTER, Fact.NF4, Fact.INT8])
def test_a_fact_is_declared_where_it_is_there_and_nowhere_else(
    fact: Fact, declared: bool, there: bool, tmp_path: Path
) -> None:
    """int8 that was promised and is not there passed once: `(A != B) and not B` is `A and not B`."""
    beside = BESIDE.get(fact, facts(Fact.TORCH))
    made = folder(tmp_path / "after", beside | (facts(fact) if there else frozenset()))
    wanted, given = (
        beside | (facts(fact) if declared else frozenset()),
        before(folder(tmp_path / "before", frozenset())),
    )
    if declared == there:
        observe_facts(made, wanted, given, {})
        return
    with pytest.raises(StepError) as caught:
        observe_facts(made, wanted, given, {})
    issue = caught.value.issues[0]
    assert issue.code == "E403"
    assert issue.message == f"the step left {'no' if declared else 'an undeclared'} {fact}"


@pytest.mark.parametrize(
    ("there", "declared", "good"), [(True, True, True), (False, True, False), (True, False, True), (False, False, True)]
)
def test_uneven_layers_are_there_where_they_are_declared(
    there: bool, declared: bool, good: bool, tmp_path: Path
) -> None:
    """Undeclared they may be there: dropping layers leaves a structure too."""
    made = folder(tmp_path / "after", facts(Fact.TORCH, Fact.UNEVEN) if there else facts(Fact.TORCH))
    wanted = facts(Fact.TORCH, Fact.UNEVEN) if declared else facts(Fact.TORCH)
    if good:
        observe_facts(made, wanted, before(tmp_path), {})
    else:
        with pytest.raises(StepError, match="even layers"):
            observe_facts(made, wanted, before(tmp_path), {})


@pytest.mark.parametrize(
    ("was", "zeros", "cut", "words"),
    [
        (None, 0.0, False, "left no pruned zeros"),
        (None, 0.4, False, ""),
        (None, 0.0, True, ""),  # rows of zeros that were cut away
        (0.4, 0.4, False, ""),
        (0.4, 0.2, False, "0.400 before, 0.200 after"),
        (0.4, 0.2, True, ""),
    ],
)
def test_zeros_are_there_and_stay(was: float | None, zeros: float, cut: bool, words: str, tmp_path: Path) -> None:
    given = before(
        folder(tmp_path / "before", facts(Fact.ONNX)), *([Fact.SPARSE] if was is not None else []), sparsity=was or 0.0
    )
    made = folder(tmp_path / "after", facts(Fact.ONNX, Fact.UNEVEN) if cut else facts(Fact.ONNX), zeros=zeros)
    figures: dict[str, Any] = {}
    if words:
        with pytest.raises(StepError, match=words):
            observe_facts(made, facts(Fact.ONNX, Fact.SPARSE), given, figures)
    else:
        observe_facts(made, facts(Fact.ONNX, Fact.SPARSE), given, figures)
        assert figures["sparsity"] == zeros


def test_what_the_scope_names_is_int8(tmp_path: Path) -> None:
    graph(tmp_path / "float.onnx", second=True)
    graph(tmp_path / "half.onnx", int8=True, second=True)
    covers(tmp_path / "float.onnx", tmp_path / "half.onnx", "mlp", (), "int8", BERT)
    covers(
        tmp_path / "float.onnx", tmp_path / "half.onnx", "all", ("/model/layer.1/attention/query/MatMul",), "int8", BERT
    )
    with pytest.raises(
        StepError, match=r"1 parts that were to be int8 are still float: /model/layer.1/attention/query/MatMul"
    ):
        covers(tmp_path / "float.onnx", tmp_path / "half.onnx", "all", (), "int8", BERT)


DENSE = Dense(layers=3, heads=4, head_size=8, neurons=64, hidden=32)


def shaped(path: Path, *layers: Layer) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"edgeopt_structure": Structure(layers, 32, DENSE).as_json()}))
    return path


@pytest.mark.parametrize("kind", ["macs", "sparsity", "latency"])
def test_a_budget_is_held_against_the_sizes_in_the_files(kind: str, tmp_path: Path) -> None:
    """A latency budget was held against 0.0.

    Costs of a table are in milliseconds; here they are counts, which serve as well.
    """
    costs = counted(DENSE.structure, None if kind == "sparsity" else 128)
    half = shaped(tmp_path / "half", *(Layer(i, (0, 1), 32) for i in range(3)))
    assert held(FisherParams.model_validate({kind: 0.5}), half, costs, costs.dense) == pytest.approx(0.5)
    more = shaped(tmp_path / "more", *(Layer(i, (0, 1), 33) for i in range(3)))
    with pytest.raises(StepError, match=f"of the layers' {kind} is left, and the budget is 0.5"):
        held(FisherParams.model_validate({kind: 0.5}), more, costs, costs.dense)


def test_a_budget_that_the_clock_does_not_confirm_is_said() -> None:
    def notes(**budget: Any) -> list[str]:
        return _budget_notes(
            cast(
                Any, SimpleNamespace(step=SimpleNamespace(id="cut"), state=SimpleNamespace(figures={"budget": budget}))
            )
        )

    assert notes(kind="latency", left=0.5, reached=0.49, measured=0.51) == []
    assert notes(kind="macs", left=0.5, reached=0.49) == []
    (note,) = notes(kind="latency", left=0.5, reached=0.49, measured=0.61)
    assert "'cut'" in note and "take 0.610: the budget is not held here" in note


def test_the_layers_that_were_to_stay_are_those_that_are_left(tmp_path: Path) -> None:
    whole = shaped(tmp_path / "whole", *(Layer(i, (0,), 8) for i in range(3)))
    left = shaped(tmp_path / "left", Layer(1, (0,), 8))
    with pytest.raises(StepError, match=r"left are \[1\] of the dense model's, and \[2\] were to stay"):
        DropLayers().observe(before(whole), left, LayersParams(keep=[2]))


def test_a_student_has_the_sizes_that_it_was_asked_for() -> None:
    def found(asked: dict[str, Any], *layers: Layer, hidden: int = 32) -> list[str]:
        return [
            what
            for what, has, wanted in _sizes(Student(**asked), DENSE.structure, Structure(layers, hidden, DENSE))
            if has != wanted
        ]

    layers = Layer(1, (0, 1), 16), Layer(2, (0, 1), 16)
    assert found({"last": 2, "heads": 2, "neurons": 16, "hidden": 24}, *layers, hidden=24) == []
    assert found(
        {"last": 2, "heads": 2, "neurons": 16, "hidden": 24}, Layer(0, (0, 1), 16), Layer(2, (0,), 8), hidden=32
    ) == [
        "layers",
        "hidden dimensions",
        "heads in a layer",
        "neurons in a layer",
    ]


def test_an_adapter_has_the_rank_that_it_was_asked_for() -> None:
    shapes = {"a.lora_A.weight": [4, 32], "a.lora_B.weight": [32, 4], "head": [2, 32]}
    assert [has == asked for _, has, asked in ranks(shapes, 4)] == [True]
    assert [(has, asked) for _, has, asked in ranks(shapes, 8)] == [(4, 8)]
    assert [(has, asked) for _, has, asked in ranks({"head": [2, 32]}, 8)] == [(0, 8)]  # no matrix was adapted


def test_what_no_report_can_show_is_refused_and_what_is_ones_own_is_not() -> None:
    observe_told({"sparsity": 0.5, "significant_bits": {"any": "form"}, "kept_float": ["a"]})
    with pytest.raises(StepError, match=r"figures\.sparsity") as error:
        observe_told({"sparsity": "half"})
    assert "edgeopt.results.figures" in str(error.value.issues[0].help)
