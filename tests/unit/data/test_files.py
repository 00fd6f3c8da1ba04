"""Rows from files: what is read, and the line of what cannot be."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeopt.data import Split, load_data, load_reported, row_warnings
from edgeopt.data.files import read_rows
from edgeopt.data.leaks import shared
from edgeopt.data.missing_labels import Labeled
from edgeopt.data.raw import raw_rows
from edgeopt.spec.recipe import DatasetSpec, TaskSpec
from edgeopt.support.errors import InputError, Issue, Place, bad_input
from edgeopt.support.paths import looks_local
from edgeopt.tasks import task_of

ROWS = [{"text": "a, b", "label": "1"}, {"text": 'say "c"', "label": "0"}]


def rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_rows(path))


def issue(path: Path) -> Issue:
    with pytest.raises(InputError) as caught:
        rows(path)
    (found,) = caught.value.issues
    return found


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.jsonl", '{"text": "a, b", "label": "1"}\n\n{"text": "say \\"c\\"", "label": "0"}', [1, 3]),
        ("a.JSON", '{"text": "a, b", "label": "1"}\r\n{"text": "say \\"c\\"", "label": "0"}\r\n', [1, 2]),
        ("a.csv", 'text,label\n"a, b",1\n"say ""c""",0\n', [2, 3]),
        ("a.csv", '\ufefftext, label \r\n"a, b",1\r\n\r\n"say ""c""",0\r\n', [2, 4]),
        ("a.tsv", 'text\tlabel\na, b\t1\nsay "c"\t0\n', [2, 3]),
    ],
)
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


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("glue", False),
        ("nyu-mll/glue", False),
        ("google/electra-small-discriminator", False),
        ("./data", True),
        ("../data", True),
        ("/data", True),
        ("~/data", True),
        ("a/b/c", True),
        ("a\\b", True),
        ("my data", True),
        ("a/", True),
        ("", True),
    ],
)
def test_looks_local(name: str, looks: bool) -> None:
    assert looks_local(name) is looks


def task(files: dict[str, Any], **changes: Any) -> TaskSpec:
    return TaskSpec.model_validate(
        {"type": "text-classification", "dataset": {"data_files": files}, "text": "text", **changes}
    )


def write(folder: Path, name: str, labels: list[str]) -> str:
    (folder / name).write_text("text,label\n" + "".join(f"t{i},{label}\n" for i, label in enumerate(labels)))
    return name


@pytest.mark.parametrize(
    ("train", "classes"),
    [
        (["10", "9", "10"], ("9", "10")),  # numbers in their order
        (["b", "a", "10"], ("10", "a", "b")),
        (["01", "1"], ("01", "1")),
        (["--1", "1"], ("--1", "1")),
        (["²", "1"], ("1", "²")),
        (["1" * 5000, "1"], ("1", "1" * 5000)),
    ],
)
def test_class_names(tmp_path: Path, train: list[str], classes: tuple[str, ...]) -> None:
    files = {"train": write(tmp_path, "train.csv", train), "validation": write(tmp_path, "validation.csv", train[:1])}
    assert load_data(task(files), tmp_path).label_names == classes


def test_numbers_may_stand_for_named_classes(tmp_path: Path) -> None:
    files = {
        "train": write(tmp_path, "train.csv", ["no", "yes"]),
        "validation": write(tmp_path, "validation.csv", ["1", "yes", "0"]),
    }
    assert load_data(task(files, labels=["no", "yes"]), tmp_path).report.labels == (1, 1, 0)


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


