"""Adapters that cannot be merged: in each family's exported graph, under int8, beside pruned zeros, and in the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import classification, edgeopt, tiny_recipe, tiny_task
from transformers import (
    AutoTokenizer,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from edgeopt.export.session import open_session
from edgeopt.measure.parity import onnx_logits, sample_rows, torch_logits
from edgeopt.models.load import load_model
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.support.errors import InputError
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 3, "batch_size": 8, "learning_rate": 3e-2, "precision": "fp32"}
METHODS: dict[str, dict[str, Any]] = {
    "adapter.prompt": {"virtual_tokens": 5},
    "adapter.prefix": {"virtual_tokens": 5},
    "adapter.bottleneck": {"reduction": 4, "placement": "houlsby"},
}
SMALL = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
FAMILIES: dict[str, tuple[type[PreTrainedModel], PretrainedConfig]] = {
    "roberta": (RobertaModel, RobertaConfig(**SMALL, pad_token_id=0)),
    "mpnet": (MPNetModel, MPNetConfig(**SMALL, pad_token_id=0)),
    "distilbert": (
        DistilBertModel,
        DistilBertConfig(vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=66),
    ),
}


def adapt(use: str) -> Any:
    return step(registry.get(use), {**SHORT, **METHODS[use]}, "adapt")


def model_of(family: str, tiny_model: Path, tiny_electra: Path, folder: Path) -> Path:
    if family in ("bert", "electra"):
        return tiny_model if family == "bert" else tiny_electra
    cls, config = FAMILIES[family]
    torch.manual_seed(0)
    cls(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["electra", *FAMILIES])
@pytest.mark.parametrize("use", METHODS)
def test_the_exported_graph_agrees_with_torch(
    use: str, family: str, tiny_model: Path, tiny_electra: Path, tiny_data: Path, store: Path, tmp_path: Path
) -> None:
    model = model_of(family, tiny_model, tiny_electra, tmp_path / "model")
    if use == "adapter.prefix" and family in ("mpnet", "distilbert"):
        with pytest.raises(InputError, match="takes no keys and values from outside"):
            build([adapt(use)], model=model, data=tiny_data, store=store)
        return
    done = build([adapt(use)], model=model, data=tiny_data, store=store)
    adapted, graph = done.torch_state("candidate"), done.final("candidate")
    assert Fact.GRAPH_ADAPTER in adapted.facts
    assert graph.facts == {Fact.ONNX, Fact.TRAINED_HEAD}
    assert "adapter_in_graph" in graph.figures
    rows = sample_rows(done.data.report, adapted.folder, classification())
    assert (
        abs(
            onnx_logits(open_session(graph.folder / "model.onnx"), rows)
            - torch_logits(load_model(adapted.folder), rows)
        ).max()
        <= 1e-5
    )


@pytest.mark.parametrize("use", METHODS)
def test_int_8_after_it(use: str, tiny_model: Path, tiny_data: Path, store: Path) -> None:
    done = build(
        [adapt(use), step(registry.get("quantize.static"), {"calibration": {"samples": 16}}, "int8")],
        model=tiny_model,
        data=tiny_data,
        store=store,
    )
    assert done.final("candidate").facts == {Fact.ONNX, Fact.TRAINED_HEAD, Fact.INT8}


@pytest.mark.parametrize("use", [*METHODS, "adapter.ia3", "adapter.bitfit"])
def test_zeros_survive_a_method_that_leaves_them(use: str, tiny_model: Path, tiny_data: Path, store: Path) -> None:
    before = [
        step(registry.get("finetune"), SHORT, "tune"),
        step(registry.get("prune.magnitude"), {"amount": 0.3}, "prune"),
    ]
    after = [step(registry.get("merge"), {}, "merge")] if use == "adapter.ia3" else []
    method = step(registry.get(use), {**SHORT, **METHODS.get(use, {})}, "adapt")
    done = build([*before, method, *after], model=tiny_model, data=tiny_data, store=store)
    for each in done.chains["candidate"][-2:]:
        assert each.state.figures["sparsity"] == pytest.approx(0.3, abs=1e-3)


def test_the_plan_says_where_the_adapter_goes(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        model={"id": str(tiny_model)},
        task=tiny_task(tiny_data),
        steps=[{"id": "adapt", "use": "adapter.bottleneck"}],
        targets=[{"name": "short", "sequence": [16]}],
    )
    done = edgeopt("plan", recipe, "--store", tmp_path / "store")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("candidate.onnx")]
    assert "with the adapter of 'adapt' inside, which cannot be merged" in line
    assert "inside" not in next(line for line in done.out.splitlines() if line.startswith("baseline.onnx"))


def test_virtual_tokens_have_no_place_where_each_token_has_an_output() -> None:
    task = TaskSpec.model_construct(type="token-classification")
    for use in ("adapter.prompt", "adapter.prefix"):
        transform = registry.get(use)
        ((path, message, _),) = transform.check(transform.Params(), task)
        assert path == ()
        assert "does not work for token-classification" in message
