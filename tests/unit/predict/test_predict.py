"""`edgeopt predict`: each kind of model and of file, what is written, and what is refused before anything is."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import MODEL, make_run
from helpers import Result, edgeopt, edgeopt_process, tiny_recipe, tiny_task
from house.test_imports import GATE_ALONE

from edgeopt import Run
from edgeopt.bundle import make
from edgeopt.cli.predict import _lines
from edgeopt.measure.graph import mixes_batches
from edgeopt.predict import records
from edgeopt.predict.rows import rows_of
from edgeopt.results.sealed import open_run
from edgeopt.run.predict import Asked, Predictor, asked_of_run

TEXTS = [" ".join(["good1", "bad2", "word3"][i % 3] for i in range(n)) for n in (9, 1, 14, 3, 2, 30, 5)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    made = make_run(folder, tiny_data)
    tiny_recipe(folder, task=tiny_task(tiny_data, labels=["bad", "good"]))
    shutil.copytree(made / "model", folder / "alone")
    for out in ("bundle", "bundle.zip"):
        assert edgeopt("bundle", made, "--count", 8, "--out", folder / out).code == 0
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", [{"n": i, "text": text, "label": "kept"} for i, text in enumerate(TEXTS)])


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines(done: Result) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def refused(done: Result, code: str, *said: str) -> None:
    assert (done.code, done.out) == (2, "") and f"error[{code}]" in done.err and "Traceback" not in done.err, done.err
    assert all(text in done.err for text in said), done.err


def test_rows_are_answered_as_the_python_api_answers_them_and_keep_their_columns(run: Path, file: Path) -> None:
    found, told = lines(edgeopt("predict", run, file)), Run(run).predict(TEXTS)
    assert [(r["n"], r["text"], r["label"]) for r in found] == [(i, t, "kept") for i, t in enumerate(TEXTS)]
    assert [(r["prediction"], r["probability"]) for r in found] == [(p.label, p.probability) for p in told]
    assert [r["logits"] for r in found] == [p.logits.tolist() for p in told]
    without = lines(edgeopt("predict", run, file, "--no-logits"))
    assert list(without[0]) == ["n", "text", "label", "prediction", "probability"]


def test_rows_of_the_report_split_get_the_logits_that_were_measured(run: Path, tiny_data: Path) -> None:
    measured = [json.loads(line)["candidate"] for line in (run / "predictions.jsonl").read_text().splitlines()]
    for size in (1, 7, 32):
        found = lines(edgeopt("predict", run, tiny_data / "validation.jsonl", "--batch-size", size))
        np.testing.assert_allclose([row["logits"] for row in found], measured, atol=1e-5)


@pytest.mark.parametrize("model", ["bundle", "bundle.zip", "run/model", f"run/model/{MODEL}", "alone"])
def test_a_bundle_and_a_models_folder_answer_as_the_run_does(run: Path, file: Path, model: str) -> None:
    recipe = ("--recipe", run.parent / "recipe.yaml") if model == "alone" else ()
    found, wanted = edgeopt("predict", run.parent / model, file, *recipe), edgeopt("predict", run, file)
    assert lines(found) == lines(wanted) and " 7 rows in " in found.err and "rows/s" in found.err


def test_every_format_says_the_same(run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    wanted = [(r["prediction"], r["logits"]) for r in lines(edgeopt("predict", run, file))]
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        (tmp_path / name).write_text(f"text{delimiter}x\n" + "".join(f"{t}{delimiter}\n" for t in TEXTS))
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n\n")
    parquet.write_table(pyarrow.table({"text": TEXTS}), tmp_path / "a.parquet")
    shutil.copyfile(tmp_path / "a.txt", tmp_path / "a.log")
    for name, *more in (["a.csv"], ["a.tsv"], ["a.txt"], ["a.parquet"], ["a.log", "--from", "txt"]):
        found = lines(edgeopt("predict", run, tmp_path / name, *more))
        assert [(r["prediction"], r["logits"]) for r in found] == wanted and [r["text"] for r in found] == TEXTS, name
    for name, *more in (["a.txt"], ["a.csv", "--from", "csv"], ["rows.jsonl", "--from", "jsonl"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / name).read_bytes())))
        assert [(r["prediction"], r["logits"]) for r in lines(edgeopt("predict", run, "-", *more))] == wanted, name


def test_a_table_has_every_column_and_reads_back(run: Path, tmp_path: Path) -> None:
    rows = [{"text": 'good1 "bad2", word3'}, {"text": "bad1", "more": [1, {"a": "ä"}]}]
    done = edgeopt("predict", run, write(tmp_path / "rows.jsonl", rows), "--out", tmp_path / "out.csv")
    assert done.code == 0 and done.out.strip() == str(tmp_path / "out.csv")
    one, other = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8")))
    assert list(one) == ["text", "more", "prediction", "probability", "logits"]
    assert (one["text"], one["more"], json.loads(other["more"])) == (rows[0]["text"], "", rows[1]["more"])
    assert len(json.loads(one["logits"])) == 2 and 0.5 <= float(one["probability"]) <= 1


def test_out_is_whole_or_not_there_and_never_replaced_unasked(
    run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out.jsonl"
    assert edgeopt("predict", run, file, "--out", out).code == 0
    first, before = out.read_text(), sorted(out.parent.iterdir())
    refused(edgeopt("predict", run, tmp_path / "absent", "--out", out), "E114", "is there already", "--overwrite")
    write(file, [{"text": "bad1"}])
    assert (
        edgeopt("predict", run, file, "--out", out, "--overwrite").code == 0 and len(out.read_text().splitlines()) == 1
    )
    (tmp_path / "link.jsonl").symlink_to(out)
    for there in (tmp_path / "link.jsonl", tmp_path / "new"):
        refused(edgeopt("predict", run, file, "--out", there, "--overwrite"), "E114")
    out.write_text(first)

    def broken(self: Predictor, *args: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "_answers", broken)
    assert edgeopt("predict", run, file, "--out", out, "--overwrite").code == 130
    assert out.read_text() == first and sorted(out.parent.iterdir()) == before
    assert edgeopt("predict", run, file, "--out", tmp_path / "other.jsonl").code == 130
    assert not [p for p in tmp_path.rglob("*") if "other" in p.name]


def test_no_row_is_left_out_because_it_is_empty(run: Path, tmp_path: Path) -> None:
    """What is left out would shift all rows behind it; blank lines at the end of a txt file are none."""
    for name, text, line in (
        ("a.txt", "good1\n\nbad1\n", 2),
        ("b.csv", 'text\ngood1\n""\nbad1\n', 3),
        ("c.csv", "n,text\n1,good1\n,\n2,bad1\n", 3),
    ):
        (tmp_path / name).write_text(text)
        refused(edgeopt("predict", run, tmp_path / name), "E304", f"{name}:{line}")
    (tmp_path / "d.csv").write_text("\n\ntext\ngood1\n\nbad1\n")
    assert [row["text"] for row in lines(edgeopt("predict", run, tmp_path / "d.csv"))] == ["good1", "bad1"]


def test_rows_are_valid_json_and_no_locale_changes_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "good1", "v": [NaN, {"w": 1e999}, "hé😀"]}\n')
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "latin-1"))
    with rows_of(tmp_path / "rows.jsonl", Predictor(asked_of_run(open_run(run))).task, None, None) as rows:
        (found,) = rows
    with _lines(None, overwrite=False) as put:
        put(records.line(found[0], ["text", "v"], "jsonl"))
    sys.stdout.flush()
    assert json.loads(raw.getvalue())["v"] == [None, {"w": None}, "hé😀"] and b"NaN" not in raw.getvalue()


@pytest.mark.parametrize("text", ["##[x]", "::x", "a\u200fb", "a\rb", "a\n ::x"])
def test_csv_on_stdout_has_every_text_as_it_is_or_is_refused(run: Path, tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "rows.jsonl", [{"id": text, "text": "good1"}])
    refused(edgeopt("predict", run, file, "--to", "csv"), "E100", "--out FILE")
    assert edgeopt("predict", run, file, "--out", tmp_path / "a.csv").code == 0
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as made:
        assert next(csv.DictReader(made))["id"] == text
    assert lines(edgeopt("predict", run, file))[0]["id"] == text


def test_a_pipe_is_read_as_stdin_is(run: Path, file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(file.read_bytes()))
    writer.start()
    found = edgeopt("predict", run, tmp_path / "pipe", "--from", "jsonl")
    writer.join()
    assert lines(found) == lines(edgeopt("predict", run, file))


def test_a_file_that_changes_meanwhile_leaves_no_answers(
    run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeopt.predict.file.looked_over", lambda *_: (len(TEXTS) - 1, ["n", "text", "label"]))
    refused(edgeopt("predict", run, file, "--out", tmp_path / "out.jsonl"), "E306", "changed while it was read")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "delimiter"), [("rows.csv", ";;"), ("rows.csv", ""), ("rows.csv", '"'), ("rows.jsonl", ";")]
)
def test_a_delimiter_is_one_character_of_a_table(run: Path, tmp_path: Path, name: str, delimiter: str) -> None:
    (tmp_path / name).write_text("")
    refused(edgeopt("predict", run, tmp_path / name, "--delimiter", delimiter), "E100", "--delimiter")


def test_columns_of_the_same_name_are_never_lost(run: Path, file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    assert edgeopt("predict", run, file, "--out", again).code == 0
    refused(edgeopt("predict", run, again), "E100", "a column 'prediction' already", "--prefix")
    found = lines(edgeopt("predict", run, again, "--prefix", "int8_"))
    assert all(r["int8_prediction"] == r["prediction"] and r["int8_logits"] == r["logits"] for r in found)


@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        ({"text": " "}, "E304", ("the text in column 'text' is empty", "rows.jsonl:8")),
        ({"body": "good1"}, "E303", ("there is no column 'text'", "--text")),
        ({"text": "good1", "x": "\x1b[31m", "text2": "\ud800"}, "", ()),
    ],
)
def test_every_row_is_checked_before_the_first_is_answered(
    run: Path, file: Path, tmp_path: Path, row: dict[str, Any], code: str, said: tuple[str, ...]
) -> None:
    file.write_text(file.read_text() + json.dumps(row) + "\n")
    done = edgeopt("predict", run, file, "--out", tmp_path / "out.jsonl")
    if code:
        refused(done, code, *said)
        assert not (tmp_path / "out.jsonl").exists()
    else:
        assert done.code == 0 and json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])["x"] == "\x1b[31m"
        assert {k: v for k, v in lines(edgeopt("predict", run, file))[-1].items() if k in row} == row


def test_the_texts_may_be_called_otherwise(run: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [{"body": "good1"}])
    assert lines(edgeopt("predict", run, file, "--text", "body"))[0]["body"] == "good1"
    refused(edgeopt("predict", run, file, "--text", "body", "--text", "title"), "E100", "this model reads text")
    (tmp_path / "rows.csv").write_text("body;n\ngood1;2\n")
    refused(edgeopt("predict", run, tmp_path / "rows.csv"), "E303", "give --delimiter ';'")
    found = lines(edgeopt("predict", run, tmp_path / "rows.csv", "--text", "body", "--delimiter", ";"))
    assert (found[0]["body"], found[0]["n"]) == ("good1", "2")


def test_what_is_no_model_or_no_file(run: Path, file: Path, tmp_path: Path) -> None:
    refused(edgeopt("predict", tmp_path / "gone", file), "E131", "does not exist")
    refused(edgeopt("predict", tmp_path / "gone.zip", file), "E140")
    refused(edgeopt("predict", run, tmp_path / "gone.csv"), "E301", "does not exist")
    refused(edgeopt("predict", run, tmp_path), "E301", "is a folder")
    refused(edgeopt("predict", run.parent / "alone", file), "E134", "--recipe FILE")
    for model in ("run", "bundle", "run/model"):
        refused(edgeopt("predict", run.parent / model, file, "--recipe", run.parent / "recipe.yaml"), "E100")
    (tmp_path / "rows.xlsx").write_text("x")
    refused(edgeopt("predict", run, tmp_path / "rows.xlsx"), "E302", "--from FORMAT")
    (tmp_path / "empty.jsonl").write_text("")
    assert lines(edgeopt("predict", run, tmp_path / "empty.jsonl")) == []


def test_a_pair_has_two_columns_and_no_txt(tmp_path: Path, tiny_data: Path) -> None:
    run = make_run(tmp_path, tiny_data, text=["text", "pair"])
    rows = [{"text": "good1", "pair": "bad1 word2"}, {"text": "bad1 word1", "pair": "good3"}]
    found = lines(edgeopt("predict", run, write(tmp_path / "rows.jsonl", rows)))
    assert [r["prediction"] for r in found] == [p.label for p in Run(run).predict([tuple(r.values()) for r in rows])]
    (tmp_path / "rows.txt").write_text("good1\n")
    refused(edgeopt("predict", run, tmp_path / "rows.txt"), "E302", "text, pair")
    assert edgeopt("bundle", run, "--count", 8, "--out", tmp_path / "b").code == 0
    assert lines(edgeopt("predict", tmp_path / "b", tmp_path / "rows.jsonl")) == found


def test_a_score_has_no_probability(tmp_path: Path, tiny_data: Path) -> None:
    run = make_run(tmp_path, tiny_data, width=1, type="text-regression", label="score")
    (row,) = lines(edgeopt("predict", run, write(tmp_path / "rows.jsonl", [{"text": "good1 bad2"}])))
    assert list(row) == ["text", "prediction", "logits"] and row["logits"] == [row["prediction"]]


def test_a_model_whose_answers_mix_in_a_batch_is_asked_one_by_one(
    run: Path, tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a real one, batches of 32 changed a label in forty; with one row each the measured logits come, to the bit."""
    (tmp_path / "graph.ort").write_bytes(b"\x00" * 100 + b"DynamicQuantizeLinear" + b"\x00" * 100)
    assert mixes_batches(tmp_path / "graph.ort") and not mixes_batches(run / "model" / MODEL)
    sizes: list[int] = []

    def query(feed: Any) -> Any:
        sizes.append(len(feed["input_ids"]))
        return np.zeros((len(feed["input_ids"]), 2), np.float32)

    task = Run(run)._predictor.task
    for alone, size, wanted in ((True, None, [1, 1, 1]), (False, None, [3]), (True, 2, [2, 1])):
        sizes.clear()
        Predictor(Asked(run / "model", task, query, alone))(["good1"] * 3, size)
        assert sizes == wanted
    monkeypatch.setattr(make, "mixes_batches", lambda path: True)
    assert edgeopt("bundle", run, "--count", 8, "--out", tmp_path / "b").code == 0
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["alone"] is True


def test_neither_torch_nor_what_trains_is_needed(run: Path, file: Path) -> None:
    done = edgeopt_process("predict", run, file, python=("-c", GATE_ALONE))
    assert len(lines(done)) == len(TEXTS)
