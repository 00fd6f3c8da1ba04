"""Magnitude pruning against torch.nn.utils.prune, and zeros that add up to neurons and heads."""

from __future__ import annotations

import copy

import pytest
import torch
from families import FAMILIES, logits, tiny
from torch import nn
from torch.nn.utils import prune

from edgeopt.models.parts import prunable
from edgeopt.models.slicing import structure_of
from edgeopt.models.structure import survival
from edgeopt.models.zeros import cut_zeros
from edgeopt.transforms.prune.magnitude import schedule
from edgeopt.transforms.prune.masks import masks, scores


def ours(
    weights: list[torch.Tensor], amount: float, scope: str, granularity: str, criterion: str, seed: int = 0
) -> list[torch.Tensor]:
    return masks(
        scores(weights, granularity, criterion, torch.Generator().manual_seed(seed)),
        weights,
        amount,
        scope,
        granularity,
    )


def linears() -> list[nn.Linear]:
    torch.manual_seed(3)
    return [nn.Linear(12, 7), nn.Linear(7, 30), nn.Linear(5, 5)]


@pytest.mark.parametrize("granularity", ["row", "column"])
@pytest.mark.parametrize("criterion", ["l1", "l2"])
@pytest.mark.parametrize("amount", [0.1, 0.37, 0.5, 0.9])
def test_rows_and_columns_of_a_matrix_are_torchs(granularity: str, criterion: str, amount: float) -> None:
    modules = linears()
    found = ours([m.weight for m in modules], amount, "layer", granularity, criterion)
    for module, mask in zip(modules, found, strict=True):
        prune.ln_structured(
            module, "weight", amount, n={"l1": 1, "l2": 2}[criterion], dim={"row": 0, "column": 1}[granularity]
        )
        assert torch.equal(mask, module.weight_mask)


@pytest.mark.parametrize("criterion", ["l1", "l2"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_single_weights_are_torchs(criterion: str, scope: str) -> None:
    modules = linears()
    found = ours([m.weight for m in modules], 0.37, scope, "unstructured", criterion)
    if scope == "global":
        prune.global_unstructured([(m, "weight") for m in modules], pruning_method=prune.L1Unstructured, amount=0.37)
    for module, mask in zip(modules, found, strict=True):
        if scope == "layer":
            prune.l1_unstructured(module, "weight", amount=0.37)
        assert torch.equal(mask, module.weight_mask)


@pytest.mark.parametrize("granularity", ["unstructured", "row", "column"])
def test_random_ones_are_as_many_as_torchs_and_follow_the_seed(granularity: str) -> None:
    modules = linears()
    weights = [m.weight for m in modules]
    found, again, other = (ours(weights, 0.4, "layer", granularity, "random", seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(found, other, strict=True))
    for module, mask in zip(modules, found, strict=True):
        if granularity == "unstructured":
            prune.random_unstructured(module, "weight", amount=0.4)
        else:
            prune.random_structured(module, "weight", amount=0.4, dim={"row": 0, "column": 1}[granularity])
        assert mask.sum() == module.weight_mask.sum()


def test_global_rows_are_compared_by_the_mean_and_stay_within_the_amount() -> None:
    weights = [torch.tensor([[3.0, 3.0], [1.0, 1.0]]), torch.tensor([[2.0, 2.0, 2.0, 2.0], [0.5, 0.5, 0.5, 0.5]])]
    # means 3, 1, 2, .5 over 2, 2, 4, 4 of 12 weights: half of them are the rows of .5 and 1
    first, second = ours(weights, 0.5, "global", "row", "l1")
    assert first.tolist() == [[1, 1], [0, 0]]
    assert second.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    first, second = ours(weights, 0.49, "global", "row", "l1")  # 6 weights are one too many
    assert bool(first.all()) and int(second.sum()) == 4


def test_most_is_pruned_early() -> None:
    assert [round(schedule(0.8, k, 4), 4) for k in (1, 2, 3, 4)] == [0.4625, 0.7, 0.7875, 0.8]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_zeros_leave_without_effect_is_cut_exactly(family: str) -> None:
    model = tiny(family)
    with torch.no_grad():
        for name, module in prunable(model):
            if name.endswith(("query", "q_lin", "attn.q")):
                continue
            # half of the value rows are two heads; of the output's, nothing
            for matrix in module.weight.chunk(3 if name.endswith("Wqkv") else 2 if name.endswith("Wi") else 1):
                matrix[: len(matrix) // 2] = 0
            module.weight[:, -1] = 0  # the last neuron of each feed-forward; no head, which has six
    before = logits(model)
    cut = copy.deepcopy(model)
    assert cut_zeros(cut)
    torch.testing.assert_close(logits(cut), before, atol=2e-5, rtol=1e-5)
    assert survival(structure_of(cut)) == {"heads": [2, 2, 2], "head_numbers": [[2, 3]] * 3, "neurons": [9, 9, 9]}


def test_nothing_is_cut_where_no_neuron_or_head_is_dead() -> None:
    model = tiny("bert")
    with torch.no_grad():
        for _, module in prunable(model):
            module.weight[::2, ::2] = 0
    before = logits(model)
    assert not cut_zeros(model)
    assert torch.equal(logits(model), before)
