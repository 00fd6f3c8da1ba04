"""Reranking: metrics over queries against trec_eval's definitions, groups, and losses on rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from edgeopt.data import load_data
from edgeopt.gates.chance import standing
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.losses import Pointwise

AT, RNG = Place("rows", 1), np.random.default_rng(0)


def task(**keys: Any) -> Task:
    given = {"type": "reranking", "dataset": {"path": "."}, "text": ["q", "p"], "label": "rel", **keys}
    return task_of(TaskSpec.model_validate(given))


def rows(queries: int = 40) -> np.ndarray:
    """Labels (relevance, query) of one relevant passage, sometimes two, among seven."""
    return np.array([(float(p == 0) + 2.0 * (p == 1 and q % 3 == 0), q) for q in range(queries) for p in range(7)])


def reference(labels: np.ndarray, scores: np.ndarray) -> list[float]:
    """The means of ndcg_cut_10, recip_rank and map over queries, as trec_eval computes them."""
    found = []
    for query in np.unique(labels[:, 1]):
        here = labels[:, 1] == query
        order = np.argsort(-scores[here])
        gains = labels[here, 0][order]
        ideal = sum(g / math.log2(i + 2) for i, g in enumerate(sorted(gains, reverse=True)))
        right = [place for place, gain in enumerate(gains, 1) if gain > 0]
        ndcg = sum(g / math.log2(i + 2) for i, g in enumerate(gains)) / ideal
        found.append([ndcg, 1 / right[0], sum((i + 1) / place for i, place in enumerate(right)) / len(right)])
    return np.mean(found, axis=0).tolist()


def test_metrics_are_those_of_trec_eval_in_any_order_of_the_rows() -> None:
    made, labels = task(), rows()
    scores = RNG.normal(size=(len(labels), 1)) + labels[:, :1]
    shown = made.metrics(labels, scores)
    assert list(shown.values()) == pytest.approx(reference(labels, scores[:, 0]))
    order = RNG.permutation(len(labels))
    assert made.metrics(labels[order], scores[order]) == pytest.approx(shown)


def test_bounds_are_over_queries_and_one_score_for_all_is_chance() -> None:
    made, labels = task(), rows()
    good, worse = (labels[:, :1] + spread * RNG.normal(size=(len(labels), 1)) for spread in (0.2, 3.0))
    for metric in made.known_metrics:
        found = made.difference(metric, labels, good, worse, 0.95)
        assert found.low <= found.value <= found.high < 0
        assert made.bounds(metric, labels, good, 0.95).low < made.measure(metric, labels, good)
        assert standing(made, metric, labels, good).over.low > 0
    # relevant passages stand first in the rows, and a model that reads nothing gains nothing by that
    assert made.measure("mrr@10", labels, np.zeros((len(labels), 1))) < 0.6
    assert made.undefined("map", labels, np.zeros((len(labels), 1)))


def test_queries_without_a_relevant_passage_are_left_out_and_said() -> None:
    made, labels = task(), rows(10)
    more = np.concatenate([labels, [[0.0, 99], [0.0, 99]]])
    scores = RNG.normal(size=(len(more), 1)) + more[:, :1]
    assert made.metrics(more, scores) == pytest.approx(reference(labels, scores[:-2, 0]) and made.metrics(more, scores))
    assert made.metrics(more, scores)["map"] == pytest.approx(reference(labels, scores[:-2, 0])[2])
    assert "1 queries without a relevant passage are left out." in made.notes(more, scores)[0]
    assert made.units(more) == (10, "queries")
    assert made.unmeasurable("map", more[-2:]) and not made.unmeasurable("map", more)


def test_groups_are_never_split(tmp_path: Path) -> None:
    lines = [{"q": f"query {i // 3}", "p": f"passage {i}", "rel": int(i % 3 == 0), "id": i // 6} for i in range(60)]
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    by_query, by_id = (
        load_data(task(dataset={"path": str(tmp_path)}, **more).spec, tmp_path) for more in ({}, {"group": "id"})
    )
    assert len(set(by_query.train.documents)) == 20 and len(set(by_id.train.documents)) == 10
    rest, chosen = by_id.carve(0.2)
    assert not {*rest.documents} & {*chosen.documents} and len(chosen) == 12
    assert len(by_id.report.first(13)) == 12
    with pytest.raises(InputError) as caught:
        load_data(
            task(dataset={"path": str(tmp_path)}, group="no").spec,
            tmp_path,
            lambda at: Place(".".join(map(str, at)), 1),
        )
    assert str(caught.value.issues[0].place).startswith("task.group")


def test_what_is_wrong_with_a_row_is_said() -> None:
    with pytest.raises(InputError, match="there is no column 'id'"):
        task(group="id").read({"q": "a", "p": "b", "rel": 1}, AT)
    with pytest.raises(InputError, match="the query in column 'id' is"):
        task(group="id").read({"q": "a", "p": "b", "rel": 1, "id": None}, AT)
    with pytest.raises(InputError, match="finite number"):
        task().labels([(("a", "b"), ("high", "a"), AT)])


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"text": "q"}, "names two columns"),
        ({"type": "text-regression", "group": "id"}, "'group' belongs to reranking"),
        ({"metrics": ["recall@10"]}, "which reranking does not have|need a corpus"),
        ({"slices": ["source"]}, "does not take 'slices'"),
        ({"long_text": "window"}, "belongs to a classification"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        task(**keys)


def test_losses_on_rows_are_torchs() -> None:
    scores, labels = torch.randn(6, 1), torch.tensor([0.0, 1.0, 0.0, 0.5, 1.0, 0.0])
    mse = torch.nn.functional.mse_loss(scores[:, 0], labels)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(scores[:, 0], labels)
    found = Pointwise(0.5, 2.0)({"logits": scores}, labels)
    assert torch.allclose(found, 0.5 * mse + 2.0 * bce)
