"""Learned pruning against definitions: Monte-Carlo, numbers by hand, the cut model's weights, exhaustive search."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Collection
from typing import Any

import pytest
import torch
from families import inputs, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from unit.models.test_slicing import MASKS, shared

from edgeopt.models.hard_concrete import (
    KINDS,
    LEAST,
    LEAST_SHORT,
    MOST,
    HardConcrete,
    open_probability,
    sampled,
    weights_left,
)
from edgeopt.models.masks import Masks, kept, masked, ones
from edgeopt.models.slicing import cut, keep_layers, structure_of
from edgeopt.models.structure import Dense
from edgeopt.training.distill_terms import evenly, layer_loss, logits_loss, monotone, recorded
from edgeopt.training.follow import Follow, narrowed
from edgeopt.training.matching import matched
from edgeopt.training.objective import NAME, attached
from edgeopt.training.optimizer import constant_rates, parameter_groups
from edgeopt.training.sparsify import Sparsify
from edgeopt.training.teacher import Teacher
from edgeopt.transforms.prune.cofi_params import CofiParams
from edgeopt.transforms.prune.cofi_training import follow

DENSE = Dense(layers=3, heads=4, head_size=6, neurons=20, hidden=24)
TERMS = {"hidden": 0.9, "logits": 0.1, "temperature": 2.0}


def sparsify(
    model: Any,
    target: float = 0.6,
    match: Any = "dynamic",
    kinds: Collection[str] = KINDS,
    least: float = LEAST,
    **changes: Any,
) -> Sparsify:
    teacher = Teacher(copy.deepcopy(model), scores=False, bf16=False)
    layers = len(structure_of(model).layers)
    matching = {"pairs": matched(match, layers, layers), "dynamic": match == "dynamic"}
    gates = HardConcrete(structure_of(model), kinds, least)
    return Sparsify(
        model, teacher, gates, **{"target": target, "warmup": 0.5, "rate": 0.1, **TERMS, **matching, **changes}
    )


@pytest.mark.parametrize("alpha", [LEAST, -2.0, 0.0, 1.5, MOST])
def test_probabilities_are_those_of_draws(alpha: float) -> None:
    torch.manual_seed(0)
    drawn = sampled(torch.full((200_000,), alpha))
    assert float(open_probability(torch.tensor(alpha))) == pytest.approx(float((drawn > 0).double().mean()), abs=4e-3)
    assert float(drawn.min()) >= 0 and float(drawn.max()) <= 1


def test_probabilities_by_hand() -> None:
    # logit(.1/1.2) = ln(1/11); 1 − σ(2/3·ln(1/11) − log α)
    assert float(open_probability(torch.tensor(0.0))) == pytest.approx(1 - 1 / (1 + 11 ** (2 / 3)), abs=1e-6)
    assert float(open_probability(torch.tensor(-math.log(11) * 2 / 3))) == pytest.approx(0.5, abs=1e-6)
    assert pytest.approx((-4.60517, 4.60517)) == (LEAST, MOST)
    assert float(open_probability(torch.tensor(MOST))) > 0.997


def test_gradients_reach_log_alpha_through_a_draw() -> None:
    torch.manual_seed(0)
    alpha = torch.zeros(1000, requires_grad=True)
    drawn = sampled(alpha)
    drawn.sum().backward()
    assert alpha.grad is not None
    assert torch.equal(alpha.grad > 0, (drawn > 0) & (drawn < 1))


@given(masks=MASKS)
@settings(max_examples=40, deadline=None)
def test_the_expected_size_of_zeros_and_ones_is_that_of_the_cut_model(masks: Masks) -> None:
    model = shared("bert")
    whole = ones(model)
    for kind in ("mha", "ffn", "hidden"):
        if getattr(masks, kind) is None:
            setattr(masks, kind, getattr(whole, kind))
    sliced = copy.deepcopy(model)
    cut(sliced, kept(model, masks))
    assert float(weights_left(masks, DENSE)) == structure_of(sliced).weights


def test_the_expected_size_by_hand_and_of_draws() -> None:
    gates = HardConcrete(structure_of(tiny("bert")))
    torch.manual_seed(0)
    with torch.no_grad():
        for alpha in gates.log_alpha.values():
            alpha.uniform_(-2, 2)
    with torch.no_grad():
        chances = gates.probabilities()
    assert (
        chances.heads
        and chances.neurons
        and chances.mha is not None
        and chances.ffn is not None
        and chances.hidden is not None
    )
    by_hand = 0.0
    for i in range(3):
        block = sum(float(chances.mha[i] * p) * 4 * 6 for p in chances.heads[i]) + sum(
            float(chances.ffn[i] * p) * 2 for p in chances.neurons[i]
        )
        by_hand += sum(float(p) * block for p in chances.hidden)
    dense = 3 * (4 * 24 * 24 + 2 * 24 * 20)
    assert float(gates.sparsity().detach()) == pytest.approx(1 - by_hand / dense, rel=1e-5)

    def of_draw() -> float:
        masks = gates.sample()
        return float(
            weights_left(
                Masks(
                    *[[(t > 0).float() for t in ts] for ts in (masks.heads or [], masks.neurons or [])],
                    *[(t > 0).float() for t in (masks.mha, masks.ffn, masks.hidden) if t is not None],
                ),
                DENSE,
            )
        )

    assert sum(of_draw() for _ in range(800)) / 800 == pytest.approx(by_hand, rel=0.03)


def drawn(seed: int) -> HardConcrete:
    """Gates of a small model, each kind spread over the range of log α."""
    gates = HardConcrete(structure_of(shared("bert")))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for alpha in gates.log_alpha.values():
            alpha.copy_(torch.rand(alpha.shape, generator=generator) * 6 - 3)
    return gates


@given(st.integers(0, 2**31), st.floats(0.1, 0.95))
@settings(max_examples=40, deadline=None)
def test_a_shift_brings_the_expected_sparsity_to_what_is_asked(seed: int, sparsity: float) -> None:
    gates = drawn(seed)
    before = {kind: alpha.detach().clone() for kind, alpha in gates.log_alpha.items()}
    by = gates.shift(sparsity)
    assert float(gates.sparsity().detach()) == pytest.approx(sparsity, abs=1e-4)
    for kind, alpha in gates.log_alpha.items():
        assert torch.allclose(alpha.detach(), (before[kind] + by).clamp(LEAST, MOST), atol=1e-6)


@given(st.integers(0, 2**31), st.floats(0.02, 0.99))
@settings(max_examples=15, deadline=None)
def test_what_stays_open_are_the_highest_of_a_layer_and_kind_to_the_size_asked(seed: int, sparsity: float) -> None:
    model, gates = shared("bert"), drawn(seed)
    wanted = (1 - sparsity) * structure_of(model).weights
    masks = gates.binary(wanted)
    assert masks.heads and masks.neurons and masks.hidden is not None
    pairs = [*zip(masks.heads, torch.split(gates.log_alpha["heads"].detach(), gates.split["heads"]), strict=True)]
    pairs += zip(masks.neurons, torch.split(gates.log_alpha["neurons"].detach(), gates.split["neurons"]), strict=True)
    for mask, alpha in [*pairs, (masks.hidden, gates.log_alpha["hidden"].detach())]:
        if 0 < int(mask.sum()) < len(mask):
            assert float(alpha[mask > 0].min()) >= float(alpha[mask == 0].max())
    found = float(weights_left(masks, DENSE))
    width = int(masks.hidden.sum())
    one = max(4 * 6 * width, 2 * width)  # a head; what is rounded last is neurons
    assert found > 0
    # a block or a dimension that is rounded up cannot be made up for by closing less than nothing
    least = float(weights_left(gates.binary(0.0), DENSE))
    assert abs(found - wanted) <= max(one, least)
    sliced = copy.deepcopy(model)
    cut(sliced, kept(model, masks))
    assert structure_of(sliced).weights == found


def test_masks_at_the_cut_have_the_size_that_each_layer_and_kind_is_expected_to_have() -> None:
    """At the sparsity that the gates have, no shift is needed: counts are the rounded expectations."""
    gates = drawn(5)
    with torch.no_grad():
        gates.log_alpha["mha"].fill_(MOST)
        gates.log_alpha["ffn"].fill_(MOST)
        chances = gates.probabilities()
    assert chances.heads and chances.neurons and chances.hidden is not None
    masks = gates.binary(float(weights_left(chances, DENSE)))
    assert masks.heads and masks.neurons and masks.hidden is not None
    assert int(masks.hidden.sum()) == pytest.approx(float(chances.hidden.sum()), abs=1)
    for mask, chance in zip(masks.heads, chances.heads, strict=True):
        assert int(mask.sum()) == pytest.approx(float(chance.sum()), abs=1)
    for mask, chance in zip(masks.neurons, chances.neurons, strict=True):  # of 20; they make up for rounded heads
        assert int(mask.sum()) == pytest.approx(float(chance.sum()), abs=3)


@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
@settings(max_examples=25, deadline=None)
def test_sizes_in_multiples(seed: int, sparsity: float) -> None:
    gates = drawn(seed)
    dense = structure_of(shared("bert")).weights
    found = gates.binary((1 - sparsity) * dense, 4, 8)
    assert found.hidden is not None and found.neurons is not None
    width = int(found.hidden.sum())
    assert width % 8 == 0 and width > 0
    assert all(int(n.sum()) % 4 == 0 for n in found.neurons)


def test_equal_gates_of_a_kind_close_in_order_and_never_all() -> None:
    model = shared("bert")
    gates = HardConcrete(structure_of(model))
    dense = structure_of(model).weights
    half = gates.binary(dense / 2)
    assert float(weights_left(half, DENSE)) == pytest.approx(dense / 2, abs=2 * 24 + 4 * 24 * 6)
    assert half.mha is not None and bool(half.mha.all()), "blocks close last"
    assert float(weights_left(gates.binary(0.0), DENSE)) > 0


def test_samples_without_a_dimension_get_one() -> None:
    gates = HardConcrete(structure_of(tiny("bert")))
    with torch.no_grad():
        gates.log_alpha["hidden"].fill_(-30.0)
        gates.log_alpha["hidden"][7] = -29.0
    drawn = gates.sample().hidden
    assert drawn is not None and torch.nonzero(drawn).flatten().tolist() == [7]


def test_a_model_that_was_cut_has_gates_for_what_it_has() -> None:
    model = tiny("bert")
    masks = ones(model)
    assert masks.heads and masks.mha is not None and masks.hidden is not None
    masks.heads[0][:] = 0
    masks.heads[1][1:] = 0
    masks.mha[2] = 0
    masks.hidden[3:9] = 0
    cut(model, kept(model, masks))
    gates = HardConcrete(structure_of(model))
    assert {k: len(v) for k, v in gates.log_alpha.items()} == {
        "neurons": 60,
        "heads": 1,
        "hidden": 18,
        "ffn": 3,
        "mha": 3,
    }
    dense = 3 * (4 * 24 * 24 + 2 * 24 * 20)
    assert (
        float(weights_left(gates._masks({k: torch.ones_like(v) for k, v in gates.log_alpha.items()}), DENSE))
        == structure_of(model).weights
    )
    with torch.no_grad():
        gates.log_alpha["neurons"].fill_(MOST)
    assert float(gates.sparsity().detach()) == pytest.approx(1 - structure_of(model).weights / dense, abs=5e-3)
    objective = sparsify(model, 0.8)
    assert objective.asked(0.0) == pytest.approx(float(objective.gates.sparsity().detach()))
    with attached(model, objective):
        objective.loss(model, {**inputs(), "labels": torch.tensor([0, 1])}, 3, 10).backward()
    assert all(p.grad is not None for p in objective.gates.parameters())


def test_what_is_asked_rises_and_stays() -> None:
    objective = sparsify(tiny("bert"), 0.8, warmup=0.25)
    start = float(objective.gates.sparsity().detach())
    wanted = [start, (start + 0.8) / 2, 0.8, 0.8]
    assert [objective.asked(done) for done in (0.0, 0.125, 0.25, 1.0)] == pytest.approx(wanted)


def optimizer_of(model: Any, objective: Sparsify, steps: int, rate: float = 1e-4) -> torch.optim.AdamW:
    groups = parameter_groups(
        model,
        set(),
        learning_rate=rate,
        weight_decay=0.0,
        layer_decay=None,
        anatomy=None,  # type: ignore[arg-type]
        layers=3,
        extra=objective.groups(),
    )
    groups[-1]["lr"] = objective.rates(steps)[0]
    return torch.optim.AdamW(groups)


def trained(model: Any, objective: Sparsify, steps: int, learning_rate: float = 1e-4) -> None:
    """Plain AdamW on the objective's groups and the weights, as the training loop has it."""
    torch.manual_seed(0)
    batch = {**inputs(), "labels": torch.tensor([0, 1])}
    with attached(model, objective):
        optimizer = optimizer_of(model, objective, steps, learning_rate)
        for step in range(steps):
            objective.loss(model, batch, step, steps).backward()
            optimizer.step()
            optimizer.zero_grad()
            objective.stepped()
            assert all(
                bool((a >= objective.gates.least - 1e-6).all() and (a <= MOST + 1e-6).all())
                for a in objective.gates.parameters()
            )


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
@pytest.mark.parametrize(("steps", "rate"), [(20, 0.1), (110, None)])
def test_the_masks_follow_the_ramp_at_every_step(target: float, steps: int, rate: float | None) -> None:
    model = tiny("bert")
    objective = sparsify(model, target, warmup=0.3, rate=rate)
    trained(model, objective, steps)
    curves = objective.curves()
    assert len(curves["sparsity"]) == min(steps, 101)
    assert curves["sparsity"][-1][0] == steps and curves["sparsity"][-1][1] == pytest.approx(target, abs=1e-3)
    for (step, asked), (_, got) in zip(curves["asked_sparsity"], curves["sparsity"], strict=True):
        assert asked == pytest.approx(objective.asked(step / steps), abs=1e-4)
        assert got == pytest.approx(asked, abs=0.005)
    assert NAME not in dict(model.named_modules())


