"""Transforms against independent implementations: torch's own pruning, peft's own merge, numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn.utils import prune

from edgeopt.measure.graph import weigh
from edgeopt.models.files import GRAPH
from edgeopt.models.load import load_model
from edgeopt.models.parts import prunable
from edgeopt.run.observe import graph_sparsity, sparsity_of
from edgeopt.step import registry
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import Store
from edgeopt.testing.build import build, step, steps_towards
from edgeopt.transforms.prune.masks import masks, scores

TRAINED = facts(Fact.TRAINED_HEAD)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_l1_pruning_is_torchs(scope: str, tiny_model: Path, tiny_data: Path, store: Path) -> None:
    steps = [*steps_towards(TRAINED), step(registry.get("prune.magnitude"), {"amount": 0.37, "scope": scope}, "prune")]
    done = {d.step.id: d.state for d in build(steps, model=tiny_model, data=tiny_data, store=store).chains["candidate"]}
    ours = load_model(done["prune"].folder)
    theirs = load_model(done["before-0"].folder)
    modules = [(m, "weight") for _, m in prunable(theirs)]
    if scope == "global":
        prune.global_unstructured(modules, pruning_method=prune.L1Unstructured, amount=0.37)
    else:
        for module, name in modules:
            prune.l1_unstructured(module, name, amount=0.37)
    for (_, mine), (module, _) in zip(prunable(ours), modules, strict=True):
        assert torch.equal(mine.weight, module.weight)
    assert torch.equal(ours.classifier.weight, theirs.classifier.weight)
    assert torch.equal(ours.bert.embeddings.word_embeddings.weight, theirs.bert.embeddings.word_embeddings.weight)
    assert done["prune"].figures["sparsity"] == pytest.approx(0.37, abs=1e-3)


def test_random_pruning_follows_the_seed_and_adds_to_earlier_zeros() -> None:
    weights = [torch.randn(8, 8), torch.randn(4, 16)]
    weights[0][:, :2] = 0
    first, second = (scores(weights, "unstructured", "random", torch.Generator().manual_seed(s)) for s in (1, 2))
    kept = [(w * m) for w, m in zip(weights, masks(first, weights, 0.5, "global"), strict=True)]
    assert sum(int((k == 0).sum()) for k in kept) == 64
    assert not torch.equal(first[1], second[1])


def test_mask_counts_are_exact_even_with_ties() -> None:
    alike = [torch.ones(10, 10)]
    assert int(masks(alike, alike, 0.33, "layer")[0].sum()) == 67
    rising = [torch.arange(6.0)]
    assert masks(rising, rising, 0.5, "global")[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_merging_by_hand(tiny_model: Path, tiny_data: Path, store: Path) -> None:
    lora = {
        "max_steps": 6,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "r": 4,
        "alpha": 6.0,
        "target_modules": "all-linear",
    }
    steps = [step(registry.get("adapter.lora"), lora, "lora"), step(registry.get("merge"), {}, "merge")]
    done = {d.step.id: d.state for d in build(steps, model=tiny_model, data=tiny_data, store=store).chains["candidate"]}
    from safetensors.numpy import load_file

    base, merged = (load_file(done[i].folder / "model.safetensors") for i in ("lora", "merge"))
    adapter = load_file(done["lora"].folder / "adapter" / "adapter_model.safetensors")
    name = "bert.encoder.layer.1.intermediate.dense"
    a, b = (adapter[f"base_model.model.{name}.lora_{x}.weight"] for x in "AB")
    assert np.abs(b).max() > 0
    np.testing.assert_allclose(merged[f"{name}.weight"], base[f"{name}.weight"] + 6.0 / 4 * (b @ a), atol=1e-6)
    np.testing.assert_array_equal(merged["classifier.weight"], adapter["base_model.model.classifier.weight"])
    assert done["merge"].figures["merge_max_abs_diff"] < 1e-5


def test_a_saved_adapter_loads_in_plain_peft(tiny_model: Path, tiny_data: Path, store: Path) -> None:
    lora = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-2, "r": 2, "use_dora": True}
    steps = [step(registry.get("adapter.lora"), lora, "lora"), step(registry.get("merge"), {}, "merge")]
    done = {d.step.id: d.state for d in build(steps, model=tiny_model, data=tiny_data, store=store).chains["candidate"]}
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    folder = done["lora"].folder
    model = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(folder), folder / "adapter"
    ).eval()
    ids = torch.tensor([[2, 7, 20, 3]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, load_model(done["merge"].folder)(ids).logits, atol=1e-5, rtol=0)
    assert "/" not in (folder / "adapter" / "adapter_config.json").read_text()


def test_static_int8_is_scale_times_integer(tiny_model: Path, tiny_data: Path, store: Path) -> None:
    """Each dequantized weight is within half a step of the float one.

    Matrices are signed, symmetric and per channel, embedding tables unsigned and per tensor.
    """
    steps = [*steps_towards(TRAINED), step(registry.get("quantize.static"), {"calibration": {"samples": 8}}, "int8")]
    executed = build(steps, model=tiny_model, data=tiny_data, store=store)
    floats, quantized = (
        onnx.load(str(s.folder / GRAPH)).graph for s in (executed.lowered("candidate"), executed.final("candidate"))
    )
    before = {t.name: onnx.numpy_helper.to_array(t) for t in floats.initializer}
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in quantized.initializer}
    checked = {np.dtype(np.int8): 0, np.dtype(np.uint8): 0}
    for node in quantized.node:
        values = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if values is None or values.dtype not in checked:
            continue
        scale, zero = (constants[i].astype(np.float64) for i in node.input[1:])
        if scale.ndim:
            shape = [1] * values.ndim
            shape[next(a.i for a in node.attribute if a.name == "axis")] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        if values.dtype == np.int8:
            assert not zero.any()
        original = before[node.input[0].removesuffix("_quantized")]
        assert (np.abs((values - zero) * scale - original) <= scale * 0.501).all(), node.name
        checked[values.dtype] += 1
    assert checked == {np.dtype(np.int8): 2 * 6 + 2, np.dtype(np.uint8): 3}  # with pooler and head; three tables


@pytest.mark.parametrize("scope", ["mlp", "attention"])
@pytest.mark.parametrize("use", ["quantize.static", "quantize.dynamic"])
def test_scope_quantizes_that_and_nothing_else(
    use: str, scope: str, tiny_model: Path, tiny_data: Path, store: Path
) -> None:
    steps = [*steps_towards(TRAINED), step(registry.get(use), {"scope": scope}, "int8")]
    state = build(steps, model=tiny_model, data=tiny_data, store=store).final("candidate")
    hidden, ffn, layers = 32, 64, 2
    expected = layers * (4 * hidden * hidden if scope == "attention" else 2 * hidden * ffn)
    assert weigh(state.folder / GRAPH).int8 == expected


def test_sparsity_is_counted_alike_in_tensors_and_graphs(tiny_model: Path, tiny_data: Path, store: Path) -> None:
    done = build(steps_towards(TRAINED | {Fact.SPARSE}), model=tiny_model, data=tiny_data, store=store)
    torch_state, graph = done.torch_state("candidate"), done.final("candidate")
    assert sparsity_of(torch_state.folder, torch_state.facts) == pytest.approx(graph_sparsity(graph.folder / GRAPH))
    assert weigh(graph.folder / GRAPH).parameters == sum(p.numel() for p in load_model(torch_state.folder).parameters())


def test_parity_fails_a_graph_that_is_not_the_model(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeopt.support.errors import StepError
    from edgeopt.transforms import lower

    whole = lower._export

    def wrong(model: torch.nn.Module, *more: object) -> None:
        with torch.no_grad():
            model.classifier.bias += 0.01
            whole(model, *more)
            model.classifier.bias -= 0.01

    monkeypatch.setattr(lower, "_export", wrong)
    with pytest.raises(StepError, match="E404"):
        build(steps_towards(TRAINED), model=tiny_model, data=tiny_data, store=tmp_path)
    assert not any("lower" in s.manifest["use"] for s in Store(tmp_path).states())
