"""What a training changes of a model while it runs, in every family, against models made with another config."""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES, logits, tiny

from edgeopt.models.parts import embeddings_of, is_inside
from edgeopt.spec.recipe import Training
from edgeopt.training.held import dropouts, held
from edgeopt.transforms.adapters.lora import LoraParams, config
from edgeopt.transforms.adapters.method import peft_model


def by_name(model: torch.nn.Module) -> dict[str, float]:
    names = {module: name for name, module in model.named_modules()}
    return {f"{names[module]}.{name}": p for (module, name), p in dropouts(model).items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_what_a_config_with_it_everywhere_would_give(family: str) -> None:
    from transformers import AutoModelForSequenceClassification

    model = tiny(family)
    before, everywhere = by_name(model), type(model.config).from_dict(model.config.to_dict())
    for key in [key for key in everywhere.to_dict() if "dropout" in key]:
        setattr(everywhere, key, 0.25)
    wanted = by_name(AutoModelForSequenceClassification.from_config(everywhere))
    with held(model, Training(dropout=0.25)):
        assert by_name(model) == wanted
    assert by_name(model) == before and set(before.values()) <= {0.1, 0.2}
    with held(model, Training(dropout=0.0)):
        plain = logits(model)
        assert torch.equal(logits(model.train()), plain), "nothing is drawn"
    assert not torch.equal(logits(model.train()), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_all_that_is_learned_a_token_or_position(family: str) -> None:
    model = tiny(family)
    shape = model.base_model.embeddings
    with held(model, Training(freeze="embeddings")):
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {f"{model.base_model_prefix}.embeddings.{name}" for name, _ in shape.named_parameters()} - {
        "deberta.embeddings.embed_proj.weight"  # learned for no token or position
    }
    assert all(is_inside(name, embeddings_of(model)) for name in frozen)


def test_dropout_of_an_adapter_is_its_own() -> None:
    model = tiny("bert")
    params = LoraParams(dropout=0.3)
    adapted = peft_model(model, config(model, params))
    before = by_name(adapted)
    with held(adapted, params):
        assert by_name(adapted) == before
    assert {p for name, p in before.items() if "lora_dropout" in name} == {0.3}
    assert {p for name, p in before.items() if "lora_dropout" not in name} == {0.1}