def test_gzipped_files_are_read_as_what_they_hold(tmp_path: Path) -> None:
    for name, content in {
        "train.jsonl.gz": '{"text": "a, b", "label": "1"}\n{"text": "say \\"c\\"", "label": "0"}\n',
        "dev.CSV.GZ": 'text,label\n"a, b",1\n"say ""c""",0\n',
    }.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        assert [row for _, row in rows(tmp_path / name)] == ROWS
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert [row for _, row in rows(tmp_path / "b.parquet.gz")] == ROWS
    loaded = load_data(
        TaskSpec.model_validate({"type": "text-classification", "dataset": {"path": "."}, "text": "text"}), tmp_path
    )
    assert (len(loaded.train), loaded.report.name) == (2, "validation")
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "train.jsonl.gz").read_bytes()[:-9])
    (tmp_path / "no.jsonl.gz").write_bytes(b'{"text": "a"}\n')
    assert [issue(tmp_path / f"{name}.jsonl.gz").message for name in ("cut", "no")] == [
        "this compressed file is cut short",
        "this compressed file is not what gzip writes",
    ]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (json.dumps(ROWS), [1, 1]),
        (json.dumps(ROWS, indent=1), [2, 6]),
        ("\ufeff\n [\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n\n", [3, 4]),
        ("[]", []),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_list_of_objects(tmp_path: Path, name: str, content: str, lines: list[int]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert rows(tmp_path / name) == list(zip(lines, ROWS, strict=False))


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('[\n{"a": 1},\n2]', 3, "is a int, not an object"),
        ('[{"a": 1}\n{"a": 2}]', 2, "continues without a comma"),
        ('[\n{"a": 1},\n{"a": 2}', 3, "does not end"),
        ('[\n{"a": 1},\n', 3, "not JSON"),
        ('[{"a": 1}]\n\n{"a": 1}', 3, "something follows the list"),
        ('[{"a": 1},\n{"a": }]', 2, "not JSON"),
        ('[\n, {"a": 1}]', 2, "begins with a comma"),
        ('[{"a": 1},\n]', 2, "not JSON"),
        ('[{"a": 1}]\n,', 2, "something follows the list"),
        ("[" * 100_000, 1, "nested too deep"),
        ('[{"a": ' + "1" * 5000 + "}]", 1, "a number too long"),
    ],
)
def test_a_list_that_is_none(tmp_path: Path, content: str, line: int, words: str) -> None:
    (tmp_path / "a.json").write_text(content)
    found = issue(tmp_path / "a.json")
    assert (found.code, found.place and found.place.line) == ("E302", line) and words in found.message, found


def test_a_long_cell(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "word " * 60_000 + ",1\n")
    ((line, row),) = rows(tmp_path / "a.csv")
    assert (line, len(row["text"])) == (2, 300_000)


