"""ModernBERT's own: the window at every length, layers that begin elsewhere, queries and keys that are turned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
import torch
from families import SHORT, inputs, logits, right_at, tiny, traced
from torch import nn

from edgeopt.models.load import load_base, save_model
from edgeopt.models.rotary import in_order
from edgeopt.models.slicing import keep_layers, structure_of
from edgeopt.training.distill_terms import recorded, relation

#: Tokens that a local layer sees to either side.
WINDOW = 8


def wide_window() -> Any:
    """A tiny classifier whose local layers see that many tokens to either side."""
    model = tiny("modernbert")
    config = copy.deepcopy(model.config)
    config.local_attention, config.max_position_embeddings = 2 * WINDOW, 2048
    made = type(model)(config).eval()
    made.load_state_dict(model.state_dict())
    made.set_attn_implementation("eager")
    return made


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ort.InferenceSession]:
    """The model, and its graph, which was traced on rows of three tokens and of two."""
    model, path = wide_window(), tmp_path_factory.mktemp("modernbert") / "m.onnx"
    in_order(model)
    traced(model, path, SHORT)
    return model, ort.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("length", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, 2 * WINDOW + 1, 512, 2048])
def test_the_graph_sees_the_window_at_every_length(length: int, graph: tuple[Any, ort.InferenceSession]) -> None:
    right_at(length, *graph)


def test_a_local_layer_sees_so_many_tokens_to_either_side() -> None:
    model = wide_window()
    ids = torch.randint(5, 50, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = model(input_ids=ids, output_attentions=True).attentions
    apart = (torch.arange(40)[:, None] - torch.arange(40)).abs()
    assert model.config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]
    for layer, reach in zip(seen, (40, WINDOW, WINDOW), strict=True):
        assert torch.equal(layer[0].amax(0) > 0, apart <= reach)


def test_without_its_first_layer_it_is_saved_and_read(tmp_path: Path) -> None:
    """The layer that is first then has a norm that a first layer usually lacks, and sees what it saw."""
    model = tiny("modernbert")
    keep_layers(model, [1, 2])
    assert model.config.layer_types == ["sliding_attention"] * 2
    save_model(model, tmp_path)
    read = load_base(tmp_path)
    assert torch.equal(logits(read), logits(model))
    assert isinstance(read.model.layers[0].attn_norm, nn.LayerNorm)
    assert [n for n, _ in read.named_parameters()] == [n for n, _ in model.named_parameters()]
    keep_layers(read, [1])
    assert [x.origin for x in structure_of(read).layers] == [2]


def test_a_gated_neuron_has_three_vectors() -> None:
    structure = structure_of(tiny("modernbert"))
    assert structure.weights == 3 * (4 * 24 * 24 + 3 * 24 * 20)
    assert structure.macs(10) == 3 * (4 * 10 * 24 * 24 + 2 * 100 * 24 + 3 * 10 * 24 * 20)
    assert "per_neuron" not in structure_of(tiny("bert")).as_json()["dense"], "configs of other families stay the same"


def test_what_is_recorded_of_queries_and_keys_is_the_attention() -> None:
    model = tiny("modernbert")
    model.set_attn_implementation("eager")
    with torch.no_grad(), recorded(model, "query") as queries, recorded(model, "key") as keys:
        attentions = model(**inputs(), output_attentions=True).attentions
    real = inputs()["attention_mask"].bool()
    found = relation(queries[0], keys[0], real, 4).exp()
    torch.testing.assert_close(found, attentions[0], atol=1e-5, rtol=1e-4)
    near = (torch.arange(9)[:, None] - torch.arange(9)).abs() <= 1
    local = relation(queries[1], keys[1], real, 4).exp() * near
    assert torch.allclose(
        (local / local.sum(-1, keepdim=True))[real[:, None].expand(2, 4, 9)],
        attentions[1][real[:, None].expand(2, 4, 9)],
        atol=1e-5,
    )


def test_angles_are_made_in_one_order_whoever_asks_first() -> None:
    def asked(first: str, second: str) -> tuple[list[str], list[Any]]:
        made: list[str] = []

        def forward(x: Any, positions: Any, kind: str) -> str:
            made.append(kind)
            return f"{kind} at {positions}"

        module = nn.Module()
        module.rope_type, module.forward = {"b": "default", "a": "default"}, forward
        in_order(nn.ModuleList([module]))
        call: Callable[..., Any] = module.forward
        once, again = "positions", "others"
        return made, [call(None, once, first), call(None, once, second), call(None, again, first)]

    for first, second in (("a", "b"), ("b", "a")):
        made, answers = asked(first, second)
        assert made == ["a", "b", "a", "b"]
        assert answers == [f"{first} at positions", f"{second} at positions", f"{first} at others"]
