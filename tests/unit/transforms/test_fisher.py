"""Post-training pruning against definitions: autograd by differences, exhaustive search, numpy's least squares."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import inputs, logits, tiny
from helpers import tiny_task
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.data import load_data
from edgeopt.models.load import load_model
from edgeopt.models.masks import kept, masked, ones
from edgeopt.models.slicing import cut, structure_of
from edgeopt.models.structure import Dense
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.transform import StepContext
from edgeopt.store.store import State
from edgeopt.support.progress import Progress
from edgeopt.transforms.prune.budget import Costs, choose, counted, least_left
from edgeopt.transforms.prune.figures import TOKENS
from edgeopt.transforms.prune.fisher import FisherParams, FisherPrune
from edgeopt.transforms.prune.importance import gradients, of_like_length, rearranged
from edgeopt.transforms.prune.rescale import fold, rescale


def nothing(_: int) -> None:
    pass


@pytest.mark.parametrize("family", ["bert", "distilbert", "mpnet"])
def test_gradients_are_differences_of_the_loss(family: str) -> None:
    model = tiny(family).double()
    batch = {**inputs(), "labels": torch.tensor([0, 1])}
    heads, neurons = gradients(model, [batch], bf16=False, tick=nothing)
    masks = ones(model, gates=False, hidden=False)
    assert masks.heads and masks.neurons
    for tensors, found in ((masks.heads, heads), (masks.neurons, neurons)):
        for layer, position in ((0, 1), (2, 3)):
            tensors[layer] = tensors[layer].double()
            losses = []
            for value in (1 + 1e-5, 1 - 1e-5):
                tensors[layer][position] = value
                with masked(model, masks), torch.no_grad():
                    losses.append(float(model(**batch).loss))
            tensors[layer][position] = 1.0
            assert found[layer][0, position] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-3, abs=1e-7)


def test_batches_hold_rows_of_like_length_and_each_row_once() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 330)
    rows = [{"input_ids": [number] * count} for number, count in enumerate(lengths)]
    found = of_like_length(rows, 32, 7)
    assert sorted(row["input_ids"][0] for batch in found for row in batch) == [*range(330)]
    assert [len(batch) for batch in found] == [32] * 10 + [10]
    padded = sum(len(batch) * max(len(row["input_ids"]) for row in batch) for batch in found)
    assert padded < 1.15 * lengths.sum()
    assert found == of_like_length(rows, 32, 7)


@given(st.integers(1, 7), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_rearranging_never_makes_it_worse_and_one_that_goes_is_the_best(keep: int, seed: int) -> None:
    gradients = np.random.default_rng(seed).standard_normal((5, 8))

    def lost(left: Any) -> float:
        gone = [i for i in range(8) if i not in left]
        return float((gradients[:, gone].sum(1) ** 2).sum())

    chosen = rearranged(gradients, keep)
    assert len(chosen) == keep and sorted(set(chosen)) == chosen
    alone = np.argsort((gradients**2).sum(0))[8 - keep :]
    assert lost(chosen) <= lost(alone) + 1e-9
    if keep == 7:
        assert lost(chosen) == pytest.approx(min(lost(c) for c in itertools.combinations(range(8), 7)))


def test_rearranging_finds_what_cancels() -> None:
    # the second and the third take each other away, though each alone weighs more than the first
    gradients = np.array([[1.0, 3.0, -3.0, 9.0]])
    assert rearranged(gradients, 2) == [0, 3]


def best_by_trying(heads: list[Any], neurons: list[Any], costs: Costs, allowed: float) -> float:
    best = -1.0
    for counts in itertools.product(*(range(len(h) + 1) for h in heads), *(range(len(n) + 1) for n in neurons)):
        split = counts[: len(heads)], counts[len(heads) :]
        if costs.total(*split) <= allowed + 1e-6:
            best = max(
                best, sum(float(np.sort(v)[::-1][:c].sum()) for v, c in zip([*heads, *neurons], counts, strict=True))
            )
    return best


@given(st.integers(0, 2**31), st.integers(5, 100).map(lambda n: n / 100))
@settings(max_examples=40, deadline=None)
def test_the_choice_is_the_best_there_is(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    structure = Dense(2, 3, 4, 5, 6).structure
    heads, neurons = [rng.random(3) for _ in range(2)], [rng.random(5) for _ in range(2)]
    costs = counted(structure, 7)
    found = choose(heads, neurons, costs, share * costs.dense, 1)
    assert found is not None
    assert costs.total(*found) <= share * costs.dense + 1e-6
    gained = sum(
        float(np.sort(v)[::-1][:c].sum()) for v, c in zip([*heads, *neurons], [*found[0], *found[1]], strict=True)
    )
    assert gained == pytest.approx(best_by_trying(heads, neurons, costs, share * costs.dense))


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_neurons_come_in_multiples_and_what_is_left_over_is_less_than_a_block(multiple: int) -> None:
    rng = np.random.default_rng(0)
    structure = Dense(3, 4, 8, 130, 32).structure
    costs = counted(structure, None)
    heads, neurons = [rng.random(4) for _ in range(3)], [rng.random(130) for _ in range(3)]
    found = choose(heads, neurons, costs, 0.5 * costs.dense, multiple)
    assert found is not None
    assert all(n % multiple == 0 or n == 130 for n in found[1])
    assert costs.total(*found) <= 0.5 * costs.dense < costs.total(*found) + multiple * 2 * 32


def test_a_latency_that_is_no_straight_line_is_kept_and_one_that_cannot_be_met_is_none() -> None:
    step = np.array([1.0, 4.0, 4.0, 8.0, 8.0])  # pairs cost what one does
    costs = Costs([step, step], [np.array([1.0, 2.0])] * 2)
    heads, neurons = [np.array([4.0, 3.0, 2.0, 1.0])] * 2, [np.array([0.1])] * 2
    found = choose(heads, neurons, costs, 12.0, 1)
    assert found is not None and found[0] == [2, 2] and costs.total(*found) <= 12.0
    assert choose(heads, neurons, costs, 3.9, 1) is None
    assert choose(heads, neurons, costs, 4.0, 1) == ([0, 0], [0, 0])
    assert least_left(costs, 1) == 5.0  # norms, and a neuron
    assert least_left(Costs([step], [np.array([1.0])]), 1) == 2.0 + 3.0


def test_an_empty_layer_is_no_obstacle() -> None:
    costs = Costs([np.array([0.0]), np.array([0.0, 1.0])], [np.array([0.0, 1.0, 2.0]), np.array([0.0])])
    assert choose([np.zeros(0), np.ones(1)], [np.array([3.0, 2.0]), np.zeros(0)], costs, 2.0, 1) == ([0, 0], [2, 0])
    assert rearranged(np.zeros((3, 0)), 0) == []


@pytest.mark.parametrize("family", ["bert", "distilbert", "mpnet"])
def test_factors_are_the_least_squares_of_the_first_layer(family: str) -> None:
    """The first layer's attention reads what the dense one's does: its factors solve a system one can write down."""
    from edgeopt.models.anatomy import anatomy, part
    from edgeopt.transforms.prune import rescale as module

    model = tiny(family)
    masks = ones(model, gates=False, hidden=False)
    assert masks.heads and masks.neurons
    masks.heads[0][1] = 0
    read: list[torch.Tensor] = []
    shape = anatomy(model.config.model_type)
    out = part(model.get_submodule(shape.layers)[0], shape.projections[0])
    hook = out.register_forward_pre_hook(lambda _, args: read.append(args[0][inputs()["attention_mask"].bool()]))
    logits(model)
    hook.remove()
    contributions = (
        torch.einsum("nhs,dhs->ndh", read[0].view(-1, 4, 6), out.weight.view(24, 4, 6)).detach().reshape(-1, 4).double()
    )
    wanted = contributions.sum(1)
    left = contributions[:, [0, 2, 3]]
    product = left.T @ left
    # damped towards ones: |AᵀA(1 + δ) − Aᵀb|² + |δ|²
    stacked = torch.cat([product, torch.eye(3, dtype=torch.float64)])
    against = torch.cat([left.T @ wanted - product.sum(1), torch.zeros(3, dtype=torch.float64)])
    expected = 1 + np.linalg.lstsq(stacked.numpy(), against.numpy(), rcond=None)[0]
    assert module.DAMP == 1.0
    rescale(model, masks, [inputs()], nothing)
    np.testing.assert_allclose(masks.heads[0][[0, 2, 3]].numpy(), expected, rtol=1e-3)
    assert masks.heads[0][1] == 0 and bool((masks.heads[1] == 1).all())


@pytest.mark.parametrize("family", ["bert", "electra", "roberta", "distilbert", "mpnet"])
def test_factors_fold_into_the_weights_exactly(family: str) -> None:
    model = tiny(family)
    masks = ones(model, gates=False, hidden=False)
    assert masks.heads and masks.neurons
    for i in range(3):
        masks.heads[i][i] = 0
        masks.neurons[i][::3] = 0
    rescale(model, masks, [inputs()], nothing)
    factors = torch.cat(masks.tensors())
    assert bool(((factors != 0) & (factors != 1)).any())
    with masked(model, masks):
        after = logits(model)
    left = kept(model, masks)
    folded = copy.deepcopy(model)
    fold(folded, masks)
    cut(folded, left)
    torch.testing.assert_close(logits(folded), after, atol=1e-4, rtol=1e-4)


def test_a_factor_that_is_beyond_belief_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeopt.transforms.prune import rescale as module

    monkeypatch.setattr(module, "LARGEST", 0.5)
    model = tiny("bert")
    masks = ones(model, gates=False, hidden=False)
    assert masks.heads and masks.neurons
    masks.heads[1][0] = 0
    rescale(model, masks, [inputs()], nothing)
    assert masks.heads[1].tolist() == [0, 1, 1, 1]


def planted(kind: str, seed: int, source: Path, folder: Path) -> tuple[Any, list[list[int]], list[list[int]]]:
    """A classifier in which some heads and neurons are of no use, and the numbers of those that are, layer by layer.

    silent: they write nothing. unheard: they write more than all others, the same into every dimension, which the
    LayerNorm behind takes out.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2, num_attention_heads=4).eval()
    useful: tuple[list[list[int]], list[list[int]]] = ([], [])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for number, layer in enumerate(model.bert.encoder.layer):
            blocks = ((layer.attention.output.dense, 4, 1 + number), (layer.output.dense, 64, 20))
            for (linear, parts, many), left in zip(blocks, useful, strict=True):
                useless = torch.randperm(parts)[:many]
                columns = linear.weight.view(linear.out_features, parts, -1)
                written = 0.0 if kind == "silent" else 3 * torch.randn(1, many, columns.shape[-1])
                columns[:, useless] = torch.as_tensor(written).expand_as(columns[:, useless])
                left.append(sorted({*range(parts)} - {*useless.tolist()}))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return model, *useful