ODD_CELLS = [
    {"text": text, "label": str(i % 2)}
    for i, text in enumerate(["plain", 'say "c"', "tab\there", "line\nbreak", '"all"', "a, b", 'x"', ' "y" '])
]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_tabs_as_a_csv_writer_writes_them(tmp_path: Path, quoting: Any) -> None:
    """What pandas' to_csv with tabs writes is what Python's csv writer does."""
    with (tmp_path / "a.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], delimiter="\t", lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(ODD_CELLS)
    assert [row for _, row in rows(tmp_path / "a.tsv")] == ODD_CELLS


@pytest.mark.parametrize("text", ['say "c"', '"a" and b', '"all"', 'x"', '""', '"""'])
def test_tabs_as_glue_writes_them(tmp_path: Path, text: str) -> None:
    """Where one cell is not as a csv writer would write it, a quotation mark is one of the text, everywhere."""
    (tmp_path / "a.tsv").write_text(f'text\tlabel\n{text}\t1\nin the "middle"\t0\n')
    assert [row["text"] for _, row in rows(tmp_path / "a.tsv")] == [text, 'in the "middle"']


def test_a_tab_file_that_is_neither(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\tlabel\n"one\nrow"\t1\nin the "middle"\t0\n')
    found = issue(tmp_path / "a.tsv")
    assert found.place and found.place.line == 2 and "as pandas writes it" in str(found.help)


#: A quotation mark of the text that begins a cell, and one further down that ends a cell, as csv and tsv have them.
SWALLOWED = '"Great movie{0}1\nBad movie{0}0\nAn odd one{0}1\nNice"{0}0\n'


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_that_a_quotation_mark_swallows(tmp_path: Path, end: str) -> None:
    """Four rows are not one row with a long text."""
    more = "fine,1\nso so,0\n"
    (tmp_path / "a.csv").write_text(("text,label\n" + SWALLOWED.format(",") + more).replace("\n", end), newline="")
    found = issue(tmp_path / "a.csv")
    assert found.code == "E302" and found.place and found.place.line == 2
    assert "column 'text' in this row goes on to line 5" in found.message and 'double it ("")' in str(found.help)
    # with tabs it is as in GLUE's files, where it is a mark of the text
    (tmp_path / "a.tsv").write_text(("text\tlabel\n" + SWALLOWED.format("\t")).replace("\n", end), newline="")
    assert [row["text"] for _, row in rows(tmp_path / "a.tsv")] == ['"Great movie', "Bad movie", "An odd one", 'Nice"']


def test_rows_swallowed_where_the_text_stands_last_or_scores_are_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,text\n1,"Great\n0,Bad\n1,Nice"\n0,fine\n')
    assert "goes on to line 4" in issue(tmp_path / "a.csv").message
    scores = "".join(f"text {i},{i / 7:.3f}\n" for i in range(60))
    (tmp_path / "b.csv").write_text('text,score\n"Great,0.123\nBad,4.1\nNice",2.2\n' + scores)
    assert "goes on to line 4" in issue(tmp_path / "b.csv").message


@pytest.mark.parametrize(
    "text",
    [
        "one line, and\nanother",
        "it was fine, really\nbut not, all in all\ngood",
        "pros, cons\nmany, few\n",
        "1, 2\n3, 4\n5",
        "first\n\nlast",
        ",\n,\n",
    ],
)
def test_texts_of_several_lines_are_texts(tmp_path: Path, text: str) -> None:
    """Lines of a text that look like cells, but have no label where rows have theirs."""
    wanted = [{"text": text, "label": "good"}, {"text": "fine", "label": "bad"}]
    for delimiter, name in ((",", "a.csv"), ("\t", "a.tsv")):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(wanted)
        assert [row for _, row in rows(tmp_path / name)] == wanted


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b", "label": 0, "label": 1}\n', 2),
        ('{"text": "b", "label": 0, "label": 1}\n', 1),
        ('{"text": "a", "label": 1}\n{"text" : "b", "label" : 0, "label":1}\n', 2),
        ('{"text": "a", "label": 1}\n{"text": "b", "label": {"is": 1, "is": 0}}\n', 2),
        ('{"text": "a", "label": 1}\n{"text": "b", "la\\u0062el": 0, "label": 1}\n', 2),
        ('[{"text": "a", "label": 1},\n{"text": "b", "label": 0, "label": 1}]', 2),
    ],
)
def test_a_key_that_stands_twice(tmp_path: Path, content: str, line: int) -> None:
    """Python's json takes the last label, other readers the first."""
    (tmp_path / "a.jsonl").write_text(content)
    found = issue(tmp_path / "a.jsonl")
    assert found.place and found.place.line == line and "twice" in found.message, found


def test_colons_in_a_text_are_no_keys(tmp_path: Path) -> None:
    wanted = [{"text": 'at 10:30: "x": {"y": 1}', "label": i} for i in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wanted))
    (tmp_path / "a.json").write_text(json.dumps(wanted, indent=2))
    assert [row for _, row in rows(tmp_path / "a.jsonl")] == [row for _, row in rows(tmp_path / "a.json")] == wanted


SPEC = TaskSpec.model_validate(
    {"type": "text-classification", "dataset": {"data_files": {"train": "a.jsonl"}}, "text": "text", "label": "label"}
)


def _read(rows: Any, spec: TaskSpec = SPEC) -> list[Any]:
    return raw_rows("a.jsonl", rows, Labeled(task_of(spec)), lambda column: Place("recipe.yaml", 3))


_MANY = [(i, {"text": f"row {i}", "label": i % 3}) for i in range(1, 2501)]


