"""Validation rows that `task.dataset.split` draws from train: which they are, and that they are always the same."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgeopt.data import TaskData, load_data, load_reported
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError

Row = dict[str, Any]
ROWS: list[Row] = [{"text": f"row {i}", "label": ("no", "yes", "yes")[i % 3], "genre": "xy"[i % 2]} for i in range(300)]


def task(dataset: dict[str, Any], **more: Any) -> TaskSpec:
    spec = {"type": "text-classification", "dataset": dataset, "text": "text", "label": "label", **more}
    return TaskSpec.model_validate(spec)


def write(path: Path, rows: list[Row]) -> dict[str, Any]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"data_files": {"train": path.name}}


def load(folder: Path, rows: list[Row], share: float = 0.1, seed: int = 0, **more: Any) -> TaskData:
    split = {"split": {"validation": share, "seed": seed}}
    return load_data(task({**write(folder / "a.jsonl", rows), **split}, **more), folder)


def texts(found: TaskData) -> set[str]:
    return {text for (text,) in found.report.texts}


def test_the_share_of_each_class_is_drawn_and_is_not_in_train(tmp_path: Path) -> None:
    found = load(tmp_path, ROWS)
    assert Counter(found.report.labels) == {0: 10, 1: 20}
    assert found.report.name == "validation"
    assert sorted((*found.train.texts, *found.report.texts)) == sorted((row["text"],) for row in ROWS)
    said = "30 of the 300 rows of train are the validation rows: task.dataset.split drew them with seed 0"
    assert found.remarks()[0].startswith(said)
    assert said in found.summary()


def test_the_same_rows_are_drawn_in_any_order_and_format_and_others_by_another_seed(tmp_path: Path) -> None:
    first = load(tmp_path, ROWS)
    assert texts(load(tmp_path, random.Random(1).sample(ROWS, len(ROWS)))) == texts(first)
    with (tmp_path / "a.csv").open("w") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    split = {"data_files": {"train": "a.csv"}, "split": {"validation": 0.1}}
    assert load_data(task(split), tmp_path).report.fingerprint == first.report.fingerprint
    assert texts(load(tmp_path, ROWS, seed=1)) != texts(first)
    assert sorted(texts(first))[:3] == ["row 132", "row 141", "row 142"], "on every machine"


def test_copies_of_a_text_stay_together(tmp_path: Path) -> None:
    ways = ("{}", "{}!", "  {}", "R{}")
    rows = [{"text": way.format(f"ow {i}"), "label": i % 2} for i in range(100) for way in ways]
    found = load(tmp_path, rows, 0.25)
    assert (found.leaked, len(found.report), len(found.train)) == (0, 100, 300)


def test_many_small_classes_give_their_share_together_and_none_is_lost(tmp_path: Path) -> None:
    found = load(tmp_path, [{"text": f"{i}x{k}", "label": f"class {i}"} for i in range(3000) for k in range(1 + i % 4)])
    assert len(found.label_names) == len(set(found.train.labels)) == 3000
    assert len(found.report) == pytest.approx(750, abs=2)


def test_a_row_of_a_class_of_its_own_stays_in_train(tmp_path: Path) -> None:
    found = load(tmp_path, [*ROWS, {"text": "once", "label": "rare"}], 0.9)
    assert found.label_names == ("no", "rare", "yes")
    assert set(found.report.labels) == {0, 2}


def test_whole_documents_are_drawn(tmp_path: Path) -> None:
    def document(n: int) -> Row:
        sentence = {"words": ["Ann", f"saw{n}", "her", "dog"], "coref_spans": [[0, 0, 0], [0, 2, 2], [1, 2, 3]]}
        return {"sentences": [sentence, {"words": [f"It{n}", "ran"], "coref_spans": [[1, 0, 0]]}]}

    spec = task(
        {**write(tmp_path / "a.jsonl", [document(n) for n in range(20)]), "split": {"validation": 0.2}},
        type="coreference",
        text="sentences",
    )
    found = load_data(spec, tmp_path)
    sizes = Counter(Counter(found.report.documents).values())
    assert sizes == {len(found.report) // 4: 4}
    assert len(found.train) == 4 * len(found.report)
    assert found.leaked == 0


def test_scores_are_drawn_as_one_class(tmp_path: Path) -> None:
    found = load(tmp_path, [{"text": f"t{i}", "label": i / 7} for i in range(50)], type="text-regression")
    assert (len(found.report), len(found.train)) == (5, 45)


def test_a_finished_model_is_measured_on_the_rows_that_were_drawn(tmp_path: Path) -> None:
    found = load(tmp_path, ROWS, slices=["genre"], leaks="refuse")
    spec = task({"data_files": {"train": "a.jsonl"}, "split": {"validation": 0.1}}, slices=["genre"], leaks="refuse")
    for names in (("no", "yes"), ("yes", "no")):
        rows, _ = load_reported(spec, tmp_path, names)
        assert rows.texts == found.report.texts
        assert rows.slices == found.report.slices == {"genre": tuple("xy"[int(t[4:]) % 2] for (t,) in rows.texts)}
        assert (rows.fingerprint == found.report.fingerprint) == (names == ("no", "yes"))


def test_a_folder_of_train_alone_and_the_same_training_before_a_test(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train.jsonl", ROWS)
    dataset = {"path": "data", "split": {"validation": 0.1}}
    found = load_data(task(dataset), tmp_path)
    write(tmp_path / "data" / "test.jsonl", [{"text": "new", "label": "no"}])
    tested = load_data(task(dataset, report="test"), tmp_path)
    assert (found.report.name, len(found.report), tested.report.name, len(tested.report)) == (
        "validation",
        30,
        "test",
        1,
    )
    assert tested.train.fingerprint == found.train.fingerprint
    limited = load_data(task({**dataset, "max_rows": {"train": 50, "validation": 20}}), tmp_path)
    assert (len(limited.train), len(limited.report)) == (50, 20)
    assert {*limited.report.texts} <= {*found.report.texts}


def refused(spec: Any, folder: Path) -> str:
    with pytest.raises((InputError, ValueError)) as caught:
        load_data(task(**spec), folder)
    return str(caught.value)


def test_what_a_split_does_not_go_with(tmp_path: Path) -> None:
    split = {"split": {"validation": 0.1}}
    (tmp_path / "data").mkdir()
    for name in ("train", "validation"):
        write(tmp_path / "data" / f"{name}.jsonl", ROWS)
    files = {"train": "data/train.jsonl", "validation": "data/validation.jsonl"}
    assert "'data_files' already has a validation file" in refused(
        {"dataset": {"data_files": files, **split}}, tmp_path
    )
    assert "the dataset already has a validation split" in refused({"dataset": {"path": "data", **split}}, tmp_path)
    more = {"dataset": {"path": "data"}, "train_with": [{"dataset": {"path": "data", **split}}]}
    assert "all train rows of this one are used" in refused(more, tmp_path)
    for share in (0, 1, 500):
        assert "split.validation" in refused({"dataset": {"path": "data", "split": {"validation": share}}}, tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:4],
        [{"text": "the same", "label": i % 2} for i in range(40)],
        [{"text": str(i), "label": i} for i in range(9)],
    ],
)
def test_rows_of_which_none_can_be_drawn(tmp_path: Path, rows: list[Row]) -> None:
    with pytest.raises(InputError, match="split draws no row") as caught:
        load(tmp_path, rows)
    assert caught.value.issues[0].code == "E305"
