"""QLoRA: the constants of NF4, a base that is saved before it computes, and merging against the dequantized base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import classification

from edgeopt.measure.parity import sample_rows, torch_logits
from edgeopt.models.adapter_files import ADAPTER
from edgeopt.models.load import load_base, load_model
from edgeopt.models.nf4 import dequantized, quantized
from edgeopt.run.execute import Executed
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.testing.build import build, step

pytest.importorskip("bitsandbytes")

#: Dettmers et al. 2023, appendix E.
NF4 = (
    -1.0,
    -0.6961928,
    -0.5250731,
    -0.3949175,
    -0.2844414,
    -0.1847734,
    -0.0910500,
    0.0,
    0.0795803,
    0.1609302,
    0.2461123,
    0.3379152,
    0.4407098,
    0.5626170,
    0.7229568,
    1.0,
)
SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-2, "precision": "fp32", "r": 4}


@pytest.fixture(scope="module", params=[True, False], ids=["double", "single"])
def done(
    request: pytest.FixtureRequest, wide: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Executed:
    adapt = step(registry.get("adapter.qlora"), {**SHORT, "double_quant": request.param}, "adapt")
    return build(
        [adapt, step(registry.get("merge"), {}, "merge")],
        model=wide,
        data=tiny_data,
        store=tmp_path_factory.mktemp("store"),
    )


def state(done: Executed, id: str) -> State:
    return next(d.state for d in done.chains["candidate"] if d.step.id == id)


def test_levels_and_blocks_are_the_references(done: Executed) -> None:
    from bitsandbytes.nn import Linear4bit

    base = load_base(state(done, "adapt").folder)
    linears = {n: m for n, m in base.named_modules() if isinstance(m, Linear4bit)}
    assert len(linears) == 2 * 6 + 1  # two layers, and the embeddings' projection
    assert not [n for n in linears if n.startswith("classifier")]
    for linear in linears.values():
        found = linear.weight.quant_state
        assert (found.quant_type, found.blocksize) == ("nf4", 64)
        assert found.code.tolist() == pytest.approx(NF4, abs=1e-6)
        if found.nested:
            assert found.state2.blocksize == 256
            assert found.absmax.dtype == torch.uint8


def test_double_quantization_subtracts_the_mean_and_costs_an_eighth_of_a_bit() -> None:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    torch.manual_seed(0)
    weight = torch.randn(1024, 1024)
    packed, found = quantize_4bit(weight, quant_type="nf4", blocksize=64, compress_statistics=True)
    _, single = quantize_4bit(weight, quant_type="nf4", blocksize=64, compress_statistics=False)
    assert float(found.offset) == pytest.approx(float(single.absmax.mean()), rel=1e-5)
    bits = 8 * (found.absmax.numel() + 4 * found.state2.absmax.numel()) / weight.numel()
    assert bits == pytest.approx(8 / 64 + 32 / (64 * 256))  # 0.127
    # by hand: the nearest level of the block's largest value
    blocks = weight.reshape(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True)
    levels = torch.tensor(NF4)
    nearest = levels[(blocks / scale).unsqueeze(-1).sub(levels).abs().argmin(-1)] * scale
    assert (dequantize_4bit(_, single) - nearest.reshape(weight.shape)).abs().max() < 1e-5
    assert packed.numel() == weight.numel() // 2


def test_the_base_is_what_quantizing_gives_and_survives_training(done: Executed) -> None:
    folder = state(done, "adapt").folder
    double = load_base(folder).config.quantization_config.bnb_4bit_use_double_quant
    fresh = quantized(state(done, "load").folder, double_quant=double, compute_dtype="float32")
    saved = dequantized(load_base(folder)).state_dict()
    assert all(torch.equal(t, saved[n]) for n, t in dequantized(fresh).state_dict().items())


def test_it_merges_exactly_into_the_dequantized_base(done: Executed) -> None:
    from peft import PeftModel

    folder = state(done, "adapt").folder
    rows = sample_rows(done.data.train, folder, classification())
    expected = torch_logits(
        PeftModel.from_pretrained(dequantized(load_base(folder)), str(folder / ADAPTER)).eval(), rows
    )
    merged = state(done, "merge")
    assert abs(torch_logits(load_model(merged.folder), rows) - expected).max() <= 1e-5
    assert merged.figures["merge_max_abs_diff"] <= 1e-5
    assert 0 <= merged.figures["nf4_max_abs_diff"] <= 1e-4
    assert 0.05 < state(done, "adapt").figures["nf4_weight_error"] < 0.12  # normal weights: near 0.09
    assert not {Fact.NF4, Fact.ADAPTER} & merged.facts
    assert getattr(load_model(merged.folder).config, "quantization_config", None) is None


def test_the_base_is_smaller(done: Executed) -> None:
    adapted, loaded = state(done, "adapt"), state(done, "load")
    assert adapted.figures["base_bytes"] < (loaded.folder / "model.safetensors").stat().st_size
    # 4-bit weights count as the weights they stand for
    assert adapted.figures["parameters"] > loaded.figures["parameters"]


def test_bfloat16_and_names(wide: Path, tiny_data: Path, tmp_path: Path) -> None:
    params = {**SHORT, "compute_dtype": "bfloat16", "target_modules": ["query", "value"], "bias": "lora_only"}
    steps = [step(registry.get("adapter.qlora"), params, "adapt"), step(registry.get("merge"), {}, "merge")]
    made = build(steps, model=wide, data=tiny_data, store=tmp_path)
    assert state(made, "merge").figures["merge_max_abs_diff"] <= 1e-5


def test_rows_that_are_no_whole_blocks_are_refused_on_a_cpu(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeopt.support import host
    from edgeopt.support.errors import InputError

    monkeypatch.setattr(host, "has_cuda", lambda: False)
    with pytest.raises(InputError, match="no multiple of 64 weights: hidden_size 32"):
        build(
            [step(registry.get("adapter.qlora"), SHORT, "adapt"), step(registry.get("merge"), {}, "merge")],
            model=tiny_model,
            data=tiny_data,
            store=tmp_path,
        )


def test_without_bitsandbytes_it_is_refused_before_anything_is_computed(
    wide: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeopt.support import host
    from edgeopt.support.errors import InputError

    whole = host.installed
    monkeypatch.setattr(host, "installed", lambda name: None if name == "bitsandbytes" else whole(name))
    with pytest.raises(InputError) as caught:
        build(
            [step(registry.get("adapter.qlora"), SHORT, "adapt"), step(registry.get("merge"), {}, "merge")],
            model=wide,
            data=tiny_data,
            store=tmp_path,
        )
    (issue,) = caught.value.issues
    assert (issue.code, issue.help) == ("E206", "pip install '.[qlora]' in the checkout of edgeopt")


def test_a_paged_optimizer_needs_cuda(
    wide: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeopt.support import host
    from edgeopt.support.errors import InputError

    monkeypatch.setattr(host, "has_cuda", lambda: False)
    steps = [
        step(registry.get("adapter.qlora"), {**SHORT, "paged_optimizer": True}, "adapt"),
        step(registry.get("merge"), {}, "merge"),
    ]
    with pytest.raises(InputError, match="needs CUDA"):
        build(steps, model=wide, data=tiny_data, store=tmp_path)


def test_on_a_model_that_was_cut(wide: Path, tiny_data: Path, tmp_path: Path) -> None:
    """A layer less is no obstacle; rows that are no whole blocks any more are."""
    from edgeopt.support import host
    from edgeopt.support.errors import StepError

    tune = step(registry.get("finetune"), {"max_steps": 2, "batch_size": 4}, "tune")
    shorter = step(registry.get("prune.layers"), {"drop": [0]}, "shorter")
    adapt, merge = step(registry.get("adapter.qlora"), SHORT, "adapt"), step(registry.get("merge"), {}, "merge")
    done = build([tune, shorter, adapt, merge], model=wide, data=tiny_data, store=tmp_path)
    assert len(load_base(state(done, "merge").folder).electra.encoder.layer) == 1
    if not host.has_cuda():
        narrower = step(registry.get("prune.fisher"), {"macs": 0.4, "samples": 16}, "narrower")
        with pytest.raises(StepError) as caught:
            build([tune, narrower, adapt, merge], model=wide, data=tiny_data, store=tmp_path)
        assert caught.value.issues[0].code == "E408" and "multiple of 64" in caught.value.issues[0].message