@pytest.mark.parametrize(
    ("number", "row", "words"),
    [
        (1700, {"text": " ", "label": 1}, "is empty"),
        (1700, {"text": None, "label": 1}, "is empty"),
        (1700, {"text": 5, "label": 1}, "not text: 5"),
        (1700, {"text": "\ud800", "label": 1}, "surrogate"),
        (1700, {"text": "a", "label": "\ud800"}, "surrogate"),
        (1700, {"text": "a"}, "no column 'label'"),
        (2500, {"label": 1}, "no column 'text'"),
        (1, {"text": "", "label": 1}, "is empty"),
    ],
)
def test_the_first_wrong_row_of_many_is_named(number: int, row: dict[str, Any], words: str) -> None:
    """Rows are checked many at a time; one that is wrong is looked at by itself."""
    later = [(n, {}) if n == number + 5 else (n, r) for n, r in _MANY]
    with pytest.raises(InputError) as caught:
        _read((n, row if n == number else r) for n, r in later)
    (found,) = caught.value.issues
    assert found.place == Place("a.jsonl", number) and words in found.message, found


@pytest.mark.parametrize(("wrong", "line"), [(True, 1700), (False, 1900)])
def test_a_wrong_row_comes_before_an_unreadable_one_after_it(wrong: bool, line: int) -> None:
    def given() -> Iterator[tuple[int, dict[str, Any]]]:
        for n, row in _MANY:
            if n == 1900:
                raise bad_input("E302", "this line is not JSON", place=Place("a.jsonl", n))
            yield n, {"text": "", "label": 1} if n == 1700 and wrong else row

    with pytest.raises(InputError) as caught:
        _read(given())
    assert caught.value.issues[0].place == Place("a.jsonl", line)


@pytest.mark.parametrize("missing", [None, -1, "no"])
def test_many_rows_are_read_as_one_by_one(monkeypatch: pytest.MonkeyPatch, missing: Any) -> None:
    labels = [0, 1, 1.0, True, "1", " 0 ", "no" if missing == "no" else 2, -1 if missing == -1 else 1]
    some = [(i, {"text": f"row {i} Ω", "label": labels[i % 8 if i > 1200 else i % 5]}) for i in range(1, 3001)]
    spec = SPEC.model_copy(update={"missing_label": missing})
    at_once = _read(some, spec)
    monkeypatch.setattr(Labeled, "at_once", lambda *_: None)
    assert at_once == _read(some, spec) and (len(at_once) < 3000) == (missing is not None)


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("text;label\na, b;1\n", ";"),
        ("text|label\na, b|1\n", "|"),
        ("text\tlabel\na, b\t1\n", "\t"),
        ('text;label\n"a, b";1\n', ";"),
    ],
)
def test_another_delimiter(tmp_path: Path, content: str, delimiter: str) -> None:
    (tmp_path / "train.csv").write_text(content)
    assert [row for _, row in read_rows(tmp_path / "train.csv", delimiter)] == [ROWS[0]]
    spec = task({"train": "train.csv", "validation": "train.csv"})
    with pytest.raises(InputError) as caught:
        load_data(spec, tmp_path)
    assert f"set delimiter: {delimiter_of(delimiter)} where" in str(caught.value)


def delimiter_of(character: str) -> str:
    return r'"\t"' if character == "\t" else f"'{character}'"


@pytest.mark.parametrize("wrong", ["", ";;", '"', "\n", " "])
def test_what_is_no_delimiter(wrong: str) -> None:
    with pytest.raises(ValueError, match="delimiter"):
        DatasetSpec.model_validate({"path": "x", "delimiter": wrong})


def test_a_damaged_value_of_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["good0 x", "bad0 zz", "good1 y"], "label": [1, 0, 1]}),
        tmp_path / "a.parquet",
        compression="none",
        use_dictionary=False,
    )
    raw = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(raw.replace(b"bad0 zz", b"bad0 \xff\xfe"))
    found = issue(tmp_path / "a.parquet")
    assert (found.code, found.place and found.place.line) == ("E302", 2) and "column 'text'" in found.message


