"""YAML 1.2 scalars, places of keys and values, and whatever else may stand in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeopt.recipe.library import recipe_files
from edgeopt.recipe.load import load_recipe
from edgeopt.recipe.yaml import Document, parse, scalar
from edgeopt.support.errors import InputError

SCALARS = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "False": False,
    "3": 3,
    "-3": -3,
    "+3": 3,
    "007": 7,
    "1_000": 1000,
    "3e-4": 3e-4,
    "3.0e-4": 3e-4,
    "1E5": 1e5,
    ".5": 0.5,
    "5.": 5.0,
    "-0.5": -0.5,
    # not what YAML 1.1 makes of them
    "no": "no",
    "off": "off",
    "yes": "yes",
    "On": "On",
    "y": "y",
    "1:30": "1:30",
    "2024-01-31": "2024-01-31",
    "NULl": "NULl",
    "e5": "e5",
    "3e": "3e",
    "1.2.3": "1.2.3",
    ".": ".",
    "٣": "٣",
}


def read(text: str) -> Document:
    return parse(text, Path("recipe.yaml"))


@pytest.mark.parametrize("text", SCALARS)
def test_plain_scalars(text: str) -> None:
    found = scalar(text)
    assert (found, type(found)) == (SCALARS[text], type(SCALARS[text]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'3'", "3"),
        ('"no"', "no"),
        ('"\\u00e9"', "é"),
        ("|\n  3\n", "3\n"),
        ("[3, no]", [3, "no"]),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_other_scalars(text: str, value: Any) -> None:
    assert read(f"key: {text}").data == {"key": value}


def test_places() -> None:
    document = read("a: 1\nb:\n  - c: {d: 2}\n  - e\n")
    assert document.source == "recipe.yaml"
    assert {k: (p.line, p.column) for k, p in document.keys.items()} == {
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", 0, "c"): (3, 5),
        ("b", 0, "c", "d"): (3, 9),
    }
    assert (document.values["b", 0, "c", "d"].line, document.values["b", 0, "c", "d"].column) == (3, 12)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("a",), "recipe.yaml:1:1"),
        (("b", 1), "recipe.yaml:4:5"),  # an entry of a list has no key
        (("b", 0, "x", "y"), "recipe.yaml:3:5"),  # what is not there stands where its parent stands
        ((), "recipe.yaml:1:1"),
    ],
)
def test_place_of(path: tuple[str | int, ...], place: str) -> None:
    assert str(read("a: 1\nb:\n  - c: {d: 2}\n  - e\n").place(path)) == place


def test_the_first_of_two_equal_keys_counts_and_the_second_is_reported() -> None:
    document = read("a: 1\nb: 2\na: 3\n")
    assert document.data == {"a": 1, "b": 2}
    assert [(i.code, str(i.place)) for i in document.issues] == [("E103", "recipe.yaml:3:1")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "a: *b\n",
        "a: &x 1\nb: *x\n",
        "a: [1\n",
        "\ta: 1\n",
        "a: 1\n---\nb: 2\n",
        "a: \x07\n",
        "[" * 5000,
    ],
)
def test_what_cannot_be_read(text: str) -> None:
    assert [i.code for i in read(text).issues] == ["E102"]


def test_an_alias_costs_nothing() -> None:
    bomb = "a: &a0 [x, x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}, *a{i}]\n" for i in range(60))
    assert [(i.code, i.place and i.place.line) for i in read(bomb).issues] == [("E102", 2)]


QUICKSTART = recipe_files()["quickstart"].read_text(encoding="utf-8")


def issues(path: Path, *overrides: str) -> str:
    """What is wrong with a recipe. Any exception but InputError, and one without a place, fails the test."""
    try:
        load_recipe(path, overrides)
    except InputError as error:
        return str(error) if error.issues and all(i.place for i in error.issues) else "nothing said"
    return ""


def refused_or_read(folder: Path, text: str) -> None:
    path = folder / "recipe.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert issues(path) != "nothing said"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@settings(max_examples=150, deadline=None)
@given(text=st.text())
@example(text="\ufeff")
@example(text="!!python/object/apply:os.system [ls]")
@example(text="? ? ?")
@example(text='a: "\\ud800"')
def test_any_text_is_read_or_refused(folder: Path, text: str) -> None:
    refused_or_read(folder, text)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_recipe_is_read_or_refused(folder: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(QUICKSTART)))
    end = data.draw(st.integers(start, min(len(QUICKSTART), start + 40)))
    put = data.draw(
        st.one_of(
            st.text(max_size=8),
            st.sampled_from(["[]", "{}", "null", "true", "-1", "1e999", "{a: 1}", "[1, 2]", "\n", "- ", ": ", "'"]),
        )
    )
    refused_or_read(folder, QUICKSTART[:start] + put + QUICKSTART[end:])


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6), nested, max_leaves=6
)


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from(
        ["edgeopt", "name", "model", "task", "baseline", "steps", "export", "targets", "gates", "seed"]
    ),
    value=json_like,
)
def test_any_value_of_any_key_is_read_or_refused(folder: Path, key: str, value: Any) -> None:
    (folder / "sound.yaml").write_text(QUICKSTART, encoding="utf-8")
    assert issues(folder / "sound.yaml", f"{key}={json.dumps(value)}") != "nothing said"
