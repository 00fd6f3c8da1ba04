"""What `edgeopt init` makes of the files that people have: columns, task, split, gates, and what it says."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import Result, edgeopt

from edgeopt.data import Split
from edgeopt.models.source import ModelSource
from edgeopt.recipe.proposal.draft import scalar
from edgeopt.recipe.proposal.margins import margins
from edgeopt.recipe.proposal.sizes import task_by_head
from edgeopt.recipe.yaml import parse
from edgeopt.spec.recipe import TaskSpec
from edgeopt.statistics.bounds import accuracy_difference, paired_proportions
from edgeopt.statistics.power import rows_needed
from edgeopt.tasks import task_of

Row = dict[str, Any]
_WORDS = ["good", "bad", "film", "plot", "actor", "slow", "quick", "story", "dull", "bright"]


def texts(count: int) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(_WORDS, k=rng.randrange(3, 30))) + f" {i}" for i in range(count)]


def write(path: Path, rows: list[Row], delimiter: str = ",") -> Path:
    """The rows in the format that the name ends in."""
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ".jsonl" in path.name:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def init(folder: Path, *args: object) -> Result:
    return edgeopt("init", *args, cwd=folder)


def proposed(folder: Path, *args: object) -> Any:
    """The recipe that is written, which validate accepts."""
    done = init(folder, *args)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) < 80
    assert edgeopt("validate", "recipe.yaml", cwd=folder).code == 0
    return parse((folder / "recipe.yaml").read_text(encoding="utf-8"), folder / "recipe.yaml").data


def reviews(count: int = 400) -> list[Row]:
    return [
        {"id": i, "Review Text": f'"{text}", she said,\nand left', "stars": i % 5 + 1, "date": "2024-02-30"}
        for i, text in enumerate(texts(count))
    ]


@pytest.mark.parametrize(
    ("rows", "text", "label", "task"),
    [
        ([{"text": t, "label": i % 2} for i, t in enumerate(texts(40))], "text", "label", "text-classification"),
        (reviews(60), "Review Text", "stars", "text-classification"),
        (
            [{"sentence1": t, "sentence2": t[::-1], "score": i / 7} for i, t in enumerate(texts(60))],
            ["sentence1", "sentence2"],
            "score",
            "text-regression",
        ),
        ([{"body": t, "price": 3 * i} for i, t in enumerate(texts(60))], "body", None, "no column looks like labels"),
        (
            [{"comment": t, "toxic": i % 3 == 0} for i, t in enumerate(texts(40))],
            "comment",
            "toxic",
            "text-classification",
        ),
        (
            [{"tokens": t.split(), "ner_tags": ["B-X" if w == "film" else "O" for w in t.split()]} for t in texts(60)],
            "tokens",
            "ner_tags",
            "token-classification",
        ),
        (
            [
                {"ctx": t, **{f"ending{k}": f"{t} {k}" for k in range(4)}, "label": i % 4}
                for i, t in enumerate(texts(40))
            ],
            "ctx",
            "label",
            "multiple-choice",
        ),
        (
            [
                {"question": t, "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "AB"[i % 2]}
                for i, t in enumerate(texts(40))
            ],
            "question",
            "answerKey",
            "multiple-choice",
        ),
        (
            [{"text": t, "intent": f"class {i % 30}"} for i, t in enumerate(texts(300))],
            "text",
            "intent",
            "text-classification",
        ),
        ([{"text": t, "y": i % 50} for i, t in enumerate(texts(300))], "text", "y", "text-classification"),
        ([{"text": t, "y": 3 * i} for i, t in enumerate(texts(300))], "text", "y", "text-regression"),
    ],
)
def test_columns_and_task(tmp_path: Path, rows: list[Row], text: Any, label: str | None, task: str) -> None:
    write(tmp_path / "rows.jsonl", rows)
    if label is None:
        assert task in init(tmp_path, "rows.jsonl").err
        return
    found = proposed(tmp_path, "rows.jsonl")["task"]
    assert (found["text"], found["label"], found["type"]) == (text, label, task)
    assert found["dataset"] == {"data_files": {"train": "./rows.jsonl"}, "split": {"validation": 0.2, "seed": 0}}


def sentence_model(folder: Path, model: Path) -> Path:
    """The tiny model as a folder of sentence-transformers."""
    found = Path(shutil.copytree(model, folder / "embedder"))
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"idx": i, "path": f"{i}_{k}" if i else "", "type": f"models.{k}"} for i, k in enumerate(kinds)]
    (found / "modules.json").write_text(json.dumps(modules))
    (found / "1_Pooling").mkdir()
    (found / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (found / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48}))
    return found


_ALIKE = {"metric": "agreement", "min": 0.98}
_PASSAGES = [{"_id": f"d{i}", "body": t} for i, t in enumerate(texts(60))]


@pytest.mark.parametrize(
    ("rows", "args", "task", "gates"),
    [
        (
            [{"sentence1": t, "sentence2": t[::-1], "score": i / 7} for i, t in enumerate(texts(60))],
            [],
            {"type": "embedding", "text": ["sentence1", "sentence2"], "label": "score"},
            ["spearman", "agreement"],
        ),
        (
            [{"id": i, "question": t, "passage": t[::-1], "label": i % 2} for i, t in enumerate(texts(400))],
            [],
            {"type": "embedding", "text": ["question", "passage"], "corpus": "rows"},
            ["ndcg@10", "agreement"],
        ),
        (
            [{"query": t, "relevant": [f"d{i % 60}"]} for i, t in enumerate(texts(400))],
            ["passages.jsonl"],
            {
                "type": "embedding",
                "text": "query",
                "corpus": {"data_files": "./passages.jsonl", "id": "_id", "text": "body"},
            },
            ["ndcg@10", "agreement"],
        ),
        (
            [{"body": t, "url": f"u{i}"} for i, t in enumerate(texts(60))],
            ["--text", "body"],
            {"type": "embedding", "text": "body"},
            ["agreement"],
        ),
        (
            [{"question1": t, "question2": t[::-1], "is_duplicate": i % 2} for i, t in enumerate(texts(60))],
            ["--task", "embedding", "--label", "is_duplicate"],
            {"type": "embedding", "text": ["question1", "question2"], "label": "is_duplicate"},
            ["spearman", "agreement"],
        ),
        (
            [{"query": texts(400)[i // 4], "passage": t, "relevance": i % 4 // 3} for i, t in enumerate(texts(400))],
            ["--task", "embedding"],
            {"type": "embedding", "text": ["query", "passage"], "label": "relevance"},
            ["spearman", "agreement"],
        ),
        (
            [{"text": t, "label": i % 2} for i, t in enumerate(texts(60))],
            [],
            {"type": "text-classification", "text": "text", "label": "label"},
            ["accuracy"],
        ),
    ],
)
def test_rows_for_an_embedding_model(
    tmp_path: Path, tiny_model: Path, rows: list[Row], args: list[str], task: Row, gates: list[str]
) -> None:
    model = sentence_model(tmp_path, tiny_model)
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "passages.jsonl", _PASSAGES)
    found = proposed(tmp_path, "train.jsonl", *args, "--model", model, "--max-drop", "0.2")
    assert {key: found["task"].get(key) for key in ("type", "text", "label", "corpus") if key in found["task"]} == task
    assert [gate["metric"] for gate in found["gates"]] == gates
    if task["type"] == "embedding":
        assert [step["use"] for step in found["steps"]] == ["quantize.static"] and "baseline" not in found
        assert found["task"]["max_length"] == 48 and found["gates"][-1] == _ALIKE


def test_an_embedding_model_needs_no_rows(tmp_path: Path, tiny_model: Path) -> None:
    model = sentence_model(tmp_path, tiny_model)
    found = proposed(tmp_path, model)
    assert found["task"]["dataset"] == {"path": "nyu-mll/glue", "name": "stsb"} and found["name"] == "embedder"
    assert found["gates"] == [{"metric": "spearman", "max_drop": 0.01}, _ALIKE]
    bare = init(tmp_path, "--model", tiny_model, "--out", "b.yaml")
    assert "without rows there is a recipe for embedding models alone" in bare.err
    assert "Missing argument 'DATA...'" in init(tmp_path, "--out", "b.yaml").err
    assert init(tmp_path, "--model", tiny_model, "--task", "embedding", "--out", "b.yaml").code == 0
    told = (tmp_path / "b.yaml").read_text()
    assert "the model's folder has no modules.json" in told and "pooling: mean" in told


def test_passages_of_queries_are_put_in_order(tmp_path: Path) -> None:
    rows = [
        {"query": f"q {i // 5}", "passage": t, "relevance": int(i % 5 == 0), "query_id": i // 5}
        for i, t in enumerate(texts(400))
    ]
    write(tmp_path / "r.jsonl", rows)
    found = proposed(tmp_path, "r.jsonl", "--max-drop", "0.1")
    assert {k: found["task"][k] for k in ("type", "text", "label", "group")} == {
        "type": "reranking",
        "text": ["query", "passage"],
        "label": "relevance",
        "group": "query_id",
    }
    assert found["gates"][0] == {"metric": "ndcg@10", "max_drop": 0.1}
    assert [step["use"] for step in found["steps"]] == ["finetune", "quantize.static"]


@pytest.mark.parametrize(
    ("passages", "said"),
    [
        ([{"key": "d1", "body": "a"}], "no column of the passages looks like ids"),
        ([{"id": "d1", "words": "a"}], "no column of the passages looks like texts"),
        ([{"id": "x1", "text": "a"}], "the corpus has no passage with the id 'd0'"),
    ],
)
def test_passages_that_cannot_be_searched(tmp_path: Path, passages: list[Row], said: str) -> None:
    write(tmp_path / "train.jsonl", [{"query": t, "relevant": "d0"} for t in texts(60)])
    write(tmp_path / "passages.jsonl", passages)
    done = init(tmp_path, "train.jsonl", "passages.jsonl")
    assert done.code == 2 and said in done.err and "E900" not in done.err


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.jsonl.gz", "r.parquet"])
def test_formats(tmp_path: Path, name: str) -> None:
    rows = [{**row, "Review Text": row["Review Text"].replace("\n", " ")} for row in reviews()]
    write(tmp_path / name, rows)
    found = proposed(tmp_path, name, "--text", "Review Text", "--label", "stars")
    assert found["task"]["max_length"] == 56
    assert found["name"] == "r"


def test_it_says_where_one_answer_is_right_for_most_rows(tmp_path: Path) -> None:
    write(
        tmp_path / "rows.jsonl",
        [{"text": t, "label": "bad" if i % 20 == 0 else "good"} for i, t in enumerate(texts(400))],
    )
    said = "of the validation rows are 'good'"
    done = init(tmp_path, "rows.jsonl")
    assert f"95% {said}: a gate on a drop passes only" in " ".join(done.out.split())
    assert f"label: label # 2 classes: bad, good; 95% {said}" in (tmp_path / "recipe.yaml").read_text()
    write(tmp_path / "even.jsonl", [{"text": t, "label": i % 2} for i, t in enumerate(texts(400))])
    assert "always answering" not in init(tmp_path, "even.jsonl", "--out", "even.yaml").out


def test_a_messy_file_and_everything_that_is_said(tmp_path: Path) -> None:
    rows = [{**row, "stars": "" if i % 10 == 0 else row["stars"]} for i, row in enumerate(reviews())]
    write(tmp_path / "reviews.csv", rows, ";")
    done = init(tmp_path, "reviews.csv")
    for line in (
        "columns  id, Review Text, stars, date",
        "text     Review Text, guessed",
        "task     text-classification, guessed: 'stars' has 5 different values",
        "model    sentence-transformers/all-MiniLM-L6-v2, guessed; not looked at, as it",
        "rows     288 to train on, 72 of validation to report on",
        "         guessed: a row whose label is empty has none",
        "classes  5: 1, 2, 3, 4, 5",
        "gates    72 rows can certify a drop of 0.075 of accuracy (95 %, 8 times in 10,",
    ):
        assert line in done.out.splitlines()
    (tmp_path / "recipe.yaml").unlink()
    found = proposed(tmp_path, "reviews.csv")
    assert found["task"]["dataset"]["delimiter"] == ";"
    assert found["task"]["missing_label"] == ""
    assert found["gates"] == [
        {"metric": "accuracy", "max_drop": 0.075},
        {"metric": "size", "max_ratio": 0.35},
        {"metric": "latency.p50", "min_speedup": 1.2},
    ]
    assert found["baseline"]["finetune"] == {k: v for k, v in found["steps"][0].items() if k not in ("id", "use")}
    assert "# 72 of 360 rows are drawn to report on, always the same" in (tmp_path / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("rows", "args", "code", "said"),
    [
        ([{"text": t, "label": "a"} for t in texts(50)], [], "E305", "one class only: a"),
        ([{"text": " ", "label": i % 2} for i in range(50)], [], "E304", "the text in column 'text' is empty"),
        (reviews(), ["--label", "star"], "E303", "did you mean 'stars'?"),
        (reviews(), ["--text", "review"], "E303", "columns: id, Review Text, stars, date"),
        (
            reviews(),
            ["--label", "id", "--task", "text-classification"],
            "E305",
            "for scores use --task text-regression",
        ),
        (
            reviews(),
            ["--label", "date", "--task", "text-regression"],
            "E304",
            "for classes use --task text-classification",
        ),
        (reviews(), ["--task", "multiple-choice"], "E106", "multiple-choice needs 'choices'"),
        (reviews(), ["--task", "regression"], "E100", "did you mean 'text-regression'?"),
        (reviews(), ["--target", "mob"], "E111", "did you mean 'mobile'?"),
        (reviews(), ["--max-drop", "5"], "E106", "max_drop: 0.05"),
        (reviews(), ["--model", "./nothing"], "E308", "does not exist"),
        ([{"text": "only"}], [], "E303", "no column looks like labels"),
        ([{"a": 1.5, "b": 2}] * 9, [], "E303", "name it: --text COLUMN; columns: a, b"),
        ([{"text": t, "label": t} for t in texts(50)], [], "E305", "50 different values in 50 rows"),
    ],
)
def test_what_cannot_be_proposed_is_said_and_nothing_is_written(
    tmp_path: Path, rows: list[Row], args: list[str], code: str, said: str
) -> None:
    write(tmp_path / "r.jsonl", rows)
    done = init(tmp_path, "r.jsonl", *args)
    assert (done.code, (tmp_path / "recipe.yaml").exists()) == (2, False)
    assert f"[{code}]" in done.err
    assert said in done.err
    assert "<dict>" not in done.err


def test_twelve_rows_have_no_gate_on_the_metric(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate(texts(12))])
    assert [gate["metric"] for gate in proposed(tmp_path, "r.csv")["gates"]] == ["size", "latency.p50"]
    assert "none on accuracy: 2 rows can certify no drop" in (tmp_path / "recipe.yaml").read_text()


def test_three_thousand_classes(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [{"text": t, "intent": f"class {i % 3000}"} for i, t in enumerate(texts(9000))])
    found = proposed(tmp_path, "r.jsonl")
    assert found["task"]["type"] == "text-classification"
    assert "# 3,000 classes: class 0, class 1, class 10" in (tmp_path / "recipe.yaml").read_text()


def test_minus_one_is_a_class_or_no_label(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", [{"text": t, "label": i % 3 - 1} for i, t in enumerate(texts(60))])
    assert proposed(tmp_path, "r.csv")["task"]["labels"] == ["-1", "0", "1"]
    (tmp_path / "recipe.yaml").unlink()
    write(tmp_path / "r.csv", [{"text": t, "label": -1 if i == 7 else i % 3} for i, t in enumerate(texts(60))])
    assert proposed(tmp_path, "r.csv")["task"]["missing_label"] == -1


def test_a_folder_and_several_files_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, count in (("train", 60), ("validation", 40)):
        write(tmp_path / "data" / f"{name}.csv", reviews(count))
    assert proposed(tmp_path, "data")["task"]["dataset"] == {"path": "./data"}
    (tmp_path / "recipe.yaml").unlink()
    write(tmp_path / "data" / "reviews_dev.csv", reviews(40))
    found = proposed(tmp_path, "data/train.csv", "data/reviews_dev.csv")["task"]["dataset"]
    assert found == {"data_files": {"train": "./data/train.csv", "validation": "./data/reviews_dev.csv"}}
    write(tmp_path / "b.csv", reviews(10))
    assert "whether b.csv is to train on" in init(tmp_path, "data/train.csv", "b.csv", "--out", "x.yaml").err


def test_paths_are_relative_to_the_recipe_and_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "r.csv", reviews(60))
    done = init(tmp_path, "r.csv", "--out", "recipes")
    assert "wrote recipes/recipe.yaml" in done.out
    found = parse((tmp_path / "recipes/recipe.yaml").read_text(), tmp_path / "x").data
    assert found["task"]["dataset"]["data_files"] == {"train": "../r.csv"}
    again = init(tmp_path, "r.csv", "--out", "recipes/recipe.yaml")
    assert (again.code, "[E114]: recipes/recipe.yaml already exists" in again.err) == (2, True)
    assert "[E114]: there is no folder nowhere" in init(tmp_path, "r.csv", "--out", "nowhere/a.yaml").err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_for_what_no_option_says(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", reviews())
    with patch("sys.stdin", _Terminal("\nstars\n\n\nmobile\n0.05\n")):
        done = init(tmp_path, "r.csv")
    found = parse((tmp_path / "recipe.yaml").read_text(), tmp_path / "x").data
    assert (found["targets"], found["gates"][0]["max_drop"], found["task"]["text"]) == (["mobile"], 0.05, "Review Text")
    assert "Largest drop of accuracy [0.075]: " in done.err
    assert "0.05 takes about" in " ".join(done.out.split())
    with patch("sys.stdin", _Terminal("")):
        quiet = init(tmp_path, "r.csv", "--yes", "--out", "b.yaml")
        stopped = init(tmp_path, "r.csv", "--out", "c.yaml")
    assert (quiet.code, quiet.err, stopped.code) == (0, "", 130)


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["BertModel"]}, None),
        ({"architectures": ["BertForMaskedLM"]}, None),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}}, "text-classification"),
        ({"architectures": ["BertForSequenceClassification"], "problem_type": "regression"}, "text-regression"),
        ({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, "text-regression"),
        ({"architectures": ["BertForTokenClassification"], "id2label": {"0": "O", "1": "B-X"}}, "token-classification"),
        ({"architectures": ["BertForMultipleChoice"]}, "multiple-choice"),
    ],
)
def test_a_checkpoint_says_what_it_was_trained_for(tmp_path: Path, config: Row, task: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **config}))
    assert task_by_head(ModelSource("m", None, tmp_path, True)) == task


def test_a_head_that_scores_is_for_labels_that_are_numbers(tmp_path: Path) -> None:
    for name, label in (("numbers", "{}"), ("words", "class {}")):
        write(tmp_path / f"{name}.csv", [{"text": t, "label": label.format(i % 2)} for i, t in enumerate(texts(60))])
    with patch("edgeopt.recipe.proposal.sizes.task_by_head", return_value="text-regression"):
        assert "text-regression, guessed: the model's trained head is for it" in init(tmp_path, "numbers.csv").out
        assert "text-classification, guessed" in init(tmp_path, "words.csv", "--out", "b.yaml").out


def test_no_number_of_rows_certifies_no_drop_at_all(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", reviews())
    assert proposed(tmp_path, "r.csv", "--max-drop", "0")["gates"][0] == {"metric": "accuracy", "max_drop": 0}
    assert "no number of rows can certify 0" in (tmp_path / "recipe.yaml").read_text().replace("\n  # ", " ")


def test_what_rows_can_certify_is_what_the_gates_bounds_say() -> None:
    task = task_of(
        TaskSpec.model_validate({"type": "text-classification", "dataset": {"path": "x"}, "text": "t"}), "ab"
    )
    rows = Split("train", (("t",),) * 20, (0, 1) * 10)
    certified = {2: None, 40: 0.15, 400: 0.03, 872: 0.02, 2000: 0.01, 100_000: 0.002}
    assert {count: margins(task, rows, count).certified(count) for count in certified} == certified
    assert margins(task, rows, 872, 0.001).needed[0.001] > 100_000
    # 872 rows that differ in as many answers, by the bounds that the gate has
    before = np.arange(872) % 2 == 0
    right = [before, before.copy()]
    right[1][:26] = ~right[1][:26]
    bounds = accuracy_difference(right[0], right[1], 0.95)
    assert bounds.value == 0
    assert rows_needed(lambda t: paired_proportions(13 * t, 13 * t, 872 * t, 0.95), 872, 0.02, 0.95) == 873
    assert -bounds.low < 0.02

    scores = TaskSpec.model_validate({"type": "text-regression", "dataset": {"path": "x"}, "text": "t"})
    found = margins(task_of(scores), Split("train", (("t",),) * 20, tuple(i / 3 for i in range(20))), 1500)
    assert (found.metric, found.certified(29), found.certified(1500)) == ("pearson", None, 0.005)


@pytest.mark.parametrize(
    "word", ["Review Text", "yes", "a: b", "#x", "1", "x\ny", "é", "…", "{", "null", "", "'", '"', "~", ".", "1e3"]
)
def test_every_column_name_is_read_back(tmp_path: Path, word: str) -> None:
    assert parse(f"text: {scalar(word)}\nlist: {scalar([word, 1])}\n", tmp_path / "x").data == {
        "text": word,
        "list": [word, 1],
    }