@pytest.mark.parametrize(
    ("train", "validation", "classes", "labels"),
    [
        (["1.0", "2.0"], ["1", "2", "2.00"], ("1", "2"), (0, 1, 1)),
        ([1, 2], ["1.0", "2"], ("1", "2"), (0, 1)),
        ([0.0, 1.0], [1, "0", True, "-0"], ("0", "1"), (1, 0, 1, 0)),
        ([" a", "b"], ["a ", "b"], ("a", "b"), (0, 1)),
        (["+1", "0"], [1, 0], ("0", "1"), (1, 0)),
    ],
)
def test_labels_are_compared_as_values(
    tmp_path: Path, train: list[Any], validation: list[Any], classes: tuple[str, ...], labels: tuple[int, ...]
) -> None:
    """Labels "1.0" in train and "1" in validation were the classes 0 and 1, so that every label moved by one."""
    files = {
        "train": write_json(tmp_path, "train.jsonl", train),
        "validation": write_json(tmp_path, "validation.jsonl", validation),
    }
    loaded = load_data(task(files), tmp_path)
    assert (loaded.label_names, loaded.report.labels) == (classes, labels)


def write_json(folder: Path, name: str, labels: list[Any]) -> str:
    (folder / name).write_text(
        "".join(json.dumps({"text": f"{name} {i}", "label": label}) + "\n" for i, label in enumerate(labels))
    )
    return name


