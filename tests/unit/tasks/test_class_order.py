"""A trained head's outputs keep their order: the names in its config decide, not the alphabet."""

from __future__ import annotations

import pytest

from edgeopt.data.task_data import Extra, TaskData
from edgeopt.models.output_names import as_in_rows, named_outputs
from edgeopt.support.errors import InputError
from edgeopt.tasks.class_order import in_heads_order
from edgeopt.tasks.split import Split


@pytest.mark.parametrize(
    ("classes", "head", "order"),
    [
        (["happy", "sad"], ["sad", "happy"], ["sad", "happy"]),
        (["happy", "sad"], ["SAD", "Happy"], ["sad", "happy"]),  # spelled as the rows have them
        (["0", "1"], ["sad", "happy"], ["sad", "happy"]),  # numbers are outputs' numbers
        (["0", "1"], ["0", "1"], ["0", "1"]),
        (["1", "2", "3"], ["1", "2", "3"], ["1", "2", "3"]),
        (["1", "2"], ["0", "1"], ["1", "2"]),  # stars from 1 on: numbers in their order
        (["happy", "sad"], [], ["happy", "sad"]),  # no trained head
        (["0", "1"], ["a", "b", "c"], ["0", "1"]),  # another count, which is refused as such (E316)
    ],
)
def test_order(classes: list[str], head: list[str], order: list[str]) -> None:
    assert in_heads_order(classes, head) == tuple(order)


@pytest.mark.parametrize(
    ("classes", "head", "words"),
    [
        (["happy", "sad"], ["neg", "pos"], ["different classes", "the head's:  neg, pos", "the rows: happy, sad"]),
        (["happy", "sad"], ["sad", "happy", "neutral"], ["different classes", "neutral"]),
        (["happy", "sad"], ["0", "1"], ["does not name its classes", "task.labels in the order of the head's outputs"]),
        (["1", "2"], ["sad", "happy"], ["different classes"]),
        (["Sad", "sad"], ["sad", "happy"], ["different classes"]),
        (["0", "1"], ["x", "X"], ["two outputs of the model's trained head have one name"]),
    ],
)
def test_refused(classes: list[str], head: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        in_heads_order(classes, head)
    assert error.value.issues[0].code == "E318"
    assert not [w for w in words if w not in str(error.value)], str(error.value)


def test_stated_by_the_user() -> None:
    assert in_heads_order(["sad", "happy"], ["sad", "happy"], stated=True) == ("sad", "happy")
    # other names for its outputs
    assert in_heads_order(["neg", "pos"], ["sad", "happy"], stated=True) == (
        "neg",
        "pos",
    )
    assert in_heads_order(["happy", "sad"], ["0", "1"], stated=True) == ("happy", "sad")
    for labels in (["happy", "sad"], ["happy", "other"]):
        with pytest.raises(InputError, match=r"E318(.|\n)*different orders(.|\n)*task.labels: happy"):
            in_heads_order(labels, ["sad", "happy"], stated=True)


def test_rows_of_one_class_keep_its_number() -> None:
    assert in_heads_order(["1"], ["0", "1"], whole=False) == ("0", "1")
    assert in_heads_order(["happy"], ["sad", "happy"], whole=False) == ("sad", "happy")
    with pytest.raises(InputError, match="E318"):
        in_heads_order(["glad"], ["sad", "happy"], whole=False)


def test_names_of_a_config() -> None:
    assert as_in_rows(named_outputs({"id2label": {"1": "LABEL_1", "0": "LABEL_0"}})) == ("0", "1")
    assert as_in_rows(named_outputs({"id2label": {str(i): f"c{i}" for i in range(11)}}))[-1] == "c10"
    assert (
        named_outputs({"id2label": {"0": "a", "2": "b"}}) == named_outputs({"id2label": [1]}) == named_outputs({}) == []
    )


def test_labels_follow_their_classes() -> None:
    rows = Split("train", (("a",), ("b",), ("c",)), (0, 1, 1))
    data = TaskData(rows, rows, ("happy", "sad"), "x", (Extra("y", rows, 0),)).with_classes(("sad", "happy"))
    assert data.train.labels == data.report.labels == data.extra[0].rows.labels == (1, 0, 0)
    tags = Split("train", (("a", "b"),), ((0, 1),))
    assert TaskData(tags, tags, ("O", "B"), "x").with_classes(("B", "O")).train.labels == ((1, 0),)
    numbered = TaskData(rows, rows, ("0", "1"), "x").with_classes(("sad", "happy"))
    assert (numbered.train.labels, numbered.label_names) == ((0, 1, 1), ("sad", "happy"))


def test_the_report_split_of_a_finished_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    from helpers import tiny_task

    from edgeopt.data import load_reported
    from edgeopt.spec.recipe import TaskSpec

    folder = tmp_path_factory.mktemp("one")
    (folder / "validation.jsonl").write_text('{"text": "a", "label": 1}\n{"text": "b", "label": 1}\n')
    spec = TaskSpec.model_validate(tiny_task(folder))
    for names in (("0", "1"), ("sad", "happy")):
        split, task = load_reported(spec, folder, names)
        assert (split.labels, task.names) == ((1, 1), names)
    (folder / "validation.jsonl").write_text('{"text": "a", "label": "happy"}\n')
    assert load_reported(spec, folder, ("sad", "happy"))[0].labels == (1,)
    with pytest.raises(InputError, match="E318"):
        load_reported(spec, folder, ("0", "1"))
