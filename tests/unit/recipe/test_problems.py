"""pydantic's findings in the recipe's own words: one a mistake, with the closest match."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from edgeopt.recipe.load import load_recipe
from edgeopt.recipe.problems import dotted, from_pydantic
from edgeopt.recipe.yaml import parse
from edgeopt.spec.recipe import Strict
from edgeopt.spec.steps import address
from edgeopt.support.errors import InputError, Issue, Place
from edgeopt.support.words import closest


class Inner(Strict):
    samples: int = Field(ge=1)
    method: Literal["minmax", "entropy"] = "minmax"


class Outer(Strict):
    inner: Inner | None = None
    either: list[int | Literal["task"]] | str = "x"
    mixed: list[str | Inner] = Field(default=[])
    rate: float = 0.1
    on: bool = False
    amount: int | None = None
    words: list[str] | None = None
    part: float = Field(0.1, lt=1)


def found(text: str) -> list[Issue]:
    document = parse(text, Path("r.yaml"))
    try:
        Outer.model_validate(document.data)
    except ValidationError as error:
        return from_pydantic(error, Outer, document)
    return []


@pytest.mark.parametrize(
    ("text", "code", "place", "message", "help"),
    [
        ("innr: {}", "E104", "r.yaml:1:1", "unknown key 'innr'", "did you mean 'inner'?"),
        (
            "zzz: 1",
            "E104",
            "r.yaml:1:1",
            "unknown key 'zzz'",
            "known keys: amount, either, inner, mixed, on, part, rate, words",
        ),
        (
            "inner: {samples: 3, metod: minmax}",
            "E104",
            "r.yaml:1:21",
            "unknown key 'metod' in 'inner'",
            "did you mean 'method'?",
        ),
        # and nothing is missing
        (
            "inner: {sampels: 3}",
            "E104",
            "r.yaml:1:9",
            "unknown key 'sampels' in 'inner'",
            "did you mean 'samples'?",
        ),
        ("inner: {}", "E105", "r.yaml:1:1", "key 'samples' is missing in 'inner'", "add `samples:` below 'inner'"),
        ("inner: {samples: 0}", "E106", "r.yaml:1:9", "'inner.samples' is 0: must be greater than or equal to 1", None),
        (
            "inner: {samples: 3, method: max}",
            "E106",
            "r.yaml:1:21",
            "'inner.method' is 'max', and must be minmax or entropy",
            "did you mean 'minmax'?",
        ),
        (
            "inner: 3",
            "E106",
            "r.yaml:1:1",
            "'inner' is 3: must be a mapping",
            "write `inner: {samples: …}`; known keys: samples, method",
        ),
        ("either: {}", "E106", "r.yaml:1:1", "'either' is a mapping: must be a list or text", None),
        ("either: [long]", "E106", "r.yaml:1:10", "'either.0' is 'long': must be a whole number or 'task'", None),
        ("mixed: [a, 3]", "E106", "r.yaml:1:12", "'mixed.1' is 3: must be text or a mapping", None),
        ("mixed: [{sample: 3}]", "E104", "r.yaml:1:10", "unknown key 'sample' in 'mixed.0'", "did you mean 'samples'?"),
        (
            "mixed: [{samples: many}]",
            "E106",
            "r.yaml:1:10",
            "'mixed.0.samples' is 'many': must be a whole number",
            None,
        ),
        ("rate: fast", "E106", "r.yaml:1:1", "'rate' is 'fast': must be a number", None),
        ("rate: 1e999", "E106", "r.yaml:1:1", "'rate' is inf: must be a finite number", None),
        ("rate: true", "E106", "r.yaml:1:1", "'rate' is True: must be a number", None),
        ("rate: '0.1'", "E106", "r.yaml:1:1", "'rate' is '0.1': must be a number", "write `rate: 0.1`, without quotes"),
        ("rate: 5%", "E106", "r.yaml:1:1", "'rate' is '5%': must be a number", "write `rate: 0.05`"),
        ("rate: 5 ms", "E106", "r.yaml:1:1", "'rate' is '5 ms': must be a number", "write a number without a unit"),
        ("amount: 0.2", "E106", "r.yaml:1:1", "'amount' is 0.2: must be a whole number", None),
        ("'on': maybe", "E106", "r.yaml:1:1", "'on' is 'maybe': must be true or false", None),
        ("words: a, b", "E106", "r.yaml:1:1", "'words' is 'a, b': must be a list", "write `words: [a, b]`"),
        ("words: true", "E106", "r.yaml:1:1", "'words' is True: must be a list", "write `words: [true]`"),
        ("words: [7]", "E106", "r.yaml:1:9", "'words.0' is 7: must be text", 'put quotes around it: "7"'),
        (
            "part: 30",
            "E106",
            "r.yaml:1:1",
            "'part' is 30: must be less than 1",
            "this is a fraction, not a percentage: for 30% write `part: 0.3`",
        ),
        ("part: 300", "E106", "r.yaml:1:1", "'part' is 300: must be less than 1", None),
        ("'on': 1", "E106", "r.yaml:1:1", "'on' is 1: must be true or false", "write `on: true`"),
        ("amount: 1.0", "E106", "r.yaml:1:1", "'amount' is 1.0: must be a whole number", "write `amount: 1`"),
        (
            "inner:\n  samples: []\n",
            "E106",
            "r.yaml:2:3",
            "'inner.samples' is an empty list: must be a whole number",
            None,
        ),
    ],
)
def test_one_issue_a_mistake(text: str, code: str, place: str, message: str, help: str | None) -> None:
    assert [(i.code, str(i.place), i.message, i.help) for i in found(text)] == [(code, place, message, help)]


@pytest.mark.parametrize(
    "text", ["rate: 1", "amount: 3", "amount: null", "either: [3, task]", "either: word", "mixed: [a, {samples: 3}]"]
)
def test_what_is_right(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("name: my model\n", "write 'my-model'"),
        ("steps: [{use: finetune, id: two words}]\n", "write 'two-words'"),
        ("gates: [{metric: accuracy, max_drop: 10}]\n", "for 10 points write `max_drop: 0.1`"),
        (
            "gates: [{metric: accuracy, max_drop_relative: 2}]\n",
            "for 2 points write `max_drop_relative: 0.02`",
        ),
        ("gates: [{metric: accuracy, min: 90}]\n", "for 90 points write `min: 0.9`"),
        ("gates: [{metric: size}]\n", "add the bound, such as `{metric: size, max_mb: 50}`"),
        ("gates: [{metric: size, max_mb: 5, max_ratio: 0.5}]\n", "keep one of max_mb, max_ratio"),
    ],
)
def test_how_to_mend_a_name_and_a_bound(tmp_path: Path, text: str, help: str) -> None:
    rest = "edgeopt: 1\nmodel: m\ntask: {type: text-classification, dataset: data, text: t}\n"
    (tmp_path / "r.yaml").write_text(rest + ("" if text.startswith("name") else "name: x\n") + text)
    with pytest.raises(InputError) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert [i for i in caught.value.issues if i.code == "E106" and help in str(i.help)]


def test_all_at_once() -> None:
    assert sorted(i.code for i in found("rate: fast\nzzz: 1\ninner: {samples: 0, methd: x}\n")) == [
        "E104",
        "E104",
        "E106",
        "E106",
    ]


@pytest.mark.parametrize(
    ("word", "choices", "guess"),
    [("epoch", ["epochs", "seed"], "epochs"), ("zzz", ["epochs"], None), ("", ["epochs"], None)],
)
def test_closest(word: str, choices: list[str], guess: str | None) -> None:
    assert closest(word, choices) == guess


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"id": "a", "use": "prune.magnitude"}, "a"),
        ({"use": "prune.magnitude"}, "magnitude"),
        ({"use": "merge"}, "merge"),
        ({"name": "cpu"}, "cpu"),
        ({"id": 3}, "3"),
        ({}, None),
        ("cpu-1-thread", None),
    ],
)
def test_address(entry: Any, name: str | None) -> None:
    assert address(entry) == name


def test_dotted_is_what_set_takes() -> None:
    document = parse("steps: [{use: quantize.static, calibration: {samples: 1}}]", Path("r.yaml"))
    assert dotted(("steps", 0, "calibration", "samples"), document) == "steps.static.calibration.samples"


def test_the_form_of_an_error() -> None:
    issue = Issue("E204", "step 'heal' cannot run", Place("r.yaml", 14), "move it", ("13  int8", "14  heal"))
    assert (
        issue.render()
        == "error[E204]: step 'heal' cannot run\n  --> r.yaml:14\n   | 13  int8\n   | 14  heal\n  help: move it"
    )
    place = {"source": "r.yaml", "line": 14, "column": None}
    assert issue.as_json() == {"code": "E204", "message": "step 'heal' cannot run", "place": place, "help": "move it"}