@pytest.mark.parametrize(
    ("train", "validation", "words"),
    [
        (["no", "yes"], ["1"], "it is not known which class each number means"),
        (["01", "02"], ["1"], "is not one of 01, 02"),
        (["0.25", "0.5"], ["0.25"], "must be a class number or name"),
        ([0.25, 1], [1], "must be a class number or name"),
        ([[0, 1], [1, 0]], [[0, 1]], "for several in one row use task.type multi-label-classification"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, train: list[Any], validation: list[Any], words: str) -> None:
    files = {
        "train": write_json(tmp_path, "train.jsonl", train),
        "validation": write_json(tmp_path, "validation.jsonl", validation),
    }
    with pytest.raises(InputError, match=words):
        load_data(task(files), tmp_path)


def test_many_classes(tmp_path: Path) -> None:
    """Labels that repeat are classes, however many; as many as rows are not."""
    many = [f"c{i % 1200}" for i in range(2400)]
    files = {
        "train": write_json(tmp_path, "train.jsonl", many),
        "validation": write_json(tmp_path, "validation.jsonl", many[:5]),
    }
    assert len(load_data(task(files), tmp_path).label_names) == 1200
    unique = [f"c{i}" for i in range(1200)]
    files["train"] = write_json(tmp_path, "unique.jsonl", unique)
    with pytest.raises(InputError, match="1,200 different values in 1,200 rows"):
        load_data(task(files), tmp_path)
    assert len(load_data(task(files, labels=unique), tmp_path).label_names) == 1200


NO_GOLD = {"train": [0, -1, 1, -1, 2], "validation": [0, 1, -1, 2]}


def write_both(folder: Path, labels: dict[str, list[Any]]) -> dict[str, str]:
    return {split: write_json(folder, f"{split}.jsonl", given) for split, given in labels.items()}


def test_rows_without_a_label_are_refused_with_their_number(tmp_path: Path) -> None:
    """SNLI marks with -1 what its annotators did not agree on; it was a class."""
    with pytest.raises(InputError) as caught:
        load_data(task(write_both(tmp_path, NO_GOLD)), tmp_path)
    (found,) = caught.value.issues
    assert (found.code, found.place and found.place.line) == ("E327", 2)
    assert "the label of 2 of 5 rows of the train split is -1" in found.message and "task.missing_label: -1" in str(
        found.help
    )
    with pytest.raises(InputError, match="the label of 1 of 2 rows of the validation split is -1"):
        load_data(task(write_both(tmp_path, {"train": [0, 1], "validation": ["-1.0", 1]})), tmp_path)


@pytest.mark.parametrize(
    ("mark", "labels"),
    [
        (-1, NO_GOLD),
        ("-", {"train": ["0", "-", "1", "-", "2"], "validation": [0, 1, "-", 2]}),
        ("", {"train": [0, None, 1, "", 2], "validation": [0, 1, " ", 2]}),
    ],
)
def test_rows_without_a_label_are_left_out_where_that_is_asked(
    tmp_path: Path, mark: Any, labels: dict[str, list[Any]]
) -> None:
    loaded = load_data(task(write_both(tmp_path, labels), missing_label=mark), tmp_path)
    assert (loaded.label_names, loaded.train.labels, loaded.report.labels) == (("0", "1", "2"), (0, 1, 2), (0, 1, 2))
    assert [t for (t,) in loaded.train.texts] == [f"train.jsonl {i}" for i in (0, 2, 4)]
    assert loaded.left_out == {"train": 2, "validation": 1}
    assert "2 train rows and 1 validation rows without a label were left out" in loaded.summary()


def test_minus_one_is_a_class_where_the_classes_are_named(tmp_path: Path) -> None:
    files = write_both(tmp_path, {"train": [-1, 1], "validation": [1, -1]})
    assert load_data(task(files, labels=["-1", "1"]), tmp_path).report.labels == (1, 0)
    scores = {**task(files).model_dump(exclude={"metrics"}), "type": "text-regression"}
    assert load_data(TaskSpec.model_validate(scores), tmp_path).report.labels == (1.0, -1.0)


@pytest.mark.parametrize("kind", ["multiple-choice", "token-classification"])
def test_rows_without_a_label_of_other_tasks(tmp_path: Path, kind: str) -> None:
    choice = {"question": "q", "choices": ["a", "b"], "answer": 0}
    tags = {"words": ["a", "b"], "tags": ["O", "B-X"]}
    row, none, keys = (
        (choice, {"answer": -1}, {"text": "question", "choices": "choices", "label": "answer"})
        if kind == "multiple-choice"
        else (tags, {"tags": [-1, -1]}, {"text": "words", "label": "tags"})
    )
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({**row, **more}) + "\n" for more in ({}, none, {})))
    spec = {"type": kind, "dataset": {"data_files": {"train": "a.jsonl", "validation": "a.jsonl"}}, **keys}
    with pytest.raises(InputError, match="the label of 1 of 3 rows of the train split is -1"):
        load_data(TaskSpec.model_validate(spec), tmp_path)
    assert len(load_data(TaskSpec.model_validate({**spec, "missing_label": -1}), tmp_path).report) == 2


TEXTS = {
    "train": ["A good film!", "so bad", "a good  FILM", "ok", "ﬁne"],
    "validation": ["a good film", "new", "So bad.", "fine"],
}


def write_texts(folder: Path, texts: dict[str, list[str]]) -> dict[str, str]:
    for split, given in texts.items():
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps({"text": text, "label": i % 2}) + "\n" for i, text in enumerate(given))
        )
    return {split: f"{split}.jsonl" for split in texts}


def test_rows_that_stand_in_train_are_counted(tmp_path: Path) -> None:
    loaded = load_data(task(write_texts(tmp_path, TEXTS)), tmp_path)
    assert (loaded.leaked, len(loaded.report)) == (3, 4)
    assert "3 of the 4 validation rows are also in train" in loaded.summary()
    assert load_data(task(write_texts(tmp_path, {"train": ["a", "b"], "validation": ["c"]})), tmp_path).remarks() == []


