"""A step's key has what its recipe asks for, and nothing of keys that came later and are not given."""

from __future__ import annotations

from typing import Any

import pytest

from edgeopt.plan.keys import _unnamed
from edgeopt.step import registry

LATER: dict[str, Any] = {"dropout": 0.2, "freeze": "embeddings", "eval_steps": 5}
NEEDED: dict[str, dict[str, Any]] = {
    "prune.magnitude": {"amount": 0.3, "recover": {}},
    "adapter.lora": {"dropout": 0.1},
}


def counted(use: str, **given: Any) -> dict[str, Any]:
    """What of the parameters is in the key."""
    params = registry.get(use).Params.model_validate({**NEEDED.get(use, {}), **given})
    return _unnamed(params.model_dump(mode="json"), [])


@pytest.mark.parametrize("use", ["finetune", "distill", "adapter.bottleneck", "prune.magnitude"])
def test_a_training_without_later_keys_is_the_one_that_it_was(use: str) -> None:
    def names(params: dict[str, Any]) -> set[str]:
        return {*params, *(name for value in params.values() if isinstance(value, dict) for name in names(value))}

    assert not names(counted(use)) & {*LATER, "distill"}


def test_given_they_count() -> None:
    plain, given = counted("finetune"), counted("finetune", keep_best=True, **LATER)
    assert {k: v for k, v in given.items() if k not in plain} == LATER
    assert counted("finetune", batch_size="auto")["batch_size"] == "auto" != plain["batch_size"]
    assert counted("prune.magnitude", recover={"freeze": "encoder"})["recover"]["freeze"] == "encoder"


def test_an_adapters_own_dropout_always_counted() -> None:
    assert counted("adapter.lora")["dropout"] == 0.1
    assert counted("adapter.adalora")["dropout"] == 0.0