#: What a planted model needs: heads and neurons of each layer.
USEFUL = [([1], [0, 7, 12, 19, 3]), ([0, 3], [2, 5, 8]), ([2], [4, 6, 9, 11, 13, 18])]


def planted() -> Any:
    """A model that computes with the useful heads and neurons alone: what the others write counts for nothing."""
    torch.manual_seed(3)
    model = tiny("bert")
    with torch.no_grad():
        for layer, (heads, neurons) in zip(model.bert.encoder.layer, USEFUL, strict=True):
            for linear, useful in (
                (layer.attention.output.dense, [6 * h + i for h in heads for i in range(6)]),
                (layer.output.dense, neurons),
            ):
                weight = torch.zeros_like(linear.weight)
                weight[:, useful] = linear.weight[:, useful].sign()
                linear.weight.copy_(weight)
            layer.intermediate.dense.bias.fill_(1.0)  # so that none of the neurons is asleep
    return model.eval()


def test_of_a_planted_model_what_is_useless_goes_and_what_it_computes_stays() -> None:
    model = planted()
    dense = structure_of(model).weights
    useful = sum(4 * 24 * 6 * len(heads) + 2 * 24 * len(neurons) for heads, neurons in USEFUL)
    texts = inputs()
    with torch.no_grad():
        before = model(**texts).logits
    objective = sparsify(model, 1 - useful / dense, kinds=("heads", "neurons"), least=LEAST_SHORT, rate=0.1)
    trained(model, objective, 240, learning_rate=0.0)
    masks = objective.gates.binary(useful)
    assert masks.heads and masks.neurons
    found = [
        (sorted(torch.nonzero(h).flatten().tolist()), sorted(torch.nonzero(n).flatten().tolist()))
        for h, n in zip(masks.heads, masks.neurons, strict=True)
    ]
    assert found == [(sorted(heads), sorted(neurons)) for heads, neurons in USEFUL]
    cut(model, kept(model, masks))
    with torch.no_grad():
        assert torch.allclose(model(**texts).logits, before, atol=1e-5)


