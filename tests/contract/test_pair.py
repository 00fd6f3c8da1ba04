"""The pair of encoder and decoder: what starts from the checkpoint, what is new, and every transform on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import edgeopt, tiny_recipe
from onnx import TensorProto
from summaries import summary_task, write_summaries
from transformers import (
    AutoModel,
    AutoTokenizer,
    EncoderDecoderModel,
    RobertaConfig,
    RobertaModel,
)

from edgeopt.export.graph_files import structure_of
from edgeopt.export.session import open_session
from edgeopt.export.tied import TIED
from edgeopt.measure.graph import weigh
from edgeopt.measure.parity import onnx_logits, sample_rows, torch_logits
from edgeopt.models.adapter_files import ADAPTER
from edgeopt.models.load import load_base, load_model
from edgeopt.models.parts import head_of, prunable
from edgeopt.run.execute import Executed
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.support.errors import InputError
from edgeopt.tasks import task_of
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 3, "batch_size": 8, "learning_rate": 1e-2, "precision": "fp32"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_summaries(tmp_path_factory.mktemp("pair") / "data", train=24, validation=8)


@pytest.fixture(scope="module")
def tiny_roberta(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "roberta"
    torch.manual_seed(0)
    RobertaModel(
        RobertaConfig(
            vocab_size=100,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=66,
            pad_token_id=0,
        )
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def made(model: Path, data: Path, store: Path, *steps: tuple[str, dict[str, Any]]) -> Executed:
    planned = [step(registry.get(use), params, f"step-{i}") for i, (use, params) in enumerate(steps)]
    return build(planned, model=model, data=data, store=store, task=summary_task(data))


SPEC = TaskSpec.model_validate(summary_task(Path("data")))


def logits_agree(done: Executed) -> None:
    """The candidate's float graph gives the logits of its last torch state."""
    state = done.torch_state("candidate")
    rows = sample_rows(done.data.report, state.folder, task_of(SPEC))
    graph = done.lowered("candidate").folder / "model.onnx"
    assert abs(onnx_logits(open_session(graph), rows) - torch_logits(load_model(state.folder), rows)).max() <= 1e-4


