"""Tasks: rows to queries, outputs to metrics, each against transformers, scikit-learn or seqeval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import WORDS

from edgeopt.spec.recipe import TaskSpec
from edgeopt.spec.tasks import TASKS
from edgeopt.statistics.metric_bounds import counted_bounds, counted_difference, metric_difference
from edgeopt.support.errors import InputError, Place, StepError
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.classification import Classification
from edgeopt.tasks.encode import Encoder, Features
from edgeopt.tasks.probe import probe

HERE = Place("rows.jsonl", 3)
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def make(kind: str, names: tuple[str, ...] = (), **keys: Any) -> Task:
    defaults: dict[str, Any] = {"text": "text", **({"choices": "choices"} if kind == "multiple-choice" else {})}
    return task_of(TaskSpec.model_validate({"type": kind, "dataset": {"path": "x"}, **defaults, **keys}), names)


@pytest.mark.parametrize("stride", [2, 5])
@pytest.mark.parametrize("pair", [False, True])
def test_windows_are_those_of_transformers(tiny_model: Path, pair: bool, stride: int) -> None:
    from transformers import AutoTokenizer

    rng = np.random.default_rng(0)
    rows = [tuple(" ".join(rng.choice(WORDS, n)) for n in ((3, size) if pair else (size,))) for size in (1, 9, 14, 40)]
    features = Encoder(tiny_model, 16).windows(rows, stride)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    expected = tokenizer(
        [r[0] for r in rows],
        [r[1] for r in rows] if pair else None,
        truncation="only_second" if pair else True,
        max_length=16,
        stride=stride,
        return_overflowing_tokens=True,
    )
    assert [i["input_ids"] for i in features.ids] == expected["input_ids"]
    assert features.rows == expected["overflow_to_sample_mapping"]
    assert len(features.rows) > len(rows)


def test_a_first_text_that_fills_the_window_is_cut(tiny_model: Path) -> None:
    encoder = Encoder(tiny_model, 16)
    rows = [(" ".join(WORDS[:40]), " ".join(WORDS[:40]))]
    assert encoder.windows(rows, 4).ids == encoder.ids(rows)


def test_windows_of_a_row_are_averaged() -> None:
    task = make("text-classification", ("a", "b"), long_text="window")
    features = Features([{}] * 4, [0, 0, 0, 1])
    outputs = task.gather([np.array(x, np.float32) for x in ([1, 0], [2, 3], [3, 3], [5, 7])], features)
    np.testing.assert_allclose(outputs, [[2, 2], [5, 7]])
    assert task.targets(features, [0, 1]) == [0, 0, 0, 1]


def test_words_are_found_where_transformers_finds_them(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    task = make("token-classification", tuple(TAGS))
    rows = [tuple(WORDS[:3]), tuple(WORDS[:30])]
    encoder = Encoder(tiny_model, 16)
    features = task.encode(encoder, rows)
    labels = [tuple(i % 5 for i in range(len(r))) for r in rows]
    expected = AutoTokenizer.from_pretrained(tiny_model)(
        [list(r) for r in rows], is_split_into_words=True, truncation=True, max_length=16
    )
    assert [i["input_ids"] for i in features.ids] == expected["input_ids"]
    for row, target in enumerate(task.targets(features, labels)):
        assert target == [-100 if w is None else labels[row][w] for w in expected.word_ids(row)]
    assert features.words is not None and features.words[1][14:] == [-1] * 16


def tagged(rng: np.random.Generator, rows: int) -> tuple[Any, Any]:
    task = make("token-classification", tuple(TAGS))
    lengths = rng.integers(1, 9, rows)
    labels = [tuple(rng.integers(0, 5, n).tolist()) for n in lengths]
    # right in about half of the words
    outputs = [np.eye(5)[[t if rng.random() < 0.5 else rng.integers(5) for t in tags]] for tags in labels]
    return task.stack_labels(labels), task.stack(outputs)


def test_entities_are_counted_as_seqeval_counts_them() -> None:
    from seqeval import metrics as seqeval

    task = make("token-classification", tuple(TAGS), metrics=["f1", "precision", "recall", "accuracy"])
    labels, outputs = tagged(np.random.default_rng(1), 200)
    predicted = task.predict(outputs)
    true, guessed = ([[TAGS[t] for t in row if t != -100] for row in rows] for rows in (labels, predicted))
    expected = {
        "f1": seqeval.f1_score,
        "precision": seqeval.precision_score,
        "recall": seqeval.recall_score,
        "accuracy": seqeval.accuracy_score,
    }
    assert task.metrics(labels, outputs) == pytest.approx(
        {name: function(true, guessed) for name, function in expected.items()}
    )


def test_a_word_that_was_cut_counts_as_without_a_tag() -> None:
    task = make("token-classification", tuple(TAGS))
    outputs = task.gather([np.eye(5)[[0, 1, 2, 0]]], Features([{}], [0], [[1, 2, -1]]))
    assert task.predict(outputs).tolist() == [[1, 2, 0]]


def test_outputs_come_back_from_plain_data() -> None:
    task = make("token-classification", tuple(TAGS))
    labels, outputs = tagged(np.random.default_rng(2), 20)
    np.testing.assert_array_equal(
        task.stack([task.plain_output(o, x) for o, x in zip(outputs, labels, strict=True)]), outputs
    )
    np.testing.assert_array_equal(task.stack_labels([task.plain_label(x) for x in labels]), labels)


def test_bounds_of_counts_are_those_of_the_rows() -> None:
    """A metric of one count a row is a mean, to compare with the bootstrap of classes and Tango's interval."""
    rng = np.random.default_rng(3)
    truth, base, candidate = (rng.integers(0, 2, 600) for _ in range(3))
    right = [np.stack([p == truth, np.ones(600)], axis=1) for p in (base, candidate)]
    found = counted_difference(right[0], right[1], lambda c: c[:, 0] / c[:, 1], 0.95)
    assert found == pytest.approx(metric_difference("accuracy", truth, base, candidate, 2, 0.95), abs=0.004)
    alone = counted_bounds(right[0], lambda c: c[:, 0] / c[:, 1], 0.95)
    assert alone.value == pytest.approx(np.mean(base == truth)) and alone.low < alone.value < alone.high
    assert counted_difference(right[0], right[0], lambda c: c[:, 0] / c[:, 1], 0.95) == pytest.approx(
        metric_difference("accuracy", truth, base, base, 2, 0.95)
    )