def test_an_evaluation_sees_the_model_that_a_cut_would_leave() -> None:
    model = tiny("bert").eval()
    objective = sparsify(model, 0.6)
    with torch.no_grad(), attached(model, objective):
        objective.loss(model, {**inputs(), "labels": torch.tensor([0, 1])}, 0, 1)
        drawn = model(**inputs()).logits
        with objective.evaluating():
            seen = model(**inputs()).logits
        assert torch.equal(model(**inputs()).logits, drawn) and not torch.allclose(seen, drawn)
    cut(model, kept(model, objective.cut()))
    with torch.no_grad():
        assert torch.allclose(model(**inputs()).logits, seen, atol=1e-5)
    assert [objective.complete(step, 100) for step in (0, 49, 50, 100)] == [False, False, True, True]


def test_heads_and_neurons_start_in_the_order_of_what_they_are_worth_for_their_weights() -> None:
    gates = HardConcrete(structure_of(tiny("bert")))
    heads, neurons = torch.rand(12) + 0.1, torch.rand(60) + 0.1
    gates.rank({"heads": heads, "neurons": neurons}, 0.3)
    assert float(gates.sparsity().detach()) == pytest.approx(0.3, abs=1e-3)
    assert all(float(gates.log_alpha[kind].min()) == pytest.approx(MOST) for kind in ("hidden", "mha", "ffn"))
    worth = torch.cat([heads / (4 * 6), neurons / 2])
    alpha = torch.cat([gates.log_alpha["heads"], gates.log_alpha["neurons"]]).detach()
    inside = (alpha > LEAST) & (alpha < MOST)
    by = alpha[inside] - worth[inside].log()
    assert float(by.max() - by.min()) < 1e-4
    assert float(worth[alpha >= MOST].min()) > float(worth[inside].max()) if (alpha >= MOST).any() else True


