"""Trained parameters of the papers' configurations, on models of their shapes with random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import ElectraConfig, ElectraForSequenceClassification

from edgeopt.step import registry
from edgeopt.training.accounting import count

SMALL = {
    "vocab_size": 30522,
    "embedding_size": 128,
    "hidden_size": 256,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
BERTIC = {
    "vocab_size": 32000,
    "embedding_size": 768,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}


def electra(shape: dict[str, int]) -> Any:
    with torch.device("meta"):
        return ElectraForSequenceClassification(ElectraConfig(**shape, num_labels=2))


def trained(shape: dict[str, int], use: str, **params: Any) -> int:
    transform = registry.get(use)
    return count(transform.attach(electra(shape), transform.Params.model_validate(params)))["trainable_parameters"]  # type: ignore[attr-defined]


def test_full_electra_small() -> None:
    assert count(electra(SMALL)) == {
        "trainable_parameters": 13_549_314,
        "parameters": 13_549_314,
        "trainable_share": 1.0,
    }


def test_paper_a_lora() -> None:
    assert trained(SMALL, "adapter.lora", r=64, alpha=64, target_modules="attention") == 1_245_954


def test_paper_b_lora() -> None:
    assert (
        trained(BERTIC, "adapter.lora", r=16, alpha=32, target_modules=["query", "value"], bias="lora_only")
        == 1_200_386
    )


@pytest.mark.parametrize(
    ("use", "params", "expected"),
    [
        ("adapter.ia3", {}, 12 * (256 + 256 + 1024)),
        ("adapter.bottleneck", {"placement": "pfeiffer", "reduction": 16}, 12 * (2 * 16 * 256 + 16 + 256)),
        ("adapter.bottleneck", {"placement": "houlsby", "reduction": 16}, 24 * (2 * 16 * 256 + 16 + 256)),
    ],
)
def test_every_parameter_of_a_method_is_counted_once(use: str, params: dict[str, Any], expected: int) -> None:
    head = 256 * 256 + 256 + 2 * 256 + 2
    assert trained(SMALL, use, **params) == expected + head


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("adapter.prompt", 20 * 128),
        ("adapter.prefix", 20 * 12 * 2 * 256),
        ("adapter.adalora", 12 * 3 * 12 * (256 + 256 + 1)),
    ],
)
def test_methods_that_need_real_tensors(use: str, expected: int) -> None:
    transform = registry.get(use)
    model = transform.attach(ElectraForSequenceClassification(ElectraConfig(**SMALL)), transform.Params())  # type: ignore[attr-defined]
    assert count(model)["trainable_parameters"] == expected + 256 * 256 + 256 + 2 * 256 + 2


def test_bitfit_trains_biases_and_head() -> None:
    from edgeopt.transforms.adapters.bitfit import freeze_all_but_biases

    model = electra(SMALL)
    freeze_all_but_biases(model)
    layer = 4 * 256 + 1024 + 256 + 2 * 256  # query, key, value, output; feed-forward in and out; two LayerNorms
    assert count(model)["trainable_parameters"] == 12 * layer + 128 + 256 + (256 * 256 + 256 + 2 * 256 + 2)
