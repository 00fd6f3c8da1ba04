"""Replaced token detection: drawn as it should be, its loss transformers' own, its generator on the same embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from edgeopt.models.generator import generator_of
from edgeopt.tasks.base import IGNORED
from edgeopt.training.held_out import HeldOut
from edgeopt.training.masking import MaskedBatches, Masking
from edgeopt.training.objective import NAME, ROW, attached
from edgeopt.training.replaced_tokens import ReplacedTokens, drawn, temperature_at

CONFIG = ElectraConfig(
    vocab_size=60,
    embedding_size=8,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
)


def model() -> ElectraForPreTraining:
    torch.manual_seed(0)
    return ElectraForPreTraining(CONFIG).eval()


def batch(*lengths: int) -> dict[str, Any]:
    masking = Masking(0.4, 0.85, 0.0, 4, 60, frozenset(range(5)), 0)
    rows = [{"input_ids": np.arange(5, 5 + n), ROW: i} for i, n in enumerate(lengths or (12, 20, 7))]
    return MaskedBatches(masking, 0)(rows)


def test_words_are_drawn_by_their_probabilities_at_the_temperature() -> None:
    torch.manual_seed(0)
    scores = torch.tensor([2.0, 1.0, 0.0, -1.0]).repeat(40_000, 1)
    for temperature in (1.0, 2.0):
        shares = torch.bincount(drawn(scores, temperature), minlength=4) / len(scores)
        torch.testing.assert_close(shares, torch.softmax(scores[0] / temperature, 0), atol=0.01, rtol=0)


def test_the_temperature_falls_as_in_the_paper() -> None:
    assert temperature_at(0, 2.0, 0.1) == 2.0
    assert temperature_at(0.1, 2.0, 0.1) == pytest.approx(1 + math.exp(-1))
    assert 1 < temperature_at(1, 2.0, 0.1) < 1.001


def test_the_generator_is_narrower_and_has_the_models_embeddings() -> None:
    main = model()
    made = generator_of(main, 0.25, share=True)
    config = made.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (8, 1, 16)
    assert config.num_hidden_layers == 2
    assert made.electra.embeddings is main.electra.embeddings
    assert not any("embeddings." in name for name, _ in made.named_parameters())
    own = generator_of(main, 0.25, share=False)
    assert any("embeddings." in name for name, _ in own.named_parameters())
    main.add_module(NAME, made)
    names = [name for name, _ in main.named_parameters()]
    assert len(names) == len({id(p) for p in main.parameters()})
    assert f"{NAME}.generator_lm_head.bias" in names


@pytest.mark.parametrize("share", [True, False])
def test_the_joint_loss_is_that_of_both_models_of_transformers(share: bool) -> None:
    main, asked = model(), batch()
    generator = generator_of(main, 0.5, share=share).eval()
    objective = ReplacedTokens(generator, joint=True, weight=50.0)
    with attached(main, objective):
        torch.manual_seed(3)
        found = objective.loss(main, dict(asked), 0, 10)
        found.backward()
        torch.manual_seed(3)
        *_, filled, replaced = objective.filled_in(dict(asked), 1.0)
    mask, chosen = asked["attention_mask"], asked["labels"] != IGNORED
    guesses = generator(input_ids=asked["input_ids"], attention_mask=mask, labels=asked["labels"])
    detection = main(input_ids=filled, attention_mask=mask, labels=replaced.long())
    assert found.item() == pytest.approx(guesses.loss.item() + 50 * detection.loss.item(), rel=1e-5)
    original = torch.where(chosen, asked["labels"], asked["input_ids"])
    assert torch.equal(replaced, filled != original)
    assert not replaced[~chosen].any()
    assert main.electra.embeddings.word_embeddings.weight.grad is not None
    assert all(p.grad is not None for p in generator.parameters())


def test_the_generator_learns_nothing_from_the_detection() -> None:
    main, asked = model(), batch()
    generator = generator_of(main, 0.5, share=False).eval()
    gradients = []
    for weight in (1.0, 1000.0):
        generator.zero_grad()
        objective = ReplacedTokens(generator, joint=True, weight=weight)
        with attached(main, objective):
            objective.loss(main, dict(asked), 0, 10).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in generator.parameters()]))
    assert torch.equal(*gradients)


def test_a_frozen_auxiliary_model_is_not_trained_and_not_kept() -> None:
    main, asked = model(), batch()
    torch.manual_seed(1)
    auxiliary = ElectraForMaskedLM(CONFIG)
    objective = ReplacedTokens(auxiliary, joint=False, weight=1.0, start=2.0, decay=0.1)
    before = {name for name, _ in main.named_parameters()}
    with attached(main, objective):
        assert {name for name, _ in main.named_parameters()} == before
        torch.manual_seed(3)
        found = objective.loss(main, dict(asked), 0, 10)
        found.backward()
        torch.manual_seed(3)
        *_, filled, replaced = objective.filled_in(dict(asked), 2.0)
    assert all(p.grad is None for p in auxiliary.parameters())
    detection = main(input_ids=filled, attention_mask=asked["attention_mask"], labels=replaced.long())
    assert found.item() == pytest.approx(detection.loss.item(), rel=1e-5)


@pytest.mark.parametrize("joint", [True, False])
def test_in_bf16_the_auxiliary_model_computes_in_bf16_and_words_are_drawn_in_fp32(
    joint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, asked, seen = model(), batch(), dict[str, set[Any]]()

    def note(name: str) -> Any:
        return lambda module, given, out: seen.setdefault(name, set()).add(out.dtype)

    def noted(scores: torch.Tensor, *given: Any) -> torch.Tensor:
        seen["drawn"] = {scores.dtype, torch.is_autocast_enabled("cpu")}
        return drawn(scores, *given)

    monkeypatch.setattr("edgeopt.training.replaced_tokens.drawn", noted)
    auxiliary = generator_of(main, 0.5, share=joint).eval()
    dense = [each for each in auxiliary.electra.encoder.modules() if isinstance(each, torch.nn.Linear)]
    for name, modules in (("auxiliary", dense), ("main", [main.discriminator_predictions.dense])):
        for module in modules:
            module.register_forward_hook(note(name))
    objective = ReplacedTokens(auxiliary, joint=joint, weight=50.0, bf16=True)
    with attached(main, objective):
        found = objective.loss(main, dict(asked), 0, 10)
        found.backward()
    assert seen == {
        "auxiliary": {torch.bfloat16},
        "drawn": {torch.float32, False},
        "main": {torch.float32},  # which accelerate lets compute in bfloat16
    }
    assert found.dtype == torch.float32
    gradients = [p.grad for p in auxiliary.parameters()]
    assert all(g is not None and g.dtype == torch.float32 for g in gradients) if joint else not any(gradients)


def test_tokens_count_the_same_in_accumulated_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeopt.training.replaced_tokens.drawn", lambda scores, *_: scores.argmax(-1))
    main = model()
    objective = ReplacedTokens(generator_of(main, 0.5, share=True).eval(), joint=True, weight=50.0)
    whole = batch(40, 6, 7)
    parts = [{name: value[rows] for name, value in whole.items()} for rows in (slice(0, 1), slice(1, 3))]
    with attached(main, objective):
        expected = objective.loss(main, dict(whole), 0, 10)
        total = objective.weight(parts)
        assert total is not None
        objective.mean_weight = total / 2
        found = torch.stack([objective.loss(main, dict(part), 0, 10) for part in parts]).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_held_out_rows_tell_how_well_replaced_tokens_are_found() -> None:
    main = model().train()
    objective = ReplacedTokens(generator_of(main, 0.5, share=True), joint=True, weight=50.0)
    rows = [{"input_ids": np.arange(5, 5 + n), ROW: i} for i, n in enumerate((40, 6, 7, 30))]
    batches = MaskedBatches(Masking(0.4, 0.85, 0.0, 4, 60, frozenset(range(5)), 0), 0)
    looks = HeldOut(objective, rows, batches.held_out)
    with attached(main, objective):
        state = torch.get_rng_state()
        found, again = looks.measure(main), looks.measure(main)
        assert torch.equal(state, torch.get_rng_state())
    assert found == again
    assert main.training
    names = "loss accuracy precision recall replaced auxiliary_accuracy"
    assert found.keys() == {f"eval_held_out_{name}" for name in names.split()}
    assert 0.3 < found["eval_held_out_replaced"] < 0.5  # nearly all of the 40 % that are hidden
    assert found["eval_held_out_loss"] == pytest.approx(math.log(2), abs=0.2)