def test_the_price_rises_where_gates_open_too_fast_and_falls_where_they_close() -> None:
    objective = sparsify(tiny("bert"), 0.5, warmup=1.0)
    objective.rates(10)
    for step, sparsity, rises in ((4, 0.0, True), (4, 0.9, False)):
        objective.gates.shift(sparsity)
        before = float(objective.price)
        objective._done = (step, 10)
        objective.stepped()
        assert (float(objective.price) > before) == rises
    for _ in range(300):  # whatever the gap, it is bounded
        objective.gates.shift(0.0)
        objective.stepped()
    assert float(objective.price) <= 1e4


def test_rates_of_masks_stay_and_those_of_weights_fall() -> None:
    model = tiny("bert")
    objective = sparsify(model)
    with attached(model, objective):
        optimizer = optimizer_of(model, objective, 6, rate=1e-3)
        assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 4 if step < 4 else 0.0)
    constant_rates(scheduler, 1)
    seen = []
    for _ in range(6):
        seen.append([g["lr"] for g in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert [rates[0] for rates in seen] == pytest.approx([0, 2.5e-4, 5e-4, 7.5e-4, 0, 0])
    assert all(rates[1:] == [0.1] for rates in seen)


@pytest.mark.parametrize(("steps", "rate"), [(50, 0.1), (500, 0.04), (2000, 0.01), (100_000, 0.01)])
def test_short_trainings_learn_masks_faster_and_long_ones_at_the_papers_rate(steps: int, rate: float) -> None:
    assert sparsify(tiny("bert"), rate=None).rates(steps) == [pytest.approx(rate)]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(12, [2, 5, 8, 11]), (6, [1, 2, 4, 5]), (4, [0, 1, 2, 3]), (2, [0, 1]), (1, [0]), (24, [5, 11, 17, 23])],
)
def test_a_layer_of_every_quarter(count: int, expected: list[int]) -> None:
    assert evenly(count, 4) == expected


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_matches_never_go_back_and_are_the_best(rows: int, columns: int, seed: int) -> None:
    costs = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    rising = itertools.combinations_with_replacement(range(columns), rows)
    best = min(sum(costs[i][c] for i, c in enumerate(path)) for path in rising)
    found = monotone(costs)
    assert found == sorted(found)
    assert sum(costs[i][c] for i, c in enumerate(found)) == pytest.approx(best)


