"""Short forms of a recipe mean what they are short for, and errors in them stand at their line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edgeopt.recipe.json_schema import recipe_schema
from edgeopt.recipe.load import load_recipe
from edgeopt.spec.recipe import TaskSpec, TrainParams
from edgeopt.spec.tasks import MEASURED, TASKS
from edgeopt.step import registry
from edgeopt.support.errors import InputError
from edgeopt.support.words import closest

HEAD = (
    "edgeopt: 1\nname: x\ntask: {type: text-classification, dataset: {path: data}, text: body}\nbaseline: "
    "{finetune: {epochs: 1}}\n"
)
MODEL = "model: {id: m}\n"


def resolved(folder: Path, text: str, *settings: str) -> dict[str, Any]:
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml", settings).resolved()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("model: m\n", MODEL),
        (MODEL + "export: onnx\n", MODEL + "export: [{format: onnx}]\n"),
        (MODEL + "export: {format: ort}\n", MODEL + "export: [{format: ort}]\n"),
        (MODEL + "export: [onnx, {format: ort}]\n", MODEL + "export: [{format: onnx}, {format: ort}]\n"),
        (MODEL + "export: auto\n", MODEL + "export: [{format: auto}]\n"),
        (MODEL + "targets: mobile\n", MODEL + "targets: [mobile]\n"),
        (MODEL + "targets: {name: mine, threads: 2}\n", MODEL + "targets: [{name: mine, threads: 2}]\n"),
        (MODEL + "gates: {metric: size, max_mb: 5}\n", MODEL + "gates: [{metric: size, max_mb: 5}]\n"),
    ],
)
def test_a_short_form_is_the_long_one(tmp_path: Path, short: str, long: str) -> None:
    assert resolved(tmp_path, HEAD + short) == resolved(tmp_path, HEAD + long)


def test_a_dataset_is_short_for_its_path(tmp_path: Path) -> None:
    short = HEAD.replace("{path: data}", "data/names")
    assert resolved(tmp_path, short + MODEL) == resolved(
        tmp_path, HEAD.replace("{path: data}", "{path: data/names}") + MODEL
    )
    assert resolved(tmp_path, HEAD + MODEL, "task.dataset=rows")["task"]["dataset"]["path"] == "rows"
    assert resolved(tmp_path, short + MODEL, "task.dataset.path=rows")["task"]["dataset"]["path"] == "rows"
    document = load_recipe(tmp_path / "recipe.yaml").document
    assert str(document.place(("task", "dataset", "path"))).endswith("recipe.yaml:3:35")


def test_a_setting_reaches_into_a_short_form(tmp_path: Path) -> None:
    found = resolved(
        tmp_path, HEAD + "model: m\ntargets: mobile\n", "model.id=n", "task.metrics=accuracy", "export=ort"
    )
    assert (found["model"]["id"], found["task"]["metrics"], found["export"][0]["format"]) == ("n", ["accuracy"], "ort")
    assert resolved(tmp_path, HEAD + MODEL, "model=n")["model"] == {
        "id": "n",
        "revision": None,
        "config": None,
        "tokenizer": None,
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (MODEL + "export: onx\n", 6, "did you mean 'onnx'?"),
        (MODEL + "export:\n  - onnx\n  - onx\n", 8, "did you mean 'onnx'?"),
        (MODEL + "targets: mobil\n", 6, "did you mean 'mobile'?"),
        (MODEL + "gates:\n  metric: p50\n  max_ms: 5\n", 7, "did you mean 'latency.p50'?"),
        ("model: 5\n", 5, "must be a mapping"),
        (MODEL + "export: []\n", 6, "at least 1"),
    ],
)
def test_a_mistake_in_a_short_form_is_at_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        resolved(tmp_path, HEAD + text)
    assert words in str(caught.value) and f":{line}" in str(caught.value.issues[0].place)


def test_an_empty_list_of_metrics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'task.metrics' is an empty list: must have at least 1 entry"):
        resolved(tmp_path, HEAD + MODEL, "task.metrics=[]")


METRICS, TYPES = (*dict.fromkeys(m for kind in TASKS.values() for m in kind.known_metrics), *MEASURED), tuple(TASKS)


@pytest.mark.parametrize(
    ("word", "among", "meant"),
    [
        ("lr", TrainParams.model_fields, "learning_rate"),
        ("num_train_epochs", TrainParams.model_fields, "epochs"),
        ("bs", TrainParams.model_fields, "batch_size"),
        ("fp16", TrainParams.model_fields, "precision"),
        ("patience", TrainParams.model_fields, "early_stopping"),
        ("wd", TrainParams.model_fields, "weight_decay"),
        ("acc", METRICS, "accuracy"),
        ("p50", METRICS, "latency.p50"),
        ("MCC", METRICS, "matthews"),
        ("latency", METRICS, "latency.p50"),
        ("ram", METRICS, "memory.peak"),
        ("macro_f1", METRICS, "f1"),
        ("acuracy", METRICS, "accuracy"),
        ("cold-start", METRICS, "start.cold"),
        ("lora", registry.names(), "adapter.lora"),
        ("quantize.int8", registry.names(), "quantize.static"),
        ("int8", registry.names(), "quantize.static"),
        ("qat", registry.names(), "quantize.qat"),
        ("magnitude", registry.names(), "prune.magnitude"),
        ("distil", registry.names(), "distill"),
        ("fine-tune", registry.names(), "finetune"),
        ("quantise.dynamic", registry.names(), "quantize.dynamic"),
        ("quantise.statik", registry.names(), "quantize.static"),
        ("ner", TYPES, "token-classification"),
        ("sts", TYPES, "text-regression"),
        ("classification", TYPES, "text-classification"),
        ("max_seq_length", TaskSpec.model_fields, "max_length"),
        ("classes", TaskSpec.model_fields, "labels"),
        ("metric", TaskSpec.model_fields, "metrics"),
        ("frobnicate", METRICS, None),
        ("", METRICS, None),
    ],
)
def test_words_of_other_tools_are_understood(word: str, among: Any, meant: str | None) -> None:
    assert closest(word, among) == meant


@pytest.mark.parametrize("word", ["question-answering"])
def test_a_task_to_come_is_said_to_be_none_yet(tmp_path: Path, word: str) -> None:
    with pytest.raises(InputError, match="a task that edgeopt does not have yet"):
        resolved(tmp_path, HEAD + MODEL, f"task.type={word}")


@pytest.mark.parametrize("setting", ["\udc80=1", "model.id=\udc80", "task.dataset.path=a\udcffb"])
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(InputError, match=r"E109(.|\n)*is not UTF-8"):
        resolved(tmp_path, HEAD + MODEL, setting)


@pytest.mark.parametrize("teacher", ['""', '[""]', "[]"])
def test_a_teacher_has_a_name(tmp_path: Path, teacher: str) -> None:
    with pytest.raises(InputError, match=r"E106(.|\n)*teacher"):
        resolved(tmp_path, HEAD + MODEL + f"steps: [{{use: finetune, distill: {{teacher: {teacher}}}}}]\n")


@pytest.mark.parametrize(
    "keys",
    [
        {"model": "m"},
        {"export": "onnx"},
        {"export": ["onnx"]},
        {"export": {"format": "onnx"}},
        {"targets": "mobile"},
        {"targets": {"name": "x"}},
        {"gates": {"metric": "size", "max_mb": 5}},
        {"task": {"type": "text-classification", "dataset": "x", "text": "t"}},
    ],
)
def test_the_schema_for_editors_knows_the_short_forms(keys: dict[str, Any]) -> None:
    task = {"type": "text-classification", "dataset": {"path": "x"}, "text": "t", "metrics": "accuracy", "slices": "s"}
    valid = Draft202012Validator(recipe_schema()).is_valid
    assert valid({"edgeopt": 1, "name": "x", "model": {"id": "m"}, "task": task, **keys})
    assert not valid({"edgeopt": 1, "name": "x", "model": {"id": "m"}, "task": task, **dict.fromkeys(keys, 5)})