@pytest.mark.parametrize(
    ("choices", "label", "number"),
    [
        ({"label": ["1", "2", "3"], "text": ["x", "y", "z"]}, "2", 1),  # a mark comes before a number
        (["x", "y", "z"], 2, 2),
        (["x", "y", "z"], "B", 1),
        (["x", "y", "z"], "z", 2),
    ],
)
def test_the_right_choice_is_named_in_several_ways(choices: Any, label: Any, number: int) -> None:
    texts, answer, _ = make("multiple-choice").read({"text": "q", "choices": choices, "label": label}, HERE)
    assert (texts, answer) == (("q", "x", "y", "z"), number)


def test_choices_may_stand_in_columns() -> None:
    task = make("multiple-choice", choices=["ending0", "ending1"])
    assert task.read({"text": "q", "ending0": "x", "ending1": "y", "label": 1}, HERE)[:2] == (("q", "x", "y"), 1)


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("multiple-choice", {"choices": ["x", "y"], "label": "C"}, "not one of the 2 choices"),
        ("multiple-choice", {"choices": "x", "label": "A"}, "not a list"),
        ("multiple-choice", {"choices": ["x"], "label": "A"}, "must have 2 at least"),
        ("multiple-choice", {"choices": ["x", ""], "label": "A"}, "empty"),
        ("multiple-choice", {"label": "A"}, "no column 'choices'"),
        ("token-classification", {"text": ["a", "b"], "label": [0]}, "1 tags, and 'text' 2 words"),
        ("token-classification", {"text": "a b", "label": [0, 0]}, "not a list"),
        ("token-classification", {"text": ["a"], "label": "O"}, "no list"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_at_its_place(kind: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make(kind).read({"text": "q", **row}, HERE)
    assert error.value.issues[0].place == HERE


def test_tags_that_are_numbers_need_names() -> None:
    rows = [(("a",), (0,), HERE), (("b",), (1,), HERE)]
    with pytest.raises(InputError, match="entities cannot be told"):
        make("token-classification").classes(rows, None)
    assert make("token-classification").classes(rows, TAGS) == TAGS


class Fivefold(Classification):
    def measure(self, metric: str, labels: Any, outputs: Any) -> float:
        return 5 * super().measure(metric, labels, outputs)


class Nothing(Classification):
    def measure(self, metric: str, labels: Any, outputs: Any) -> float:
        return float("nan")


@pytest.mark.parametrize(("kind", "said"), [(Fivefold, "is 2.5, and"), (Nothing, "is nan, and")])
def test_a_metric_that_is_none_is_named_before_anything_is_built(kind: type[Classification], said: str) -> None:
    labels = np.array([0, 1, 1, 0])
    with TASKS.holding("mine", kind):
        task = make("mine", ("0", "1"), metrics=["accuracy"])
        for asked in (lambda: task.metrics(labels, np.eye(2)[[0, 0, 0, 0]]), lambda: probe(task, labels)):
            with pytest.raises(StepError, match=f"E403.*the metric accuracy of the task mine {said} must be between 0"):
                asked()
        broken = np.full((4, 2), np.nan)
        if kind is Nothing:
            assert np.isnan(task.metrics(labels, broken)["accuracy"])


def test_a_probe_leaves_alone_what_it_cannot_know() -> None:
    class Odd(Classification):
        def trivial(self, labels: Any, outputs: Any) -> Any:
            raise IndexError

    with TASKS.holding("mine", Odd):
        probe(make("mine", ("0", "1")), np.array([0, 1]))
