"""Multi-label classification: how labels are read, its loss, its metrics beside scikit-learn's, and their bounds."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from pydantic import ValidationError

from edgeopt.data.missing_labels import Labeled
from edgeopt.data.sources import load_reported
from edgeopt.spec.recipe import TaskSpec, Training
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import task_of
from edgeopt.tasks.base import Task
from edgeopt.tasks.class_order import in_heads_order, order_stated
from edgeopt.tasks.losses import BinaryCrossEntropy
from edgeopt.tasks.multi_label import logit
from edgeopt.training.weights import class_weights

PLACE = Place("rows.jsonl", 1)


def spec(**keys: Any) -> TaskSpec:
    return TaskSpec.model_validate(
        {"type": "multi-label-classification", "dataset": {"path": "data"}, "text": "text", **keys}
    )


def of(names: list[str], **keys: Any) -> Task:
    return task_of(spec(**keys), names)


def read(rows: list[Any], given: list[str] | None = None, **keys: Any) -> tuple[list[str], tuple[Any, ...]]:
    """The classes of rows with these labels, and the labels as numbers."""
    task = task_of(spec(**keys))
    cells = [{"text": "a text", **(row if isinstance(row, dict) else {"label": row})} for row in rows]
    raw = [task.read(row, PLACE) for row in cells]
    names = task.classes(raw, given)
    return names, task_of(spec(**keys), names, stated=bool(given)).labels(raw)


@pytest.mark.parametrize(
    ("rows", "given", "names", "labels"),
    [
        ([["b"], [], ["a", "b"]], None, ["a", "b"], ((1,), (), (0, 1))),
        ([["b"], ["a", "b"]], ["b", "a", "c"], ["b", "a", "c"], ((0,), (0, 1))),
        ([[1], [0, 2], []], None, ["0", "1", "2"], ((1,), (0, 2), ())),
        ([[1], [0, 2]], ["x", "y", "z"], ["x", "y", "z"], ((1,), (0, 2))),
        ([[1, 0, 0], [0, 1, 1]], None, ["0", "1", "2"], ((0,), (1, 2))),
        ([[1.0, 0.0], [1.0, 1.0]], ["x", "y"], ["x", "y"], ((0,), (0, 1))),
        ([[True, False], [False, False]], None, ["0", "1"], ((0,), ())),
    ],
)
def test_lists_of_classes_and_lists_of_0_and_1(
    rows: list[Any], given: list[str] | None, names: list[str], labels: tuple[Any, ...]
) -> None:
    assert read(rows, given) == (names, labels)


def test_a_column_for_each_class() -> None:
    rows = [{"toxic": "1", "threat": "0"}, {"toxic": 0, "threat": 0}, {"toxic": True, "threat": "true"}]
    assert read(rows, label=["toxic", "threat"]) == (["toxic", "threat"], ((0,), (), (0, 1)))
    with pytest.raises(InputError, match="column 'threat' has 2, and must have 0 or 1"):
        read([{"toxic": 1, "threat": 2}], label=["toxic", "threat"])
    with pytest.raises(InputError, match="there is no column 'threat'"):
        read([{"toxic": 1, "treat": 1}], label=["toxic", "threat"])


@pytest.mark.parametrize(
    ("rows", "given", "words"),
    [
        (["a", "b"], None, "the label is no list: 'a'"),
        ([["a", "a"], ["b"]], None, "has a class twice"),
        ([["a"], ["c"]], ["a", "b"], "is not one of a, b"),
        ([[1, 0, 1], [0, 1, 0]], ["a", "b"], "names for 2 classes"),
        ([[0, 1], [1]], None, "may be both classes, or a no and a yes"),
        ([[1, 0, 1], [0, 1]], ["a", "b", "c"], "has a class twice"),
        ([[1, 0], [0, 1]], ["a", "b", "c"], "there are names for 3 classes"),
        ([["a"], [["b"]]], None, "the label is a list"),
    ],
)
def test_labels_that_cannot_be_told(rows: list[Any], given: list[str] | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(rows, given)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"type": "text-classification", "label": ["a", "b"]}, "names 2 columns, and text-classification reads one"),
        ({"type": "text-classification", "threshold": 0.4}, "'threshold' belongs to multi-label-classification"),
        ({"label": ["a", "b"], "labels": ["a", "b"]}, "'labels' names classes, and the columns of 'label' do"),
        ({"label": ["a", "a"]}, "names a column twice"),
        ({"metrics": ["f1"]}, "does not have"),
        ({"threshold": 1.0}, "less than 1"),
    ],
)
def test_keys_that_do_not_fit(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(**keys)


def drawn(rows: int, classes: int, seed: int) -> tuple[Any, Any]:
    """Labels of 0 and 1, some rows of none, and outputs that know something of them, some of them equal."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, classes)) < rng.uniform(0.05, 0.5, classes)).astype(int)
    return labels, np.round(rng.normal(0, 2, labels.shape) + 2 * labels - 1, 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [None, 0.3])
