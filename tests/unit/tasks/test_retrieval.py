"""Retrieval against trec_eval's and BEIR's definitions written out, and the forms that queries and passages come in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edgeopt.data import load_data, load_reported
from edgeopt.gates.chance import standing
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError
from edgeopt.tasks import Task, ranking, task_of
from edgeopt.tasks.split import Split

RNG = np.random.default_rng(0)


def spec(**keys: Any) -> TaskSpec:
    given = {"type": "embedding", "dataset": {"path": "."}, "text": ["query", "passage"], "corpus": "rows"}
    return TaskSpec.model_validate({k: v for k, v in {**given, **keys}.items() if v is not None})


def reference(scores: np.ndarray, relevant: dict[int, float]) -> list[float]:
    """ndcg_cut_10, recip_rank of the first ten, recall_10 and map of one query, as trec_eval computes them."""
    ranking = sorted(range(len(scores)), key=lambda passage: -scores[passage])
    gains = [relevant.get(passage, 0.0) for passage in ranking[:10]]
    ideal = sorted(relevant.values(), reverse=True)[:10]
    ndcg, best = (sum(gain / math.log2(i + 2) for i, gain in enumerate(each)) for each in (gains, ideal))
    first = next((1 / (i + 1) for i, gain in enumerate(gains) if gain > 0), 0.0)
    recall = sum(gain > 0 for gain in gains) / len(relevant)
    hits, precisions = 0, 0.0
    for place, passage in enumerate(ranking, 1):
        if passage in relevant:
            hits += 1
            precisions += hits / place
    return [ndcg / best, first, recall, precisions / len(relevant)]


@pytest.mark.parametrize("blocks", [(128, 4096), (3, 7)])
def test_metrics_are_those_of_trec_eval(blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_QUERIES", blocks[0])
    monkeypatch.setattr(ranking, "_PASSAGES", blocks[1])
    queries, passages = RNG.normal(size=(20, 8)), RNG.normal(size=(60, 8))
    many = RNG.integers(1, 15, 20)
    labels = [
        tuple((int(p), float(RNG.integers(1, 4))) for p in RNG.choice(60, size=count, replace=False)) for count in many
    ]
    outputs = np.concatenate([queries, passages])[:, None]
    made = task_of(spec())
    compared = made.compared(outputs, outputs, labels)
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, passages)]
    wanted = [reference(row, dict(label)) for row, label in zip(units[0] @ units[1].T, labels, strict=True)]
    assert np.allclose(compared[:, :4], wanted)
    shown = made.metrics(made.stack_labels(labels), compared)
    assert shown["ndcg@10"] == pytest.approx(np.mean([row[0] for row in wanted]))
    assert shown["agreement"] == pytest.approx(1.0)


def test_ties_say_nothing_and_are_broken_alike() -> None:
    """A model with one embedding for all texts is no better than what reads nothing, wherever the relevant ones are."""
    made, labels = task_of(spec()), [((i, 1.0),) for i in range(50)]
    alike = np.ones((50 + 400, 1, 8)) * RNG.normal(size=8)
    sound = RNG.normal(size=(400, 8))
    good = np.concatenate([sound[:50] + 0.1, sound])[:, None]
    compared = made.compared(alike, good, labels)
    assert np.array_equal(compared[:, :4], made.compared(good, good, labels)[:, 4:8])
    whole = made.stack_labels(labels)
    assert standing(made, "ndcg@10", whole, compared).no_better
    assert made.measure("recall@10", whole, compared) < 0.1
    assert standing(made, "ndcg@10", whole, made.compared(good, good, labels)).over.low > 0.5


def test_bounds_are_paired_and_over_queries() -> None:
    made, labels = task_of(spec(dimensions=[8, 2])), [((i, 1.0),) for i in range(40)]
    passages = RNG.normal(size=(80, 8))
    base, worse = (np.concatenate([passages[:40] + s * RNG.normal(size=(40, 8)), passages])[:, None] for s in (0.3, 2))
    whole = made.stack_labels(labels)
    before, after = (made.compared(x, base, labels) for x in (base, worse))
    for metric in made.spec.metric_names:
        found = made.difference(metric, whole, before, after, 0.95)
        assert found.low <= found.value <= found.high < 0
        assert found.value == pytest.approx(
            made.measure(metric, whole, after) - made.measure(metric, whole, before), abs=1e-9
        )
    assert 0 < made.extra_metrics(whole, before)["ndcg@10/2"] < made.measure("ndcg@10", whole, before)
    for row in made.plain_output(before[0], whole[0]), made.plain_output(after[0], whole[0]):
        assert len(row) == 4 * 3 + 2  # type: ignore[arg-type]


def test_a_passage_without_an_embedding_leaves_no_query_a_ranking() -> None:
    made, labels = task_of(spec()), [((0, 1.0),), ((1, 1.0),)]
    outputs = RNG.normal(size=(5, 1, 8))
    outputs[4] = np.inf
    compared = made.compared(outputs, RNG.normal(size=(5, 1, 8)), labels)
    assert not made.sound(made.stack_labels(labels), compared).any()


def test_of_rows_equal_passages_are_one_and_so_are_equal_queries() -> None:
    rows = Split("validation", (("a", "x"), ("b", "y"), ("c", "x"), ("a", "z")), (0.0,) * 4)
    made = task_of(spec())
    found = made.searched(rows)
    assert found.texts == (("a",), ("b",), ("c",)) and found.passages == ("x", "y", "z")
    assert found.labels == (((0, 1.0), (2, 1.0)), ((1, 1.0),), ((0, 1.0),))
    assert found.fingerprint != rows.fingerprint and found.first(2).passages == found.passages
    negative = Split("validation", (("a", "x", "w"),), (0.0,))
    assert made.searched(negative).passages == ("x", "w") and made.searched(negative).labels == (((0, 1.0),),)


def written(folder: Path, passages: list[dict[str, Any]], rows: list[dict[str, Any]]) -> TaskSpec:
    for name, lines in (("passages", passages), ("train", rows), ("validation", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return spec(dataset={"path": str(folder)}, text="query", corpus={"data_files": str(folder / "passages.jsonl")})


PASSAGES = [{"id": i, "text": f"passage {i}"} for i in range(4)]


def test_a_corpus_apart_has_ids_and_grades(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"query": "one", "relevant": 1},
        {"query": "two", "relevant": ["2", 3]},
        {"query": "three", "relevant": {"0": 2, "1": 0}},
        {"query": "none", "relevant": []},
    ]
    made = written(tmp_path, PASSAGES, rows)
    data = load_data(made, tmp_path)
    assert data.report.labels == (((1, 1.0),), ((2, 1.0), (3, 1.0)), ((0, 2.0),))
    assert data.train.texts == tuple((q, f"passage {i}") for q, i in (("one", 1), ("two", 2), ("two", 3), ("three", 0)))
    assert data.leaked == 3
    assert "1 rows have no relevant passage and were left out." in data.remarks()
    reported, task = load_reported(made, tmp_path, ())
    assert reported.fingerprint == data.report.fingerprint and task.stack_labels(reported.labels).tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("passages", "row", "code", "why"),
    [
        (PASSAGES, {"query": "a", "relevant": 9}, "E304", "no passage with the id '9'"),
        ([*PASSAGES, {"id": "1", "text": "again"}], {"query": "a", "relevant": 1}, "E304", "stands twice"),
        (PASSAGES, {"query": "a", "relevant": []}, "E305", "no query of the validation split"),
        (PASSAGES, {"query": "a", "relevant": True}, "E304", "column 'relevant' is True"),
        (PASSAGES, {"query": "a", "relevant": {"1": "high"}}, "E304", "column 'relevant'"),
        (PASSAGES, {"query": "a"}, "E303", "there is no column 'relevant'"),
        ([{"id": 1}], {"query": "a", "relevant": 1}, "E303", "there is no column 'text'"),
        ([], {"query": "a", "relevant": 1}, "E305", "the corpus has no passages"),
    ],
)
def test_what_is_wrong_with_a_corpus_is_said(
    tmp_path: Path, passages: list[dict[str, Any]], row: dict[str, Any], code: str, why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        load_data(written(tmp_path, passages, [row]), tmp_path)
    assert caught.value.issues[0].code == code


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"corpus": None, "metrics": ["ndcg@10"]}, "need a corpus"),
        ({"label": "score"}, "leave one of them out"),
        ({"text": "query"}, "needs two columns"),
        ({"corpus": {"data_files": "p.jsonl"}}, "the column of the queries alone"),
        ({"metrics": ["spearman"]}, "compares with labels"),
        ({"slices": ["source"]}, "does not take 'slices'"),
        ({"type": "text-classification", "label": "label"}, "'corpus' belongs to embedding"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        spec(**keys)


def test_what_is_measured_by_default() -> None:
    made: Task = task_of(spec())
    assert made.spec.metric_names == ("ndcg@10", "mrr@10", "recall@10", "map", "agreement")
