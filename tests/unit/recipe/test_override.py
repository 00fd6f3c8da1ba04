"""`--set`: by step id, by number, into what is not there yet; and where its mistakes are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import tiny_recipe

from edgeopt.recipe.load import Recipe, load_recipe
from edgeopt.recipe.override import apply_overrides
from edgeopt.recipe.yaml import Document, parse
from edgeopt.support.errors import InputError

TEXT = """\
name: x
steps:
  - {id: prune, use: prune.magnitude, amount: 0.3}
  - {use: quantize.static, calibration: {samples: 4}}
targets: [{name: mine, threads: 1}]
"""


def overridden(*overrides: str) -> Document:
    document = parse(TEXT, Path("recipe.yaml"))
    apply_overrides(document, overrides)
    return document


def at(data: Any, *path: str | int) -> Any:
    for part in path:
        data = data[part]
    return data


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("name=y", ("name",), "y"),
        ("steps.prune.amount=0.4", ("steps", 0, "amount"), 0.4),
        # the id of a step that names none
        (
            "steps.static.calibration.samples=8",
            ("steps", 1, "calibration", "samples"),
            8,
        ),
        ("steps.1.calibration.samples=8", ("steps", 1, "calibration", "samples"), 8),
        ("targets.mine.threads=2", ("targets", 0, "threads"), 2),
        ("baseline.finetune.learning_rate=3e-4", ("baseline", "finetune", "learning_rate"), 3e-4),  # made on the way
        ("steps.prune.recover={epochs: 1}", ("steps", 0, "recover"), {"epochs": 1}),
        ("description=no", ("description",), "no"),
        ("description=a=b", ("description",), "a=b"),
        ("description=", ("description",), ""),
        ("description=@home", ("description",), "@home"),  # no YAML, so taken as it is
        ("revision=~", ("revision",), None),
        (" name = y", ("name",), "y"),
    ],
)
def test_values(override: str, path: tuple[str | int, ...], value: Any) -> None:
    document = overridden(override)
    assert document.issues == []
    assert at(document.data, *path) == value
    assert str(document.place(path)) == f"--set {override}"


def test_later_ones_win() -> None:
    assert overridden("name=y", "name=z").data["name"] == "z"


@pytest.mark.parametrize(
    ("override", "help"),
    [
        ("name", "for example --set steps.prune.amount=0.3"),
        ("=y", "for example --set steps.prune.amount=0.3"),
        ("steps.prun.amount=1", "did you mean 'prune'? entries: prune, static"),
        ("steps.zzz.amount=1", "entries: prune, static"),
        ("targets.7=x", "entries: mine"),
        ("name.first=y", None),
        ("steps.-1.amount=1", "entries: prune, static"),
    ],
)
def test_mistakes(override: str, help: str | None) -> None:
    document = overridden(override)
    assert [(i.code, str(i.place), i.help) for i in document.issues] == [("E109", f"--set {override}", help)]
    assert document.data == parse(TEXT, Path("recipe.yaml")).data


STEPS = [{"id": "train", "use": "finetune"}, {"id": "int8", "use": "quantize.static"}]


def load(tmp_path: Path, *overrides: str) -> Recipe:
    return load_recipe(tiny_recipe(tmp_path, steps=STEPS), overrides)


def test_overrides_are_recorded_and_count(tmp_path: Path) -> None:
    plain, changed = load(tmp_path), load(tmp_path, "steps.int8.calibration.samples=64")
    assert changed.overrides == ("steps.int8.calibration.samples=64",)
    assert changed.resolved()["steps"][1]["calibration"]["samples"] == 64
    assert changed.digest != plain.digest


def test_the_digest_is_of_what_is_said_not_of_how(tmp_path: Path) -> None:
    assert load(tmp_path, "steps.int8.calibration.samples=256").digest == load(tmp_path).digest  # the default


def test_a_wrong_value_is_reported_at_its_flag(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, "steps.int8.calibration.samples=few", "name=7")
    assert sorted((i.code, str(i.place)) for i in caught.value.issues) == [
        ("E106", "--set name=7"),
        ("E106", "--set steps.int8.calibration.samples=few"),
    ]