def test_metrics_are_scikit_learns(seed: int, threshold: float | None) -> None:
    labels, outputs = drawn(60, 5, seed)
    task = of([*"abcde"], **({"threshold": threshold} if threshold else {}))
    told = (1 / (1 + np.exp(-outputs)) > (threshold or 0.5)).astype(int)
    assert np.array_equal(task.predict(outputs), told)
    for average in ("micro", "macro", "samples"):
        expected = sk.f1_score(labels, told, average=average, zero_division=0)
        assert task.measure(f"f1_{average}", labels, outputs) == pytest.approx(expected, abs=1e-12)
    assert task.measure("accuracy", labels, outputs) == pytest.approx(sk.accuracy_score(labels, told))
    assert task.measure("roc_auc", labels, outputs) == pytest.approx(sk.roc_auc_score(labels, outputs), abs=1e-12)


def test_a_class_without_rows_has_no_area_and_is_said() -> None:
    labels, outputs = drawn(60, 3, 0)
    labels[:, 1] = 0
    task = of([*"abc"])
    expected = np.mean([sk.roc_auc_score(labels[:, c], outputs[:, c]) for c in (0, 2)])
    assert task.measure("roc_auc", labels, outputs) == pytest.approx(expected, abs=1e-12)
    assert task.notes(labels, outputs) == [
        "no row of the report split has b: f1_macro counts 0 for each, and roc_auc leaves them out"
    ]
    assert task.unmeasurable("roc_auc", np.zeros((4, 3), int)) and task.unmeasurable("f1_micro", np.zeros((4, 3), int))


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "f1_samples", "accuracy", "roc_auc"])
def test_bounds(metric: str) -> None:
    """They hold the value, differences beside a bootstrap of scikit-learn's figures, and never rule out the unseen."""
    labels, before = drawn(150, 4, 1)
    after = before + np.random.default_rng(2).normal(0, 1.5, before.shape)
    task = of([*"abcd"])
    found = task.difference(metric, labels, before, after, 0.95)
    assert found.value == pytest.approx(task.measure(metric, labels, after) - task.measure(metric, labels, before))
    assert found.low < found.value < found.high
    rng, draws = np.random.default_rng(3), []
    for _ in range(400):
        some = rng.integers(0, 150, 150)
        draws.append(task.measure(metric, labels[some], after[some]) - task.measure(metric, labels[some], before[some]))
    low, high = np.quantile(draws, [0.05, 0.95])
    assert found.low <= low + 0.02 and found.high >= high - 0.02
    same = task.difference(metric, labels, before, before, 0.95)
    assert same.value == 0 and same.low <= -0.01 and same.high >= 0.01
    alone = task.bounds(metric, labels, before, 0.95)
    assert 0 <= alone.low < alone.value < alone.high <= 1


def test_a_rare_class_widens_the_mean_over_classes() -> None:
    labels, outputs = drawn(300, 4, 4)
    task = of([*"abcd"])
    usual = task.difference("f1_macro", labels, outputs, outputs, 0.95)
    labels[:, 0] = 0
    labels[:2, 0] = 1
    rare = task.difference("f1_macro", labels, outputs, outputs, 0.95)
    assert rare.low == pytest.approx(-0.25) and usual.low > -0.1  # both rows of one class of four may be lost


@pytest.mark.parametrize("seed", range(4))
def test_the_best_answer_that_reads_nothing_is_among_the_trivial_ones(seed: int) -> None:
    labels, outputs = drawn(40, 4, seed)
    task = of([*"abcd"], threshold=0.7)
    found = {name: task.measure("f1_micro", labels, x) for name, x in task.trivial(labels, outputs).items()}
    sets = [set(some) for k in range(5) for some in combinations(range(4), k)]
    constant = [np.tile([9.0 if c in some else -9.0 for c in range(4)], (40, 1)) for some in sets]
    assert max(found.values()) == pytest.approx(max(task.measure("f1_micro", labels, x) for x in constant))
    assert all(task.measure("roc_auc", labels, x) == 0.5 for x in task.trivial(labels, outputs).values())
    most = max(task.measure("accuracy", labels, x) for x in constant)
    assert max(task.measure("accuracy", labels, x) for x in task.trivial(labels, outputs).values()) == most


