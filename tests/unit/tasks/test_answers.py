"""What a task's outputs say, and how a program gives it texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import tiny_task

from edgeopt.spec.recipe import TaskSpec
from edgeopt.spec.tasks import TASKS
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.regression import Regression
from edgeopt.testing.tasks import _answers as check_answers
from edgeopt.testing.tasks import _counts as check_counts

AT = Place("texts[0]")


def task(kind: str, names: tuple[str, ...] = (), **more: Any) -> Task:
    return task_of(TaskSpec.model_validate(tiny_task("data", type=kind, **more)), names)


def test_classes_go_by_their_names_with_their_probability() -> None:
    assert task("text-classification", ("no", "yes")).answers(np.array([[0.0, 0.0], [0.0, np.log(3)]])) == [
        ("no", 0.5),
        ("yes", pytest.approx(0.75)),
    ]
    assert task("multiple-choice", ("A", "B"), choices="choices").answers(np.array([[0.0, 9.0]]))[0][0] == "B"


class Ordered(Regression):
    has_classes = True

    def predict(self, outputs: Any) -> Any:
        return (outputs > 0).sum(-1)


def test_a_plugin_answers_with_the_names_of_its_classes() -> None:
    with TASKS.holding("mine", Ordered):
        made = task("mine", ("poor", "fair", "good"))
    answers = Task.answers(made, np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]))
    assert answers == [("good", None), ("poor", None), ("fair", None)]


def test_check_task_finds_answers_and_counts_that_are_none() -> None:
    outputs, labels = np.eye(3)[[0, 1, 2, 1]], np.array([0, 1, 2, 2])
    made = task("text-classification", ("a", "b", "c"))
    check_answers(made, outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "predict", lambda outputs: outputs.argmax(-1) + 1)
        with pytest.raises(AssertionError, match="`predict` gives class 3, and there are classes 0 to 2"):
            check_answers(made, outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "answers", lambda outputs: [(3, None)] * 4)
        with pytest.raises(AssertionError, match="`answers` gives 3, and the classes are a, b, c"):
            check_answers(made, outputs)
    counted = task("token-classification", ("O", "B-X"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted, "counts", lambda metric, labels, outputs: np.zeros((3, 2)))
        with pytest.raises(
            AssertionError, match=r"`counts` of \w+ has shape \(3, 2\), and must have a row for each of 4"
        ):
            check_counts(counted, labels, outputs)


def test_scores_tags_and_texts_have_none() -> None:
    assert task("text-regression").answers(np.array([[0.25]])) == [(0.25, None)]
    tags = np.array([[[0.0, 1.0], [1.0, 0.0]], [[2.0, 1.0], [np.nan, np.nan]]])
    assert task("token-classification", ("O", "B-X")).answers(tags) == [(("B-X", "O"), None), (("O",), None)]
    assert task("summarization").answers(np.array(["short", None], dtype=object)) == [("short", None), (None, None)]


def test_a_row_is_a_text_a_tuple_or_a_mapping() -> None:
    one, two = task("text-classification"), task("text-classification", text=["a", "b"])
    assert one.read_query("x", AT) == one.read_query({"text": "x", "other": 3}, AT) == ("x",)
    assert two.read_query(("x", "y"), AT) == two.read_query({"b": "y", "a": "x"}, AT) == ("x", "y")
    assert task("token-classification").read_query(["x", "y"], AT) == ("x", "y")
    assert task("multiple-choice", choices="c").read_query(("q", ["x", "y"]), AT) == ("q", "x", "y")
    assert task("coreference").read_query(("[ x ]", "[ y ]"), AT) == ("[ x ]", "[ y ]")


@pytest.mark.parametrize(
    ("kind", "more", "given", "code"),
    [
        ("text-classification", {}, 3, "E304"),
        ("text-classification", {}, "", "E304"),
        ("text-classification", {}, ("x", "y"), "E304"),
        ("text-classification", {}, {"txt": "x"}, "E303"),
        ("text-classification", {"text": ["a", "b"]}, "xy", "E304"),
        ("text-classification", {"text": ["a", "b"]}, ("x", "y", "z"), "E304"),
        ("token-classification", {}, "x y", "E304"),
        ("coreference", {}, ("x", "y", "z"), "E304"),
    ],
)
def test_what_is_no_row_is_refused_at_its_place(kind: str, more: dict[str, Any], given: object, code: str) -> None:
    with pytest.raises(InputError) as error:
        task(kind, **more).read_query(given, AT)
    assert [(i.code, i.place) for i in error.value.issues] == [(code, AT)]
