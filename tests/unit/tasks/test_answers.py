"""What a task's outputs say, and how a program gives it texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import tiny_task

from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import Task, task_of

AT = Place("texts[0]")


def task(kind: str, names: tuple[str, ...] = (), **more: Any) -> Task:
    return task_of(TaskSpec.model_validate(tiny_task("data", type=kind, **more)), names)


def test_classes_go_by_their_names_with_their_probability() -> None:
    assert task("text-classification", ("no", "yes")).answers(np.array([[0.0, 0.0], [0.0, np.log(3)]])) == [
        ("no", 0.5),
        ("yes", pytest.approx(0.75)),
    ]
    assert task("multiple-choice", ("A", "B"), choices="choices").answers(np.array([[0.0, 9.0]]))[0][0] == "B"


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
