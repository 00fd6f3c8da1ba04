"""Patterns over the names of a graph's nodes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edgeopt.models.anatomy import anatomy
from edgeopt.support.errors import InputError
from edgeopt.transforms.quantize.scope import Patterns, matches, matching
from edgeopt.transforms.quantize.sensitivity import block_of, rank

BERT = anatomy("bert")
NAMES = [
    f"/model/bert/encoder/layer.{i}/{part}/MatMul"
    for i in (1, 10)
    for part in ("attention/self/query", "intermediate/dense", "output/dense")
]
NAMES += ["/model/bert/embeddings/word_embeddings/Gather", "/model/classifier/Gemm"]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("layer.1", 3),
        ("layer.*", 6),
        ("layer.*/output", 2),
        ("query", 2),
        ("*embeddings*", 1),
        ("output/*/MatMul", 2),
        ("layer.1*/intermediate/dense", 2),
        ("layer", 0),
        (NAMES[0], 1),
    ],
)
def test_a_pattern_matches_whole_parts(pattern: str, count: int) -> None:
    assert sum(matches(pattern, name) for name in NAMES) == count


def test_a_pattern_that_matches_nothing_names_what_is_near() -> None:
    with pytest.raises(InputError) as caught:
        matching(["layer.1", "classifer"], NAMES, "scope.include")
    (issue,) = caught.value.issues
    assert issue.code == "E106" and "'classifer' matches nothing" in issue.message
    assert issue.help is not None and "did you mean 'classifier'?" in issue.help and "word_embeddings" in issue.help


def test_patterns_need_one() -> None:
    with pytest.raises(ValidationError, match="give 'include' or 'exclude'"):
        Patterns()


def test_blocks() -> None:
    assert [block_of(n, BERT) for n in NAMES] == [
        *(f"/model/bert/encoder/layer.{i}/{kind}" for i in (1, 10) for kind in ("attention", "mlp", "mlp")),
        "embeddings",
        "head",
    ]


@pytest.mark.parametrize(
    ("family", "node", "block"),
    [
        ("modernbert", "/model/model/layers.3/attn/Wqkv/MatMul", "attention"),
        ("modernbert", "/model/model/layers.3/mlp/Wi/MatMul", "mlp"),
        ("modernbert", "/model/model/embeddings/tok_embeddings/Gather", None),
        ("modernbert", "/model/head/dense/MatMul", None),
        ("distilbert", "/model/distilbert/transformer/layer.3/attention/out_lin/MatMul", "attention"),
        ("distilbert", "/model/distilbert/transformer/layer.3/ffn/lin2/MatMul", "mlp"),
        ("encoder-decoder", "/model/decoder/bert/encoder/layer.1/crossattention/self/key/MatMul", "attention"),
    ],
)
def test_a_block_is_told_by_its_familys_names(family: str, node: str, block: str | None) -> None:
    assert anatomy(family).block_of(node) == block


def test_ranking_measures_no_more_than_it_must() -> None:
    """Costs that add up: the worst are those that a ranking of every node gives."""
    costs = dict(zip(NAMES, (1.0, 0.5, 3.0, 0.1, 2.0, 0.2, 0.3, 0.4), strict=True))
    asked: list[int] = []

    def alone(nodes: list[str]) -> float:
        asked.append(len(nodes))
        return sum(costs[n] for n in nodes)

    found = rank(NAMES, alone, BERT, worst=2)
    assert [s.name for s in found.nodes[:2]] == sorted(costs, key=lambda n: -costs[n])[:2]
    assert len(asked) == 6 + 4  # blocks, and the nodes of the two feed-forward parts
    assert [s.kl for s in found.blocks] == sorted((1.0, 3.5, 0.1, 2.2, 0.3, 0.4), reverse=True)
    above = [s.name for s in rank(NAMES, alone, BERT, above=0.45).nodes if s.kl > 0.45]
    assert set(above) == {n for n, cost in costs.items() if cost > 0.45}
