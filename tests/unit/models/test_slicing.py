"""Masked output equals sliced output, on every family, whatever is cut; and a sliced model is saved and loaded."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, inputs, logits, tiny, traced
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeopt.models.load import load_base, save_model
from edgeopt.models.masks import Masks, kept, masked, ones
from edgeopt.models.parts import prunable
from edgeopt.models.slicing import cut, structure_of
from edgeopt.models.structure import Structure, macs_of, survival

LAYERS, HEADS, NEURONS, HIDDEN = 3, 4, 20, 24
shared = functools.cache(tiny)


def binary(size: int, *, least: int = 0) -> st.SearchStrategy[torch.Tensor]:
    some = st.lists(st.sampled_from([0.0, 1.0]), min_size=size, max_size=size)
    extremes = st.sampled_from([[0.0] * size, [1.0] * size, [1.0] + [0.0] * (size - 1)])
    return st.one_of(some, extremes).filter(lambda values: sum(values) >= least).map(torch.tensor)


MASKS = st.builds(
    Masks,
    heads=st.lists(binary(HEADS), min_size=LAYERS, max_size=LAYERS),
    neurons=st.lists(binary(NEURONS), min_size=LAYERS, max_size=LAYERS),
    mha=st.one_of(st.none(), binary(LAYERS)),
    ffn=st.one_of(st.none(), binary(LAYERS)),
    hidden=st.one_of(st.none(), binary(HIDDEN, least=2)),
)


@pytest.mark.parametrize("family", FAMILIES)
@given(masks=MASKS)
@settings(max_examples=15, deadline=None)
def test_masked_is_sliced(family: str, masks: Masks) -> None:
    # no transform cuts everything away, and transformers' DeBERTa does not run without a layer
    blocks = ((masks.heads, masks.mha), (masks.neurons, masks.ffn))
    left = [part.any() and (gate is None or gate[i]) for parts, gate in blocks for i, part in enumerate(parts or ())]
    assume(not family.startswith("deberta") or any(left))
    model = shared(family)
    with masked(model, masks):
        expected = logits(model)
    sliced = copy.deepcopy(model)
    cut(sliced, kept(model, masks))
    torch.testing.assert_close(logits(sliced), expected, atol=1e-5, rtol=1e-5)
    assert sum(m.weight.numel() for _, m in prunable(sliced)) == structure_of(sliced).weights


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_of_ones_change_nothing_and_every_mask_matters(family: str) -> None:
    model = shared(family)
    before = logits(model)
    masks = ones(model)
    with masked(model, masks):
        torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=0)
        for tensor in masks.tensors():
            tensor[0] = 0.5
            assert not torch.allclose(logits(model), before, atol=1e-5)
            tensor[0] = 1.0
    assert torch.equal(logits(model), before), "the hooks are gone"


def test_gradients_reach_every_mask() -> None:
    model = tiny("bert")
    masks = ones(model)
    for tensor in masks.tensors():
        tensor.requires_grad_(True)
    with masked(model, masks):
        (model(**inputs()).logits ** 2).sum().backward()
    assert all(bool((t.grad != 0).all()) for t in masks.tensors() if t.grad is not None)
    assert all(t.grad is not None for t in masks.tensors())


def uneven(model: Any) -> Masks:
    """One head here, none there, odd sizes, a dead block of each kind."""
    masks = ones(model)
    assert (
        masks.heads and masks.neurons and masks.mha is not None and masks.ffn is not None and masks.hidden is not None
    )
    masks.heads[0][1:] = 0
    masks.heads[1][:] = 0
    masks.neurons[0][7:] = 0
    masks.neurons[2][:] = 0
    masks.mha[2] = 0
    masks.ffn[1] = 0
    masks.hidden[5:8] = 0
    return masks


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_loaded_trained_and_cut_again(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    cut(model, kept(model, uneven(model)))
    save_model(model, tmp_path)
    loaded = load_base(tmp_path)
    assert type(loaded).__name__ == type(model).__name__
    # copied, because where tensors lie in a mapped file decides the order of some sums
    torch.testing.assert_close(logits(copy.deepcopy(loaded)), logits(model), atol=0, rtol=0)
    assert structure_of(loaded) == structure_of(model)
    names = [n for n, _ in loaded.named_parameters()]
    assert names == [n for n, _ in model.named_parameters()]
    loaded.train()(**inputs(), labels=torch.tensor([0, 1])).loss.backward()
    assert all(
        p.grad is not None
        for n, p in loaded.named_parameters()
        if not {"pooler", "relative_attention_bias", "token_type_embeddings", "pos_key_proj"} & {*n.split(".")}
    )
    loaded.eval()
    again = ones(loaded)
    assert again.neurons and again.hidden is not None
    again.neurons[0][2:] = 0
    again.hidden[0] = 0
    with masked(loaded, again):
        expected = logits(loaded)
    cut(loaded, kept(loaded, again))
    torch.testing.assert_close(logits(loaded), expected, atol=1e-5, rtol=1e-5)
    assert survival(structure_of(loaded)) == {"heads": [1, 0, 0], "head_numbers": [[0], [], []], "neurons": [2, 0, 0]}


def test_a_layer_of_two_closed_gates_is_gone() -> None:
    model = tiny("bert")
    masks = ones(model)
    assert masks.mha is not None and masks.ffn is not None
    masks.mha[1] = masks.ffn[1] = 0
    with masked(model, masks):
        expected = logits(model)
    cut(model, kept(model, masks))
    assert len(model.bert.encoder.layer) == model.config.num_hidden_layers == 2
    assert [x.origin for x in structure_of(model).layers] == [0, 2]
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-5)


def test_a_structure_survives_json_and_counts_by_hand() -> None:
    model = tiny("bert")
    cut(model, kept(model, uneven(model)))
    structure = structure_of(model)
    assert Structure.from_json(structure.as_json()) == structure
    d, n = 21, 10
    # layer 0: one head of 6 and 7 neurons; layer 1: no heads, no feed-forward; layer 2: no attention, no neurons
    assert structure.weights == 4 * d * 6 + 2 * d * 7
    assert structure.macs(n) == 4 * n * d * 6 + 2 * n * n * 6 + 2 * n * d * 7 == macs_of(structure, 1, 7, n)


def test_macs_of_bert_base_are_those_that_are_published() -> None:
    from edgeopt.models.structure import Dense

    assert Dense(12, 12, 64, 3072, 768).structure.macs(128) / 1e9 == pytest.approx(11.17, abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_with_other_lengths_it_computes_the_same(family: str, tmp_path: Path) -> None:

    import onnxruntime as ort

    model = tiny(family)
    cut(model, kept(model, uneven(model)))
    model.set_attn_implementation("eager")
    traced(model, tmp_path / "m.onnx", (torch.full((1, 4), 7), torch.ones(1, 4, dtype=torch.long)))
    session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    feed = dict(zip(("ids", "mask"), (t.numpy() for t in inputs().values()), strict=True))
    torch.testing.assert_close(torch.from_numpy(session.run(None, feed)[0]), logits(model), atol=2e-5, rtol=1e-5)