def test_answers_are_names_and_labels_come_back() -> None:
    task = of(["a", "b", "c"])
    outputs = np.array([[1.0, -1.0, 2.0], [-1.0, -2.0, -3.0]])
    assert task.answers(outputs) == [(("a", "c"), None), ((), None)]
    labels = task.stack_labels([(0, 2), ()])
    assert labels.tolist() == [[1, 0, 1], [0, 0, 0]] and [task.plain_label(x) for x in labels] == [[0, 2], []]
    assert task.flips(outputs, -outputs) == (6, 6)
    assert logit(0.5) == 0


def test_the_loss_is_torchs_over_parts_of_a_batch() -> None:
    labels, outputs = (torch.tensor(x) for x in drawn(12, 3, 0))
    outputs, weights = outputs.float(), [2.0, 0.5, 3.0]
    loss = BinaryCrossEntropy(weights, 0.0)
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(outputs, labels.float())
    total = loss.total([{"labels": labels[:5]}, {"labels": labels[5:]}])
    parts = [loss((outputs[some],), labels[some], total) for some in (slice(5), slice(5, None))]
    assert float(sum(parts)) == pytest.approx(float(expected), rel=1e-6)
    smooth = torch.nn.BCEWithLogitsLoss()(outputs, labels.float() * 0.9 + 0.05)
    assert float(BinaryCrossEntropy(None, 0.1)((outputs,), labels)) == pytest.approx(float(smooth), rel=1e-6)


def test_balanced_weights_are_the_nos_for_each_yes() -> None:
    params = Training.model_validate({"epochs": 1, "class_weights": "balanced"})
    task = of(["a", "b", "c"])
    labels = [(0,), (0, 1), (0,), ()]
    assert class_weights(params, task.class_numbers(labels), task.names, len(labels)) == [1 / 3, 3.0, 1.0]


@pytest.mark.parametrize(
    ("head", "order"),
    [
        (("0", "1"), ("toxic", "threat")),  # outputs without names: in the order of the columns
        (("threat", "toxic"), ("threat", "toxic")),  # names decide
    ],
)
def test_columns_are_in_the_order_of_a_trained_head(head: tuple[str, ...], order: tuple[str, ...]) -> None:
    given = spec(label=["toxic", "threat"])
    assert given.class_names == ["toxic", "threat"]
    assert in_heads_order(given.class_names, head, stated=order_stated(given, head)) == order
    with pytest.raises(InputError, match="E318"):
        in_heads_order(given.class_names, ("toxic", "insult"), stated=order_stated(given, ("toxic", "insult")))


def test_rows_marked_as_without_a_label_are_left_out() -> None:
    rows = [{"text": "a", "toxic": -1, "threat": -1}, {"text": "b", "toxic": 1, "threat": 0}]
    reader = Labeled(task_of(spec(label=["toxic", "threat"])))
    assert [reader(row, PLACE) for row in rows] == [(), [(("b",), ("toxic",), PLACE)]] and reader.left_out == 1


@pytest.mark.parametrize(
    ("names", "rows", "words"),
    [
        (["law", "sport"], [[1, 0], [1, 1]], "it is not known which of the classes law, sport each 0 or 1"),
        (["law", "sport", "music"], [[1, 0], [0, 1]], "has 2 values of 0 or 1, and there are 3 classes"),
        (["0", "1", "2"], [[1, 0], [0, 1]], "has 2 values of 0 or 1, and there are 3 classes"),
    ],
)
def test_lists_of_0_and_1_of_a_split_whose_order_nothing_says(names: list[str], rows: list[Any], words: str) -> None:
    """Train has names, or another width: such rows would be read as other classes, alike for both models."""
    task = task_of(spec(), names, stated=False)
    with pytest.raises(InputError, match=words):
        task.labels([(("a text",), row, PLACE) for row in rows])


def test_a_finished_model_reads_lists_of_0_and_1_by_the_names_in_the_recipe(tmp_path: Path) -> None:
    rows = [[1, 0, 0], [0, 1, 1]]
    (tmp_path / "validation.jsonl").write_text(
        "".join(json.dumps({"text": f"text {i}", "label": row}) + "\n" for i, row in enumerate(rows))
    )
    given = spec(dataset={"data_files": {"validation": "validation.jsonl"}}, labels=["law", "sport", "music"])
    reported, task = load_reported(given, tmp_path, ("sport", "law", "music"))
    assert task.names == ("sport", "law", "music") and reported.labels == ((1,), (0, 2))


def test_columns_for_some_of_a_finished_models_classes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl").write_text(json.dumps({"text": "a text", "law": 1, "sport": 0}) + "\n")
    given = spec(dataset={"data_files": {"validation": "validation.jsonl"}}, label=["law", "sport"])
    with pytest.raises(InputError, match="E318"):
        load_reported(given, tmp_path, ("sport", "law", "music"))