@pytest.mark.parametrize("family", ["bert", "distilbert", "mpnet", "electra"])
def test_a_teacher_with_open_gates_is_itself(family: str) -> None:
    model = tiny(family)
    teacher = Teacher(copy.deepcopy(model), scores=False, bf16=False)
    identity = torch.nn.Identity()
    answer, layers = teacher.answer(inputs())
    with masked(model, ones(model)), recorded(model) as written, torch.no_grad():
        logits = model(**inputs()).logits
        tokens = inputs()["attention_mask"]
        assert float(
            layer_loss(written, [layers[i] for i in evenly(3, 4)], tokens, identity, [0, 1, 2])
        ) == pytest.approx(0, abs=1e-9)
    assert float(logits_loss(logits, answer, torch.tensor([0, 1]), 2.0, scores=False)) == pytest.approx(0, abs=1e-6)


def test_layers_are_matched_among_the_living_and_padding_counts_for_nothing() -> None:
    torch.manual_seed(0)
    teachers = [torch.randn(2, 5, 4) for _ in range(2)]
    students = [teachers[0], teachers[1], torch.randn(2, 5, 4)]
    tokens = torch.ones(2, 5, dtype=torch.long)
    identity = torch.nn.Identity()
    assert float(layer_loss(students, teachers, tokens, identity, [0, 1, 2])) == 0
    mean = torch.nn.functional.mse_loss
    # without layer 0: the first of the teacher may have 1 or 2, the second what is behind
    ways = [mean(students[a], teachers[0]) + mean(students[b], teachers[1]) for a, b in ((1, 1), (1, 2), (2, 2))]
    assert float(layer_loss(students, teachers, tokens, identity, [1, 2])) == pytest.approx(float(min(ways)))
    tokens[1, 3:] = 0
    padded = [s.clone() for s in students]
    padded[0][1, 3:] = 99
    assert float(layer_loss(padded, teachers, tokens, identity, [0, 1, 2])) == 0
    assert float(layer_loss(students, teachers, tokens.reshape(1, 2, 5), identity, [])) == 0, (
        "choices, and no layer alive: all count"
    )


