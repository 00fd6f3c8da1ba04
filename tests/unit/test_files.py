"""Rows from files: what is read, and the line of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeopt.data import load_data
from edgeopt.data.files import read_rows
from edgeopt.data.sources import looks_local
from edgeopt.errors import InputError, Issue
from edgeopt.recipe.schema import TaskSpec

ROWS = [{"text": "a, b", "label": "1"}, {"text": 'say "c"', "label": "0"}]


def rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_rows(path))


def issue(path: Path) -> Issue:
    with pytest.raises(InputError) as caught:
        rows(path)
    (found,) = caught.value.issues
    return found


@pytest.mark.parametrize(("name", "content", "lines"), [
    ("a.jsonl", '{"text": "a, b", "label": "1"}\n\n{"text": "say \\"c\\"", "label": "0"}', [1, 3]),
    ("a.JSON", '{"text": "a, b", "label": "1"}\r\n{"text": "say \\"c\\"", "label": "0"}\r\n', [1, 2]),
    ("a.csv", 'text,label\n"a, b",1\n"say ""c""",0\n', [2, 3]),
    ("a.csv", '\ufefftext, label \r\n"a, b",1\r\n\r\n"say ""c""",0\r\n', [2, 4]),
    ("a.tsv", 'text\tlabel\na, b\t1\nsay "c"\t0\n', [2, 3]),
])  # fmt: skip
def test_formats(tmp_path: Path, name: str, content: str, lines: list[int]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert rows(tmp_path / name) == list(zip(lines, ROWS, strict=True))


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [(1, ROWS[0]), (2, ROWS[1])]


def test_a_cell_of_two_lines_counts_from_its_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one\ntwo",1\n"x,0\n')
    found = issue(tmp_path / "a.csv")
    assert (found.code, found.place and found.place.line) == ("E302", 4)


@pytest.mark.parametrize("name", ["absent.csv", ".", "loop.csv", "x" * 300 + ".csv"])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    assert issue(tmp_path / name).code == "E301"


@pytest.mark.parametrize(("name", "looks"), [
    ("glue", False), ("nyu-mll/glue", False), ("google/electra-small-discriminator", False),
    ("./data", True), ("../data", True), ("/data", True), ("~/data", True), ("a/b/c", True), ("a\\b", True), ("my data", True), ("a/", True), ("", True),
])  # fmt: skip
def test_looks_local(name: str, looks: bool) -> None:
    assert looks_local(name) is looks


def task(files: dict[str, Any], **changes: Any) -> TaskSpec:
    return TaskSpec.model_validate({"type": "text-classification", "dataset": {"data_files": files}, "text": "text", **changes})


def write(folder: Path, name: str, labels: list[str]) -> str:
    (folder / name).write_text("text,label\n" + "".join(f"t{i},{label}\n" for i, label in enumerate(labels)))
    return name


@pytest.mark.parametrize(("train", "classes"), [
    (["10", "9", "10"], ("9", "10")),  # numbers in their order
    (["b", "a", "10"], ("10", "a", "b")),
    (["-1", "1"], ("-1", "1")),
    (["01", "1"], ("01", "1")),
    (["--1", "1"], ("--1", "1")),
    (["²", "1"], ("1", "²")),
    (["1" * 5000, "1"], ("1", "1" * 5000)),
])  # fmt: skip
def test_class_names(tmp_path: Path, train: list[str], classes: tuple[str, ...]) -> None:
    files = {"train": write(tmp_path, "train.csv", train), "validation": write(tmp_path, "validation.csv", train[:1])}
    assert load_data(task(files), tmp_path).label_names == classes


def test_numbers_may_stand_for_named_classes(tmp_path: Path) -> None:
    files = {"train": write(tmp_path, "train.csv", ["no", "yes"]), "validation": write(tmp_path, "validation.csv", ["1", "yes", "0"])}
    assert load_data(task(files), tmp_path).report.labels == (1, 1, 0)


def test_the_same_rows_in_another_format_are_the_same(tmp_path: Path) -> None:
    first = write(tmp_path, "train.csv", ["0", "1"])
    (tmp_path / "train.jsonl").write_text('{"label": 0, "text": "t0"}\n{"label": 1.0, "text": "t1", "more": null}\n')
    both = [load_data(task({"train": name, "test": first}), tmp_path) for name in (first, "train.jsonl")]
    assert both[0].train.fingerprint == both[1].train.fingerprint
    assert both[0].report.name == "test"


def test_several_files_make_a_split(tmp_path: Path) -> None:
    names = [write(tmp_path, f"{i}.csv", ["0", "1"]) for i in range(3)]
    loaded = load_data(task({"train": names, "test": names[0]}), tmp_path)
    assert (len(loaded.train), len(loaded.report)) == (6, 2)