@pytest.mark.parametrize(("kind", "rescale"), [("silent", True), ("silent", False), ("unheard", False)])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_of_no_use_goes_and_the_answers_stay(
    kind: str, rescale: bool, seed: int, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    """Asked for as little as is of use, it keeps exactly that, whatever the size of the weights."""
    model, heads, neurons = planted(kind, seed, tiny_model, tmp_path / "model")
    task = TaskSpec.model_validate(tiny_task(tiny_data, max_length=32))
    context = StepContext(task, load_data(task, tiny_data), tmp_path / "out", tmp_path, 3, Progress(show=False))
    context.output.mkdir()
    costs = counted(structure_of(model), TOKENS)
    share = costs.total([*map(len, heads)], [*map(len, neurons)]) / costs.dense
    state = State(tmp_path / "model", {"digest": "", "facts": [], "figures": {}, "files": {}})
    FisherPrune().apply(state, FisherParams(macs=share + 1e-9, multiple=1, rescale=rescale, precision="fp32"), context)
    left = load_model(context.output)
    assert [list(layer.heads or ()) for layer in structure_of(left).layers] == heads
    for ours, theirs, stay in zip(left.bert.encoder.layer, model.bert.encoder.layer, neurons, strict=True):
        assert torch.equal(ours.intermediate.dense.weight, theirs.intermediate.dense.weight[stay])
    torch.testing.assert_close(logits(left), logits(model), atol=2e-4, rtol=1e-3)
