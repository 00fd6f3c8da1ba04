"""What a graph answers is held against what the task's models answer, whatever the gates look at.

And what a tokenizer makes of a row must be tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import edgeopt
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgeopt.data import load_reported
from edgeopt.gates.artifact import find_artifact
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError

WORDS = ["a", "b", "c", "d", "e", "f"]
#: By task its rows, more of its recipe, and how many numbers its models answer; None: one a choice.
TASKS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], int | None]] = {
    "text-classification": ([{"text": "a b c", "label": i % 2} for i in range(4)], {"labels": ["0", "1"]}, 2),
    "text-regression": ([{"text": "a b c", "label": float(i)} for i in range(4)], {}, 1),
    "token-classification": ([{"text": ["a", "b"], "label": ["O", "B-X"]}] * 4, {"labels": ["O", "B-X"]}, 2),
    "multiple-choice": (
        [{"text": "a b", "choices": ["c", "d e"], "label": "AB"[i % 2]} for i in range(4)],
        {"choices": "choices"},
        None,
    ),
    "summarization": ([{"text": "a b c", "label": "b c"}] * 4, {"max_target_length": 5}, len(WORDS)),
}
node: Any = helper.make_node


def kind(number: int) -> Any:
    return helper.make_tensor_type_proto(number, None)


FLOAT = kind(TensorProto.FLOAT)


def graph(task: str, *more: Any, type: Any = FLOAT) -> Any:
    """A graph that answers as the task's models do, by sums of token numbers, or as the nodes from `sound` on say."""
    given, width = "decoder_input_ids" if task == "summarization" else "input_ids", TASKS[task][2]
    nodes = [node("Cast", [given], ["x"], to=TensorProto.FLOAT)]
    if task in ("token-classification", "summarization"):
        nodes.append(node("Unsqueeze", ["x", "last"], ["sum"]))
    else:
        nodes.append(node("ReduceSum", ["x", "last"], ["sum"], keepdims=int(width is not None)))
    nodes.append(node("MatMul", ["sum", "weights"], ["sound"]) if width else node("Identity", ["sum"], ["sound"]))
    weights = np.linspace(-1, 2, width or 1, dtype=np.float32)[None]
    constants = {"first": np.array([0]), "one": np.array([1]), "last": np.array([-1]), "weights": weights}
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", *"cs"[-1 if width else 0 :]])]
    if task == "summarization":
        inputs.append(helper.make_tensor_value_info("decoder_input_ids", TensorProto.INT64, ["b", "t"]))
    made = helper.make_graph(
        [*nodes, *(more or [node("Identity", ["sound"], ["logits"])])],
        "g",
        inputs,
        [helper.make_value_info("logits", type)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def gate(folder: Path, task: str, made: Any, *, ends: bool = True, rows: Any = None, unknown: str | None = "a") -> Any:
    """`edgeopt gate` on the size of a model with that graph. ends: whether the tokenizer has special tokens."""
    found, more, _ = TASKS[task]
    (folder / "model").mkdir()
    (folder / "data").mkdir()
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token=unknown))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Replace("z", ""), pre_tokenizers.Whitespace()
    if ends:
        tokenizer.post_processor = processors.BertProcessing(("f", 5), ("e", 4))
    tokenizer.save(str(folder / "model/tokenizer.json"))
    onnx.save(made, str(folder / "model/model.onnx"))
    (folder / "data/validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows or found))
    asked = {"type": task, "dataset": {"path": "data"}, "text": "text", "max_length": 8, **more}
    gates = [{"metric": "size", "max_mb": 1.0}]
    recipe = {"edgeopt": 1, "name": "r", "model": {"id": "m"}, "task": asked, "gates": gates}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return edgeopt("gate", folder / "model", "--recipe", folder / "recipe.yaml", "--json", "--quiet")


@pytest.mark.parametrize("task", list(TASKS))
def test_a_graph_that_answers_is_gated(task: str, tmp_path: Path) -> None:
    assert gate(tmp_path, task, graph(task)).code == 0


#: By what is wrong the last node, and the type of what it makes.
WRONG: dict[str, tuple[Any, Any]] = {
    "no axis": (node("ReduceSum", ["sound"], ["logits"], keepdims=0), FLOAT),
    "an axis less": (node("ReduceSum", ["sound", "last"], ["logits"], keepdims=0), FLOAT),
    "an axis more": (node("Unsqueeze", ["sound", "last"], ["logits"]), FLOAT),
    "an axis before": (node("Unsqueeze", ["sound", "first"], ["logits"]), FLOAT),
    "integers": (node("Cast", ["sound"], ["logits"], to=TensorProto.INT64), kind(TensorProto.INT64)),
    "yes and no": (node("Cast", ["sound"], ["logits"], to=TensorProto.BOOL), kind(TensorProto.BOOL)),
    "words": (node("Cast", ["sound"], ["logits"], to=TensorProto.STRING), kind(TensorProto.STRING)),
    "two answers": (node("Concat", ["sound", "sound"], ["logits"], axis=0), FLOAT),
    "no answer": (node("Slice", ["sound", "first", "first", "first"], ["logits"]), FLOAT),
    "twice as wide": (node("Concat", ["sound", "sound"], ["logits"], axis=-1), FLOAT),
    "twice as long": (node("Concat", ["sound", "sound"], ["logits"], axis=1), FLOAT),
    "a sequence": (node("SequenceConstruct", ["sound"], ["logits"]), helper.make_sequence_type_proto(FLOAT)),
}


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("wrong", list(WRONG))
def test_what_is_no_answer_is_refused(wrong: str, task: str, tmp_path: Path) -> None:
    if (task, wrong) == ("summarization", "twice as wide"):
        pytest.skip("nothing says how large a vocabulary is")
    last, type = WRONG[wrong]
    done = gate(tmp_path, task, graph(task, last, type=type))
    assert done.code == 2, done
    issue = done.json["errors"][0]
    wide = wrong == "twice as wide" or (wrong == "twice as long" and task != "token-classification")
    assert issue["code"] == ("E316" if wide and task not in ("text-regression", "summarization") else "E131"), issue
    assert "model.onnx: its output 'logits'" in issue["message"]


def test_the_message_says_what_it_is(tmp_path: Path) -> None:
    done = gate(
        tmp_path, "token-classification", graph("token-classification", WRONG["integers"][0], type=WRONG["integers"][1])
    )
    told = "'logits' is int64 of shape (1, 4, 2), and token-classification needs floats of shape (1, 4, 2)"
    assert done.json["errors"][0]["message"].endswith(told)


@pytest.mark.parametrize(
    ("task", "row", "more", "words"),
    [
        ("text-classification", {"text": "a g"}, {"ends": False, "unknown": None}, "cannot read the rows' texts"),
        ("text-classification", {"text": "z"}, {"ends": False}, "makes no tokens of"),
        ("text-regression", {"text": "z"}, {"ends": False}, "makes no tokens of"),
        ("token-classification", {"text": ["z"], "label": ["O"]}, {"ends": False}, "makes no tokens of"),
        ("multiple-choice", {"text": "z", "choices": ["z", "a"]}, {"ends": False}, "makes no tokens of"),
        ("summarization", {"text": "a"}, {"ends": False}, "special tokens around a text"),
    ],
)
def test_a_row_without_tokens_is_refused(task: str, row: Any, more: Any, words: str, tmp_path: Path) -> None:
    done = gate(tmp_path, task, graph(task), rows=[{**TASKS[task][0][0], **row}], **more)
    assert (done.code, done.json["errors"][0]["code"]) == (2, "E311"), done
    assert words in done.json["errors"][0]["message"]


def test_one_answer_to_two_queries_is_seen_where_two_are_timed(tmp_path: Path) -> None:
    """A graph that answers the first alone is quicker than one that answers both."""
    first = node("Slice", ["sound", "first", "one", "first"], ["logits"])
    gate(tmp_path, "text-classification", graph("text-classification", first))
    spec = TaskSpec.model_validate(
        {
            **TASKS["text-classification"][1],
            "type": "text-classification",
            "text": "text",
            "dataset": {"path": "data"},
            "max_length": 8,
        }
    )
    rows, task = load_reported(spec, tmp_path, ("0", "1"))
    artifact = find_artifact(tmp_path / "model")
    artifact.check(task, rows)
    with pytest.raises(
        InputError, match=r"float32 of shape \(1, 2\), and text-classification needs floats of shape \(2, 2\)"
    ):
        artifact.check(task, rows, batch=8)