def test_layers_that_are_matched_already_stay_so() -> None:
    torch.manual_seed(0)
    layers = [torch.randn(2, 5, 4) for _ in range(3)]
    tokens = torch.ones(2, 5, dtype=torch.long)
    swapped = [layers[2], layers[0]]
    mean = torch.nn.functional.mse_loss
    by_hand = mean(layers[2], layers[0]) + mean(layers[0], layers[1])
    assert float(layer_loss(swapped, layers[:2], tokens, torch.nn.Identity(), None)) == pytest.approx(float(by_hand))


@pytest.mark.parametrize(
    ("match", "pairs"),
    [
        ("dynamic", [(0, 0), (1, 1), (2, 2)]),
        ("uniform", [(0, 0), (1, 1), (2, 2)]),
        ([2, 2, 0], [(0, 2), (1, 2), (2, 0)]),
    ],
)
def test_which_layers_follow_which(match: Any, pairs: list[tuple[int, int]]) -> None:
    model = tiny("bert")
    objective = sparsify(model, match=match)
    assert (objective.pairs, objective.dynamic) == (pairs, match == "dynamic")
    with attached(model, objective):
        loss = objective.loss(model, {**inputs(), "labels": torch.tensor([0, 1])}, 0, 1)
    assert torch.isfinite(loss)


def test_of_a_shallow_teacher_a_layer_is_followed_also_where_those_that_were_matched_are_gone() -> None:
    model, shallow = tiny("bert"), tiny("bert")
    before, width = structure_of(model), model.config.hidden_size
    keep_layers(model, [0])
    keep_layers(shallow, [0])
    params = CofiParams(sparsity=0.5, match="uniform")
    teacher = Teacher(shallow, scores=False, bf16=False)
    found = follow(model, teacher, before, params, nn.Linear(width, width))
    assert isinstance(found, Follow) and found.pairs == [(0, 0)]


def test_the_logits_loss_by_hand() -> None:
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = 1 / (1 + math.exp(-1))
    expected = 4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert float(logits_loss(student, teacher, torch.tensor([0]), 2.0, scores=False)) == pytest.approx(expected)
    twice = [torch.stack([t[0], t[0], t[0] * 0 + i])[None] for i, t in enumerate((student, teacher))]
    labels = torch.tensor([[1, 0, -100]])  # of the third token nothing is asked
    assert float(logits_loss(twice[0], twice[1], labels, 2.0, scores=False)) == pytest.approx(expected)
    assert (
        float(logits_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [5.0]]), labels, 2.0, scores=True)) == 2.5
    )


def test_the_teacher_neither_learns_nor_drops_out() -> None:
    model = tiny("bert")
    teacher = Teacher(copy.deepcopy(model).train(), scores=False, bf16=False)
    objective = Follow(model, teacher, pairs=[(0, 0), (2, 2)], dynamic=False, **TERMS)
    with attached(model, objective):
        loss = objective.loss(model.eval(), {**inputs(), "labels": torch.tensor([0, 1])}, 0, 1)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert not any(p.requires_grad for p in objective.teacher.model.parameters())


def test_a_narrowed_map_gives_what_the_map_gives_of_what_is_left() -> None:
    torch.manual_seed(0)
    transform, kept = torch.nn.Linear(6, 5), torch.tensor([True, False, True, True, False, True])
    states = torch.randn(3, 6) * kept
    assert torch.allclose(narrowed(transform, kept)(states[:, kept]), transform(states), atol=1e-6)
