"""An old key's error shows what to write, and that is what the step takes. In recipes: tests/recipes/bad/renamed."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from edgeopt.spec.recipe import EmbeddingLosses, Losses, TrainParams
from edgeopt.spec.renamed import said_now
from edgeopt.step import registry

OLD = {"teacher": ["a", "b/c: d"], "labels": 0.5, "logits": 0.25, "temperature": 4.0, "cache_gb": 1.0}
TEXTS = {"dataset": {"data_files": {"train": "texts.jsonl"}}, "text": ["a", "ü"]}


def shown(key: str, value: object, known: Any) -> Any:
    help = said_now(key, value, known)
    assert help is not None and "\n" not in help
    return yaml.safe_load("{" + help.partition("`")[2].rpartition("`")[0] + "}")


@pytest.mark.parametrize(
    ("use", "key", "value"),
    [
        ("distill", "distil", {**OLD, "unlabelled": TEXTS}),
        ("distill", "distil", {"hidden": 1.0, "cosine": 1.0, "attention": 1.0, "values": 1.0, "relation_heads": 2}),
        ("distill", "distil", {"hidden": 1.0, "match": [0, 1]}),
        ("distill", "distill", {"teacher": "a", "losses": {"logits": 0.5}, "labels": 0.5}),
        ("distill", "hidden", 1.0),
        ("finetune", "distil", {**OLD, "unlabelled": TEXTS}),
        ("quantize.qat", "distil", {"teacher": "baseline", "temperature": 4}),
        ("quantize.qat", "distil", {}),
        ("adapter.lora", "teacher", "baseline"),
        ("prune.cofi", "distillation", {"layers": 0.7, "logits": 0.3, "temperature": 4.0}),
        ("prune.fisher", "budget", {"sparsity": 0.5}),
        ("prune.fisher", "budget", {"latency": 0.5, "target": {"name": "x", "threads": 2}}),
        ("prune.fisher", "budget", 0.5),
        ("finetune", "distil", ["a"]),
        ("distill", "distil", 3),
    ],
)
def test_what_is_shown_is_what_the_step_takes(use: str, key: str, value: object) -> None:
    params = registry.get(use).Params
    also = {"sparsity": 0.5} if use == "prune.cofi" else {}
    params.model_validate({**also, **shown(key, value, params.model_fields)})


def test_a_loss_towards_a_teacher_among_those_on_pairs_is_told_its_place() -> None:
    found = shown("hidden", 1.0, EmbeddingLosses.model_fields)
    assert found == {"distill": {"losses": {"hidden": 1.0}}}
    registry.get("finetune").Params.model_validate(found)


def test_weights_go_into_losses_and_all_else_stays() -> None:
    known = registry.get("distill").Params.model_fields
    wanted = {"losses": {"labels": 0.5, "logits": 0.25}, "teacher": OLD["teacher"], "temperature": 4.0, "cache_gb": 1.0}
    assert shown("distil", OLD, known) == wanted
    assert shown("distil", OLD, TrainParams.model_fields) == {"distill": wanted}
    assert list(shown("distil", OLD, known)) == ["teacher", "losses", "temperature", "cache_gb"]


def test_what_is_too_long_to_show_is_an_example() -> None:
    known = registry.get("distill").Params.model_fields
    assert shown("distil", {"teacher": "x" * 500}, known) == {
        "teacher": "baseline",
        "losses": {"labels": 0.5, "logits": 1.0},
    }


@pytest.mark.parametrize("known", [Losses.model_fields, registry.get("prune.layers").Params.model_fields])
def test_a_key_that_never_was_there_is_none(known: Any) -> None:
    assert said_now("distil", {}, known) is None
    assert said_now("budget", {}, known) is None
    assert said_now("hidden", 1.0, known) is None
