"""Masked language modeling against transformers': which tokens are hidden, and the loss of what is guessed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    ElectraConfig,
    ElectraForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from edgeopt.tasks.base import IGNORED
from edgeopt.training.held_out import HeldOut
from edgeopt.training.masked_words import MaskedWords
from edgeopt.training.masking import MaskedBatches, Masking, follows_a_word
from edgeopt.training.objective import ROW, attached

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
MODELS = [
    (BertForMaskedLM, BertConfig(**SIZES)),
    (ElectraForMaskedLM, ElectraConfig(**SIZES, embedding_size=8)),
    (RobertaForMaskedLM, RobertaConfig(**SIZES)),
]


def masking(**keys: object) -> Masking:
    given = {"share": 0.15, "mask": 0.8, "random": 0.1, "token": 4, "words": 60, "special": frozenset(range(5))}
    return Masking(**{**given, "seed": 0, **keys})  # type: ignore[arg-type]


def shares(ids: np.ndarray, hidden: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Of the tokens that may be chosen, how many are, and of these how many became what."""
    chosen = labels != IGNORED
    assert (labels[chosen] == ids[chosen]).all()
    assert (hidden[~chosen] == ids[~chosen]).all()
    kinds = Counter(
        "mask" if now == 4 else "keep" if now == was else "random"
        for was, now in zip(ids[chosen], hidden[chosen], strict=True)
    )
    return {"chosen": chosen.sum() / (ids > 4).sum(), **{k: n / chosen.sum() for k, n in kinds.items()}}


def test_as_many_tokens_are_hidden_as_transformers_hides(tiny_model: Path) -> None:
    draw = np.random.default_rng(1)
    ids = draw.integers(5, 60, size=(400, 100))
    ids[:, 0], ids[:, -1] = 2, 3
    made = [masking().hide(row, i, 0) for i, row in enumerate(ids)]
    ours = shares(ids, *(np.stack(arrays) for arrays in zip(*made, strict=True)))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(0)
    batch = DataCollatorForLanguageModeling(tokenizer)([{"input_ids": row} for row in ids.tolist()])
    theirs = shares(ids, batch["input_ids"].numpy(), batch["labels"].numpy())
    assert ours.keys() == theirs.keys() == {"chosen", "mask", "random", "keep"}
    for name, share in ours.items():
        assert share == pytest.approx(theirs[name], abs=0.015), name
    assert not any((labels[[0, -1]] != IGNORED).any() for _, labels in made)


def test_what_is_hidden_follows_from_seed_epoch_and_row_alone() -> None:
    rows = [{"input_ids": np.arange(5, 45) % 55 + 5, ROW: i} for i in range(6)]
    batches = MaskedBatches(masking(), 0)
    first = batches(rows)
    assert torch.equal(first["input_ids"][4:], batches(rows[4:])["input_ids"])
    assert torch.equal(batches.held_out(rows)["labels"], batches.held_out(rows)["labels"])
    batches.set_epoch(1)
    again = batches(rows)
    assert not torch.equal(first["labels"], again["labels"])
    batches.set_epoch(0)
    assert torch.equal(first["input_ids"], batches(rows)["input_ids"])
    other = MaskedBatches(masking(seed=1), 0)(rows)
    assert not torch.equal(first["labels"], other["labels"])


def test_whole_words_are_hidden_together() -> None:
    words = {"[CLS]": 0, "[SEP]": 1, "un": 2, "##happy": 3, "##ness": 4, "is": 5, "##land": 6}
    from tokenizers.models import WordPiece

    follows = follows_a_word(Tokenizer(WordPiece(words, unk_token="[SEP]")))
    assert [word for word, number in words.items() if follows[number]] == ["##happy", "##ness", "##land"]
    hide = masking(share=0.5, special=frozenset({0, 1}), follows=follows, words=7)
    row = np.array([0, 2, 3, 4, 5, 6, 2, 1, 6, 6, 1])
    seen = set()
    for i in range(200):
        _, labels = hide.hide(row, i, 0)
        chosen = (labels != IGNORED).tolist()
        assert chosen[1] == chosen[2] == chosen[3]
        assert chosen[4] == chosen[5]
        assert chosen[8] == chosen[9]
        assert not (chosen[0] or chosen[7] or chosen[10])
        seen.add((chosen[1], chosen[4], chosen[6], chosen[8]))
    assert len(seen) == 16


@pytest.mark.parametrize(("cls", "config"), MODELS, ids=lambda given: getattr(given, "__name__", ""))
def test_the_loss_is_the_models_own(cls: type[PreTrainedModel], config: object) -> None:
    """Only the hidden tokens go through the head, and loss and gradients are those of transformers' over all."""
    torch.manual_seed(0)
    model = cls(config).eval()  # type: ignore[arg-type]
    rows = [{"input_ids": np.arange(5, 5 + n), ROW: i} for i, n in enumerate((12, 20, 7))]
    batch = MaskedBatches(masking(share=0.3), 0)(rows)
    asked = {name: value for name, value in batch.items() if name != ROW}
    expected = model(**asked).loss
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    objective = MaskedWords()
    with attached(model, objective):
        loss = objective.loss(model, dict(batch), 0, 1)
        loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for name, p in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(p.grad, gradients[name], rtol=1e-4, atol=1e-7)


def test_every_hidden_token_counts_the_same_in_accumulated_batches() -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**SIZES)).eval()
    rows = [{"input_ids": np.arange(5, 5 + n), ROW: i} for i, n in enumerate((40, 6, 7))]
    batches = MaskedBatches(masking(share=0.4), 0)
    whole, parts = batches(rows), [batches(rows[:1]), batches(rows[1:])]
    objective = MaskedWords()
    with attached(model, objective):
        expected = objective.loss(model, dict(whole), 0, 1)
        total = objective.weight(parts)
        assert total is not None
        objective.mean_weight = total / 2
        found = torch.stack([objective.loss(model, dict(part), 0, 1) for part in parts]).mean()
        objective.mean_weight = None
        nothing = {**parts[1], "labels": torch.full_like(parts[1]["labels"], IGNORED)}
        assert objective.loss(model, nothing, 0, 1).item() == 0.0
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_held_out_words_are_guessed_without_a_change_of_the_model() -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(**SIZES)).train()
    rows = [{"input_ids": np.arange(5, 5 + n), ROW: i} for i, n in enumerate((40, 6, 7, 30))]
    batches, objective = MaskedBatches(masking(share=0.4), 0), MaskedWords()
    looks = HeldOut(objective, rows, batches.held_out)
    with attached(model, objective):
        state = torch.get_rng_state()
        found = looks.measure(model)
        assert model.training
        assert torch.equal(state, torch.get_rng_state())
    batch = batches.held_out(rows)
    asked = {name: value for name, value in batch.items() if name != ROW}
    with torch.no_grad():
        output = model.eval()(**asked)
    chosen = batch["labels"] != IGNORED
    right = (output.logits.argmax(-1) == batch["labels"])[chosen].float().mean()
    assert found["eval_held_out_loss"] == pytest.approx(output.loss.item(), rel=1e-5)
    assert found["eval_held_out_accuracy"] == pytest.approx(right.item())
