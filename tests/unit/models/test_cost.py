"""FLOPs, parameters and kept activations by formula, beside what torch counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ModernBertConfig,
    ModernBertForMaskedLM,
)

from edgeopt.models.cost import Pass, Rows, activations, flops, generator_config, memory, parameters
from edgeopt.models.generator import generator_of
from edgeopt.tasks.base import IGNORED
from edgeopt.training.masked_words import MaskedWords
from edgeopt.training.masking import MaskedBatches, Masking
from edgeopt.training.objective import ROW, attached
from edgeopt.training.replaced_tokens import ReplacedTokens

SIZES = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
ELECTRA, BERT = ElectraConfig(**SIZES, embedding_size=16), BertConfig(**SIZES)
TOKENS = {f"{name}_token_id": i for i, name in enumerate(("pad", "bos", "eos", "cls", "sep"))}
MODERNBERT = ModernBertConfig(**SIZES, **TOKENS)
CONFIGS = {ElectraForMaskedLM: ELECTRA, BertForMaskedLM: BERT, ModernBertForMaskedLM: MODERNBERT}


def batch(rows: int = 4, tokens: int = 24) -> tuple[dict[str, Any], Rows]:
    masking = Masking(0.3, 0.8, 0.1, 4, 200, frozenset(range(5)), 0)
    given = [{"input_ids": np.arange(5, 5 + tokens), ROW: i} for i in range(rows)]
    made = MaskedBatches(masking, 0)(given)
    return made, Rows(rows, tokens, int((made["labels"] != IGNORED).sum()) / rows)


def counted(work: Callable[[], torch.Tensor]) -> tuple[int, int]:
    """What torch counts of a loss, and of the way back from it."""
    found = []
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = work()
        found.append(counter.get_total_flops())
        loss.backward()
        found.append(counter.get_total_flops() - found[0])
    return found[0], found[1]


@pytest.mark.parametrize("cls", CONFIGS)
def test_guessing_words_is_what_torch_counts(cls: type[Any]) -> None:
    model, (asked, rows) = cls(CONFIGS[cls]), batch()
    objective = MaskedWords()
    with attached(model, objective):
        found = counted(lambda: objective.loss(model, dict(asked), 0, 1))
    main = Pass("main", model.config.to_dict(), "all", "words")
    assert flops(main, rows) == pytest.approx(found, rel=1e-6)
    assert parameters(main) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("joint", [True, False])
def test_detection_is_what_torch_counts(joint: bool) -> None:
    model, (asked, rows) = ElectraForPreTraining(ELECTRA), batch()
    beside = generator_of(model, 0.5, share=True) if joint else ElectraForMaskedLM(ELECTRA)
    config = generator_config(ELECTRA.to_dict(), 0.5) if joint else ELECTRA.to_dict()
    objective = ReplacedTokens(beside, joint=joint, weight=50.0)
    with attached(model, objective):
        found = counted(lambda: objective.loss(model, dict(asked), 0, 1))
    main = Pass("main", ELECTRA.to_dict(), "all", "detection")
    auxiliary = Pass("auxiliary", config, "all" if joint else "none", "words", shares_embeddings=joint)
    both = [flops(each, rows) for each in (main, auxiliary)]
    assert (sum(f.forward for f in both), sum(f.backward for f in both)) == pytest.approx(found, rel=1e-6)
    assert parameters(main) == sum(p.numel() for p in model.parameters())
    assert parameters(auxiliary) == sum(p.numel() for p in beside.parameters())


def test_layers_behind_an_adapter_take_gradients_of_their_inputs_alone() -> None:
    model, (asked, rows) = ElectraForPreTraining(ELECTRA), batch()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.electra.embeddings.requires_grad_(True)  # so that gradients go through all layers
    shown = {name: asked[name] for name in ("input_ids", "attention_mask")}
    found = counted(lambda: model(**shown).logits.sum())
    assert flops(Pass("main", ELECTRA.to_dict(), "added", "detection"), rows) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("tokens", [16, 32])
@pytest.mark.parametrize("cls", [ElectraForPreTraining, BertForMaskedLM])
def test_what_autograd_keeps_is_what_the_formula_says(cls: type[Any], tokens: int) -> None:
    model, (asked, rows) = cls(ELECTRA if cls is ElectraForPreTraining else BERT).train(), batch(8, tokens)
    weights, kept = {p.data_ptr() for p in model.parameters()}, dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        store = tensor.untyped_storage()
        if store.data_ptr() not in weights:
            kept[store.data_ptr()] = store.nbytes()
        return tensor

    words = cls is BertForMaskedLM
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if words:
            objective = MaskedWords()
            with attached(model, objective):
                loss = objective.loss(model, dict(asked), 0, 1)
        else:
            loss = model(**{name: asked[name] for name in ("input_ids", "attention_mask")}).logits.sum()
    assert loss.requires_grad
    made = Pass("main", model.config.to_dict(), "all", "words" if words else "detection")
    assert activations(made, rows) == pytest.approx(sum(kept.values()), rel=0.06)


def test_a_model_that_is_not_trained_holds_its_weights_alone() -> None:
    rows = Rows(4, 24, 3)
    frozen, trained = (memory(Pass("a", BERT.to_dict(), how, "words"), rows) for how in ("none", "all"))
    assert frozen.total == frozen.parameters == trained.parameters == trained.gradients == trained.optimizer / 2
    less = memory(Pass("a", BERT.to_dict(), "all", "words", recomputed=True), rows)
    assert less.activations < trained.activations
    assert flops(Pass("a", BERT.to_dict(), "all", recomputed=True), rows).total == pytest.approx(
        4 / 3 * flops(Pass("a", BERT.to_dict(), "all"), rows).total
    )