@pytest.mark.parametrize("family", ["model", "electra", "roberta"])
def test_both_stacks_start_from_the_checkpoint(
    family: str, data: Path, store: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    done = made(folder, data, store, ("finetune", SHORT))
    loaded = done.chains["candidate"][0].state.folder
    pair, encoder = load_base(loaded), AutoModel.from_pretrained(folder)
    body = {n: t for n, t in encoder.state_dict().items() if "pooler" not in n}
    assert all(torch.equal(pair.encoder.state_dict()[n], t) for n, t in body.items())
    assert all(torch.equal(pair.decoder.base_model.state_dict()[n], t) for n, t in body.items())
    assert pair.decoder.get_output_embeddings().weight is pair.decoder.get_input_embeddings().weight
    assert not any("pooler" in n for n in pair.state_dict())
    # what is new: all that is not the checkpoint's, but for the output's bias
    new = {n for n in pair.decoder.state_dict() if n.removeprefix(f"{pair.decoder.base_model_prefix}.") not in body}
    named = {
        n.removeprefix("decoder.")
        for n, _ in pair.named_parameters()
        if any(n.startswith(f"{h}.") for h in head_of(pair))
    }
    assert {n for n in new - named if n.rpartition(".")[2] != "bias"} == {
        n for n in new if n.endswith("decoder.weight") or n == "generator_lm_head.weight"
    }
    assert "/" not in json.dumps(json.loads((loaded / "config.json").read_text()))
    logits_agree(done)


def test_transformers_own_class_reads_it(tiny_model: Path, data: Path, store: Path) -> None:
    done = made(tiny_model, data, store, ("finetune", SHORT))
    state = done.torch_state("candidate")
    rows = sample_rows(done.data.report, state.folder, task_of(SPEC))
    theirs = EncoderDecoderModel.from_pretrained(state.folder).eval()
    assert (torch_logits(theirs, rows) == torch_logits(load_model(state.folder), rows)).all()


def test_a_trained_pair_is_a_model_to_start_from(tiny_model: Path, data: Path, store: Path) -> None:
    trained = made(tiny_model, data, store, ("finetune", SHORT)).torch_state("candidate").folder
    done = made(trained, data, store, ("quantize.dynamic", {}))
    assert done.final("candidate").facts == {Fact.ONNX, Fact.TRAINED_HEAD, Fact.INT8}
    again, first = load_base(done.chains["candidate"][0].state.folder).state_dict(), load_base(trained).state_dict()
    assert again.keys() == first.keys() and all(torch.equal(again[n], first[n]) for n in first)


def test_the_tied_matrix_is_stored_once_and_counted_once(tiny_model: Path, data: Path, store: Path) -> None:
    """The decoder's word table makes the scores, too: the graph has the model's parameters, in float and in int8."""
    done = made(tiny_model, data, store, ("finetune", SHORT), ("quantize.static", {"calibration": {"samples": 4}}))
    floats, int8 = done.lowered("candidate"), done.final("candidate")
    graph = structure_of(floats.folder / "model.onnx").graph
    width, words = 32, 100
    assert sum(t.dims in ([words, width], [width, words]) for t in graph.initializer) == 2, (
        "one of the encoder and one of the decoder"
    )
    assert [n.op_type for n in graph.node if n.name.endswith(TIED)] == ["Transpose"]
    pair = load_base(done.torch_state("candidate").folder)
    count = sum(p.numel() for p in pair.parameters())
    assert done.torch_state("candidate").figures["parameters"] == count
    assert abs(weigh(floats.folder / "model.onnx").parameters - count) <= 2, "but for what the exporter folds"
    assert abs(weigh(int8.folder / "model.onnx").parameters - count) <= 2
    scores = [t for t in structure_of(int8.folder / "model.onnx").graph.initializer if list(t.dims) == [width, words]]
    assert [t.data_type for t in scores] == [TensorProto.INT8], "its product is in int8 as any"
    logits_agree(done)


ADAPTERS: dict[str, dict[str, Any]] = {
    "adapter.lora": {"r": 4, "target_modules": "all-linear"},
    "adapter.adalora": {"target_modules": "attention", "tinit": 0, "tfinal": 0},
    "adapter.ia3": {},
    "adapter.bottleneck": {"placement": "houlsby", "reduction": 4},
}


@pytest.mark.parametrize(
    ("use", "family"), [*((use, "model") for use in ADAPTERS), ("adapter.lora", "electra"), ("adapter.lora", "roberta")]
)
def test_adapters_leave_the_base_and_train_what_is_new(
    use: str, family: str, data: Path, store: Path, request: pytest.FixtureRequest
) -> None:
    steps = [(use, {**SHORT, **ADAPTERS[use]}), *([("merge", {})] if use != "adapter.bottleneck" else [])]
    done = made(request.getfixturevalue(f"tiny_{family}"), data, store, *steps)
    start, adapted = (d.state.folder for d in done.chains["candidate"][:2])
    assert (start / "model.safetensors").read_bytes() == (adapted / "model.safetensors").read_bytes()
    model = load_model(adapted, trainable_adapter=True)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {stack for n in trained for stack in ("encoder", "decoder") if f"{stack}." in n.split("layer.")[0]} == {
        "encoder",
        "decoder",
    }
    assert not [n for n in trained if "crossattention" in n and ("lora" in n or "bottleneck" in n or "ia3" in n)]
    before, after = load_base(start), load_model(done.torch_state("candidate").folder).state_dict()
    new = [
        n
        for n, _ in before.named_parameters()
        if any(n.startswith(f"{h}.") for h in head_of(before)) and n.endswith("weight") and "Norm" not in n
    ]
    assert new and not any(torch.equal(before.state_dict()[n], after[n]) for n in new if n in after)
    assert (adapted / ADAPTER).is_dir()
    logits_agree(done)


def test_bitfit_trains_biases_and_what_is_new(tiny_model: Path, data: Path, store: Path) -> None:
    done = made(tiny_model, data, store, ("adapter.bitfit", SHORT))
    start, trained = (load_base(d.state.folder) for d in done.chains["candidate"][:2])
    head = head_of(start)
    same = {n for n, p in start.named_parameters() if torch.equal(p, trained.get_parameter(n))}
    assert {n for n in same if n.endswith("weight")} == {
        n for n, _ in start.named_parameters() if n.endswith("weight") and not n.startswith(tuple(head))
    }
    logits_agree(done)


def test_rates_fall_by_layer_but_not_for_what_is_new(tiny_model: Path, data: Path, store: Path) -> None:
    from edgeopt.models.anatomy import anatomy
    from edgeopt.training.optimizer import parameter_groups

    model = load_base(
        made(tiny_model, data, store, ("finetune", {**SHORT, "layerwise_lr_decay": 0.5}))
        .torch_state("candidate")
        .folder
    )
    groups = parameter_groups(
        model, set(), learning_rate=1.0, weight_decay=0.0, layer_decay=0.5, anatomy=anatomy("encoder-decoder"), layers=2
    )
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    of = {n: rates[id(p)] for n, p in model.named_parameters()}
    for stack in ("encoder", "decoder.bert"):
        assert of[f"{stack}.embeddings.word_embeddings.weight"] == 0.125
        assert [of[f"{stack}.encoder.layer.{i}.output.dense.weight"] for i in (0, 1)] == [0.25, 0.5]
    assert (
        of["decoder.bert.encoder.layer.0.crossattention.self.query.weight"]
        == of["decoder.cls.predictions.transform.dense.weight"]
        == 1.0
    )


@pytest.mark.parametrize("scope", ["all", "mlp", "attention"])
def test_zeros_and_int8_reach_the_graph(scope: str, tiny_model: Path, data: Path, store: Path) -> None:
    pruned = ("prune.magnitude", {"amount": 0.3, "scope": "layer", "recover": SHORT})
    done = made(
        tiny_model,
        data,
        store,
        ("finetune", SHORT),
        pruned,
        ("quantize.static", {"calibration": {"samples": 4}, "scope": scope}),
    )
    model = load_base(done.torch_state("candidate").folder)
    assert {n.partition(".")[0] for n, _ in prunable(model)} == {"encoder", "decoder"}
    assert done.final("candidate").figures["sparsity"] >= 0.29
    import onnx

    nodes = onnx.load(str(done.final("candidate").folder / "model.onnx")).graph.node
    weights = {i for n in nodes if n.op_type == "DequantizeLinear" for i in n.output}
    inside = {
        n.name for n in nodes if n.op_type in ("MatMul", "Gemm") and n.input[1] in weights and "/layer." in n.name
    }
    attention = {n for n in inside if "attention/" in n}
    assert any("crossattention/" in n for n in attention) == (scope != "mlp")
    assert bool(inside - attention) == (scope != "attention")


def test_qlora_on_the_pair(data: Path, store: Path, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from bitsandbytes.nn import Linear4bit
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=100,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            max_position_embeddings=64,
        )
    ).save_pretrained(tmp_path / "wide")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "wide")
    done = made(tmp_path / "wide", data, store, ("adapter.qlora", {**SHORT, "r": 4}), ("merge", {}))
    base = load_base(done.chains["candidate"][1].state.folder)
    four = {n for n, m in base.named_modules() if isinstance(m, Linear4bit)}
    assert four and all("layer." in n and "crossattention" not in n for n in four)
    logits_agree(done)


@pytest.mark.parametrize("use", ["adapter.prompt", "adapter.prefix"])
def test_virtual_tokens_have_no_place_there(use: str, tiny_model: Path, data: Path, tmp_path: Path) -> None:
    done = edgeopt(
        "validate", tiny_recipe(tmp_path, model={"id": str(tiny_model)}, task=summary_task(data), steps=[{"use": use}])
    )
    assert done.code == 2
    assert "does not work for summarization" in done.err


def test_a_pair_is_for_summaries_alone(
    tiny_model: Path, tiny_data: Path, data: Path, store: Path, tmp_path: Path
) -> None:
    trained = made(tiny_model, data, store, ("finetune", SHORT)).torch_state("candidate").folder
    with pytest.raises(InputError, match="text-classification does not work with model type 'encoder-decoder'"):
        build([], model=trained, data=tiny_data, store=tmp_path)
