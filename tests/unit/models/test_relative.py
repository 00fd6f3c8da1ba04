"""DeBERTa's own: positions at every length of a graph, what is known before, a convolution behind the first layer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from families import SHORT, inputs, logits, right_at, tiny, traced

from edgeopt.export.tied import KNOWN, name_known
from edgeopt.measure.graph import weigh
from edgeopt.models.known import positions_known
from edgeopt.models.load import load_base, save_model
from edgeopt.models.slicing import structure_of
from edgeopt.training.distill_terms import recorded
from edgeopt.transforms.quantize.tidy import share

#: As published: positions far apart share one of 256 buckets to either side.
PUBLISHED = {"position_buckets": 256, "max_relative_positions": -1, "max_position_embeddings": 512}
KINDS = ("deberta-v2", "deberta-v2-conv", "deberta-v2-apart")


@pytest.fixture(scope="module", params=KINDS)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model, and its graph, which was traced on rows of three tokens and of two."""
    model, known = tiny(request.param, **PUBLISHED), tiny(request.param, **PUBLISHED)
    path = tmp_path_factory.mktemp("relative") / "m.onnx"
    positions_known(known, model)
    traced(known, path, SHORT)
    return model, path


def test_positions_are_right_at_every_length(graph: tuple[Any, Path]) -> None:
    model, path = graph
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in (1, 2, 17, 127, 128, 129, 300, 511, 512):
        right_at(length, model, session)


def test_no_text_pays_for_what_positions_alone_decide(graph: tuple[Any, Path]) -> None:
    """Six products a layer have a constant matrix, and none reads positions."""
    found = onnx.load(str(graph[1])).graph
    constants = {t.name for t in found.initializer}
    products = [n for n in found.node if n.op_type == "MatMul" and n.input[1] in constants]
    assert len(products) == 3 * 6 + ("embed_proj" in str([n.name for n in products]))
    assert not any("pos_" in n.name or "proj_1" in n.name for n in products)


def test_what_is_known_before_is_no_parameter(graph: tuple[Any, Path], tmp_path: Path) -> None:
    """An int8 graph has constants among its weights, where the float one has nodes for them."""
    path = tmp_path / "known.onnx"
    shutil.copyfile(graph[1], path)
    before = weigh(path)
    name_known(path)
    found = onnx.load(str(path))
    share(found)
    onnx.save(found, str(path))
    assert sum(t.name.endswith(KNOWN) for t in found.graph.initializer) == 3 * 2
    assert weigh(path).parameters == before.parameters


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_is_what_was_computed(kind: str) -> None:
    model, other = tiny(kind), tiny(kind)
    positions_known(other, model)
    assert torch.equal(logits(other), logits(model))


def test_what_positions_cost_is_counted() -> None:
    structure = structure_of(tiny("deberta-v2-apart"))
    assert structure.weights == 3 * (6 * 24 * 24 + 2 * 24 * 20), "keys and queries of positions have their own matrices"
    assert structure_of(tiny("deberta-v2")).weights == 3 * (4 * 24 * 24 + 2 * 24 * 20)
    assert structure_of(tiny("deberta-v2")).macs(10) == 3 * (
        4 * 10 * 24 * 24 + 10 * (2 * 10 + 16) * 24 + 2 * 10 * 24 * 20
    )
    assert not {"per_head", "met"} & {*structure_of(tiny("bert")).as_json()["dense"]}, "other configs stay the same"


def test_a_convolution_keeps_the_place_of_the_layer_before_it(tmp_path: Path) -> None:
    """Without the first layer the convolution still stands behind the embeddings, where one of nothing is left."""
    from edgeopt.models.masks import kept, masked, ones
    from edgeopt.models.slicing import cut

    model = tiny("deberta-v2-conv")
    masks = ones(model)
    assert masks.mha is not None and masks.ffn is not None
    masks.mha[0] = masks.ffn[0] = 0
    with masked(model, masks):
        expected = logits(model)
    cut(model, kept(model, masks))
    assert [x.heads for x in structure_of(model).layers] == [None, (0, 1, 2, 3), (0, 1, 2, 3)]
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-5)
    save_model(model, tmp_path)
    torch.testing.assert_close(logits(load_base(tmp_path)), expected, atol=1e-5, rtol=1e-5)


def test_what_is_recorded_of_queries_is_of_tokens() -> None:
    model = tiny("deberta-v2")
    with torch.no_grad(), recorded(model, "query") as queries:
        logits(model)
        first = queries[1].clone()
        logits(model)
    assert queries[1].shape == (*inputs()["input_ids"].shape, 24)
    assert np.array_equal(first, queries[1])
