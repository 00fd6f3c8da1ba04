"""Metrics of embeddings against scipy and by hand, and what rows of embedding may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from edgeopt.gates.chance import standing
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import Task, task_of

AT = Place("rows", 1)
RNG = np.random.default_rng(0)


def task(**keys: Any) -> Task:
    given = {"type": "embedding", "dataset": {"path": "."}, "text": ["a", "b"], "label": "score", **keys}
    return task_of(TaskSpec.model_validate({k: v for k, v in given.items() if v is not None}))


def vectors(rows: int = 60, texts: int = 2, width: int = 8) -> np.ndarray:
    return RNG.normal(size=(rows, texts, width))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_metrics_are_scipys_of_the_cosines() -> None:
    made, base = task(), vectors()
    candidate = base + 0.1 * vectors()
    cosines = np.array([cosine(*row) for row in candidate])
    labels = cosines + RNG.normal(size=60)
    compared = made.compared(candidate, base, ())
    assert made.measure("spearman", labels, compared) == pytest.approx(stats.spearmanr(labels, cosines)[0])
    assert made.measure("pearson", labels, compared) == pytest.approx(stats.pearsonr(labels, cosines)[0])
    near = np.mean([cosine(candidate[i, j], base[i, j]) for i in range(60) for j in range(2)])
    assert made.measure("agreement", labels, compared) == pytest.approx(near)
    assert made.measure("agreement", labels, made.compared(base, base, ())) == pytest.approx(1.0)


def test_bounds_hold_the_value_and_the_difference_is_paired() -> None:
    made, base = task(), vectors()
    labels = np.array([cosine(*row) for row in base])
    before, after = made.compared(base, base, ()), made.compared(base + 0.05 * vectors(), base, ())
    for metric in made.default_metrics:
        found = made.difference(metric, labels, before, after, 0.95)
        assert found.low <= found.value <= found.high
        expected = made.measure(metric, labels, after) - made.measure(metric, labels, before)
        assert found.value == pytest.approx(expected)
        assert made.bounds(metric, labels, after, 0.95).low < made.measure(metric, labels, after)


def test_one_embedding_for_all_texts_is_what_reads_nothing() -> None:
    made, base = task(), vectors() + 3.0
    labels = np.array([cosine(*row) for row in base])
    whole = made.compared(base, base, ())
    found = standing(made, "agreement", labels, whole)
    mean = base.reshape(-1, 8) / np.linalg.norm(base.reshape(-1, 8), axis=1, keepdims=True)
    assert found.level == pytest.approx(np.mean(mean @ mean.mean(0)) / np.linalg.norm(mean.mean(0)))
    assert not found.no_better and not standing(made, "spearman", labels, whole).no_better
    collapsed = np.broadcast_to(base[:1, :1], base.shape)
    assert standing(made, "agreement", labels, made.compared(collapsed, collapsed, ())).no_better


def test_a_row_with_an_embedding_that_is_no_number_is_found() -> None:
    made, base = task(), vectors()
    broken = base.copy()
    broken[3, 1, 0] = np.inf
    assert list(np.flatnonzero(~made.sound(np.zeros(60), made.compared(broken, base, ())))) == [3]


def test_an_embedding_of_another_width_agrees_with_nothing() -> None:
    made, base = task(), vectors()
    compared = made.compared(vectors(width=4), base, ())
    assert made.measure("agreement", np.zeros(60), compared) == 0.0
    assert any("another width" in note for note in made.notes(np.zeros(60), compared))
    assert made.sound(np.zeros(60), compared).all()


def test_labels_may_be_absent_and_then_agreement_is_what_is_measured() -> None:
    made = task(label=None, text="body")
    assert made.spec.metric_names == ("agreement",)
    assert made.read({"body": "a text"}, AT) == (("a text",), None, AT)
    assert made.labels([(("a text",), None, AT)]) == (0.0,)
    assert task(label=None).read({"a": "x", "b": "y"}, AT)[0] == ("x", "y")


def test_a_label_must_be_a_number() -> None:
    with pytest.raises(InputError, match="finite number"):
        task().label("high", AT)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"text": "a"}, "give 'text' two columns"),
        ({"label": None, "metrics": ["spearman"]}, "compares with labels"),
        ({"metrics": ["accuracy"]}, "which embedding does not have"),
        ({"labels": ["a", "b"]}, "names classes"),
        ({"long_text": "window"}, "belongs to a classification"),
        ({"type": "text-classification", "pooling": "cls"}, "'pooling' belongs to embedding"),
        ({"pooling": "median"}, "Input should be"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        task(**keys)


def test_other_tasks_keep_their_usual_label() -> None:
    spec = {"type": "text-classification", "dataset": {"path": "."}, "text": "a"}
    assert TaskSpec.model_validate(spec).label == "label"
    with pytest.raises(ValidationError, match="must name a column"):
        TaskSpec.model_validate({**spec, "label": None})


def test_what_is_asked_is_one_text(tmp_path: Path) -> None:
    made = task()
    assert made.read_query("a text", AT) == ("a text",)
    assert made.read_query({"a": "x", "b": "y"}, AT) == ("x",)
    second = made.over(made.spec.model_copy(update={"text": "b"}))
    assert second.read_query({"a": "x", "b": "y"}, AT) == ("y",)
    with pytest.raises(InputError):
        made.read_query(("x", "y"), AT)