def test_rows_that_stand_in_train_are_left_out_or_refused(tmp_path: Path) -> None:
    files = write_texts(tmp_path, TEXTS)
    loaded = load_data(task(files, leaks="drop"), tmp_path)
    assert (loaded.report.texts, loaded.leaked, loaded.dropped, len(loaded.train)) == ((("new",),), 0, 3, 5)
    reported, _ = load_reported(task(files, leaks="drop"), tmp_path, ("0", "1"))
    assert reported.fingerprint == loaded.report.fingerprint
    for load in (lambda spec: load_data(spec, tmp_path), lambda spec: load_reported(spec, tmp_path, ("0", "1"))):
        with pytest.raises(
            InputError, match="3 of 4 rows of the validation split are also in train, row 1 the first: a good film"
        ):
            load(task(files, leaks="refuse"))
    same = write_texts(tmp_path, {"train": ["a", "b"], "validation": ["b", "a"]})
    with pytest.raises(InputError, match="all 2 rows of the validation split are also in train"):
        load_data(task(same, leaks="drop"), tmp_path)


def test_copies_are_counted_and_many_stand_beside_the_verdict(tmp_path: Path) -> None:
    rows = {"train": ["a", "b"], "validation": ["c", "d", "C!", "c", "x", "c"]}
    loaded = load_data(task(write_texts(tmp_path, rows)), tmp_path)
    assert loaded.report.copied == 2  # labels are in turn: 0, 1, 0, 1, 0, 1
    assert "2 of the 6 validation rows are copies of others" in loaded.summary()
    assert [w.partition(":")[0] for w in row_warnings("test", 100, 2, 6)] == [
        "2 of the 100 test rows are also in train",
        "6 of the 100 test rows are copies of others",
    ]
    assert row_warnings("test", 100, 0, 5) == []
    whole = Split("test", (("a",), ("b",), ("a",), ("c",), ("a",), ("b",)), (0,) * 6, (0, 0, 1, 1, 2, 2))
    assert whole.copied == 2  # a document of which every row is in another


def test_a_leak_of_pairs_is_of_both_texts() -> None:
    def split(*pairs: tuple[str, str], documents: tuple[int, ...] = ()) -> Split:
        return Split("validation", pairs, (0,) * len(pairs), documents)

    assert shared(split(("a", "b"), ("a", "c"), ("b", "a")), [("A", "b.")]) == [0]
    assert shared(split(("a", "b"), ("a", "c"), ("b", "a"), documents=(0, 0, 1)), [("A", "b."), ("b", "a")]) == [2], (
        "a document leaks as a whole"
    )


def test_marks_of_choices_that_are_no_list(tmp_path: Path) -> None:
    """Found by fuzzing: {label: 0.5, text: [a, b]}."""
    row = {"question": "q", "choices": {"label": 0.5, "text": ["a", "b"]}, "answer": "B"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    spec = {
        "type": "multiple-choice",
        "dataset": {"data_files": {"train": "a.jsonl", "validation": "a.jsonl"}},
        "text": "question",
        "choices": "choices",
    }
    assert load_data(TaskSpec.model_validate({**spec, "label": "answer"}), tmp_path).report.labels == (1,)


def test_labels_of_the_recipe_that_are_not_those_of_the_data(tmp_path: Path) -> None:
    """Several rows with a class that is not listed: the list is wrong, and a single one: the row."""
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "a,pos\nb,negative\nc,negative\n")
    spec = TaskSpec.model_validate(
        {"type": "text-classification", "dataset": {"path": "."}, "text": "text", "labels": ["pos", "neg"]}
    )
    with pytest.raises(InputError) as caught:
        load_data(spec, tmp_path, lambda path: Place("r.yaml", 4, 3) if path == ("task", "labels") else None)
    (issue,) = caught.value.issues
    assert (issue.code, str(issue.place)) == (
        "E304",
        "r.yaml:4:3",
    ) and "label 'negative' is not one of pos, neg" in issue.message
    assert "train.csv:3 and other rows" in issue.message
    (tmp_path / "train.csv").write_text("text,label\na,pos\nb,neg\nc,negative\n")
    with pytest.raises(InputError) as caught:
        load_data(spec, tmp_path, lambda path: Place("r.yaml", 4, 3) if path == ("task", "labels") else None)
    assert str(caught.value.issues[0].place).endswith("train.csv:4")
